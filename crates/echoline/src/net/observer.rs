//! Watching a server while it works.

use std::sync::Arc;

use tokio::runtime::RuntimeMetrics;

use super::failure::ServerFailure;
use super::limits::Limits;
use super::live_limits::LiveLimits;
use super::registry::ConnectionRegistry;
use super::snapshot::{Snapshot, WorkerState};
use super::worker_stats::WorkerStats;

/// A handle that tells what a server is doing, from anywhere and as often as one likes; clones
/// are the same handle. See [`Server::observe`](crate::Server::observe).
#[derive(Clone, Debug)]
pub struct Observer {
    registry: Arc<ConnectionRegistry>,
}

impl Observer {
    pub(super) fn new(registry: Arc<ConnectionRegistry>) -> Self {
        Self { registry }
    }

    /// What the server is doing now. Takes some microseconds, and no time from its connections.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let report = self.registry.report();
        let parts = self.registry.parts();
        Snapshot {
            phase: parts.map(|_| self.registry.phase()),
            accepted: report.accepted,
            open: self.registry.open(),
            ends: report.ends,
            limits: parts.map_or_else(Limits::default, |parts| parts.live.current()),
            workers: parts.map_or_else(Vec::new, ServerParts::states),
            failure: parts.and_then(|parts| parts.failure.sentence()).map(str::to_owned),
        }
    }
}

/// What a server works with, once it does.
#[derive(Debug)]
pub(super) struct ServerParts {
    pub(super) live: LiveLimits,
    pub(super) workers: Vec<(Arc<WorkerStats>, RuntimeMetrics)>,
    pub(super) failure: ServerFailure,
}

impl ServerParts {
    fn states(&self) -> Vec<WorkerState> {
        let state = |(stats, runtime): &(Arc<WorkerStats>, RuntimeMetrics)| WorkerState {
            // One thread, but where the runtime is the caller's and has more.
            busy: (0..runtime.num_workers()).map(|n| runtime.worker_total_busy_duration(n)).sum(),
            ..stats.state()
        };
        self.workers.iter().map(state).collect()
    }
}
