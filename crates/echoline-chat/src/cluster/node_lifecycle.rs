//! Handles nodes that go down, and nodes that rejoin after their lease expired.

use super::follow::ClusterNode;
use super::proposals::{Cluster, State};
use crate::chat::live_state::LiveState;
use echoline_chat_core::replication::{LeaveState, NODE, REJOINING_MAX, remember};
use echoline_chat_core::state::{DownUser, GOES_ON};
use echoline_chat_core::{Operation, OperationContext, RejoiningUser};

impl ClusterNode<'_> {
    /// Removes all users of a node from the chat.
    pub(super) fn apply_node_down(
        &self,
        context: OperationContext,
        node: u32,
        name: &str,
        reason: &str,
    ) {
        if !self.cluster.lock().note_gone(node) {
            return;
        }
        let users = self
            .chat
            .change(&mut self.chat.lock(), context, |change| change.node_down(node, name, reason));
        tracing::info!(node = name, users = users.len(), reason, "a node went down");
        let is_this = {
            let mut state = self.cluster.lock();
            users.iter().for_each(|user| {
                let _ = remember(&mut state.gone_with, user.last);
            });
            state.node == node
        };
        if is_this {
            self.come_back(&users);
        }
    }

    /// Handles the expiry of this node's own lease. The node takes another number, and its users
    /// rejoin. Operations that were in flight have no effect; they are sent again after the rejoin.
    pub(super) fn come_back(&self, users: &[DownUser]) {
        let live = self.chat.lock();
        let mut state = self.cluster.lock();
        state.node = state.node.wrapping_add(1);
        state.take_back();
        if state.leave != LeaveState::Stays {
            state.leave = LeaveState::Left;
            state.is_returning = false;
            self.cluster.left.notify_all();
            self.cluster.send_all(&mut state);
            return;
        }
        state.is_returning = true;
        state.counts.returns += 1;
        // Users who rejoin since an earlier expiry of the lease stay in the set.
        let here = users.iter().filter(|user| user.is_here);
        state.returning.extend(here.map(|user| user.last.session));
        state.returning.retain(|&session| rejoins(&live, session));
        let rejoining = state.returning.iter();
        let rejoining: Vec<RejoiningUser> =
            rejoining.filter_map(|&session| live.rejoining_user(session)).collect();
        drop((state, live));
        let mut chunks: Vec<Vec<RejoiningUser>> =
            rejoining.chunks(REJOINING_MAX).map(<[_]>::to_vec).collect();
        if chunks.is_empty() {
            // The last rejoin operation, which may contain no users, marks the end of the rejoin.
            chunks.push(Vec::new());
        }
        for users in chunks {
            self.cluster.announce(NODE, Operation::Rejoin { users });
        }
    }

    /// Resumes the memberships of users whose node rejoins.
    pub(super) fn apply_rejoin(&self, context: OperationContext, users: Vec<RejoiningUser>) {
        let mut live = self.chat.lock();
        for rejoining in users {
            if !live.users.contains_key(&rejoining.session) {
                self.rejoin(&mut live, context, rejoining);
            }
        }
        drop(live);
        let mut state = self.cluster.lock();
        let is_all = state.returning.is_empty();
        if context.is_here && is_all && std::mem::take(&mut state.is_returning) {
            self.cluster.send_all(&mut state);
        }
    }

    fn rejoin(&self, live: &mut LiveState, context: OperationContext, rejoining: RejoiningUser) {
        let session = rejoining.session;
        let (is_suspended, is_over) = {
            let mut state = self.cluster.lock();
            let is_suspended = context.is_here && state.returning.remove(&session);
            (is_suspended, state.gone_sessions.contains(&session))
        };
        self.chat.change(live, context, |change| match is_over {
            true if is_suspended => {
                if let Some(user) = change.state.suspended.get_mut(&session) {
                    user.retire();
                }
                change.effects.disconnect(session, GOES_ON);
            }
            true => {}
            false => change.rejoin(rejoining, is_suspended),
        });
    }
}

/// Returns whether the session continues, so that its user rejoins with this node.
fn rejoins(live: &LiveState, session: u64) -> bool {
    let is_ending = || live.session(session).is_none_or(|s| s.mailbox.ending().is_some());
    live.suspended.get(&session).is_some_and(|user| !user.is_retired()) && !is_ending()
}

impl Cluster {
    fn send_all(&self, state: &mut State) {
        let sessions: Vec<u64> = state.outboxes.keys().copied().collect();
        for session in sessions {
            self.send_next(state, session);
        }
    }
}
