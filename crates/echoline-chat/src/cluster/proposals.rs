//! The proposals of this node. Each operation is sent to the stream, and its author gets the
//! outcome when the stream delivers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::newcomers::Newcomers;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::replication::{NODE, Outbox, PendingReply, Replication};
use echoline_chat_core::{Name, Operation, OperationError, Outcome, Proposal, SaidLine};

/// The maximum number of an author's lines that wait while the link is up. At this number the
/// author must wait.
const WAITING_MAX: usize = 1024;

/// The maximum number of an author's lines that are held while the link is lost.
pub(super) const HELD_MAX: usize = 50;

/// The reasons that an author is told if an operation did not reach the other nodes.
pub(super) const LOST: &str = "the link to the other nodes is lost";
pub(super) const TAKEN_FOR_GONE: &str = "the other nodes removed this node";

/// The settings of a node in a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The name of the cluster.
    pub cluster: String,
    /// The name of this node as users see it: 1 to 64 letters, digits, `.`, `_` or `-`.
    pub node_name: String,
    /// A random number that differs for each start of each node in the cluster.
    pub node: u32,
}

/// The replication state of this node.
pub(super) type State = Replication<ReplySender>;

/// The cluster as the chat sees it: the options, the replication state and the proposals.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(super) options: ClusterOptions,
    proposals: mpsc::UnboundedSender<Proposal>,
    state: Mutex<State>,
    pub(super) newcomers: Newcomers,
    /// Notified when this node has left the cluster.
    pub(super) left: Condvar,
}

impl Cluster {
    /// Creates a node that has not applied any entry, and the receiver of its proposals.
    pub(super) fn new(options: ClusterOptions) -> (Self, mpsc::UnboundedReceiver<Proposal>) {
        let (proposals, receiver) = mpsc::unbounded_channel();
        let state = Mutex::new(State::new(options.node));
        let (newcomers, left) = (Newcomers::default(), Condvar::new());
        (Self { options, proposals, state, newcomers, left }, receiver)
    }

    /// Returns the number of this node's session with the index `count`.
    pub(crate) fn session(&self, count: u64) -> u64 {
        (u64::from(self.options.node) << 32) | (count & u64::from(u32::MAX))
    }

    pub(super) fn propose(
        self: &Arc<Self>,
        session: u64,
        operation: Option<Operation>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Wait {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        let now = state.now;
        let reply = ReplySender::new(sender, permit);
        state.outboxes.entry(session).or_default().push(now, operation, Some(reply));
        self.send_next(&mut state, session);
        Wait { receiver, cluster: Arc::clone(self) }
    }

    pub(crate) fn announce(&self, session: u64, operation: Operation) {
        let mut state = self.lock();
        let now = state.now;
        state.outboxes.entry(session).or_default().push(now, Some(operation), None);
        self.send_next(&mut state, session);
    }

    /// Undoes an operation whose caller no longer waits for the outcome.
    pub(super) fn undo(&self, outcome: Outcome) {
        match outcome {
            Outcome::Entered(Ok(entered)) => {
                let exit = Operation::Exit { reason: Some(String::new()), keep: None };
                self.announce(entered.session, exit);
            }
            // The redeemed token restored no session, so it becomes valid again.
            Outcome::Redeemed(Some(keep)) => self.announce(NODE, Operation::SaveSession(keep)),
            _ => {}
        }
    }

    /// Returns a future that waits until all operations of the author have reached the other nodes.
    pub(crate) fn settled(self: &Arc<Self>, session: u64) -> Wait {
        self.propose(session, None, None)
    }

    /// Returns whether no operation of this author is in flight or queued.
    pub(crate) fn is_settled(&self, session: u64) -> bool {
        self.lock().outboxes.get(&session).is_none_or(Outbox::is_empty)
    }

    /// Returns whether the link to the other nodes is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    /// Records that a session is over. Its memberships are released after its last operation.
    pub(crate) fn retire_session(&self, session: u64) {
        self.lock().outboxes.entry(session).or_default().is_over = true;
    }

    /// Queues a line of this author.
    pub(crate) fn say(
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

    /// Sends the author's next operation, unless one is in flight.
    pub(crate) fn send(&self, session: u64) {
        self.send_next(&mut self.lock(), session);
    }

    pub(super) fn send_next(&self, state: &mut State, session: u64) {
        self.publish(state.next_proposal(session));
    }

    /// Proposes that a node went down.
    pub(super) fn propose_gone(&self, state: &mut State, node: u32, name: &str, reason: &str) {
        self.publish(state.propose_gone(node, name, reason));
    }

    fn publish(&self, proposal: Option<Proposal>) {
        if let Some(proposal) = proposal {
            // Sending fails only if the driver has ended, because the chat ends.
            let _ = self.proposals.send(proposal);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

/// Whether an author can continue at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backpressure {
    None,
    /// Too many lines are queued, so the author must wait.
    Wait,
}

/// The result of a proposed operation.
#[derive(Debug)]
pub(crate) enum Proposed {
    /// The operation was applied.
    Done(Outcome),
    /// The operation was sent to the stream. It is applied when the stream delivers it.
    Later(Wait),
}

impl Proposed {
    /// Waits for the outcome.
    ///
    /// Cancel safe: if the future is dropped after a login, the user leaves again.
    pub(crate) async fn outcome(self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Later(wait) => wait.await,
        }
    }
}

/// A future that resolves to the outcome of an operation. If it is dropped, a login or the
/// redemption of a token is undone.
#[derive(Debug)]
pub(crate) struct Wait {
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

/// Sends an outcome to the caller that waits for it.
#[derive(Debug)]
pub(super) struct ReplySender {
    sender: oneshot::Sender<Outcome>,
    /// The permit is released when the operation has come back or is lost, even if the caller no
    /// longer waits.
    _permit: Option<OwnedSemaphorePermit>,
}

impl ReplySender {
    pub(super) fn new(
        sender: oneshot::Sender<Outcome>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { sender, _permit: permit }
    }

    /// Sends the outcome to the caller.
    ///
    /// # Errors
    /// Returns the outcome if the caller no longer waits.
    #[expect(clippy::result_large_err, reason = "the error is the argument itself")]
    pub(super) fn send(self, outcome: Outcome) -> Result<(), Outcome> {
        self.sender.send(outcome)
    }
}

impl PendingReply for ReplySender {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn complete(self) {
        // This fails if the caller no longer waits, which is not an error.
        let _ = self.send(Outcome::Done);
    }
}
