//! A chat as one node of a cluster: each operation is sent to the stream first, and every node
//! applies it when it comes back, in the order of the stream.
//!
//! Nothing here blocks. A proposal leaves through a channel; the author learns the outcome later.

mod follow;
#[cfg(test)]
mod hostile_tests;
mod link;
mod newcomers;
mod node_lifecycle;
mod outbox;
mod snapshot;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::name::Name;
use super::operation::{Operation, OperationContext, SaidLine};
use super::outcome::{OperationError, Outcome};
use super::rejoin::LastOperation;
use super::room_record::LOG_MIN;
use super::settings::Settings;
use super::state::Chat;
use echoline_chat_core::replication::envelope::Envelope;
use echoline_chat_core::replication::leases::Leases;
use echoline_chat_core::replication::{GONE_MAX, NODE};
use echoline_chat_core::{Link, Proposal};
use newcomers::Newcomers;
use outbox::{Outbox, Reply};

use echoline_base::poison::IgnorePoison;

pub use status::ClusterStatus;

/// Lines of one author that may wait while the link is there: then the author does.
const WAITING_MAX: usize = 1024;

/// Lines of one author that are held while the link is lost, and how long (ticks).
const HELD_MAX: usize = 50;
const HELD_TICKS: u64 = 60;

/// Numbers that an author may skip: when a node comes back after its lease expired, it sends its
/// pending acts again under other numbers. A higher number is forged.
const JUMP_MAX: u64 = 1024;

/// What people hear whose act did not get to the others.
const LOST: &str = "the link to the other machines is lost";
const TAKEN_FOR_GONE: &str = "this machine was taken for gone";

/// How a machine takes part.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// What the cluster is called.
    pub cluster: String,
    /// What this machine is called, for people: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub machine: String,
    /// A number that no other start of any machine of the cluster has: by chance.
    pub node: u32,
}

/// What a chat knows of the other machines.
#[derive(Debug)]
pub(super) struct Cluster {
    options: ClusterOptions,
    proposals: mpsc::UnboundedSender<Proposal>,
    state: Mutex<State>,
    newcomers: Newcomers,
    /// Told when this machine has taken its leave.
    left: Condvar,
}

#[derive(Debug)]
struct State {
    /// This machine's number; another one after it was taken for gone.
    node: u32,
    /// The last entry that was applied.
    applied: u64,
    /// Seconds, about.
    now: u64,
    link: Link,
    is_lost: bool,
    outboxes: BTreeMap<u64, Outbox>,
    /// The author of each proposal that is on its way.
    sent: BTreeMap<String, u64>,
    leases: Leases,
    /// Signs of life that this machine has given.
    heartbeats: u64,
    /// The last act of each machine itself.
    nodes: BTreeMap<u32, u64>,
    gone_nodes: VecDeque<u32>,
    gone_sessions: VecDeque<u64>,
    /// For sessions that are not in `gone_sessions` any more, by the node that began them: no
    /// session up to this count begins, so that an old entry that is sent again changes nothing.
    session_floors: BTreeMap<u32, u32>,
    /// The last acts of people who went with a machine.
    gone_with: VecDeque<LastOperation>,
    /// The suspended sessions that are to rejoin with this node.
    returning: BTreeSet<u64>,
    is_returning: bool,
    leave: LeaveState,
    counts: Counts,
}

/// Whether this machine takes its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaveState {
    Stays,
    Leaves,
    Left,
}

/// What has happened, for metrics.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    entries: u64,
    unreadable: u64,
    not_delivered: u64,
    losses: u64,
    returns: u64,
    gaps: u64,
}

impl Chat {
    /// Returns a chat that is one node of a cluster, and its proposals. A driver publishes them and
    /// feeds the chat, which is a [`ReplicatedState`](super::ReplicatedState). Accept no users
    /// until the driver has applied all entries of the stream.
    #[must_use]
    pub fn clustered(
        settings: Settings,
        options: ClusterOptions,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Proposal>) {
        let (proposals, receiver) = mpsc::unbounded_channel();
        let state = State::new(options.node);
        let (state, left) = (Mutex::new(state), Condvar::new());
        let newcomers = Newcomers::default();
        let cluster = Cluster { options, proposals, state, newcomers, left };
        let log = settings.log.at_least(LOG_MIN);
        let chat = Self::replicated(Settings { log, ..settings }, cluster);
        (Arc::new(chat), receiver)
    }

