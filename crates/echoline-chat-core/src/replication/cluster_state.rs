//! The state of one node in its cluster: the outboxes of its authors, the leases of the nodes, and
//! the applied operations. Time is counted in ticks of about a second.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::envelope::{Envelope, id_of_end};
use super::leases::Leases;
use super::outbox::{Outbox, PendingReply, QueuedOperation, Sent};
use super::record::{AppliedOperations, OperationStatus};
use super::{GONE_MAX, HELD_TICKS, JUMP_MAX, NODE, NODES_MAX, UNHEARD_TICKS};
use crate::state::LastOperation;
use crate::{Link, Operation, Proposal};

/// The cluster as one node sees it. `T` is a caller that waits for an outcome.
#[derive(Debug)]
pub struct Replication<T> {
    /// The number of this node. The node gets another number when it rejoins after its lease
    /// expired.
    pub node: u32,
    /// The sequence of the last entry that was applied.
    pub applied: u64,
    /// The current tick. A tick is about a second.
    pub now: u64,
    /// The link to the stream.
    pub link: Link,
    /// Whether the other nodes are considered unreachable.
    pub is_lost: bool,
    /// The outbox of each session: its operations that are in flight or queued.
    pub outboxes: BTreeMap<u64, Outbox<T>>,
    /// The session of the author for each proposal that is in flight.
    pub sent: BTreeMap<String, u64>,
    /// The leases of the nodes.
    pub leases: Leases,
    /// The number of heartbeats that this node has sent.
    pub heartbeats: u64,
    /// For each node: the number of the last operation whose author is the node itself, not a user.
    pub nodes: BTreeMap<u32, u64>,
    /// The nodes that went down most recently.
    pub gone_nodes: VecDeque<u32>,
    /// The sessions that ended most recently.
    pub gone_sessions: VecDeque<u64>,
    /// For each node: the highest count (the lower half of a session's number) of an ended session
    /// that `gone_sessions` has dropped. Sessions up to this count cannot begin again, even if an
    /// old entry is sent again.
    pub session_floors: BTreeMap<u32, u32>,
    /// The last operations of users whose node went down.
    pub gone_with: VecDeque<LastOperation>,
    /// The suspended sessions that will rejoin with this node.
    pub returning: BTreeSet<u64>,
    /// Whether this node is about to rejoin. Meanwhile it sends only its own operations, not those
    /// of users.
    pub is_returning: bool,
    /// Whether this node leaves the cluster.
    pub leave: LeaveState,
    /// The counts for metrics.
    pub counts: ClusterCounts,
}

/// Whether this node leaves the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveState {
    /// The node stays in the cluster.
    Stays,
    /// The node leaves as soon as all its operations have been applied.
    Leaves,
    /// The node has left.
    Left,
}

/// Counts of events since the start, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterCounts {
    /// The number of entries that were applied.
    pub entries: u64,
    /// The number of entries that were invalid, and therefore not applied.
    pub unreadable: u64,
    /// The number of lines that were not delivered.
    pub not_delivered: u64,
    /// The number of times that the link was lost.
    pub losses: u64,
    /// The number of times that this node rejoined.
    pub returns: u64,
    /// The number of times that entries of the stream were missing.
    pub gaps: u64,
}

impl<T: PendingReply> Replication<T> {
    /// Returns the state of a node that has applied nothing.
    pub fn new(node: u32) -> Self {
        Self {
            node,
            applied: 0,
            now: 0,
            link: Link::Up,
            is_lost: false,
            outboxes: BTreeMap::new(),
            sent: BTreeMap::new(),
            leases: Leases::default(),
            heartbeats: 0,
            nodes: BTreeMap::new(),
            gone_nodes: VecDeque::new(),
            gone_sessions: VecDeque::new(),
            session_floors: BTreeMap::new(),
            gone_with: VecDeque::new(),
            returning: BTreeSet::new(),
            is_returning: false,
            leave: LeaveState::Stays,
            counts: ClusterCounts::default(),
        }
    }

    /// Remembers that a session has ended.
    pub fn end_session(&mut self, session: u64) {
        let Some(forgotten) = remember(&mut self.gone_sessions, session) else { return };
        let (node, count) = ((forgotten >> 32) as u32, forgotten as u32);
        let floor = self.session_floors.entry(node).or_default();
        *floor = count.max(*floor);
        if self.session_floors.len() > GONE_MAX {
            self.session_floors.pop_first();
        }
    }

    /// Returns whether a session with this number has ended, so that it cannot begin again.
    pub fn has_ended(&self, session: u64) -> bool {
        let (node, count) = ((session >> 32) as u32, session as u32);
        let floor = self.session_floors.get(&node);
        floor.is_some_and(|&floor| count <= floor) || self.gone_sessions.contains(&session)
    }

    /// Removes the outboxes of sessions that are over, and returns these sessions. A session is
    /// over if its outbox is empty, and if it is neither in `here` nor about to rejoin.
    pub fn sweep(&mut self, here: &BTreeSet<u64>) -> Vec<u64> {
        let Self { outboxes, returning, .. } = self;
        let is_over = |session: &u64, outbox: &mut Outbox<T>| {
            let lasts = here.contains(session) || returning.contains(session);
            outbox.is_empty() && !lasts && *session != NODE
        };
        let over = outboxes.extract_if(.., is_over);
        over.filter(|(_, outbox)| outbox.is_over).map(|(session, _)| session).collect()
    }

