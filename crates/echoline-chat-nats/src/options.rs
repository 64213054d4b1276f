//! The options of the driver.

use std::path::PathBuf;
use std::time::Duration;

use echoline_base::SecretText;

/// The servers, and the settings of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsOptions {
    /// `nats://host:4222`, or several separated by commas; `tls://` requires TLS. Prints as `***`,
    /// because it may contain a login.
    pub servers: SecretText,
    /// The name of the cluster: nodes with the same name share one stream.
    pub cluster: String,
    /// The number of replicas, if this node creates the stream. More than one needs NATS 2.10.26.
    pub replicas: u8,
    /// A credentials file, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// `user:password` or a token, if the addresses contain neither.
    pub login: Option<SecretText>,
    /// The lines of a key file. The first key authenticates the messages of this node; messages
    /// without a tag of one of the keys are refused. Without keys, all messages are accepted.
    pub keys: Option<SecretText>,
    /// A PEM file with the only certificate authorities to trust. Read at each connection.
    pub authorities: Option<PathBuf>,
    /// The client certificate, for servers that require one. Read at each connection.
    pub identity: Option<NatsIdentity>,
    /// The number of entries that the stream keeps, if this node creates it. It drops the oldest
    /// first.
    pub max_entries: u64,
    /// The number of bytes of entries that the stream keeps, if this node creates it.
    pub max_bytes: u64,
    /// The time that [`start`](super::start) waits until the state is up to date.
    pub start_timeout: Duration,
    /// The time after which a publish without an acknowledgement is sent again.
    pub publish_timeout: Duration,
    /// The interval between two heartbeats of this node.
    pub heartbeat_interval: Duration,
}

/// A TLS client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a certificate and its key are all there is")]
pub struct NatsIdentity {
    /// The certificate chain (PEM).
    pub certificate: PathBuf,
    /// The private key (PEM); it may be in the same file.
    pub key: PathBuf,
}

impl NatsOptions {
    /// Returns the default options for a cluster at these servers.
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
            heartbeat_interval: Duration::from_secs(3),
        }
    }

    /// Returns the number of entries between two snapshots.
    pub(super) fn snapshot_entries(&self) -> u64 {
        (self.max_entries / 4).clamp(1, 10_000)
    }

    /// Returns the number of bytes of entries between two snapshots.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        (self.max_bytes / 4).max(1)
    }
}
