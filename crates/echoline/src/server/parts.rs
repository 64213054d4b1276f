//! The parts of a server that its observers read.

use std::sync::Arc;

use tokio::runtime::RuntimeMetrics;

use super::failure::ServerFailure;
use crate::connection::config::LiveLimits;
use crate::metrics::snapshot::WorkerState;
use crate::metrics::worker_stats::WorkerStats;

/// The parts of a running server.
#[derive(Debug)]
pub(crate) struct ServerParts {
    pub(crate) live: LiveLimits,
    pub(crate) workers: Vec<(Arc<WorkerStats>, RuntimeMetrics)>,
    pub(crate) failure: ServerFailure,
}

impl ServerParts {
    pub(crate) fn states(&self) -> Vec<WorkerState> {
        let state = |(stats, runtime): &(Arc<WorkerStats>, RuntimeMetrics)| WorkerState {
            // A worker has one thread. Only the caller's own runtime may have several.
            busy: (0..runtime.num_workers()).map(|n| runtime.worker_total_busy_duration(n)).sum(),
            ..stats.state()
        };
        self.workers.iter().map(state).collect()
    }
}
