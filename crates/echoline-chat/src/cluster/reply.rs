//! The caller who waits for the outcome of an operation.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::outcome::Outcome;
use echoline_chat_core::replication::outbox::PendingReply;

/// The way back to the caller who waits for the outcome of an operation.
#[derive(Debug)]
pub(super) struct Reply {
    sender: oneshot::Sender<Outcome>,
    /// Given back when the operation has come back or never will, also if the caller has left.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Reply {
    pub(super) fn new(
        sender: oneshot::Sender<Outcome>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { sender, _permit: permit }
    }

    /// # Errors
    /// The outcome, if the caller does not wait any more.
    #[expect(clippy::result_large_err, reason = "it is as large as the argument")]
    pub(super) fn send(self, outcome: Outcome) -> Result<(), Outcome> {
        self.sender.send(outcome)
    }
}

impl PendingReply for Reply {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn complete(self) {
        // The receiver may be gone.
        let _ = self.send(Outcome::Done);
    }
}
