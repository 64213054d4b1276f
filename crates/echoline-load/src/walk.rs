//! What the search for the highest rate has walked through. Pure data.

use std::time::Duration;

use super::record::Record;
use super::times::Percentile;

/// Why a rate was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To find a rate that does not hold.
    Bracket,
    /// To come nearer to the limit.
    Bisect,
    /// To see whether the limit holds again.
    Confirm,
}

/// One rate that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Messages per second as planned.
    pub rate: f64,
    /// Right answers per second.
    pub achieved: f64,
    /// Why it was tried.
    pub purpose: Purpose,
    /// Latency from the intended time, time-outs with their age.
    pub p50: Option<Duration>,
    /// The same.
    pub p99: Option<Duration>,
    /// The same.
    pub p999: Option<Duration>,
    /// Messages that were answered wrong, late or never, as a share of those planned.
    pub errors: f64,
    /// What of the objective was broken, as sentences; empty where the rate held.
    pub broken: Vec<String>,
}

impl Step {
    /// Whether the rate held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.broken.is_empty()
    }

    /// What a run at `rate` for `elapsed` showed.
    #[must_use]
    pub fn new(
        rate: f64,
        purpose: Purpose,
        record: &Record,
        elapsed: Duration,
        broken: Vec<String>,
    ) -> Self {
        let times = record.response_times();
        let [p50, _, p99, p999] = Percentile::SHOWN.map(|percentile| times.percentile(percentile));
        let ledger = &record.ledger;
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let achieved = ledger.ok() as f64 / seconds;
        Self { rate, achieved, purpose, p50, p99, p999, errors: record.error_share(), broken }
    }
}

/// The search for the highest rate that holds an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The objective as it was written, `p99<5ms,errors<0.1%`.
    pub objective: String,
    /// The rates in the order in which they were tried.
    pub steps: Vec<Step>,
    /// The highest rate that held each time; `None` where none did.
    pub highest: Option<f64>,
    /// How it ended, as a sentence.
    pub verdict: String,
}
