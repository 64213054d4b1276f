//! What a command tells of itself in metrics, besides connections.

use std::fmt;
use std::sync::Arc;

/// The kind of a metric without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtraMetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One metric without labels.
#[derive(Clone, Debug)]
pub(crate) struct ExtraMetric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: ExtraMetricKind,
    pub(super) value: u64,
}

/// Where they are read, each time that somebody asks.
#[derive(Clone)]
pub(crate) struct ExtraMetrics(Arc<dyn Fn() -> Vec<ExtraMetric> + Send + Sync>);

impl ExtraMetric {
    /// Something that goes up and down.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: ExtraMetricKind::Gauge, value }
    }

    /// Something that only grows.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: ExtraMetricKind::Counter, value }
    }
}

impl ExtraMetrics {
    pub(crate) fn new(read: impl Fn() -> Vec<ExtraMetric> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(super) fn read(&self) -> Vec<ExtraMetric> {
        (self.0)()
    }
}

impl fmt::Debug for ExtraMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}
