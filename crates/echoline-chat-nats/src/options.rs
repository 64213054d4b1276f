//! The options of the driver, and the names that are derived from them.

// `core::net` has only the address types, no sockets.
use core::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::DriverError;
use echoline_base::SecretText;
use echoline_base::secret::without_login;

/// The servers, and the settings of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsOptions {
    /// The addresses of the servers, separated by commas, such as `nats://host:4222`; `tls://`
    /// requires TLS. `Debug` prints `***`, because they may contain a login.
    pub servers: SecretText,
    /// The name of the cluster. Nodes with the same name share one stream.
    pub cluster: String,
    /// The number of replicas that the stream gets if this node creates it. More than one requires
    /// NATS 2.10.26 or newer.
    pub replicas: u8,
    /// A credentials file in the format of `nsc`.
    pub credentials: Option<PathBuf>,
    /// `user:password` or a token. Used if the addresses contain no login.
    pub login: Option<SecretText>,
    /// The lines of a key file. The first key authenticates the messages of this node. Messages
    /// without a tag that is valid with one of the keys are refused. Without keys, all messages are
    /// accepted.
    pub keys: Option<SecretText>,
    /// A PEM file with certificate authorities. If it is given, only these are trusted. Read at
    /// each connection.
    pub authorities: Option<PathBuf>,
    /// The client certificate, for servers that require one. Read at each connection.
    pub identity: Option<NatsIdentity>,
    /// The maximum number of entries that the stream keeps. The oldest are dropped first. Used only
    /// if this node creates the stream.
    pub max_entries: u64,
    /// The maximum size of the entries that the stream keeps, in bytes. Used only if this node
    /// creates the stream.
    pub max_bytes: u64,
    /// The maximum time that [`start`](super::start) waits until the state is up to date.
    pub start_timeout: Duration,
    /// The time after which a proposal is published again if no acknowledgement has arrived.
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
    /// The private key (PEM). It may be in the same file as the certificate.
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

/// The names that are derived from valid options.
#[derive(Clone, Debug)]
pub(super) struct StreamNames {
    /// The addresses of the servers, without logins.
    pub(super) servers: String,
    /// The name of the stream of entries.
    pub(super) stream: String,
    pub(super) entry_subject: String,
    pub(super) snapshot_stream: String,
    /// The beginning of the subjects of all snapshots.
    pub(super) snapshot_subject: String,
    pub(super) heartbeat_subject: String,
    pub(super) digest_subject: String,
}

impl StreamNames {
    /// Checks the cluster's name and the addresses, and returns the names.
    pub(super) fn of(options: &NatsOptions) -> Result<Self, DriverError> {
        let cluster = &options.cluster;
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if !(1..=32).contains(&cluster.len()) || !cluster.chars().all(fits) {
            return Err(DriverError::Name { name: cluster.clone() });
        }
        Ok(Self {
            servers: servers(options.servers.reveal())?,
            stream: format!("ECHOLINE_{cluster}"),
            entry_subject: format!("echoline.{cluster}.order"),
            snapshot_stream: format!("ECHOLINE_{cluster}_SNAPSHOTS"),
            snapshot_subject: format!("echoline.{cluster}.snapshot"),
            heartbeat_subject: format!("echoline.{cluster}.pulse"),
            digest_subject: format!("echoline.{cluster}.digest"),
        })
    }

    /// Returns a warning if entries or logins may travel to another host without TLS.
    pub(super) fn warning(&self, options: &NatsOptions) -> Option<String> {
        // With certificates, the client refuses connections without TLS.
        if options.authorities.is_some() || options.identity.is_some() {
            return None;
        }
        let is_plain = |server: &&str| server.starts_with("nats://") && !is_loopback(server);
        let plain: Vec<&str> = self.servers.split(',').filter(is_plain).collect();
        (!plain.is_empty()).then(|| {
            format!(
                "the connection to {} may not be encrypted: others in the network can read the \
                 lines and the login of this node; write tls:// instead of nats://",
                plain.join(", ")
            )
        })
    }
}

