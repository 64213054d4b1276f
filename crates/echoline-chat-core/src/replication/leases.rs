//! The leases of the nodes. Each node sends a heartbeat every few seconds. The lease of a node
//! expires if no heartbeat arrives. Time is counted in ticks of about a second.

use std::collections::BTreeMap;

use super::inspect::is_node_name;

/// The number of ticks without a heartbeat after which the lease of a node expires.
pub(crate) const LEASE_TICKS: u64 = 10;

/// The number of ticks after which a node that misses its own heartbeats concludes that it receives
/// nothing.
const DEAF_TICKS: u64 = 5;

/// The maximum number of nodes with a lease: more than any real cluster has.
const NODES_MAX: usize = 1000;
/// The maximum length of the version in a heartbeat, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// The heartbeat of a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Heartbeat {
    /// The number of the node.
    pub node: u32,
    /// The name of the node.
    pub name: String,
    /// The sequence of the last entry that the node has applied.
    pub applied: u64,
    /// The version of the node's program.
    pub version: String,
    /// The number of the heartbeat, counted from 1. It is 0 if the node has an earlier version.
    #[serde(default)]
    pub count: u64,
}

/// The last heartbeat of each node, and the tick at which it arrived.
#[derive(Debug, Default)]
pub struct Leases {
    heard: BTreeMap<u32, (u64, Option<Heartbeat>)>,
}

impl Leases {
    /// Records a heartbeat of a node. `own` is the number of this node, whose heartbeats arrive
    /// too.
    pub fn record(&mut self, now: u64, own: u32, heartbeat: Heartbeat) {
        // An attacker can forge any number of heartbeats, with any name.
        let is_known = self.heard.contains_key(&heartbeat.node);
        let is_plain =
            is_node_name(&heartbeat.name) && heartbeat.version.len() <= VERSION_BYTES_MAX;
        if !is_plain || (!is_known && heartbeat.node != own && self.heard.len() >= NODES_MAX) {
            return;
        }
        if let Some((_, Some(last))) = self.heard.get(&heartbeat.node)
            && heartbeat.count > 0
            && heartbeat.count <= last.count
        {
            // This is a replay: the node has already sent a later heartbeat.
            return;
        }
        if heartbeat.node == own && self.is_deaf(now, own) {
            self.renew(now);
        }
        self.heard.insert(heartbeat.node, (now, Some(heartbeat)));
    }

    fn is_deaf(&self, now: u64, own: u32) -> bool {
        self.heard.get(&own).is_none_or(|(heard, _)| heard + DEAF_TICKS < now)
    }

    /// Restarts the lease of every node, because this node has received nothing for a while.
    pub fn renew(&mut self, now: u64) {
        self.heard.values_mut().for_each(|(heard, _)| *heard = now);
    }

    /// Returns those of `nodes` whose lease has expired. Returns none while this node, `own`,
    /// misses its own heartbeats.
    ///
    /// The lease of a node without any heartbeat begins with the first call. Leases of nodes that
    /// are not in `nodes` are dropped when they expire.
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

    /// Returns the last heartbeats of the nodes whose lease has not expired, in the order of their
    /// numbers.
    pub fn alive(&self, now: u64) -> impl Iterator<Item = &Heartbeat> {
        let alive = move |(heard, _): &&(u64, Option<Heartbeat>)| heard + LEASE_TICKS >= now;
        self.heard.values().filter(alive).filter_map(|(_, heartbeat)| heartbeat.as_ref())
    }

    /// Returns the name of a node, if it sent a heartbeat.
    pub fn name(&self, node: u32) -> Option<&str> {
        let (_, heartbeat) = self.heard.get(&node)?;
        heartbeat.as_ref().map(|heartbeat| &*heartbeat.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(node: u32) -> Heartbeat {
        let (name, version) = (format!("node-{node}"), "1".into());
        Heartbeat { node, name, applied: 0, version, count: 0 }
    }

    /// Issue 12, item 10: forged heartbeats cannot show an attacker's text or fill the memory. A
    /// replayed heartbeat does not renew the lease of a node that went down.
    #[test]
    fn attack_forged_heartbeats_are_ignored() {
        let mut leases = Leases::default();
        for name in ["", "a b", "\x1b[2J", "ann\n", &"x".repeat(65)] {
            leases.record(0, OWN, Heartbeat { name: name.to_owned(), ..heartbeat(1) });
        }
        leases.record(0, OWN, Heartbeat { version: "x".repeat(65), ..heartbeat(1) });
        assert_eq!(leases.alive(0).count(), 0);
        leases.record(0, OWN, Heartbeat { count: 5, ..heartbeat(1) });
        leases.record(9, OWN, Heartbeat { count: 5, ..heartbeat(1) });
        leases.record(9, OWN, Heartbeat { count: 4, ..heartbeat(1) });
        assert_eq!(leases.alive(LEASE_TICKS + 1).count(), 0, "its only heartbeat was at tick 0");
        leases.record(9, OWN, Heartbeat { count: 6, ..heartbeat(1) });
        assert_eq!(leases.alive(LEASE_TICKS + 1).count(), 1);
        (2..5000).for_each(|node| leases.record(9, OWN, heartbeat(node)));
        assert_eq!(leases.heard.len(), NODES_MAX);
        leases.record(10, OWN, heartbeat(6000));
        leases.record(10, 6000, heartbeat(6000));
        assert!(leases.name(6000).is_some(), "a node always records its own heartbeat");
    }

    /// The number of this node.
    const OWN: u32 = 9;

    fn overdue(leases: &mut Leases, now: u64, nodes: &[u32]) -> Vec<u32> {
        leases.record(now, OWN, heartbeat(OWN));
        leases.overdue(now, OWN, nodes)
    }

    /// Fault 68: the lease of a silent node expires, even if the node never sent a heartbeat.
    /// Heartbeats renew the lease.
    #[test]
    fn the_lease_of_a_silent_node_expires() {
        let mut leases = Leases::default();
        leases.record(0, OWN, heartbeat(OWN));
        leases.record(0, OWN, heartbeat(1));
        for now in 1..10 {
            assert!(overdue(&mut leases, now, &[1, 2]).is_empty());
        }
        leases.record(10, OWN, heartbeat(1));
        for now in 10..=11 {
            assert!(overdue(&mut leases, now, &[1, 2]).is_empty());
        }
        assert_eq!(overdue(&mut leases, 12, &[1, 2]), [2]);
        for now in 13..=20 {
            assert_eq!(overdue(&mut leases, now, &[1, 2]), [2]);
        }
        assert_eq!(overdue(&mut leases, 21, &[1, 2]), [1, 2]);
        leases.record(22, OWN, heartbeat(1));
        assert_eq!(overdue(&mut leases, 22, &[1, 2]), [2]);
        assert_eq!(leases.alive(22).count(), 2, "the node itself is alive too");
        assert_eq!(leases.name(1), Some("node-1"));
    }

    /// Fault 68: no lease expires while a node receives no heartbeat, not even its own. All leases
    /// restart when its own heartbeat arrives again.
    #[test]
    fn a_node_that_receives_nothing_expires_no_lease() {
        let mut leases = Leases::default();
        assert!(leases.overdue(0, OWN, &[1]).is_empty());
        assert!(leases.overdue(50, OWN, &[1]).is_empty(), "its own heartbeat never arrived");
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
