//! Calls a hook with the number of open connections when few slots are left.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::summary::Hook;
use echoline_base::poison::IgnorePoison;
use echoline_base::supervise::catch_panic;

/// The minimum interval between two calls of the hook.
const PAUSE: Duration = Duration::from_millis(500);

/// The number of connections of a server that has few free slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionUsage {
    /// The number of open connections.
    pub open: usize,
    /// [`Limits::max_connections`](crate::Limits::max_connections).
    pub max: usize,
}

impl ConnectionUsage {
    /// Returns the number of connections above nine tenths of the limit.
    #[must_use]
    pub fn excess(&self) -> usize {
        self.open.saturating_sub(self.max - self.max.div_ceil(10))
    }
}

/// A hook that is called when more than nine tenths of the slots are in use.
pub(crate) type UsageHook = Hook<dyn Fn(ConnectionUsage) + Send + Sync>;

/// The hook, and the time of its last call.
#[derive(Debug, Default)]
pub(crate) struct NearlyFullHook {
    hook: OnceLock<UsageHook>,
    called: Mutex<Option<Instant>>,
}

impl NearlyFullHook {
    pub(crate) fn set_hook(&self, hook: UsageHook) {
        // The first hook stays: a server has one hook.
        let _ = self.hook.set(hook);
    }

    /// Calls the hook if few slots are left, unless it was called recently.
    #[inline]
    pub(crate) fn note(&self, usage: ConnectionUsage) {
        if usage.excess() > 0 && self.hook.get().is_some() {
            self.call(usage);
        }
    }

    #[cold]
    fn call(&self, usage: ConnectionUsage) {
        let now = Instant::now();
        {
            let mut called = self.called.lock().ignore_poison();
            if called.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
                return;
            }
            *called = Some(now);
        }
        let Some(Hook(hook)) = self.hook.get() else { return };
        // A panic of the hook must not stop the listeners.
        if catch_panic(|| hook(usage)).is_err() {
            tracing::error!("the hook Server::on_nearly_full panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_excess_is_above_nine_tenths() {
        for (open, max, excess) in
            [(0, 10, 0), (9, 10, 0), (10, 10, 1), (900, 1000, 0), (901, 1000, 1), (7, 7, 1)]
        {
            assert_eq!(ConnectionUsage { open, max }.excess(), excess, "{open} of {max}");
        }
        assert_eq!(ConnectionUsage { open: 3, max: 0 }.excess(), 3);
    }

    /// Issue 12, item 21: during a flood of connections to a full server, the hook is called at
    /// intervals, and its panic does not use up a slot.
    #[tokio::test(start_paused = true)]
    async fn attack_a_flood_at_a_full_server_calls_the_hook_now_and_then() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let nearly_full = NearlyFullHook::default();
        nearly_full.note(ConnectionUsage { open: 10, max: 10 });
        let seen = Arc::clone(&calls);
        nearly_full.set_hook(Hook(Box::new(move |usage: ConnectionUsage| {
            seen.lock().unwrap().push(usage.excess());
            panic!("it is logged");
        })));
        for _ in 0..1000 {
            nearly_full.note(ConnectionUsage { open: 9, max: 10 });
            nearly_full.note(ConnectionUsage { open: 10, max: 10 });
        }
        tokio::time::advance(PAUSE).await;
        nearly_full.note(ConnectionUsage { open: 12, max: 10 });
        assert_eq!(*calls.lock().unwrap(), [1, 3]);
    }
}
