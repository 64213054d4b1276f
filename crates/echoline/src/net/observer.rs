//! Watching a server while it works.

use std::sync::Arc;

use tokio::runtime::RuntimeMetrics;

use super::failure::Failure;
use super::limits::Limits;
use super::live_limits::LiveLimits;
use super::place::Places;
use super::snapshot::{Snapshot, WorkerState};
use super::tally::Tally;

/// A handle that tells what a server is doing, from anywhere and as often as one likes; clones
/// are the same handle. See [`Server::observe`](crate::Server::observe).
#[derive(Clone, Debug)]
pub struct Observer {
    places: Arc<Places>,
}

impl Observer {
    pub(super) fn new(places: Arc<Places>) -> Self {
        Self { places }
    }

    /// What the server is doing now. Takes some microseconds, and no time from its connections.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let report = self.places.report();
        let works = self.places.works();
        Snapshot {
            phase: works.map(|_| self.places.phase()),
            accepted: report.accepted,
            open: self.places.open(),
            ends: report.ends,
            limits: works.map_or_else(Limits::default, |works| works.live.current()),
            workers: works.map_or_else(Vec::new, Works::states),
            failure: works.and_then(|works| works.failure.sentence()).map(str::to_owned),
        }
    }
}

/// What a server works with, once it does.
#[derive(Debug)]
pub(super) struct Works {
    pub(super) live: LiveLimits,
    pub(super) workers: Vec<(Arc<Tally>, RuntimeMetrics)>,
    pub(super) failure: Failure,
}

impl Works {
    fn states(&self) -> Vec<WorkerState> {
        let state = |(tally, runtime): &(Arc<Tally>, RuntimeMetrics)| WorkerState {
            // One thread, but where the runtime is the caller's and has more.
            busy: (0..runtime.num_workers()).map(|n| runtime.worker_total_busy_duration(n)).sum(),
            ..tally.state()
        };
        self.workers.iter().map(state).collect()
    }
}
