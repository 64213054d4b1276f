//! The limits of a server, changed while it runs.

use std::sync::{Arc, Mutex};

use super::limits::Limits;
use super::terms::Terms;
use echoline_base::poison::IgnorePoison;

/// A handle that changes the [`Limits`] of a server, before it serves or while it does; clones are
/// the same handle.
///
/// Who connects from now on has the new limits. A connection keeps those with which it began,
/// because its dialogue may have been told of them; only how many may come, and how long a drain
/// takes, is always asked anew.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    terms: Arc<Mutex<Arc<Terms>>>,
}

impl LiveLimits {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms: Arc::new(Mutex::new(Arc::new(terms))) }
    }

    /// The limits that a new connection has.
    #[must_use]
    pub fn current(&self) -> Limits {
        self.terms().limits.clone()
    }

    /// Puts `limits` in force for new connections. Those that are over a lower limit of places
    /// stay; nobody new comes in until there is room.
    pub fn set(&self, limits: Limits) {
        self.change(|terms| terms.limits = limits);
    }

    /// What a connection that begins now begins with.
    pub(super) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.lock().ignore_poison())
    }

    /// Puts changed terms in the place of those that hold.
    pub(super) fn change(&self, change: impl FnOnce(&mut Terms)) {
        let mut terms = self.terms.lock().ignore_poison();
        let mut new = terms.renewed();
        change(&mut new);
        // Once more, because there are as many permits as the changed limits say.
        *terms = Arc::new(new.renewed());
    }
}
