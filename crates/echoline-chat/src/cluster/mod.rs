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
mod reply;
mod snapshot;
mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::name::Name;
use super::operation::{Operation, OperationContext, SaidLine};
use super::outcome::{OperationError, Outcome};
use super::room_record::LOG_MIN;
use super::settings::Settings;
use super::state::Chat;
use echoline_chat_core::Proposal;
use echoline_chat_core::replication::cluster_state::{LeaveState, Replication};
use echoline_chat_core::replication::outbox::Outbox;
use echoline_chat_core::replication::{HELD_TICKS, JUMP_MAX, NODE};
use newcomers::Newcomers;
use reply::Reply;

use echoline_base::poison::IgnorePoison;

pub use status::ClusterStatus;

/// Lines of one author that may wait while the link is there: then the author does.
const WAITING_MAX: usize = 1024;

/// Lines of one author that are held while the link is lost.
const HELD_MAX: usize = 50;

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

/// The cluster as this node knows it.
type State = Replication<Reply>;

/// What a chat knows of the other nodes.
#[derive(Debug)]
pub(super) struct Cluster {
    options: ClusterOptions,
    proposals: mpsc::UnboundedSender<Proposal>,
    state: Mutex<State>,
    newcomers: Newcomers,
    /// Told when this machine has taken its leave.
    left: Condvar,
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
        self.publish(state.next_proposal(session));
    }

    /// Proposes that a node is gone.
    fn propose_gone(&self, state: &mut State, node: u32, name: &str, reason: &str) {
        self.publish(state.propose_gone(node, name, reason));
    }

    fn publish(&self, proposal: Option<Proposal>) {
        if let Some(proposal) = proposal {
            // The driver may have ended with the chat.
            let _ = self.proposals.send(proposal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
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
