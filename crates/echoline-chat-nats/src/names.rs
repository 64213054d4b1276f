//! The names of streams and subjects, and the addresses of the servers. Pure.

// `core::net` has addresses without sockets, which pure code must not use.
use core::net::IpAddr;

use super::error::DriverError;
use super::options::NatsOptions;
use echoline_base::secret::without_login;

/// The names that follow from the options, checked.
#[derive(Clone, Debug)]
pub(super) struct StreamNames {
    /// The addresses of the servers without their logins.
    pub(super) servers: String,
    /// The stream of entries.
    pub(super) stream: String,
    pub(super) entry_subject: String,
    pub(super) snapshot_stream: String,
    /// The beginning of the subjects of snapshots.
    pub(super) snapshot_subject: String,
    pub(super) heartbeat_subject: String,
    pub(super) digest_subject: String,
}

impl StreamNames {
    /// Checks the cluster's name and the addresses.
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

    /// Returns a warning if entries and logins may travel to another host without TLS.
    pub(super) fn warning(&self, options: &NatsOptions) -> Option<String> {
        // With certificates, the client refuses a connection without TLS.
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
        // If a password contains a comma, the part after it has no scheme.
        let is_cut = address.contains('@') && !address.contains("://");
        let is_wrong = host.is_empty() || host.contains(['/', ' ']) || is_cut;
        if !["nats", "tls"].contains(&scheme) || is_wrong {
            // If there is a login, each part may be a part of its password.
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
            assert!(!error.contains("pass") && error.contains("nats://host:4222"), "{error}");
        }
    }

    /// Issue 12, item 10: a plain connection to another host gets a warning.
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

    /// Issue 12, item 2: a password with characters that should be escaped is not shown either.
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