    /// Does something, or has it done where there are other machines.
    pub(super) fn propose(&self, session: u64, act: Operation) -> Proposed {
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

    /// As `propose`, where nobody waits for what comes of it.
    pub(super) fn announce(&self, session: u64, act: Operation) {
        match &self.cluster {
            Some(cluster) => cluster.announce(session, act),
            None => drop(self.propose(session, act)),
        }
    }

    /// Tells an author whom another node serves.
    pub(super) fn tell_elsewhere(&self, author: OperationContext, words: impl FnOnce() -> String) {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| !author.is_here) {
            cluster.announce(NODE, Operation::Tell { to: author.session, words: words() });
        }
    }

    /// Tells the other machines that this one ends, so that its people leave their rooms in one
    /// line, and waits until that has come back; before it, what they did last. Blocks, for
    /// `patience` at most for each of these; `false` where nothing came back.
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
        cluster.propose_gone(&mut state, node, &cluster.options.machine, "is shut down");
        let wait =
            cluster.left.wait_timeout_while(state, patience, |s| s.leave != LeaveState::Left);
        wait.is_ok_and(|(state, _)| state.leave == LeaveState::Left)
    }
}

impl Cluster {
    /// The number of a session, of which so many came before it on this machine.
    pub(super) fn session(&self, count: u64) -> u64 {
        (u64::from(self.options.node) << 32) | (count & u64::from(u32::MAX))
    }

    fn propose(
        self: &Arc<Self>,
        session: u64,
        act: Option<Operation>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        let now = state.now;
        let reply = Reply::new(sender, permit);
        state.outboxes.entry(session).or_default().push(now, act, Some(reply));
        self.send_next(&mut state, session);
        Wait { receiver, cluster: Arc::clone(self) }
    }

    fn announce(&self, session: u64, act: Operation) {
        let mut state = self.lock();
        let now = state.now;
        state.outboxes.entry(session).or_default().push(now, Some(act), None);
        self.send_next(&mut state, session);
    }

    /// Whoever did this has not waited for what came of it.
    fn undo(&self, outcome: Outcome) {
        match outcome {
            Outcome::Entered(Ok(entered)) => {
                let exit = Operation::Exit { reason: Some(String::new()), keep: None };
                self.announce(entered.session, exit);
            }
            // Nobody is brought back by it: it is worth something again.
            Outcome::Redeemed(Some(keep)) => self.announce(NODE, Operation::SaveSession(keep)),
            _ => {}
        }
    }

    /// Waits until everything that the author has done is known to the others.
    pub(super) fn settled(self: &Arc<Self>, session: u64) -> Wait {
        self.propose(session, None, None)
    }

    /// Whether nothing of this author is on its way or waits.
    pub(super) fn is_settled(&self, session: u64) -> bool {
        self.lock().outboxes.get(&session).is_none_or(Outbox::is_empty)
    }

    /// Whether the other machines cannot be reached.
    pub(super) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    /// Notes that a session is over: its memberships are given back after its last operation.
    pub(super) fn retire_session(&self, session: u64) {
        self.lock().outboxes.entry(session).or_default().is_over = true;
    }

    /// Queues a line of this author.
    pub(super) fn say(
        &self,
        session: u64,
        room: &Name,
        line: SaidLine,
    ) -> Result<Backpressure, OperationError> {
        let mut state = self.lock();
        let (now, is_lost) = (state.now, state.is_lost);
        let outbox = state.outboxes.entry(session).or_default();
        let lines = outbox.lines();
        if is_lost && lines >= HELD_MAX {
            state.counts.not_delivered += 1;
            return Err(OperationError::NotDelivered(LOST));
        }
        outbox.say(now, room, line);
        Ok(if lines < WAITING_MAX { Backpressure::None } else { Backpressure::Wait })
    }

