//! What a run has to say.

mod chart;
mod csv;
mod hdr;
mod histogram;
mod html;
mod json;
mod merge;
#[cfg(test)]
pub(crate) mod sample;
mod text;
mod wall_clock;

use std::time::Duration;

use super::record::Record;
use super::times::Percentile;
use super::trust::{Distrust, Processor};
use super::walk::Walk;

pub use merge::MergeError;

pub use json::{FORMAT, ReadError};

/// Whether messages come by a plan of their own, or wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A client sends when its last message was answered: what is measured is service time.
    Closed,
    /// Messages are intended for times of a plan, whatever becomes of others.
    Open,
}

/// What was to be done, as it is shown and compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Open or closed loop.
    pub mode: Mode,
    /// Connections at once.
    pub clients: u32,
    /// Messages per second of the plan, on average; `None` in closed loop.
    pub rate: Option<f64>,
    /// How long it was to be measured; `None` where a number of messages ends the run.
    pub duration: Option<Duration>,
    /// The servers, as they were named.
    pub targets: Vec<String>,
    /// The longest message, its line end included.
    pub bytes: usize,
    /// The seed of bodies and random times.
    pub seed: u64,
    /// The percentiles that are shown of each time.
    pub percentiles: Vec<Percentile>,
    /// Every setting as a name, that of its flag, and a value: these too, in the order in which
    /// they are to be shown.
    pub listed: Vec<(String, String)>,
}

/// The result of a run: plain data. Its [`Display`](std::fmt::Display) is the report for people.
#[derive(Clone, Debug)]
pub struct Report {
    /// The version of the tester.
    pub version: String,
    /// Wall-clock time when the run began, as text; empty if it is not known.
    pub started: String,
    /// Wall-clock time when the measuring began, after the warm-up, from the beginning of 1970 in
    /// UTC; `None` if it is not known.
    pub measuring_began: Option<Duration>,
    /// What was to be done.
    pub settings: Summary,
    /// What was measured, from the end of the warm-up to the last client's end.
    pub elapsed: Duration,
    /// What happened in that time.
    pub record: Record,
    /// What happened in the warm-up, where there was one: messages that were intended, or in
    /// closed loop sent, before its end.
    pub warm_up: Option<Record>,
    /// Processor time of the tester; `None` where the system does not tell.
    pub processor: Option<Processor>,
    /// Why the figures are not to be trusted; empty where they are.
    pub distrust: Vec<Distrust>,
    /// The search for the highest rate, where there was one; then the rest is the last run at
    /// that rate.
    pub walk: Option<Walk>,
}

impl Summary {
    /// The percentiles that files have beside those that every file has.
    fn extra_percentiles(&self) -> impl Iterator<Item = Percentile> {
        self.percentiles
            .iter()
            .copied()
            .filter(|percentile| !Percentile::SHOWN.contains(percentile))
    }
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
