//! The limits of a server, changed while it runs.

use std::sync::{Arc, Mutex};

use super::config::ConnectionConfig;
use super::limits::Limits;
use echoline_base::poison::IgnorePoison;

/// A handle that changes the [`Limits`] of a server, before it serves or while it does; clones are
/// the same handle.
///
/// Who connects from now on has the new limits. A connection keeps those with which it began,
/// because its dialogue may have been told of them; only how many may come, and how long a drain
/// takes, is always asked anew.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    config: Arc<Mutex<Arc<ConnectionConfig>>>,
}

impl LiveLimits {
    pub(super) fn new(config: ConnectionConfig) -> Self {
        Self { config: Arc::new(Mutex::new(Arc::new(config))) }
    }

    /// The limits that a new connection has.
    #[must_use]
    pub fn current(&self) -> Limits {
        self.config().limits.clone()
    }

    /// Puts `limits` in force for new connections. Those that are over a lower limit of places
    /// stay; nobody new comes in until there is room.
    pub fn set(&self, limits: Limits) {
        self.change(|config| config.limits = limits);
    }

    /// What a connection that begins now begins with.
    pub(super) fn config(&self) -> Arc<ConnectionConfig> {
        Arc::clone(&self.config.lock().ignore_poison())
    }

    /// Puts changed terms in the place of those that hold.
    pub(super) fn change(&self, change: impl FnOnce(&mut ConnectionConfig)) {
        let mut config = self.config.lock().ignore_poison();
        let mut new = config.with_fresh_permits();
        change(&mut new);
        // Once more, because there are as many permits as the changed limits say.
        *config = Arc::new(new.with_fresh_permits());
    }
}
