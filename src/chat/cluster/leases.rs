//! Which machines are there: each says so every few seconds, and one that has not been heard of
//! for a while is taken for gone. Pure; time is counted in ticks of about a second.

use std::collections::BTreeMap;

/// Ticks after which a machine that is not heard of is taken for gone.
pub(super) const LEASE_TICKS: u64 = 10;

/// What a machine tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Pulse {
    pub(super) node: u32,
    pub(super) name: String,
    pub(super) people: usize,
    /// The last entry that it has applied.
    pub(super) applied: u64,
    pub(super) version: String,
}

/// When each machine was last heard of.
#[derive(Debug, Default)]
pub(super) struct Leases {
    heard: BTreeMap<u32, (u64, Option<Pulse>)>,
}

impl Leases {
    /// A machine was heard of.
    pub(super) fn hear(&mut self, now: u64, pulse: Pulse) {
        self.heard.insert(pulse.node, (now, Some(pulse)));
    }

    /// This machine has heard nothing for a while itself: everybody has all the time again.
    pub(super) fn renew(&mut self, now: u64) {
        self.heard.values_mut().for_each(|(heard, _)| *heard = now);
    }

    /// Those of `nodes` that are to be taken for gone. One that was never heard of has its time
    /// from when it is first asked for. What is in `nodes` no more is forgotten in time.
    pub(super) fn overdue(&mut self, now: u64, nodes: &[u32]) -> Vec<u32> {
        for &node in nodes {
            self.heard.entry(node).or_insert((now, None));
        }
        self.heard.retain(|node, (heard, _)| nodes.contains(node) || *heard + LEASE_TICKS >= now);
        let overdue =
            |node: &&u32| self.heard.get(node).is_some_and(|(heard, _)| heard + LEASE_TICKS < now);
        nodes.iter().filter(overdue).copied().collect()
    }

    /// The machines that were heard of in time, by number.
    pub(super) fn alive(&self, now: u64) -> impl Iterator<Item = &Pulse> {
        let alive = move |(heard, _): &&(u64, Option<Pulse>)| heard + LEASE_TICKS >= now;
        self.heard.values().filter(alive).filter_map(|(_, pulse)| pulse.as_ref())
    }

    /// What a machine is called, where it said so.
    pub(super) fn name(&self, node: u32) -> Option<&str> {
        let (_, pulse) = self.heard.get(&node)?;
        pulse.as_ref().map(|pulse| &*pulse.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(node: u32) -> Pulse {
        let (name, version) = (format!("node-{node}"), "1".into());
        Pulse { node, name, people: 1, applied: 0, version }
    }

    /// Fault 68: who is silent is gone, who speaks is not, and who was never heard has its time.
    #[test]
    fn a_lease_ends_with_silence() {
        let mut leases = Leases::default();
        leases.hear(0, pulse(1));
        assert!(leases.overdue(10, &[1, 2]).is_empty());
        leases.hear(10, pulse(1));
        assert!(leases.overdue(20, &[1, 2]).is_empty());
        assert_eq!(leases.overdue(21, &[1, 2]), [1, 2]);
        leases.hear(22, pulse(1));
        assert_eq!(leases.overdue(22, &[1, 2]), [2]);
        assert_eq!(leases.alive(22).count(), 1);
        assert_eq!(leases.name(1), Some("node-1"));
    }

    #[test]
    fn who_was_deaf_judges_nobody() {
        let mut leases = Leases::default();
        leases.hear(0, pulse(1));
        leases.renew(100);
        assert!(leases.overdue(110, &[1]).is_empty());
        assert_eq!(leases.overdue(111, &[1]), [1]);
        assert!(leases.overdue(200, &[]).is_empty());
        assert_eq!(leases.name(1), None, "forgotten");
    }
}
