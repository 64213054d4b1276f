//! Limits the operations of connections that have not logged in. Any client can open such
//! connections, and they must not fill the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The maximum number of in-flight operations of such connections.
const ENTRANCES_MAX: usize = 64;

/// The minimum interval between two checks whether this node has caught up with the stream.
const ROUNDS_APART: Duration = Duration::from_secs(1);

/// The limits for connections that have not logged in.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// One permit for each in-flight operation.
    permits: Arc<Semaphore>,
    /// The number of checks that [`catch_up`](Newcomers::catch_up) has started.
    rounds_begun: AtomicU64,
    last_round: Mutex<Round>,
}

/// The last check of [`catch_up`](Newcomers::catch_up).
#[derive(Debug, Default)]
struct Round {
    begun: Option<Instant>,
    /// The number of the last check that succeeded.
    completed: u64,
}

impl Default for Newcomers {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(ENTRANCES_MAX));
        Self { permits, rounds_begun: AtomicU64::new(0), last_round: Mutex::default() }
    }
}

impl Newcomers {
    /// Waits for a permit to send an operation.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Waits until a check that begins after this call has finished, and returns its result. `ask`
    /// performs a check. Waiting sessions share a check, so there is at most one per second.
    pub(super) async fn catch_up<F>(&self, ask: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = bool>,
    {
        let wanted = self.rounds_begun.load(Ordering::Acquire) + 1;
        let mut last = self.last_round.lock().await;
        if last.completed >= wanted {
            return true;
        }
        if let Some(begun) = last.begun {
            tokio::time::sleep_until(begun + ROUNDS_APART).await;
        }
        last.begun = Some(Instant::now());
        let round = self.rounds_begun.fetch_add(1, Ordering::AcqRel) + 1;
        let is_back = ask().await;
        if is_back {
            last.completed = round;
        }
        is_back
    }
}
