//! The write path of a chat: each operation is applied at once, or proposed to the cluster first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::proposals::{Cluster, ClusterOptions, Proposed, State};
use crate::chat::Chat;
use crate::settings::ChatSettings;
use echoline_chat_core::Proposal;
use echoline_chat_core::operation::{Operation, OperationContext};
use echoline_chat_core::outcome::Outcome;
use echoline_chat_core::replication::NODE;
use echoline_chat_core::replication::cluster_state::LeaveState;
use echoline_chat_core::room::room_record::LOG_MIN;

impl Chat {
    /// Returns a chat that is one node of a cluster, and its proposals. A driver publishes the
    /// proposals and delivers the entries to the chat, which is a
    /// [`ReplicatedState`](echoline_chat_core::ReplicatedState). Accept no users until the driver
    /// has applied all entries of the stream.
    #[must_use]
    pub fn clustered(
        settings: ChatSettings,
        options: ClusterOptions,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Proposal>) {
        let (cluster, receiver) = Cluster::new(options);
        let log = settings.log.at_least(LOG_MIN);
        let chat = Self::replicated(ChatSettings { log, ..settings }, cluster);
        (Arc::new(chat), receiver)
    }

    /// Applies an operation, or sends it to all nodes if the chat is part of a cluster.
    pub(crate) fn propose(&self, session: u64, act: Operation) -> Proposed {
        let Some(cluster) = &self.cluster else {
            let now_ms = self.now_ms();
            let context = OperationContext { session, node: 0, is_here: true, now_ms };
            return Proposed::Done(self.apply_operation(context, act));
        };
        if let Operation::Join { room, .. } = &act
            && let Err(not_in) = self.has_place(session, room)
        {
            return Proposed::Done(Outcome::Joined(Err(not_in)));
        }
        Proposed::Later(cluster.propose(session, Some(act), None))
    }

    /// Like [`propose`](Self::propose), but discards the outcome.
    pub(crate) fn announce(&self, session: u64, act: Operation) {
        match &self.cluster {
            Some(cluster) => cluster.announce(session, act),
            None => drop(self.propose(session, act)),
        }
    }

    /// Waits for this node's in-flight operations, then announces to the other nodes that this node
    /// shuts down. Its users leave each room in a single line. Blocks for at most `patience` at
    /// each of the two steps. Returns `false` if nothing came back.
    #[must_use]
    pub fn take_leave(&self, patience: Duration) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let mut state = cluster.lock();
        state.leave = LeaveState::Leaves;
        let busy = |state: &mut State| !state.sent.is_empty();
        let Ok((mut state, _)) = cluster.left.wait_timeout_while(state, patience, busy) else {
            return false;
        };
        let node = state.node;
        cluster.propose_gone(&mut state, node, &cluster.options.node_name, "is shut down");
        let wait =
            cluster.left.wait_timeout_while(state, patience, |s| s.leave != LeaveState::Left);
        wait.is_ok_and(|(state, _)| state.leave == LeaveState::Left)
    }

    /// Applies an operation of a session that has not logged in yet. In a cluster, few of these
    /// operations are in flight at once, so that clients cannot fill the stream with them before
    /// login.
    pub(crate) async fn propose_entrance(&self, session: u64, act: Operation) -> Outcome {
        let Some(cluster) = &self.cluster else {
            return self.propose(session, act).outcome().await;
        };
        let permit = cluster.newcomers.permit().await;
        cluster.propose(session, Some(act), permit).await
    }

    /// Waits until this node has applied all entries that the stream had when this was called.
    /// Returns `false` if the link is lost meanwhile. One entry per second is enough for all
    /// waiting sessions.
    pub(crate) async fn catch_up(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let ask = async || {
            // An operation without an effect. It has a position in the stream, but no session gets
            // a message.
            let nothing = Operation::Tell { to: NODE, words: String::new() };
            cluster.propose(NODE, Some(nothing), None).await.refusal().is_none()
        };
        cluster.newcomers.catch_up(ask).await
    }
}
