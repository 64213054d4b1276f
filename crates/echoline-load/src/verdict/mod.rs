//! The judgement of a run: metrics, objectives, and warnings that its figures are unreliable.

mod early_stop;
pub(crate) mod lag;
mod metric;
mod objective;
pub(crate) mod warnings;

pub use metric::Metric;
pub use objective::{Breach, ComparisonOperator, Objective, ObjectiveError, Objectives};
pub use warnings::{MeasurementWarning, ProcessorTime};
