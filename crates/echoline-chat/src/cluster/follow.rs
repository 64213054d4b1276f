//! Applies the entries of the stream in order.

use bytes::Bytes;

use super::proposals::{Cluster, ReplySender, TAKEN_FOR_GONE};
use crate::chat::Chat;
use echoline_chat_core::replication::{Envelope, JUMP_MAX, LeaveState, NODE, ROOMS_MAX};
use echoline_chat_core::{
    JoinError, Link, Notification, Operation, OperationContext, OperationError, Outcome,
    ReplicatedState, StateSnapshot, StreamEntry,
};

/// The maximum length of a logged error, in characters. It may contain text of an attacker.
const ERROR_CHARACTERS_MAX: usize = 200;

impl ReplicatedState for Chat {
    fn apply(&self, entries: &[StreamEntry]) {
        let Some(node) = self.node() else { return };
        entries.iter().for_each(|entry| node.apply(entry));
        node.update_link();
    }

    fn applied(&self) -> u64 {
        self.node().map_or(0, |node| node.cluster.lock().applied)
    }

    fn is_settled(&self, proposal: &str) -> bool {
        self.node().is_none_or(|node| !node.cluster.lock().sent.contains_key(proposal))
    }

    fn snapshot(&self) -> StateSnapshot {
        self.node().map(|node| node.snapshot()).unwrap_or_default()
    }

    fn restore(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        self.node().map_or(Ok(()), |node| node.restore(snapshot))
    }

    fn reset(&self) {
        self.node().into_iter().for_each(|node| node.reset());
    }

    fn link_changed(&self, link: Link) {
        if let Some(node) = self.node() {
            node.cluster.lock().link = link;
            node.update_link();
        }
    }

    fn heartbeat(&self) -> Bytes {
        self.node().map(|node| node.cluster.heartbeat()).unwrap_or_default()
    }

    fn receive_heartbeat(&self, heartbeat: &[u8]) {
        self.node().into_iter().for_each(|node| node.cluster.receive_heartbeat(heartbeat));
    }

    fn tick(&self) {
        self.node().into_iter().for_each(|node| node.tick());
    }
}

