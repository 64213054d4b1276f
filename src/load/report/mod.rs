//! What a run has to say.

mod text;

use std::time::Duration;

use super::record::Record;
use super::run::Settings;

/// The result of a run. Its [`Display`](std::fmt::Display) is the report for people.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was to be done.
    pub settings: Settings,
    /// From the first connection's beginning to the last client's end.
    pub elapsed: Duration,
    /// What happened.
    pub record: Record,
}

impl Report {
    /// Whether every planned message was answered right.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.record.ledger.ok() == self.record.ledger.planned()
    }

    /// Right answers per second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.record.ledger.ok() as f64 / seconds } else { 0.0 }
    }
}
