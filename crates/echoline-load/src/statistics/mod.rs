//! The measurements of a run: counts of messages, histograms of times, and both as a series over
//! time.

pub(crate) mod duration_histogram;
pub(crate) mod ledger;
pub(crate) mod nanos;
pub(crate) mod outage;
pub(crate) mod rank;
mod record;
pub(crate) mod series;

pub use duration_histogram::{DurationHistogram, Percentile};
pub use ledger::{DatagramAnomalies, DatagramAnomaly, Ledger, MessageOutcome, SkipReason};
pub use outage::ServerOutage;
pub use record::{CorrectReply, RunRecord};
pub use series::{Series, SeriesInterval};
