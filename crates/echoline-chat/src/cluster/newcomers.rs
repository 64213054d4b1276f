//! Bounds the operations of connections before login. Any client can make such connections, and
//! they must not fill the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The maximum number of in-flight operations before login.
const ENTRANCES_MAX: usize = 64;

/// The interval between two rounds in which this node checks whether it has caught up.
const ROUNDS_APART: Duration = Duration::from_secs(1);

/// Bounds the operations before login.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// One permit for each in-flight operation before login.
    permits: Arc<Semaphore>,
    /// The number of rounds of [`catch_up`](Newcomers::catch_up) so far.
    rounds_begun: AtomicU64,
    last_round: Mutex<Round>,
}

/// The last round of [`catch_up`](Newcomers::catch_up).
#[derive(Debug, Default)]
struct Round {
    begun: Option<Instant>,
    /// The number of the last round that showed that this node has caught up.
    completed: u64,
}

impl Default for Newcomers {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(ENTRANCES_MAX));
        Self { permits, rounds_begun: AtomicU64::new(0), last_round: Mutex::default() }
    }
}

impl Newcomers {
    /// Waits for the permit to send an operation before login.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Waits for a call of `ask` that begins after this call, and returns its result. One call of
    /// `ask` per second answers all waiting sessions.
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
