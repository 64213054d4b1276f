//! The rates that a search for the highest rate has tried. Plain data. A rate "holds" if a run at
//! this rate meets the objectives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::nanos;
use crate::statistics::{Percentile, RunRecord};

/// The purpose of a trial at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialPurpose {
    /// Finds a rate that does not hold.
    Bracket,
    /// Narrows the range between the highest rate that holds and the lowest that does not.
    Bisect,
    /// Checks that the highest rate holds again.
    Confirm,
}

/// A trial at one rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchStep {
    /// The planned number of messages per second.
    pub rate: f64,
    /// The number of correct replies per second.
    pub achieved: f64,
    /// The purpose of the trial.
    pub purpose: TrialPurpose,
    /// The median latency, counted from the intended time. A message that timed out counts with its
    /// age.
    #[serde(rename = "p50_ns", with = "nanos::option")]
    pub p50: Option<Duration>,
    /// The 99th percentile of the same latency.
    #[serde(rename = "p99_ns", with = "nanos::option")]
    pub p99: Option<Duration>,
    /// The 99.9th percentile of the same latency.
    #[serde(rename = "p99.9_ns", with = "nanos::option")]
    pub p999: Option<Duration>,
    /// Share of the planned messages that got a wrong reply, a late reply or no reply.
    pub errors: f64,
    /// The objectives that were not met, as sentences; empty if the rate held.
    pub broken: Vec<String>,
}

impl SearchStep {
    /// Returns whether the rate held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.broken.is_empty()
    }

    /// Returns the step for a run at `rate` that took `elapsed`.
    #[must_use]
    pub fn new(
        rate: f64,
        purpose: TrialPurpose,
        record: &RunRecord,
        elapsed: Duration,
        broken: Vec<String>,
    ) -> Self {
        let times = record.response_times();
        let [p50, _, p99, p999] =
            Percentile::DEFAULTS.map(|percentile| times.percentile(percentile));
        let ledger = &record.ledger;
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let achieved = ledger.ok() as f64 / seconds;
        Self { rate, achieved, purpose, p50, p99, p999, errors: record.error_share(), broken }
    }
}

/// The search for the highest rate at which the server meets the objectives.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchTrace {
    /// The objective as it was written, `p99<5ms,errors<0.1%`.
    pub objective: String,
    /// The rates in the order in which they were tried.
    pub steps: Vec<SearchStep>,
    /// The highest rate that held in each of its trials; `None` if no rate held.
    pub highest: Option<f64>,
    /// The result, as a sentence.
    pub verdict: String,
}
