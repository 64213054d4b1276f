//! The leases of the nodes. Each node sends a heartbeat every few seconds; the lease of a node
//! without heartbeats expires. Pure; time is counted in ticks of about a second.

use std::collections::BTreeMap;

use super::inspect::is_machine_name;

/// Ticks without a heartbeat after which the lease of a node expires.
pub(crate) const LEASE_TICKS: u64 = 10;

/// Ticks without its own heartbeat after which a node knows that it receives nothing.
const DEAF_TICKS: u64 = 5;

/// The maximum number of nodes with a lease: more than any cluster has.
const NODES_MAX: usize = 1000;
/// The maximum bytes of the version in a heartbeat.
const VERSION_BYTES_MAX: usize = 64;

/// The heartbeat of a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Heartbeat {
    /// The number of the node.
    pub node: u32,
    /// The name of the node.
    pub name: String,
    /// The number of the last entry that the node has applied.
    pub applied: u64,
    /// The version of its program.
    pub version: String,
    /// The number of the heartbeat, counted from 1; 0 from an earlier version.
    #[serde(default)]
    pub count: u64,
}

/// The last heartbeat of each node, and its time.
#[derive(Debug, Default)]
pub struct Leases {
    heard: BTreeMap<u32, (u64, Option<Heartbeat>)>,
}

impl Leases {
    /// Records a heartbeat of a node, which may be this node, `own`.
    pub fn record(&mut self, now: u64, own: u32, pulse: Heartbeat) {
        // There may be any number of forged heartbeats, with any name.
        let is_known = self.heard.contains_key(&pulse.node);
        let is_plain = is_machine_name(&pulse.name) && pulse.version.len() <= VERSION_BYTES_MAX;
        if !is_plain || (!is_known && pulse.node != own && self.heard.len() >= NODES_MAX) {
            return;
        }
        if let Some((_, Some(last))) = self.heard.get(&pulse.node)
            && pulse.count > 0
            && pulse.count <= last.count
        {
            // An old heartbeat was recorded and sent again.
            return;
        }
        if pulse.node == own && self.is_deaf(now, own) {
            self.renew(now);
        }
        self.heard.insert(pulse.node, (now, Some(pulse)));
    }

    fn is_deaf(&self, now: u64, own: u32) -> bool {
        self.heard.get(&own).is_none_or(|(heard, _)| heard + DEAF_TICKS < now)
    }

    /// Restarts the lease of every node, because this node has received nothing for a while.
    pub fn renew(&mut self, now: u64) {
        self.heard.values_mut().for_each(|(heard, _)| *heard = now);
    }

    /// Returns the nodes of `nodes` whose lease expired. Returns none while this node, `own`,
    /// misses its own heartbeats. The lease of a node without any heartbeat begins with the first
    /// call. Leases of nodes that are not in `nodes` any more are dropped when they expire.
    pub fn overdue(&mut self, now: u64, own: u32, nodes: &[u32]) -> Vec<u32> {
        for &node in nodes {
            self.heard.entry(node).or_insert((now, None));
        }
        self.heard.retain(|node, (heard, _)| nodes.contains(node) || *heard + LEASE_TICKS >= now);
        if self.is_deaf(now, own) {
            return Vec::new();
        }
        let overdue =
            |node: &&u32| self.heard.get(node).is_some_and(|(heard, _)| heard + LEASE_TICKS < now);
        nodes.iter().filter(overdue).copied().collect()
    }

    /// Returns the last heartbeats of the nodes whose lease holds, by number.
    pub fn alive(&self, now: u64) -> impl Iterator<Item = &Heartbeat> {
        let alive = move |(heard, _): &&(u64, Option<Heartbeat>)| heard + LEASE_TICKS >= now;
        self.heard.values().filter(alive).filter_map(|(_, pulse)| pulse.as_ref())
    }