/// Returns whether a server is on this host.
fn is_loopback(server: &str) -> bool {
    let address = server.split_once("://").map_or(server, |(_, address)| address);
    let bracketed = address.strip_prefix('[').and_then(|address| address.split_once(']'));
    let without_port = || address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = bracketed.map_or_else(without_port, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns the addresses without logins.
fn servers(text: &str) -> Result<String, DriverError> {
    let mut shown = Vec::new();
    for address in text.split(',') {
        let (scheme, rest) = address.split_once("://").unwrap_or(("nats", address));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        // If a password contains a comma, the part after the comma has no scheme.
        let is_cut = address.contains('@') && !address.contains("://");
        let is_wrong = host.is_empty() || host.contains(['/', ' ']) || is_cut;
        if !["nats", "tls"].contains(&scheme) || is_wrong {
            // A password with a comma spans several parts, so everything before the last `@` is
            // hidden.
            let address = if text.contains('@') { without_login(text) } else { address.into() };
            return Err(DriverError::Servers { address });
        }
        shown.push(format!("{scheme}://{host}"));
    }
    Ok(shown.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(servers: &str, cluster: &str) -> Result<StreamNames, String> {
        StreamNames::of(&NatsOptions::new(servers, cluster)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_name_fits_into_a_subject() {
        let names_of = names("nats://a:4222", "Tea-room_2").unwrap();
        assert_eq!(names_of.stream, "ECHOLINE_Tea-room_2");
        assert_eq!(names_of.entry_subject, "echoline.Tea-room_2.order");
        for name in ["", "a.b", "a b", "*", ">", "é", &"a".repeat(33)] {
            let error = names("nats://a", name).unwrap_err();
            assert!(error.contains("1 to 32"), "{error}");
        }
    }

    #[test]
    fn addresses_are_shown_without_logins() {
        let shown = names("nats://me:pass@a:1,tls://b:2,c", "x").unwrap().servers;
        assert_eq!(shown, "nats://a:1,tls://b:2,nats://c");
        for servers in ["", "http://a", "nats://", "nats://a,", "nats://me:pass@", "a b"] {
            let error = names(servers, "x").unwrap_err();
            assert!(!error.contains("pass") && error.contains("nats://HOST:4222"), "{error}");
        }
    }

    /// Issue 12, item 10: a connection without TLS to another host causes a warning.
    #[test]
    fn attack_a_plain_connection_to_another_host_has_a_warning() {
        let warning = |servers: &str| {
            let options = NatsOptions::new(servers, "x");
            StreamNames::of(&options).unwrap().warning(&options)
        };
        for safe in [
            "nats://127.0.0.1:4222,localhost:4222",
            "nats://[::1]:4222",
            "nats://127.9.9.9",
            "tls://nats.example:4222",
            "nats://localhost",
        ] {
            assert_eq!(warning(safe), None, "{safe}");
        }
        for plain in ["nats://192.0.2.7:4222", "nats.example", "nats://[2001:db8::1]:4222"] {
            let words = warning(&format!("tls://a,nats://me:pass@127.0.0.1,{plain}")).unwrap();
            assert!(words.contains(plain) && words.contains("tls://"), "{words}");
            assert!(!words.contains("pass") && !words.contains("127.0.0.1"), "{words}");
        }
        let mut options = NatsOptions::new("nats://nats.example", "x");
        options.authorities = Some("ca.pem".into());
        assert_eq!(StreamNames::of(&options).unwrap().warning(&options), None);
    }

    /// Issue 12, item 2: no part of a password is shown, even if its special characters are not
    /// escaped.
    #[test]
    fn attack_no_part_of_a_malformed_login_is_shown() {
        for servers in [
            "nats://me:pass,word@a",
            "nats://me:1234,pass@a",
            "me:pass@a",
            "http://me:pass@a",
            "nats://me:pass@a/b",
            "nats://me:pass@a,http://b",
            "nats://me:pass@,nats://b",
        ] {
            let error = names(servers, "x").unwrap_err();
            assert!(!error.contains("pass") && !error.contains("1234"), "{error}");
        }
        let options = NatsOptions::new("nats://me:pass@a", "x");
        assert!(!format!("{options:?}").contains("pass"), "{options:?}");
    }
}
