//! The path of an operation: it is applied at once, or proposed to the cluster first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::proposals::{Backpressure, Cluster, ClusterOptions, Proposed, State};
use crate::chat::live_state::SessionHandle;
use crate::chat::{Chat, Membership};
use crate::settings::ChatSettings;
use echoline_chat_core::replication::{LeaveState, NODE};
use echoline_chat_core::room::LOG_MIN;
use echoline_chat_core::text::escape;
use echoline_chat_core::{
    Effect, LineKind, Operation, OperationContext, OperationError, Outcome, Proposal, ResumeToken,
    SaidLine,
};

impl Chat {
    /// Creates a chat that is one node of a cluster. Returns it with the receiver of its proposals.
    /// A driver publishes the proposals and delivers entries to the chat, which is a
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
    pub(crate) fn propose(&self, session: u64, operation: Operation) -> Proposed {
        let Some(cluster) = &self.cluster else {
            let now_ms = self.now_ms();
            let context = OperationContext { session, node: 0, is_here: true, now_ms };
            return Proposed::Done(self.apply_operation(context, operation));
        };
        if let Operation::Join { room, .. } = &operation
            && let Err(not_in) = self.check_room_limits(session, room)
        {
            return Proposed::Done(Outcome::Joined(Err(not_in)));
        }
        Proposed::Later(cluster.propose(session, Some(operation), None))
    }

    /// Like [`propose`](Self::propose), but discards the outcome.
    pub(crate) fn announce(&self, session: u64, operation: Operation) {
        match &self.cluster {
            Some(cluster) => cluster.announce(session, operation),
            None => drop(self.propose(session, operation)),
        }
    }

    /// Announces to the other nodes that this node shuts down, after its in-flight operations are
    /// settled. Its users leave each room in a single line. Blocks for at most `patience` in each
    /// of the two steps. Returns `false` if the announcement did not come back in time.
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

    /// Applies an operation of a session that has not logged in. In a cluster, only a few of these
    /// operations are in flight at once, so that clients cannot fill the stream with them.
    pub(crate) async fn propose_entrance(&self, session: u64, operation: Operation) -> Outcome {
        let Some(cluster) = &self.cluster else {
            return self.propose(session, operation).outcome().await;
        };
        let permit = cluster.newcomers.permit().await;
        cluster.propose(session, Some(operation), permit).await
    }

    /// Waits until this node has applied all entries that the stream had at the time of the call.
    /// Returns `false` if the link is lost meanwhile. Waiting sessions share one entry per second.
    pub(crate) async fn catch_up(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let ask = async || {
            // An operation without an effect: it takes a position in the stream, but no session
            // gets a message.
            let nothing = Operation::Tell { to: NODE, words: String::new() };
            cluster.propose(NODE, Some(nothing), None).await.refusal().is_none()
        };
        cluster.newcomers.catch_up(ask).await
    }

    /// Says a line in a room. Its readers are woken later by [`wake_readers`](Self::wake_readers).
    ///
    /// Without a cluster, the line is appended at once, under the lock of this room only. In a
    /// cluster, the line waits in the author's outbox for an [`Operation::Say`].
    pub(crate) fn say(
        &self,
        author: &SessionHandle,
        membership: &Membership,
        kind: LineKind,
        words: &str,
    ) -> Result<Backpressure, OperationError> {
        let (now_ms, session) = (self.now_ms(), author.session);
        let pressure = match &self.cluster {
            None => {
                self.say_at_once(now_ms, membership, kind, words)?;
                Backpressure::None
            }
            Some(cluster) => {
                let line = SaidLine { kind, text: words.to_owned() };
                cluster.say(session, &membership.room, line)?
            }
        };
        author.note_speech(now_ms);
        Ok(pressure)
    }

    fn say_at_once(
        &self,
        now_ms: u64,
        membership: &Membership,
        kind: LineKind,
        words: &str,
    ) -> Result<(), OperationError> {
        membership.shared_room.with(|room| {
            let mut effects = |effect: Effect<'_>| self.archive.keep(effect);
            room.say_line(now_ms, membership.member_id, kind, words, &mut effects)?;
            let author = room.member_name(membership.member_id);
            tracing::debug!(room = %room.name, name = %author, "{}", escape(words.as_bytes()));
            Ok(())
        })
    }

    /// Wakes the readers of the author's lines. Call it when the author has no more input waiting.
    pub(crate) fn wake_readers(&self, author: &SessionHandle, memberships: &[Membership]) {
        match &self.cluster {
            Some(cluster) => cluster.send(author.session),
            None => memberships.iter().for_each(|membership| membership.shared_room.wake()),
        }
    }

    /// Leaves the chat with a reason for the other users, or silently if the server shuts down. In
    /// a cluster, a user who leaves silently stays until the node leaves, which removes all its
    /// users at once.
    pub(crate) fn exit(&self, session: u64, reason: Option<&str>, keep: Option<ResumeToken>) {
        match (reason, &self.cluster) {
            (None, Some(_)) => {
                if let Some(keep) = keep {
                    self.announce(session, Operation::SaveSession(keep));
                }
                return;
            }
            (Some(_), Some(cluster)) => cluster.retire_session(session),
            (_, None) => {}
        }
        let reason = reason.map(str::to_owned);
        self.announce(session, Operation::Exit { reason, keep });
    }

    /// Returns whether operations of this chat go through the stream of a cluster.
    pub(crate) fn is_replicated(&self) -> bool {
        self.cluster.is_some()
    }

    /// Returns whether the link to the other nodes is lost.
    pub(crate) fn is_link_lost(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.is_lost())
    }

    /// Returns whether all operations of a session have been applied.
    pub(crate) fn has_settled(&self, session: u64) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.is_settled(session))
    }

    /// Waits until all operations that the session has made so far are applied.
    pub(crate) fn settled(&self, session: u64) -> impl Future<Output = ()> + use<> {
        let settled = self.cluster.as_ref().map(|cluster| cluster.settled(session));
        async move {
            if let Some(settled) = settled {
                settled.await;
            }
        }
    }
}
