//! What a chat's things are called at the server, and at which servers they are. Pure.

use super::error::BusError;
use super::options::NatsOptions;

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
            servers: servers(&options.servers)?,
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
        let place = address.rsplit_once('@').map_or(address, |(_, place)| place);
        let (scheme, rest) = address.split_once("://").unwrap_or(("nats", address));
        let host = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        if !["nats", "tls"].contains(&scheme) || host.is_empty() || host.contains(['/', ' ']) {
            return Err(BusError::Servers { address: place.to_owned() });
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
}