    /// Sends what the author has said, if nothing of theirs is on its way.
    pub(super) fn send(&self, session: u64) {
        self.send_next(&mut self.lock(), session);
    }

    fn send_next(&self, state: &mut State, session: u64) {
        let State { node, now, outboxes, sent, is_returning, .. } = state;
        if *is_returning && session != NODE {
            return;
        }
        let Some(outbox) = outboxes.get_mut(&session) else { return };
        let Some(sealed) = outbox.next(*now, |n, act| Envelope::new(*node, session, n, act)) else {
            return;
        };
        let id = sealed.id();
        sent.insert(id.clone(), session);
        // Nobody takes it any more where the bus has ended with the chat.
        let _ = self.proposals.send(Proposal { id, payload: sealed.encode() });
    }

    /// Proposes that a machine is gone. All who propose it call it the same.
    fn propose_gone(&self, state: &mut State, node: u32, name: &str, reason: &str) {
        let act = Operation::NodeDown { node, name: name.to_owned(), reason: reason.to_owned() };
        let envelope = Envelope::new(state.node, NODE, 0, act);
        let id = envelope.id();
        if state.sent.insert(id.clone(), NODE).is_none() {
            let _ = self.proposals.send(Proposal { id, payload: envelope.encode() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl State {
    fn new(node: u32) -> Self {
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
            counts: Counts::default(),
        }
    }

    /// Remembers that a session has ended.
    fn end_session(&mut self, session: u64) {
        let Some(forgotten) = remember(&mut self.gone_sessions, session) else { return };
        let (node, count) = ((forgotten >> 32) as u32, forgotten as u32);
        let floor = self.session_floors.entry(node).or_default();
        *floor = count.max(*floor);
        if self.session_floors.len() > GONE_MAX {
            self.session_floors.pop_first();
        }
    }

    /// Whether a session of this number has ended, so that none begins again.
    fn has_ended(&self, session: u64) -> bool {
        let (node, count) = ((session >> 32) as u32, session as u32);
        let floor = self.session_floors.get(&node);
        floor.is_some_and(|&floor| count <= floor) || self.gone_sessions.contains(&session)
    }

    /// Removes the empty outboxes of sessions that are not `here` any more. Returns the sessions
    /// that are over.
    fn sweep(&mut self, here: &BTreeSet<u64>) -> Vec<u64> {
        let Self { outboxes, returning, .. } = self;
        let is_over = |session: &u64, outbox: &mut Outbox| {
            let lasts = here.contains(session) || returning.contains(session);
            outbox.is_empty() && !lasts && *session != NODE
        };
        let over = outboxes.extract_if(.., is_over);
        over.filter(|(_, outbox)| outbox.is_over).map(|(session, _)| session).collect()
    }
}

/// Keeps the last of them; returns the one that is forgotten.
fn remember<T>(deque: &mut VecDeque<T>, one: T) -> Option<T> {
    deque.push_back(one);
    if deque.len() > GONE_MAX { deque.pop_front() } else { None }
}

/// Whether an author may go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backpressure {
    None,
    /// So many lines wait that the author waits too.
    Wait,
}

/// What becomes of an act.
#[derive(Debug)]
pub(super) enum Proposed {
    /// It is done.
    Done(Outcome),
    /// It is on its way to all machines, and comes back.
    Later(Wait),
}

impl Proposed {
    /// What came of it.
    ///
    /// Cancel safe: who does not wait any longer has left, and whoever was let in for them leaves
    /// again.
    pub(super) async fn outcome(self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Later(wait) => wait.await,
        }
    }
}

/// Waits for what comes of an act.
#[derive(Debug)]
pub(super) struct Wait {
    receiver: oneshot::Receiver<Outcome>,
    cluster: Arc<Cluster>,
}

impl Future for Wait {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let polled = Pin::new(&mut self.receiver).poll(cx);
        polled
            .map(|outcome| outcome.unwrap_or(Outcome::Refused(OperationError::NotDelivered(LOST))))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(outcome) = self.receiver.try_recv() {
            self.cluster.undo(outcome);
        }
    }
}