    /// Returns the name of a node, if it sent a heartbeat.
    pub fn name(&self, node: u32) -> Option<&str> {
        let (_, pulse) = self.heard.get(&node)?;
        pulse.as_ref().map(|pulse| &*pulse.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(node: u32) -> Heartbeat {
        let (name, version) = (format!("node-{node}"), "1".into());
        Heartbeat { node, name, applied: 0, version, count: 0 }
    }

    /// Issue 12, item 10: forged heartbeats cannot show an attacker's text or fill the memory. A
    /// recorded heartbeat does not renew the lease of a node that went down.
    #[test]
    fn attack_forged_heartbeats_are_ignored() {
        let mut leases = Leases::default();
        for name in ["", "a b", "\x1b[2J", "ann\n", &"x".repeat(65)] {
            leases.record(0, OWN, Heartbeat { name: name.to_owned(), ..pulse(1) });
        }
        leases.record(0, OWN, Heartbeat { version: "x".repeat(65), ..pulse(1) });
        assert_eq!(leases.alive(0).count(), 0);
        leases.record(0, OWN, Heartbeat { count: 5, ..pulse(1) });
        leases.record(9, OWN, Heartbeat { count: 5, ..pulse(1) });
        leases.record(9, OWN, Heartbeat { count: 4, ..pulse(1) });
        assert_eq!(leases.alive(LEASE_TICKS + 1).count(), 0, "it was heard at 0 only");
        leases.record(9, OWN, Heartbeat { count: 6, ..pulse(1) });
        assert_eq!(leases.alive(LEASE_TICKS + 1).count(), 1);
        (2..5000).for_each(|node| leases.record(9, OWN, pulse(node)));
        assert_eq!(leases.heard.len(), NODES_MAX);
        leases.record(10, OWN, pulse(6000));
        leases.record(10, 6000, pulse(6000));
        assert!(leases.name(6000).is_some(), "its own is always heard");
    }

    /// The number of this node.
    const OWN: u32 = 9;

    fn overdue(leases: &mut Leases, now: u64, nodes: &[u32]) -> Vec<u32> {
        leases.record(now, OWN, pulse(OWN));
        leases.overdue(now, OWN, nodes)
    }

    /// Fault 68: the lease of a silent node expires, also if the node was never heard. Heartbeats
    /// renew it.
    #[test]
    fn the_lease_of_a_silent_node_expires() {
        let mut leases = Leases::default();
        leases.record(0, OWN, pulse(OWN));
        leases.record(0, OWN, pulse(1));
        for now in 1..10 {
            assert!(overdue(&mut leases, now, &[1, 2]).is_empty());
        }
        leases.record(10, OWN, pulse(1));
        for now in 10..=11 {
            assert!(overdue(&mut leases, now, &[1, 2]).is_empty());
        }
        assert_eq!(overdue(&mut leases, 12, &[1, 2]), [2]);
        for now in 13..=20 {
            assert_eq!(overdue(&mut leases, now, &[1, 2]), [2]);
        }
        assert_eq!(overdue(&mut leases, 21, &[1, 2]), [1, 2]);
        leases.record(22, OWN, pulse(1));
        assert_eq!(overdue(&mut leases, 22, &[1, 2]), [2]);
        assert_eq!(leases.alive(22).count(), 2, "with the one that asks");
        assert_eq!(leases.name(1), Some("node-1"));
    }

    /// Fault 68: a node that hears no heartbeat, not even its own, lets no lease expire. The leases
    /// start again when it hears its own heartbeat.
    #[test]
    fn a_node_that_receives_nothing_expires_no_lease() {
        let mut leases = Leases::default();
        assert!(leases.overdue(0, OWN, &[1]).is_empty());
        assert!(leases.overdue(50, OWN, &[1]).is_empty(), "it never heard itself");
        assert!(overdue(&mut leases, 60, &[1]).is_empty());
        assert!(leases.overdue(80, OWN, &[1]).is_empty());
        for now in 81..=91 {
            assert!(overdue(&mut leases, now, &[1]).is_empty());
        }
        assert_eq!(overdue(&mut leases, 92, &[1]), [1]);
        leases.renew(100);
        assert!(leases.overdue(105, OWN, &[1]).is_empty());
        assert!(leases.overdue(200, OWN, &[]).is_empty());
        assert_eq!(leases.name(1), None, "forgotten");
    }
}
