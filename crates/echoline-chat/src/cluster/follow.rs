//! Applies the entries of the stream in order.

use super::proposals::{Cluster, ReplySender, TAKEN_FOR_GONE};
use crate::chat::Chat;
use bytes::Bytes;
use echoline_chat_core::notification::Notification;
use echoline_chat_core::operation::{Operation, OperationContext};
use echoline_chat_core::outcome::{JoinError, OperationError, Outcome};
use echoline_chat_core::replication::cluster_state::LeaveState;
use echoline_chat_core::replication::envelope::Envelope;
use echoline_chat_core::replication::inspect_snapshot::ROOMS_MAX;
use echoline_chat_core::replication::{JUMP_MAX, NODE};
use echoline_chat_core::{Link, ReplicatedState, StateSnapshot, StreamEntry};

/// The maximum characters of a refusal's reason, because the rest of it is a foreign text.
const ERROR_CHARACTERS_MAX: usize = 200;

impl ReplicatedState for Chat {
    fn apply(&self, entries: &[StreamEntry]) {
        let Some(cluster) = &self.cluster else { return };
        for entry in entries {
            match Envelope::decode(&entry.payload) {
                Ok(envelope) => self.take(cluster, entry, envelope),
                Err(error) => {
                    // All nodes do the same: the state does not change.
                    let mut state = cluster.lock();
                    state.counts.unreadable += 1;
                    let (sequence, unreadable) = (entry.sequence, state.counts.unreadable);
                    // A flood of such entries must not become a flood of log lines.
                    if unreadable.is_power_of_two() {
                        let error: String = error.chars().take(ERROR_CHARACTERS_MAX).collect();
                        tracing::error!(sequence, unreadable, error, "refused an entry of the bus");
                    }
                }
            }
            let mut state = cluster.lock();
            state.applied = entry.sequence;
            state.counts.entries += 1;
        }
        cluster.look_at_link(self);
    }

    fn applied(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.lock().applied)
    }

    fn is_settled(&self, proposal: &str) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| !cluster.lock().sent.contains_key(proposal))
    }

    fn snapshot(&self) -> StateSnapshot {
        self.record()
    }

    fn restore(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        self.go_on_from(snapshot)
    }

    fn reset(&self) {
        self.forget_everything();
    }

    fn link_changed(&self, link: Link) {
        if let Some(cluster) = &self.cluster {
            cluster.lock().link = link;
            cluster.look_at_link(self);
        }
    }

    fn heartbeat(&self) -> Bytes {
        self.cluster.as_ref().map_or_else(Bytes::new, |cluster| cluster.heartbeat())
    }

    fn receive_heartbeat(&self, heartbeat: &[u8]) {
        if let Some(cluster) = &self.cluster {
            cluster.hear(heartbeat);
        }
    }

    fn tick(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.tick(self);
        }
    }
}

impl Chat {
    fn take(&self, cluster: &Cluster, entry: &StreamEntry, envelope: Envelope) {
        let id = envelope.id();
        let Envelope { node, session, number, operation: act, .. } = envelope;
        let (is_here, is_gone) = {
            let state = cluster.lock();
            (node == state.node, state.gone_nodes.contains(&node))
        };
        let context = OperationContext { session, node, is_here, now_ms: entry.time_ms };
        let outcome = match act {
            Operation::NodeDown { node, name, reason } => {
                self.apply_node_down(cluster, context.now_ms, node, &name, &reason);
                Outcome::Done
            }
            _ if is_gone => Outcome::Refused(OperationError::NotDelivered(TAKEN_FOR_GONE)),
            act if session == NODE => self.take_of_node(cluster, context, number, act),
            act => self.take_of_person(cluster, context, number, act),
        };
        self.settle(cluster, &id, session, outcome);
    }

    /// Applies an operation whose author is a node. Refuses a duplicate.
    fn take_of_node(
        &self,
        cluster: &Cluster,
        context: OperationContext,
        number: u64,
        act: Operation,
    ) -> Outcome {
        if !cluster.lock().is_next_of(context.node, number) {
            return Outcome::Refused(OperationError::NotInRoom);
        }
        if let Operation::Rejoin { users } = act {
            self.apply_rejoin(cluster, context, users);
            return Outcome::Done;
        }
        self.apply_operation(context, act)
    }

