//! What a chat on NATS is told.

use std::path::PathBuf;
use std::time::Duration;

use echoline_base::SecretText;

/// Where the servers are, and how the stream is to be that is the order of one chat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsOptions {
    /// `nats://host:4222`, several with commas between; `tls://` where it must be encrypted. May
    /// contain a login, so it prints as `***`.
    pub servers: SecretText,
    /// The chat's name: machines that give the same one are the same chat.
    pub cluster: String,
    /// On how many servers each entry is kept; where the stream is made by us.
    pub replicas: u8,
    /// A file of credentials, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// `user:password`, or a token, where the addresses contain neither.
    pub login: Option<SecretText>,
    /// The lines of a key file. The first key authenticates what this node sends; messages without
    /// a tag of one of the keys are refused. Without keys everything is accepted.
    pub keys: Option<SecretText>,
    /// A file of certificates (PEM): servers must be signed by one of them, instead of those that
    /// the system trusts. It is read at each connection.
    pub authorities: Option<PathBuf>,
    /// What to show to servers that ask who comes; it is read at each connection.
    pub identity: Option<NatsIdentity>,
    /// How many entries are kept; the oldest go first.
    pub max_entries: u64,
    /// How many bytes of them are kept.
    pub max_bytes: u64,
    /// How long [`start`](super::start) tries to come up to the others.
    pub start_timeout: Duration,
    /// How long a publish waits to be acknowledged before it is sent again.
    pub publish_timeout: Duration,
    /// Between two pulses.
    pub pulse_interval: Duration,
}

/// Who a machine is to the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a certificate and its key are all there is")]
pub struct NatsIdentity {
    /// The certificate, and those that signed it (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM); it may be the same file.
    pub key: PathBuf,
}

impl NatsOptions {
    /// Of this chat at these servers, as usual otherwise.
    pub fn new(servers: impl Into<SecretText>, cluster: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            cluster: cluster.into(),
            replicas: 1,
            credentials: None,
            login: None,
            keys: None,
            authorities: None,
            identity: None,
            max_entries: 200_000,
            max_bytes: 256 << 20,
            start_timeout: Duration::from_secs(30),
            publish_timeout: Duration::from_secs(2),
            pulse_interval: Duration::from_secs(3),
        }
    }

    /// After how many entries somebody takes a snapshot.
    pub(super) fn snapshot_entries(&self) -> u64 {
        (self.max_entries / 4).clamp(1, 10_000)
    }

    /// After how many bytes of entries somebody does.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        (self.max_bytes / 4).max(1)
    }
}
