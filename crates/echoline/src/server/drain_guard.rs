//! Ends a server: retires it, drains it or aborts its connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::registry::ConnectionRegistry;
use super::shutdown::{Phase, Shutdown};
use crate::connection::config::LiveLimits;

/// The maximum wait for aborted connections to end. Only a handler that blocks its thread takes
/// this long.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Ends the connections of one server. [`drain`](Self::drain) ends them in order, and dropping this
/// value ends them at once.
pub(crate) struct DrainGuard {
    pub(crate) live: LiveLimits,
    pub(crate) shutdown: Shutdown,
    pub(crate) registry: Arc<ConnectionRegistry>,
}

impl DrainGuard {
    /// Waits until the server has retired and its last connection has ended; never completes if
    /// the server drains without having retired.
    pub(crate) async fn retired(&self) {
        self.shutdown.reached(Phase::Retiring).await;
        if self.shutdown.phase() != Phase::Retiring {
            return std::future::pending().await;
        }
        tracing::info!(
            open = self.registry.open(),
            "no longer accepting connections; open ones continue"
        );
        self.registry.empty().await;
    }

    /// Waits until the connections have ended, for [`Limits::drain_timeout`] at most, then aborts
    /// the rest.
    ///
    /// [`Limits::drain_timeout`]: crate::Limits::drain_timeout
    pub(crate) async fn drain(&self) {
        let open = self.registry.open();
        if open > 0 {
            tracing::info!(open, "waiting for connections to finish");
        }
        let drained = timeout(self.live.config().limits.drain_timeout, async {
            tokio::select! {
                () = self.registry.empty() => {}
                () = self.shutdown.reached(Phase::Aborting) => {}
            }
        });
        let _ = drained.await;
        self.abort();
        let _ = timeout(ABORT_TIMEOUT, self.registry.empty()).await;
    }

    fn abort(&self) {
        self.shutdown.abort();
        // The change of the phase wakes only lingering connections. The tasks of handlers must be
        // woken one by one.
        self.registry.wake_all();
    }
}

impl Drop for DrainGuard {
    fn drop(&mut self) {
        self.abort();
    }
}