    /// Applies a user's operation. Drops a duplicate silently, because its first application
    /// already sent the reply. A duplicate only arrives if its number was already used before the
    /// chat was reset.
    fn take_of_person(
        &self,
        cluster: &Cluster,
        context: OperationContext,
        number: u64,
        act: Operation,
    ) -> Outcome {
        let comes = matches!(act, Operation::Enter { .. } | Operation::Redeem { .. });
        let mut live = self.lock();
        let user = live.users.get_mut(context.session);
        let is_in = user.is_some();
        match user {
            Some(user) if number <= user.last || number - user.last > JUMP_MAX => {
                return Outcome::Refused(OperationError::NotInRoom);
            }
            // The session is already in the chat.
            Some(_) if comes => return Outcome::Refused(OperationError::NotInRoom),
            Some(user) => user.last = number,
            None if matches!(act, Operation::SaveSession(_))
                && cluster.lock().takes_late_keep(context.session, number) => {}
            None if !comes || cluster.lock().has_ended(context.session) => {
                return Outcome::Refused(OperationError::NotInRoom);
            }
            None => {}
        }
        if let Operation::Join { room, .. } = &act
            && !live.rooms.contains_key(room.key())
            && live.rooms.len() >= ROOMS_MAX
        {
            return Outcome::Joined(Err(JoinError::TooManyRooms));
        }
        drop(live);
        let (exits, says) =
            (matches!(act, Operation::Exit { .. }), matches!(act, Operation::Say { .. }));
        let outcome = self.apply_operation(context, act);
        if let Outcome::Redeemed(Some(redeemed)) = &outcome
            && let Some(session) = redeemed.saved.session
        {
            // A suspended session does not rejoin.
            cluster.lock().end_session(session);
        }
        let has_entered = matches!(&outcome, Outcome::Entered(Ok(_)));
        if let Some(user) = self.lock().users.get_mut(context.session) {
            if has_entered {
                user.last = number;
            } else if is_in {
                // Only operations that say lines are recorded as refused. The outcome of others may
                // differ between nodes, for example if a mailbox is full.
                user.was_refused = says && outcome.refusal().is_some();
            }
        }
        if !has_entered && (exits || comes) {
            // Replaying the entry must produce the same result.
            let mut state = cluster.lock();
            state.returning.remove(&context.session);
            state.end_session(context.session);
        }
        outcome
    }

    /// Completes an operation of this node that came back from the stream. Replies to its author,
    /// and sends the author's next operation.
    fn settle(&self, cluster: &Cluster, id: &str, session: u64, outcome: Outcome) {
        let is_served = self.is_served(cluster, session);
        let mut state = cluster.lock();
        let Some(sent) = state.settle(id, session) else { return };
        cluster.send_next(&mut state, session);
        let mut is_over = false;
        // The outbox of the node itself stays, because it counts the node's operations.
        let may_be_over = !is_served && session != NODE;
        if may_be_over && state.outboxes.get(&session).is_some_and(|o| o.is_empty()) {
            is_over = state.outboxes.remove(&session).is_some_and(|outbox| outbox.is_over);
        }
        if state.leave != LeaveState::Stays {
            cluster.left.notify_all();
        }
        drop(state);
        if is_over {
            self.lock().end_session(session);
        }
        let Some(sent) = sent else { return };
        match (sent.reply, outcome.refusal()) {
            (Some(reply), _) => self.answer(cluster, reply, outcome),
            (None, Some(refusal)) => {
                let reason = refusal.reason(self.settings.moment);
                self.tell_lost(cluster, session, &sent.operation, &reason);
            }
            _ => {}
        }
    }

    /// Returns whether the user of this session is in the chat, or is about to rejoin.
    fn is_served(&self, cluster: &Cluster, session: u64) -> bool {
        let is_returning = cluster.lock().returning.contains(&session);
        is_returning || self.lock().users.contains_key(&session)
    }

    /// Tells the author of lines that they were not delivered.
    pub(super) fn tell_lost(&self, cluster: &Cluster, session: u64, act: &Operation, reason: &str) {
        let Operation::Say { room, lines } = act else { return };
        cluster.lock().counts.not_delivered += lines.len() as u64;
        if let Some(session) = self.session(session) {
            let (room, reason, lines) = (room.clone(), reason.to_owned(), lines.clone());
            session.mailbox.deliver(Notification::NotDelivered { room, reason, lines });
        }
    }

    fn answer(&self, cluster: &Cluster, reply: ReplySender, outcome: Outcome) {
        let outcome = match outcome {
            // This node no longer knows that it serves the session.
            Outcome::Joined(Ok(joined)) if !joined.is_here => {
                Outcome::Joined(Err(JoinError::NotDelivered(TAKEN_FOR_GONE)))
            }
            outcome => outcome,
        };
        if let Err(outcome) = reply.send(outcome) {
            cluster.undo(outcome);
        }
    }
}
