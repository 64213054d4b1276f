//! Handles nodes that go down, and nodes that rejoin after their lease has expired.

use super::proposals::{Cluster, State};
use crate::chat::Chat;
use crate::live_state::LiveState;
use echoline_chat_core::operation::{Operation, OperationContext, RejoiningUser};
use echoline_chat_core::replication::NODE;
use echoline_chat_core::replication::cluster_state::{LeaveState, remember};
use echoline_chat_core::replication::inspect::REJOINING_MAX;
use echoline_chat_core::state::apply::GOES_ON;
use echoline_chat_core::state::rejoin::DownUser;

impl Chat {
    /// Removes all users of a node from the chat.
    pub(super) fn apply_node_down(
        &self,
        cluster: &Cluster,
        now_ms: u64,
        node: u32,
        name: &str,
        reason: &str,
    ) {
        if !cluster.lock().note_gone(node) {
            return;
        }
        let (users, _) = self.change(&mut self.lock(), |state, effects| {
            state.node_down(now_ms, node, name, reason, effects)
        });
        tracing::info!(node = name, users = users.len(), "a node is gone: {reason}");
        let is_this = {
            let mut state = cluster.lock();
            users.iter().for_each(|user| {
                let _ = remember(&mut state.gone_with, user.last);
            });
            state.node == node
        };
        if is_this {
            self.come_back(cluster, &users);
        }
    }

    /// Handles the expiry of this node's own lease: the node takes another number, and its users
    /// rejoin. Operations that were in flight have no effect any more. They are sent again after
    /// the rejoin.
    pub(super) fn come_back(&self, cluster: &Cluster, users: &[DownUser]) {
        let live = self.lock();
        let mut state = cluster.lock();
        state.node = state.node.wrapping_add(1);
        state.take_back();
        if state.leave != LeaveState::Stays {
            state.leave = LeaveState::Left;
            state.is_returning = false;
            cluster.left.notify_all();
            cluster.send_all(&mut state);
            return;
        }
        state.is_returning = true;
        state.counts.returns += 1;
        // Some of them may already have been about to rejoin.
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
            // The last operation, which may be empty, shows that all users have rejoined.
            chunks.push(Vec::new());
        }
        for users in chunks {
            cluster.announce(NODE, Operation::Rejoin { users });
        }
    }

    /// Resumes the memberships of users whose node rejoins.
    pub(super) fn apply_rejoin(
        &self,
        cluster: &Cluster,
        context: OperationContext,
        people: Vec<RejoiningUser>,
    ) {
        let mut live = self.lock();
        for rejoining in people {
            if !live.users.contains_key(&rejoining.session) {
                self.rejoin(cluster, &mut live, context, rejoining);
            }
        }
        drop(live);
        let mut state = cluster.lock();
        let is_all = state.returning.is_empty();
        if context.is_here && is_all && std::mem::take(&mut state.is_returning) {
            cluster.send_all(&mut state);
        }
    }

    fn rejoin(
        &self,
        cluster: &Cluster,
        live: &mut LiveState,
        context: OperationContext,
        rejoining: RejoiningUser,
    ) {
        let session = rejoining.session;
        let (is_suspended, is_over) = {
            let mut state = cluster.lock();
            let is_suspended = context.is_here && state.returning.remove(&session);
            (is_suspended, state.gone_sessions.contains(&session))
        };
        let ((), _) = self.change(live, |state, effects| match is_over {
            true if is_suspended => {
                if let Some(user) = state.suspended.get_mut(&session) {
                    user.retire();
                }
                effects.disconnect(session, GOES_ON);
            }
            true => {}
            false => state.rejoin(context, rejoining, is_suspended, effects),
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
