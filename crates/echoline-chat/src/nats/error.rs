//! Why a bus cannot be used, in one sentence that says what to do.

use std::path::PathBuf;

/// Why a chat is not on its bus, or not any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The cluster's name cannot be part of a subject.
    #[error("'{name}' is no name of a cluster: it takes 1 to 32 letters, digits, '-' and '_'")]
    Name {
        /// What was given.
        name: String,
    },
    /// What was given is no list of addresses.
    #[error(
        "'{address}' is no address of a NATS server: write nats://host:4222, or tls://host:4222, \
         several with commas between"
    )]
    Servers {
        /// The one that is wrong.
        address: String,
    },
    /// The file of credentials is not there, or is none.
    #[error("the credentials in {path} cannot be used: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The addresses name more than one user.
    #[error(
        "the addresses of the NATS servers and the file of a login name different users: there is \
         one for all of them; name the same one in each address, or in one"
    )]
    Logins,
    /// The key of the cluster is none, or too short.
    #[error(
        "the key of the cluster must have 32 letters or more in each line of its file: make one \
         with 'openssl rand -hex 32'"
    )]
    KeyFile,
    /// The other nodes authenticate what they send, and this one cannot.
    #[error(
        "the entries of the stream {stream} are authenticated with a key that this node does not \
         have: give it the key of the cluster (--cluster-key)"
    )]
    NoKey {
        /// The stream.
        stream: String,
    },
    /// There is nothing in the stream that a node with the key has sent.
    #[error(
        "none of the entries of the stream {stream} is from a node that has this key: check the \
         key; to begin with a key, give the cluster another name, or remove the stream with \
         'nats stream rm {stream}' and all that is in it"
    )]
    NotAuthentic {
        /// The stream.
        stream: String,
    },
    /// A file of certificates or of a key is not there, or is none.
    #[error("{path} cannot be used for TLS: {reason}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the two sides does not trust the other.
    #[error(
        "there is no TLS with the NATS server at {servers} ({reason}): name the certificates that \
         it can be known by, and one of this machine's own if it asks for that; or leave TLS out \
         if the server has none"
    )]
    Tls {
        /// The addresses that were tried.
        servers: String,
        /// What happened.
        reason: String,
    },
    /// Nobody is there.
    #[error(
        "no NATS server answers at {servers} ({reason}): start one with 'nats-server -js', or say \
         where it is"
    )]
    Unreachable {
        /// The addresses that were tried.
        servers: String,
        /// What happened there.
        reason: String,
    },
    /// The server does not let us in.
    #[error(
        "the NATS server at {servers} lets nobody in with what it was given ({reason}): give a \
         file of credentials, or one with a user and a password"
    )]
    Refused {
        /// The addresses that were tried.
        servers: String,
        /// What it said.
        reason: String,
    },
    /// The server keeps no streams.
    #[error(
        "the NATS server at {servers} has no JetStream: start it with 'nats-server -js' (or \
         another one beside it, with -p and a free port), or enable it for this account"
    )]
    NoJetStream {
        /// The addresses that were tried.
        servers: String,
    },
    /// The stream is there and no order of a chat.
    #[error(
        "the stream {stream} cannot be the order of a chat: {differences}; give the cluster \
         another name, or remove the stream with 'nats stream rm {stream}' and all that is in it"
    )]
    Settings {
        /// The stream.
        stream: String,
        /// What is in the way.
        differences: String,
    },
    /// The server did not do what it was asked about the stream.
    #[error("the stream {stream} cannot be used at present: {reason}")]
    Stream {
        /// The stream.
        stream: String,
        /// What it said, or that it said nothing.
        reason: String,
    },
    /// The order is not the one that was followed.
    #[error("the chat began anew, for the stream {stream} is another one: {reason}")]
    Renewed {
        /// The stream.
        stream: String,
        /// By what it was known.
        reason: String,
    },
    /// Entries that are needed are gone.
    #[error(
        "the stream {stream} begins with entry {first} and no snapshot reaches up to there: start \
         while another machine of the chat runs and has written one, or remove the stream with \
         'nats stream rm {stream}' to begin anew"
    )]
    NoSnapshot {
        /// The stream.
        stream: String,
        /// The first entry that is left.
        first: u64,
    },
    /// It did not come up to the others in time.
    #[error(
        "the chat did not reach the last entry of the stream {stream} within {seconds} s, it has \
         applied {applied} of {last}{}: look at the server, or allow more time",
        .reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
    )]
    Late {
        /// The stream.
        stream: String,
        /// How long it was waited for.
        seconds: u64,
        /// The last entry that was applied.
        applied: u64,
        /// The last entry there is, as far as known.
        last: u64,
        /// What went wrong last.
        reason: Option<String>,
    },
    /// A part of the driver ended that must not.
    #[error("{what} ended, which it must not")]
    Ended {
        /// The part.
        what: &'static str,
    },
    /// The chat did not take what it was given.
    #[error("the chat stands at entry {applied} and was given entries up to {given}")]
    NotApplied {
        /// Where it stands.
        applied: u64,
        /// Where it should.
        given: u64,
    },
    /// A defect: the chat or the driver panicked.
    #[error("the chat panicked on its bus, which is a defect: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// The system has no thread for it.
    #[error("the thread for the bus cannot be started: {reason}")]
    Thread {
        /// What the system says.
        reason: String,
    },
}

impl BusError {
    /// Whether it would be the same at the next try.
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
                | Self::NoSnapshot { .. }
        )
    }
}
