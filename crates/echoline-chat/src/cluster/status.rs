//! The status of the cluster as this node sees it, for users and metrics.

use std::collections::BTreeMap;

use super::proposals::{Cluster, ReplySender};
use crate::chat::Chat;
use echoline_chat_core::replication::{NODE, Outbox};

/// The status of a node in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of this node.
    pub node_name: String,
    /// Whether the other nodes can be reached.
    pub is_linked: bool,
    /// The sequence of the last entry of the stream that this node has applied.
    pub applied: u64,
    /// The number of entries that were applied since the start.
    pub entries: u64,
    /// The number of entries that were refused because they were invalid.
    pub unreadable: u64,
    /// The number of lines of this node's users that have not reached the other nodes yet.
    pub held: u64,
    /// The number of this node's users who have queued or in-flight operations or are about to
    /// rejoin. 0 if everything is settled.
    pub open: u64,
    /// The number of lines that were not delivered. Their authors were told.
    pub not_delivered: u64,
    /// The number of times that the link was lost.
    pub losses: u64,
    /// The number of times that this node's lease expired and the node rejoined.
    pub returns: u64,
    /// The number of times that this node fell behind and missed entries.
    pub gaps: u64,
    /// The name of each live node, and the number of users that it serves.
    pub nodes: Vec<(String, usize)>,
}

impl Chat {
    /// Returns the status of this node in its cluster, or `None` without a cluster.
    #[must_use]
    pub fn cluster_status(&self) -> Option<ClusterStatus> {
        Some(self.cluster.as_ref()?.status(&self.sessions()))
    }

    /// Returns all sessions, each with the node that serves it.
    fn sessions(&self) -> BTreeMap<u64, u32> {
        let state = self.lock();
        state.users.iter().map(|(&session, user)| (session, user.node)).collect()
    }

    /// Returns the status in sentences, for `/status`.
    pub(crate) fn status_words(&self) -> Vec<String> {
        let Some(cluster) = &self.cluster else {
            let people = self.people();
            return vec![format!("This chat runs on one node, with {people} users")];
        };
        let status = cluster.status(&self.sessions());
        let nodes: Vec<String> =
            status.nodes.iter().map(|(name, people)| format!("{name} ({people})")).collect();
        let link = if status.is_linked { "up" } else { "lost, messages wait" };
        vec![
            format!(
                "This is node {} of the cluster {}; the link is {link}",
                status.node_name, status.cluster
            ),
            format!("Nodes and their users: {}", nodes.join(", ")),
            format!(
                "Stream entry {}; {} messages from here wait, {} were not delivered",
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
