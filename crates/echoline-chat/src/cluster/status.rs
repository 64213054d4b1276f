//! What one node knows of the cluster, for people and for metrics.

use std::collections::BTreeMap;

use super::proposals::{Cluster, ReplySender};
use crate::chat::Chat;
use echoline_chat_core::replication::NODE;
use echoline_chat_core::replication::outbox::Outbox;

/// How a node stands in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// What the cluster is called.
    pub cluster: String,
    /// What this node is called.
    pub node_name: String,
    /// Whether the other nodes can be reached.
    pub is_linked: bool,
    /// The last entry of the common order that this node has applied.
    pub applied: u64,
    /// Entries that were applied since the start.
    pub entries: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Lines of people here that are not yet known to have reached the others.
    pub held: u64,
    /// People here of whom something waits or is on its way, and those who are just coming back
    /// with this node; 0 where all is settled.
    pub open: u64,
    /// Lines whose authors heard that they were not delivered.
    pub not_delivered: u64,
    /// How often the link was lost.
    pub losses: u64,
    /// How often this node was taken for gone and came back.
    pub returns: u64,
    /// How often it fell so far behind that lines were missed.
    pub gaps: u64,
    /// The nodes that are heard of: what each is called, and how many people it serves.
    pub nodes: Vec<(String, usize)>,
}

impl Chat {
    /// How this node stands in its cluster; `None` where the chat is one process.
    #[must_use]
    pub fn cluster_status(&self) -> Option<ClusterStatus> {
        Some(self.cluster.as_ref()?.status(&self.sessions()))
    }

    /// Who is in, and which node serves them.
    fn sessions(&self) -> BTreeMap<u64, u32> {
        let state = self.lock();
        state.users.iter().map(|(&session, user)| (session, user.node)).collect()
    }

    /// The same in sentences.
    pub(crate) fn status_words(&self) -> Vec<String> {
        let Some(cluster) = &self.cluster else {
            let people = self.people();
            return vec![format!("This chat is one node, with {people} people")];
        };
        let status = cluster.status(&self.sessions());
        let nodes: Vec<String> =
            status.nodes.iter().map(|(name, people)| format!("{name} ({people})")).collect();
        let link = if status.is_linked { "there" } else { "lost: lines are held" };
        vec![
            format!(
                "This is {} of the cluster {}; the link is {link}",
                status.node_name, status.cluster
            ),
            format!("Nodes, with the people they serve: {}", nodes.join(", ")),
            format!(
                "Entry {} of the common order; {} lines said here wait, {} were not delivered",
                status.applied, status.held, status.not_delivered
            ),
        ]
    }
}

impl Cluster {
    fn status(&self, sessions: &BTreeMap<u64, u32>) -> ClusterStatus {
        let state = self.lock();
        let held: usize = state.outboxes.values().map(|outbox| outbox.lines()).sum();
        let is_open = |(session, outbox): &(&u64, &Outbox<ReplySender>)| {
            !outbox.is_empty() || !sessions.contains_key(session)
        };
        let authors = state.outboxes.iter().filter(|(session, _)| **session != NODE);
        let open = authors.filter(is_open).count() + state.sent.len() + state.returning.len();
        let served = |node| sessions.values().filter(|&&serves| serves == node).count();
        let nodes = state.leases.alive(state.now);
        let nodes = nodes.filter(|heartbeat| !state.gone_nodes.contains(&heartbeat.node));
        ClusterStatus {
            cluster: self.options.cluster.clone(),
            node_name: self.options.node_name.clone(),
            is_linked: !state.is_lost,
            applied: state.applied,
            entries: state.counts.entries,
            unreadable: state.counts.unreadable,
            held: held as u64,
            open: open as u64,
            not_delivered: state.counts.not_delivered,
            losses: state.counts.losses,
            returns: state.counts.returns,
            gaps: state.counts.gaps,
            nodes: nodes
                .map(|heartbeat| (heartbeat.name.clone(), served(heartbeat.node)))
                .collect(),
        }
    }
}
