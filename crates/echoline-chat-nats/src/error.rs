//! The errors of the driver. Each message names the failure, its cause and a remedy.

use std::path::PathBuf;

/// The reason why a node cannot follow its stream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The cluster's name cannot be part of a subject.
    #[error("'{name}' cannot be the name of a cluster: write 1 to 32 letters, digits, '-' or '_'")]
    Name {
        /// The given name.
        name: String,
    },
    /// The addresses are malformed.
    #[error(
        "'{address}' is not the address of a NATS server: write nats://HOST:4222 or \
         tls://HOST:4222, with commas between several"
    )]
    Servers {
        /// The malformed address.
        address: String,
    },
    /// The credentials file does not exist or is malformed.
    #[error("the credentials in {path} cannot be used: {reason}")]
    Credentials {
        /// The credentials file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The addresses and the login file name more than one user.
    #[error(
        "the addresses of the NATS servers and the login file name different users, and one user \
         logs in to all servers: give the same one in each address, or in one"
    )]
    Logins,
    /// The key file of the cluster has no key, or a key that is too short.
    #[error(
        "each line of the cluster's key file must have 32 letters or more: make a key with \
         'openssl rand -hex 32'"
    )]
    KeyFile,
    /// The other nodes authenticate their entries, but this node has no key.
    #[error(
        "the entries of the stream {stream} are authenticated with a key that this node does not \
         have: give it the key of the cluster (--cluster-key)"
    )]
    NoKey {
        /// The name of the stream.
        stream: String,
    },
    /// No entry of the stream has a tag that is valid with this node's key.
    #[error(
        "none of the entries of the stream {stream} is from a node with this key: check the key; \
         to introduce a key, give the cluster another name, or remove the stream and all its \
         entries with 'nats stream rm {stream}'"
    )]
    NotAuthentic {
        /// The name of the stream.
        stream: String,
    },
    /// A certificate or key file does not exist or is malformed.
    #[error("{path} cannot be used for TLS: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error(
        "there is no TLS with the NATS server at {servers} ({reason}): give the certificate \
         authority of the server, and a certificate of this node if the server requires one; or \
         connect without TLS if the server has none"
    )]
    Tls {
        /// The addresses that were tried.
        servers: String,
        /// The cause.
        reason: String,
    },
    /// No server answers at the addresses.
    #[error(
        "no NATS server answers at {servers} ({reason}): start one with 'nats-server -js', or give \
         another address"
    )]
    Unreachable {
        /// The addresses that were tried.
        servers: String,
        /// The cause.
        reason: String,
    },
    /// The server refuses the login.
    #[error(
        "the NATS server at {servers} refuses the login ({reason}): give a credentials file, or a \
         file with a user and a password"
    )]
    Refused {
        /// The addresses that were tried.
        servers: String,
        /// The answer of the server.
        reason: String,
    },
    /// The server does not have JetStream.
    #[error(
        "the NATS server at {servers} has no JetStream: start it with 'nats-server -js' (or \
         another one beside it, with -p and a free port), or enable it for this account"
    )]
    NoJetStream {
        /// The addresses that were tried.
        servers: String,
    },
    /// The stream has settings that a chat cannot use.
    #[error(
        "a chat cannot use the stream {stream}: {differences}; give the cluster another name, or \
         remove the stream and all its entries with 'nats stream rm {stream}'"
    )]
    Settings {
        /// The name of the stream.
        stream: String,
        /// The differences between these settings and the wanted ones.
        differences: String,
    },
    /// The servers are too old for several replicas.
    #[error(
        "{replicas} replicas of the stream {stream} need NATS 2.10.26 or newer, and the server is \
         NATS {version}, which may lose acknowledged entries when servers are killed: upgrade the \
         servers, or use one replica (--bus-replicas 1; if the stream already has more, \
         'nats stream edit {stream} --replicas 1')"
    )]
    OldServers {
        /// The name of the stream.
        stream: String,
        /// The version of the server.
        version: String,
        /// The number of replicas that the stream has, or would have.
        replicas: usize,
    },
    /// A request about the stream failed.
    #[error("the stream {stream} cannot be used at present: {reason}")]
    Stream {
        /// The name of the stream.
        stream: String,
        /// The answer of the server, or a statement that there was none.
        reason: String,
    },
    /// The state was reset, because the stream differs from the applied entries.
    #[error("the chat was reset, because the stream {stream} was replaced: {reason}")]
    Reset {
        /// The name of the stream.
        stream: String,
        /// The difference between the stream and the applied entries.
        reason: String,
    },
    /// The stream has dropped entries that this node needs.
    #[error(
        "the stream {stream} begins with entry {first} and no snapshot reaches up to there: start \
         while another node of the chat runs and has written one, or remove the stream with \
         'nats stream rm {stream}' to start with an empty chat"
    )]
    NoSnapshot {
        /// The name of the stream.
        stream: String,
        /// The sequence of the first entry of the stream.
        first: u64,
    },
    /// The start took too long.
    #[error(
        "the chat did not reach the last entry of the stream {stream} within {seconds} s; it \
         applied {applied} of {last}{}: examine the server, or allow more time (--bus-timeout)",
        .reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
    )]
    Late {
        /// The name of the stream.
        stream: String,
        /// The time-out, in seconds.
        seconds: u64,
        /// The sequence of the last applied entry.
        applied: u64,
        /// The sequence of the last entry of the stream, as far as known.
        last: u64,
        /// The last error.
        reason: Option<String>,
    },
    /// A task or a subscription ended unexpectedly.
    #[error("{what} ended unexpectedly")]
    Ended {
        /// The task or subscription.
        what: &'static str,
    },
    /// The state did not apply all entries that it was given.
    #[error("the chat has applied entry {applied} and was given entries up to {given}")]
    NotApplied {
        /// The sequence of the last applied entry.
        applied: u64,
        /// The sequence of the last entry that the state was given.
        given: u64,
    },
    /// The state or the driver panicked. This is a bug.
    #[error("the chat panicked while it applied entries, which is a bug: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The system cannot start a thread.
    #[error("the thread for the stream cannot be started: {reason}")]
    Thread {
        /// The error of the system.
        reason: String,
    },
}

impl DriverError {
    /// Returns whether every further attempt would fail too.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Name { .. }
                | Self::Servers { .. }
                | Self::Credentials { .. }
                | Self::Logins
                | Self::KeyFile
                | Self::NoKey { .. }
                | Self::NotAuthentic { .. }
                | Self::Certificates { .. }
                | Self::Tls { .. }
                | Self::Refused { .. }
                | Self::NoJetStream { .. }
                | Self::Settings { .. }
                | Self::OldServers { .. }
                | Self::NoSnapshot { .. }
        )
    }
}
