//! A node of a cluster: its chat, and its part in the replication.

use super::proposals::Cluster;
use crate::chat::Chat;

/// A chat that is one node of a cluster, as the driver of the stream sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClusterNode<'a> {
    pub(super) chat: &'a Chat,
    pub(super) cluster: &'a Cluster,
}

impl Chat {
    /// This chat as a node of a cluster; `None` if it is one process.
    pub(super) fn node(&self) -> Option<ClusterNode<'_>> {
        let cluster = self.cluster.as_deref()?;
        Some(ClusterNode { chat: self, cluster })
    }
}
