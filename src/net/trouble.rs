//! A listener out of descriptors: what it keeps for that, and what it says about it.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::listener::{BackOff, Reserve};

/// What one listener keeps for bad times.
pub(super) struct Trouble {
    pub(super) back_off: BackOff,
    pub(super) reserve: Reserve,
    /// What somebody hears for whom there is no descriptor.
    pub(super) words: String,
    /// When the trouble was last told.
    logged: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(words: Option<String>) -> Self {
        let words = words.unwrap_or_default();
        Self { back_off: BackOff::default(), reserve: Reserve::open(), words, logged: None }
    }

    pub(super) fn log(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now - logged >= Duration::from_secs(1)) {
            self.logged = Some(now);
            let hint = "raise the descriptor limit (ulimit -n)";
            tracing::warn!(%error, "cannot accept connections; {hint}");
        }
    }
}
