//! The shutdown phases of a server, and how connections are notified of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The phases of a server. A phase never returns to an earlier one.
///
/// ```
/// use echoline::{Phase, Shutdown};
///
/// let shutdown = Shutdown::new();
/// assert_eq!(shutdown.phase(), Phase::Running);
/// shutdown.abort();
/// shutdown.drain();
/// assert_eq!(shutdown.phase(), Phase::Aborting);
/// assert!(Phase::Draining < Phase::Aborting);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The server accepts and serves connections.
    Running,
    /// The server no longer accepts connections, because another process accepts on the same
    /// sockets. Open connections continue unchanged.
    Retiring,
    /// The server no longer accepts connections. Open connections end once they have answered the
    /// input that they received.
    Draining,
    /// The server ends all connections at once. A server also reaches this phase when it has ended,
    /// even if all its connections were drained.
    Aborting,
}

/// A handle that ends a server. It may be used from any thread and any number of times; clones are
/// the same handle.
///
/// ```
/// use echoline::{Connection, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0").await?;
/// let shutdown = server.shutdown();
/// let handler = async |mut client: Connection| client.echo().await;
/// let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
/// // From another task or thread, for example when the configuration asks for it:
/// shutdown.drain();
/// assert!(serving.await??.is_clean());
/// # Ok(())
/// # }
/// ```
///
/// It contains one atomic phase and one list of tasks that wait for the next phase. A connection
/// reads the phase with one atomic load, and a change of the phase wakes each connection once.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    state: Arc<ShutdownState>,
}

#[derive(Debug, Default)]
struct ShutdownState {
    phase: AtomicU8,
    changed: Arc<Notify>,
}

impl Shutdown {
    /// Creates a handle in the phase [`Phase::Running`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops accepting and leaves the queued connections to another process that has the same
    /// socket. The server ends once its last connection has ended.
    pub fn retire(&self) {
        self.advance(Phase::Retiring);
    }

    /// Stops accepting, lets every connection answer the input it received, then ends the server.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends every connection at once.
    pub fn abort(&self) {
        self.advance(Phase::Aborting);
    }

    /// Returns the current phase.
    #[must_use]
    #[inline]
    pub fn phase(&self) -> Phase {
        match self.state.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Retiring,
            2 => Phase::Draining,
            _ => Phase::Aborting,
        }
    }

    /// Waits until `phase` or a later one is reached. Cancel safe.
    pub async fn reached(&self, phase: Phase) {
        loop {
            // The waiter is created before the phase is read, so that no change is missed.
            let changed = self.changed();
            if self.phase() >= phase {
                return;
            }
            changed.await;
        }
    }

    /// Returns a future that completes at the next change of the phase after this call.
    pub(crate) fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.state.changed).notified_owned()
    }

    fn advance(&self, phase: Phase) {
        self.state.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.state.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_advance_and_wake_waiting_tasks() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                shutdown.reached(Phase::Draining).await;
                shutdown.reached(Phase::Aborting).await;
            }
        });
        tokio::task::yield_now().await;
        shutdown.retire();
        tokio::task::yield_now().await;
        assert_eq!(shutdown.phase(), Phase::Retiring);
        shutdown.drain();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        shutdown.abort();
        waiting.await.unwrap();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Aborting);
    }
}