    /// Returns whether to save the session of a user who is not in the chat, and if so, records
    /// that. There are two cases: either the session's node has just gone down, or the session
    /// never entered the chat, and gives back a token that it could not use.
    ///
    /// The stream may deliver the same entry again at any time. A repeated entry must not replace a
    /// later save, and must not restore a used token.
    pub fn accepts_late_save(&mut self, session: u64, number: u64) -> bool {
        let is_over = self.gone_sessions.contains(&session);
        if let Some(last) = self.gone_with.iter_mut().rfind(|last| last.session == session) {
            let is_next = number > last.number && number - last.number <= JUMP_MAX;
            if is_next && !is_over {
                (last.number, last.refused) = (number, false);
            }
            return is_next && !is_over;
        }
        if self.has_ended(session) {
            return false;
        }
        self.end_session(session);
        true
    }

    /// Returns whether this is the next operation of a node, and if so, records it. The first
    /// operation may have any number, because a node that rejoins continues its count.
    pub fn is_next_of(&mut self, node: u32, number: u64) -> bool {
        let is_next = match self.nodes.get(&node) {
            Some(&last) => number > last && number - last <= JUMP_MAX,
            None => self.nodes.len() < NODES_MAX,
        };
        if is_next {
            self.nodes.insert(node, number);
        }
        is_next
    }

    /// Returns whether an operation was sent several ticks ago and has not come back.
    pub fn is_unheard(&self) -> bool {
        let outboxes = self.sent.values().filter_map(|session| self.outboxes.get(session));
        let mut sent = outboxes.filter_map(|outbox| outbox.sent());
        sent.any(|sent| sent.since + UNHEARD_TICKS < self.now)
    }

    /// Takes the operations that have waited too long, with their sessions. An operation that was
    /// already sent stays, because it may have arrived.
    pub fn expire(&mut self) -> Vec<(u64, QueuedOperation<T>)> {
        let since = self.now.saturating_sub(HELD_TICKS);
        let mut expired = Vec::new();
        for (&session, outbox) in &mut self.outboxes {
            let waiting = outbox.expire(since).into_iter();
            expired.extend(waiting.map(|waiting| (session, waiting)));
        }
        expired
    }

    /// Puts the sent operations back into the queue. Their proposals can no longer have an effect.
    pub fn take_back(&mut self) {
        for session in std::mem::take(&mut self.sent).into_values() {
            if let Some(outbox) = self.outboxes.get_mut(&session) {
                outbox.take_back();
            }
        }
        if let Some(outbox) = self.outboxes.get_mut(&NODE) {
            outbox.forget_returns();
        }
    }

    /// Records that a node went down. Returns `false` if this was already known.
    pub fn note_gone(&mut self, node: u32) -> bool {
        if self.gone_nodes.contains(&node) {
            return false;
        }
        let _ = remember(&mut self.gone_nodes, node);
        self.nodes.remove(&node);
        true
    }

    /// Settles the sent operations that a snapshot already contains, and returns them.
    pub fn forget_done(
        &mut self,
        known: &AppliedOperations,
    ) -> Vec<(u64, Sent<T>, OperationStatus)> {
        let Self { outboxes, sent, node, .. } = self;
        let ended: BTreeSet<String> =
            known.gone_nodes.iter().map(|&node| id_of_end(node)).collect();
        sent.retain(|id, _| !ended.contains(id));
        let mut settled = Vec::new();
        sent.retain(|id, &mut session| {
            let Some(outbox) = outboxes.get_mut(&session) else { return true };
            let number = outbox.number();
            let Some(operation) =
                outbox.sent().filter(|sent| sent.id == *id).map(|sent| &sent.operation)
            else {
                return true;
            };
            let status = known.status(*node, session, number, operation);
            if status == OperationStatus::Pending {
                return true;
            }
            settled.extend(outbox.settle().map(|sent| (session, sent, status)));
            false
        });
        settled
    }

    /// Takes the next operation of an author as a proposal. Returns `None` if one of the author's
    /// operations is in flight, or if there is none to send.
    pub fn next_proposal(&mut self, session: u64) -> Option<Proposal> {
        if self.is_returning && session != NODE {
            return None;
        }
        let Self { node, now, outboxes, sent, .. } = self;
        let outbox = outboxes.get_mut(&session)?;
        let envelope =
            outbox.next(*now, |n, operation| Envelope::new(*node, session, n, operation))?;
        let id = envelope.id();
        sent.insert(id.clone(), session);
        Some(Proposal { id, payload: envelope.encode() })
    }

    /// Proposes that a node went down. Returns `None` if this proposal is already in flight. Every
    /// node gives it the same id, so that the stream can drop duplicates.
    pub fn propose_gone(&mut self, node: u32, name: &str, reason: &str) -> Option<Proposal> {
        let operation =
            Operation::NodeDown { node, name: name.to_owned(), reason: reason.to_owned() };
        let envelope = Envelope::new(self.node, NODE, 0, operation);
        let id = envelope.id();
        let is_new = self.sent.insert(id.clone(), NODE).is_none();
        is_new.then(|| Proposal { id, payload: envelope.encode() })
    }

    /// Records that a proposal has come back. Returns `None` if this node did not send it.
    /// Otherwise the inner value is the operation, if it is still the one in flight.
    pub fn settle(&mut self, id: &str, session: u64) -> Option<Option<Sent<T>>> {
        self.sent.remove(id)?;
        Some(self.outboxes.get_mut(&session).and_then(|outbox| {
            let is_it = outbox.sent().is_some_and(|sent| sent.id == id);
            if is_it { outbox.settle() } else { None }
        }))
    }
}

/// Appends to a bounded list. If the list becomes too long, removes and returns its oldest item.
pub fn remember<T>(deque: &mut VecDeque<T>, one: T) -> Option<T> {
    deque.push_back(one);
    if deque.len() > GONE_MAX { deque.pop_front() } else { None }
}
