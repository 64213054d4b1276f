//! Handles that observe a running server.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::snapshot::Snapshot;
use crate::connection::limits::Limits;
use crate::server::parts::ServerParts;
use crate::server::registry::ConnectionRegistry;

/// A handle that reports the state of a server. It may be used from any thread and any number of
/// times; clones are the same handle. See [`Server::observe`](crate::Server::observe).
#[derive(Clone, Debug)]
pub struct Observer {
    registry: Arc<ConnectionRegistry>,
}

impl Observer {
    pub(crate) fn new(registry: Arc<ConnectionRegistry>) -> Self {
        Self { registry }
    }

    /// Returns the server's current state. Takes a few microseconds and does not block connections.
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

/// A liveness probe for the worker threads of a server. It may be used from any thread. Clones are
/// the same handle.
#[derive(Clone, Debug, Default)]
pub struct LivenessProbe {
    /// The runtimes of the worker threads; set when the server begins to serve.
    workers: Arc<OnceLock<Vec<Handle>>>,
}

impl LivenessProbe {
    /// Waits until each worker thread has run a new task. This takes about as long as a connection
    /// of that thread waits for its turn. If a handler blocks its thread, this never completes, so
    /// use a time-out. Before the server serves, this completes at once. Cancel safe.
    pub async fn check(&self) {
        let beats = self.workers.get().into_iter().flatten().map(|worker| worker.spawn(async {}));
        // All tasks are spawned before the first is awaited, so that all threads are probed at the
        // same time.
        let beats: Vec<_> = beats.collect();
        for check in beats {
            // An error means that the server has ended. Other code reports that.
            let _ = check.await;
        }
    }

    pub(crate) fn set(&self, workers: Vec<Handle>) {
        // A server serves only once.
        let _ = self.workers.set(workers);
    }
}
