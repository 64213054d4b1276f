//! Acts of connections that have not come in yet: strangers may make any number of them, and they
//! must not fill the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::NODE;
use crate::operation::Operation;
use crate::outcome::Outcome;
use crate::state::Chat;

/// Acts before login that are on their way at once.
const ENTRANCES_MAX: usize = 64;

/// Between two rounds in which this node asks whether it has caught up.
const ROUNDS_APART: Duration = Duration::from_secs(1);

/// Bounds the acts of newcomers.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// One permit for each act before login that is on its way.
    permits: Arc<Semaphore>,
    /// Rounds of [`Chat::catch_up`] so far.
    rounds_begun: AtomicU64,
    last_round: Mutex<Round>,
}

/// The last round of [`Chat::catch_up`].
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

impl Chat {
    /// Performs an act of a session that has not come in yet. In a cluster, few of these acts are
    /// on their way at once, so that strangers cannot fill the stream with them.
    pub(crate) async fn propose_entrance(&self, session: u64, act: Operation) -> Outcome {
        let Some(cluster) = &self.cluster else {
            return self.propose(session, act).outcome().await;
        };
        let permit = Arc::clone(&cluster.newcomers.permits).acquire_owned().await.ok();
        cluster.propose(session, Some(act), permit).await
    }

    /// Waits until this node has applied all entries that the stream had when this was called;
    /// `false` if the link is lost meanwhile. However many sessions wait, one entry a second shows
    /// it for all of them.
    pub(crate) async fn catch_up(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let wanted = cluster.newcomers.rounds_begun.load(Ordering::Acquire) + 1;
        let mut last = cluster.newcomers.last_round.lock().await;
        if last.completed >= wanted {
            return true;
        }
        if let Some(begun) = last.begun {
            tokio::time::sleep_until(begun + ROUNDS_APART).await;
        }
        last.begun = Some(Instant::now());
        let round = cluster.newcomers.rounds_begun.fetch_add(1, Ordering::AcqRel) + 1;
        // It comes back in its place of the order, and tells no session anything.
        let nothing = Operation::Tell { to: NODE, words: String::new() };
        let outcome = cluster.propose(NODE, Some(nothing), None).await;
        let is_back = outcome.refusal().is_none();
        if is_back {
            last.completed = round;
        }
        is_back
    }
}
