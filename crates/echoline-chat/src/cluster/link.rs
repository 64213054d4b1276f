//! Watches the link to the other nodes, and tells the users of this node when it changes.

use std::sync::Arc;

use bytes::Bytes;

use super::follow::ClusterNode;
use super::proposals::{Cluster, HELD_MAX, LOST, ReplySender};
use crate::chat::live_state::SessionHandle;
use echoline_chat_core::replication::{HELD_TICKS, Heartbeat, LeaveState, QueuedOperation};
use echoline_chat_core::{Link, Notification, OperationError, Outcome};

/// The number of ticks between two sweeps that remove the outboxes of ended sessions.
const SWEEP_TICKS: u64 = 10;

impl ClusterNode<'_> {
    /// Tells the users of this node when the link is lost or restored.
    pub(super) fn update_link(&self) {
        let mut state = self.cluster.lock();
        // A node that has left the cluster needs no link.
        let is_out = state.leave == LeaveState::Left;
        let is_lost = !is_out && (state.link == Link::Down || state.is_unheard());
        if std::mem::replace(&mut state.is_lost, is_lost) == is_lost {
            return;
        }
        // Without a link, a node receives no heartbeats. All leases restart, so that none expires
        // because of that.
        let now = state.now;
        state.leases.renew(now);
        state.counts.losses += u64::from(is_lost);
        drop(state);
        let words = words(is_lost);
        match is_lost {
            true => tracing::warn!("{words}"),
            false => tracing::info!("{words}"),
        }
        for session in self.served_here() {
            session.mailbox.deliver(Notification::Link { is_lost, words: words.clone() });
        }
    }

    /// Handles a tick, about once per second.
    pub(super) fn tick(&self) {
        let nodes = self.chat.lock().nodes();
        self.cluster.lock().now += 1;
        self.update_link();
        let mut state = self.cluster.lock();
        if !state.is_lost {
            let (now, own) = (state.now, state.node);
            let others: Vec<u32> = nodes.into_iter().filter(|&node| node != own).collect();
            for node in state.leases.overdue(now, own, &others) {
                let name = state.leases.name(node).unwrap_or("a node").to_owned();
                self.cluster.propose_gone(&mut state, node, &name, "is gone");
            }
        }
        let expired = if state.is_lost { state.expire() } else { Vec::new() };
        let sweeps = !expired.is_empty() || state.now.is_multiple_of(SWEEP_TICKS);
        drop(state);
        for (session, waiting) in expired {
            self.tell_expired(session, waiting);
        }
        if sweeps {
            let here = self.chat.lock().users.keys().copied().collect();
            let over = self.cluster.lock().sweep(&here);
            over.into_iter().for_each(|session| self.chat.lock().end_session(session));
        }
    }

    fn tell_expired(&self, session: u64, waiting: QueuedOperation<ReplySender>) {
        let QueuedOperation { operation, reply, .. } = waiting;
        if let Some(reply) = reply {
            let _ = reply.send(Outcome::Refused(OperationError::NotDelivered(LOST)));
        } else if let Some(operation) = operation {
            self.tell_lost(session, &operation, LOST);
        }
    }

    /// Returns the sessions that this node serves, in order. Includes the sessions that are about
    /// to rejoin.
    fn served_here(&self) -> Vec<Arc<SessionHandle>> {
        let mut served = self.cluster.lock().returning.clone();
        let live = self.chat.lock();
        let here = live.users.values().filter(|user| user.is_here);
        served.extend(here.map(|user| user.session));
        served.iter().filter_map(|&session| live.session(session).cloned()).collect()
    }
}

impl Cluster {
    pub(super) fn heartbeat(&self) -> Bytes {
        let mut state = self.lock();
        state.heartbeats += 1;
        let heartbeat = Heartbeat {
            count: state.heartbeats,
            node: state.node,
            name: self.options.node_name.clone(),
            applied: state.applied,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        serde_json::to_vec(&heartbeat).expect("a heartbeat has only texts and numbers").into()
    }

    pub(super) fn receive_heartbeat(&self, heartbeat: &[u8]) {
        let Ok(heartbeat) = serde_json::from_slice::<Heartbeat>(heartbeat) else { return };
        let mut state = self.lock();
        let (now, own) = (state.now, state.node);
        state.leases.record(now, own, heartbeat);
    }
}

fn words(is_lost: bool) -> String {
    match is_lost {
        true => format!(
            "The link to the other nodes is lost: at most {HELD_MAX} of your \
             messages wait, for up to {HELD_TICKS} s (/status)"
        ),
        false => "The link to the other nodes is back".to_owned(),
    }
}
