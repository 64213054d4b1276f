//! The report of a run: its text, JSON, CSV, HDR log and HTML page, and how reports are merged and
//! compared.

mod chart;
mod comparison;
mod csv;
mod encoding;
mod hdr_log;
mod html;
mod json;
mod merge;
#[cfg(test)]
pub(crate) mod sample;
mod search_trace;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::{Percentile, RunRecord};
use crate::verdict::{MeasurementWarning, ProcessorTime};

pub use comparison::{ChangeVerdict, CompareError, Difference, RunComparison};
pub use json::{FORMAT, ReadError};
pub use merge::MergeError;
pub use search_trace::{SearchStep, SearchTrace, TrialPurpose};

/// Whether messages have planned send times, or wait for the replies to earlier messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopMode {
    /// A client sends a message when its last one was answered. This measures service time.
    Closed,
    /// Messages have intended send times, which do not depend on replies.
    Open,
}

/// The settings of a run, as reports show and compare them.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Whether the run is an open or a closed loop.
    pub mode: LoopMode,
    /// The number of simultaneous connections.
    pub clients: u32,
    /// The planned number of messages per second, on average. It is `None` in a closed loop.
    pub rate: Option<f64>,
    /// The planned time; `None` if a number of messages ends the run.
    pub duration: Option<Duration>,
    /// The addresses of the servers.
    pub targets: Vec<String>,
    /// The size of the longest message in bytes, line end included.
    pub bytes: usize,
    /// The seed of bodies and random times.
    pub seed: u64,
    /// The percentiles that the report shows for each histogram.
    pub percentiles: Vec<Percentile>,
    /// Every setting in the order in which it is shown: the name of its flag, and its value.
    pub listed: Vec<(String, String)>,
}

/// The result of a run: plain data. Its [`Display`](std::fmt::Display) is the report for people.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// The version of the tester.
    pub version: String,
    /// Wall-clock time when the run began, as text; empty if it is not known.
    pub started: String,
    /// Wall-clock time at which the measured time began, after the warm-up, since the Unix epoch;
    /// `None` if it is not known.
    pub measuring_began: Option<Duration>,
    /// The settings of the run.
    pub settings: RunSummary,
    /// The measured time, from the end of the warm-up to the end of the last client.
    pub elapsed: Duration,
    /// The measurements of the measured time.
    pub record: RunRecord,
    /// The measurements of the warm-up, if there was one. They cover the messages whose intended
    /// time, or in closed loop whose send time, was before the end of the warm-up.
    pub warm_up: Option<RunRecord>,
    /// Processor time of the tester; `None` if the system does not report it.
    pub processor: Option<ProcessorTime>,
    /// The reasons why the figures are unreliable.
    pub warnings: Vec<MeasurementWarning>,
    /// The search for the highest rate, if there was one. The other fields are then those of the
    /// last run at this rate.
    pub search: Option<SearchTrace>,
}

impl RunSummary {
    /// Returns the percentiles that files have in addition to the default ones.
    fn extra_percentiles(&self) -> impl Iterator<Item = Percentile> {
        self.percentiles
            .iter()
            .copied()
            .filter(|percentile| !Percentile::DEFAULTS.contains(percentile))
    }
}

impl LoadReport {
    /// Returns whether every planned message was answered correctly.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.record.ledger.ok() == self.record.ledger.planned()
    }

    /// Returns whether no client could open a connection. In this case nothing was measured.
    pub(crate) fn is_without_connection(&self) -> bool {
        let records = [Some(&self.record), self.warm_up.as_ref()].into_iter().flatten();
        let is_idle = |record: &RunRecord| record.connections == 0 && record.ledger.sent() == 0;
        self.search.is_none()
            && self.record.ledger.skipped() > 0
            && records.into_iter().all(is_idle)
    }

    /// Returns the number of correct replies per second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.record.ledger.ok() as f64 / seconds } else { 0.0 }
    }
}
