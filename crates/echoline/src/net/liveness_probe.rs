//! Whether the threads of a server are alive: for a watchdog.

use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

/// A handle that feels the pulse of a server, from anywhere; clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct LivenessProbe {
    /// Set once the server serves.
    workers: Arc<OnceLock<Vec<Handle>>>,
}

impl LivenessProbe {
    /// Waits until each thread that serves connections has done something new: about as long as a
    /// connection there waits for its turn, and for ever where a handler blocks its thread. To be
    /// awaited under a time-out. Completes at once before the server serves. Cancel safe.
    pub async fn check(&self) {
        let beats = self.workers.get().into_iter().flatten().map(|worker| worker.spawn(async {}));
        // All at once: they are threads of their own.
        let beats: Vec<_> = beats.collect();
        for check in beats {
            // An error means that the server has ended meanwhile, which is another's business.
            let _ = check.await;
        }
    }

    pub(super) fn set(&self, workers: Vec<Handle>) {
        // A server serves once.
        let _ = self.workers.set(workers);
    }
}