impl ClusterNode<'_> {
    fn apply(&self, entry: &StreamEntry) {
        match Envelope::decode(&entry.payload) {
            Ok(envelope) => self.apply_envelope(entry, envelope),
            Err(error) => {
                // All nodes refuse the entry in the same way: the state does not change.
                let mut state = self.cluster.lock();
                state.counts.unreadable += 1;
                let (sequence, unreadable) = (entry.sequence, state.counts.unreadable);
                // Logs only some of them, so that a flood of such entries does not flood the log.
                if unreadable.is_power_of_two() {
                    let error: String = error.chars().take(ERROR_CHARACTERS_MAX).collect();
                    tracing::error!(sequence, unreadable, error, "refused an entry of the stream");
                }
            }
        }
        let mut state = self.cluster.lock();
        state.applied = entry.sequence;
        state.counts.entries += 1;
    }

    fn apply_envelope(&self, entry: &StreamEntry, envelope: Envelope) {
        let id = envelope.id();
        let Envelope { node, session, number, operation, .. } = envelope;
        let (is_here, is_gone) = {
            let state = self.cluster.lock();
            (node == state.node, state.gone_nodes.contains(&node))
        };
        let context = OperationContext { session, node, is_here, now_ms: entry.time_ms };
        let outcome = match operation {
            Operation::NodeDown { node, name, reason } => {
                self.apply_node_down(context, node, &name, &reason);
                Outcome::Done
            }
            _ if is_gone => Outcome::Refused(OperationError::NotDelivered(TAKEN_FOR_GONE)),
            operation if session == NODE => self.apply_of_node(context, number, operation),
            operation => self.apply_of_user(context, number, operation),
        };
        self.settle(&id, session, outcome);
    }

    /// Applies an operation whose author is a node. A duplicate is refused.
    fn apply_of_node(
        &self,
        context: OperationContext,
        number: u64,
        operation: Operation,
    ) -> Outcome {
        if !self.cluster.lock().is_next_of(context.node, number) {
            return Outcome::Refused(OperationError::NotInRoom);
        }
        if let Operation::Rejoin { users } = operation {
            self.apply_rejoin(context, users);
            return Outcome::Done;
        }
        self.chat.apply_operation(context, operation)
    }

    /// Applies a user's operation. A duplicate is dropped silently: its first application already
    /// sent the reply. A duplicate reaches this function only if its number was used before the
    /// chat was reset.
    fn apply_of_user(
        &self,
        context: OperationContext,
        number: u64,
        operation: Operation,
    ) -> Outcome {
        let enters = matches!(operation, Operation::Enter { .. } | Operation::Redeem { .. });
        let mut live = self.chat.lock();
        let user = live.users.get_mut(context.session);
        let is_in = user.is_some();
        match user {
            Some(user) if number <= user.last || number - user.last > JUMP_MAX => {
                return Outcome::Refused(OperationError::NotInRoom);
            }
            // The session is already in the chat, so it cannot enter again.
            Some(_) if enters => return Outcome::Refused(OperationError::NotInRoom),
            Some(user) => user.last = number,
            None if matches!(operation, Operation::SaveSession(_))
                && self.cluster.lock().accepts_late_save(context.session, number) => {}
            None if !enters || self.cluster.lock().has_ended(context.session) => {
                return Outcome::Refused(OperationError::NotInRoom);
            }
            None => {}
        }
        if let Operation::Join { room, .. } = &operation
            && !live.rooms.contains_key(room.key())
            && live.rooms.len() >= ROOMS_MAX
        {
            return Outcome::Joined(Err(JoinError::TooManyRooms));
        }
        drop(live);
        let (exits, says) = (
            matches!(operation, Operation::Exit { .. }),
            matches!(operation, Operation::Say { .. }),
        );
        let outcome = self.chat.apply_operation(context, operation);
        if let Outcome::Redeemed(Some(redeemed)) = &outcome
            && let Some(session) = redeemed.saved.session
        {
            // The token ended its earlier session. That session must not rejoin, even if it is
            // suspended.
            self.cluster.lock().end_session(session);
        }
        let has_entered = matches!(&outcome, Outcome::Entered(Ok(_)));
        if let Some(user) = self.chat.lock().users.get_mut(context.session) {
            if has_entered {
                user.last = number;
            } else if is_in {
                // Only refusals of operations that say lines are recorded. The outcome of other
                // operations may differ between nodes, for example if a mailbox is full.
                user.was_refused = says && outcome.refusal().is_some();
            }
        }
        if !has_entered && (exits || enters) {
            // Records that the session has ended, so that the entry has the same result if it is
            // applied again.
            let mut state = self.cluster.lock();
            state.returning.remove(&context.session);
            state.end_session(context.session);
        }
        outcome
    }

    /// Completes an operation of this node that came back from the stream. Replies to its author,
    /// and sends the author's next operation.
    fn settle(&self, id: &str, session: u64, outcome: Outcome) {
        let is_served = self.is_served(session);
        let mut state = self.cluster.lock();
        let Some(sent) = state.settle(id, session) else { return };
        self.cluster.send_next(&mut state, session);
        let mut is_over = false;
        // The outbox of the node itself stays, because it counts the node's operations.
        let may_be_over = !is_served && session != NODE;
        if may_be_over && state.outboxes.get(&session).is_some_and(|o| o.is_empty()) {
            is_over = state.outboxes.remove(&session).is_some_and(|outbox| outbox.is_over);
        }
        if state.leave != LeaveState::Stays {
            self.cluster.left.notify_all();
        }
        drop(state);
        if is_over {
            self.chat.lock().end_session(session);
        }
        let Some(sent) = sent else { return };
        match (sent.reply, outcome.refusal()) {
            (Some(reply), _) => self.answer(reply, outcome),
            (None, Some(refusal)) => {
                let reason = refusal.reason(self.chat.settings.moment);
                self.tell_lost(session, &sent.operation, &reason);
            }
            _ => {}
        }
    }

    /// Returns whether the user of this session is in the chat, or is about to rejoin.
    fn is_served(&self, session: u64) -> bool {
        let is_returning = self.cluster.lock().returning.contains(&session);
        is_returning || self.chat.lock().users.contains_key(&session)
    }

    /// Tells the author of lines that they were not delivered.
    pub(super) fn tell_lost(&self, session: u64, operation: &Operation, reason: &str) {
        let Operation::Say { room, lines } = operation else { return };
        self.cluster.lock().counts.not_delivered += lines.len() as u64;
        if let Some(session) = self.chat.session(session) {
            let (room, reason, lines) = (room.clone(), reason.to_owned(), lines.clone());
            session.mailbox.deliver(Notification::NotDelivered { room, reason, lines });
        }
    }

    fn answer(&self, reply: ReplySender, outcome: Outcome) {
        let outcome = match outcome {
            // The other nodes removed this node, so it does not serve the session any more.
            Outcome::Joined(Ok(joined)) if !joined.is_here => {
                Outcome::Joined(Err(JoinError::NotDelivered(TAKEN_FOR_GONE)))
            }
            outcome => outcome,
        };
        if let Err(outcome) = reply.send(outcome) {
            self.cluster.undo(outcome);
        }
    }
}

/// A chat that is one node of a cluster, with everything that applying entries needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClusterNode<'a> {
    pub(super) chat: &'a Chat,
    pub(super) cluster: &'a Cluster,
}

impl Chat {
    /// Returns this chat as a node of a cluster; `None` without a cluster.
    pub(super) fn node(&self) -> Option<ClusterNode<'_>> {
        let cluster = self.cluster.as_deref()?;
        Some(ClusterNode { chat: self, cluster })
    }
}
