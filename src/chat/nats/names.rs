//! What a chat's things are called at the server, and at which servers they are. Pure.

use super::error::BusError;
use super::options::NatsOptions;
use crate::secret::without_login;

/// Derived from the cluster's name, and checked.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The servers without what is secret in their addresses.
    pub(super) servers: String,
    /// The stream that is the order.
    pub(super) order: String,
    pub(super) order_subject: String,
    /// The stream that keeps snapshots.
    pub(super) snapshots: String,
    /// What each snapshot's subject begins with.
    pub(super) snapshot_subject: String,
    pub(super) pulse_subject: String,
    pub(super) digest_subject: String,
}

impl Names {
    pub(super) fn of(options: &NatsOptions) -> Result<Self, BusError> {
        let cluster = &options.cluster;
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if !(1..=32).contains(&cluster.len()) || !cluster.chars().all(fits) {
            return Err(BusError::Name { name: cluster.clone() });
        }
        Ok(Self {
            servers: servers(options.servers.reveal())?,
            order: format!("ECHOLINE_{cluster}"),
            order_subject: format!("echoline.{cluster}.order"),
            snapshots: format!("ECHOLINE_{cluster}_SNAPSHOTS"),
            snapshot_subject: format!("echoline.{cluster}.snapshot"),
            pulse_subject: format!("echoline.{cluster}.pulse"),
            digest_subject: format!("echoline.{cluster}.digest"),
        })
    }
}

/// The addresses as they may be shown: without names and passwords.
fn servers(text: &str) -> Result<String, BusError> {
    let mut shown = Vec::new();
    for address in text.split(',') {
        let (scheme, rest) = address.split_once("://").unwrap_or(("nats", address));
        let host = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        // A comma in a password cuts it apart: the part behind the comma has no scheme.
        let is_cut = address.contains('@') && !address.contains("://");
        let is_wrong = host.is_empty() || host.contains(['/', ' ']) || is_cut;
        if !["nats", "tls"].contains(&scheme) || is_wrong {
            // With a login anywhere, each part may be a part of the password.
            let address = if text.contains('@') { without_login(text) } else { address.into() };
            return Err(BusError::Servers { address });
        }
        shown.push(format!("{scheme}://{host}"));
    }
    Ok(shown.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(servers: &str, cluster: &str) -> Result<Names, String> {
        Names::of(&NatsOptions::new(servers, cluster)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_part_of_a_subject() {
        let names_of = names("nats://a:4222", "Tea-room_2").unwrap();
        assert_eq!(names_of.order, "ECHOLINE_Tea-room_2");
        assert_eq!(names_of.order_subject, "echoline.Tea-room_2.order");
        for name in ["", "a.b", "a b", "*", ">", "é", &"a".repeat(33)] {
            let error = names("nats://a", name).unwrap_err();
            assert!(error.contains("1 to 32"), "{error}");
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let shown = names("nats://me:pass@a:1,tls://b:2,c", "x").unwrap().servers;
        assert_eq!(shown, "nats://a:1,tls://b:2,nats://c");
        for servers in ["", "http://a", "nats://", "nats://a,", "nats://me:pass@", "a b"] {
            let error = names(servers, "x").unwrap_err();
            assert!(!error.contains("pass") && error.contains("nats://host:4222"), "{error}");
        }
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
