//! The server that an admin address shows: its metrics and the control of its planned faults.

use std::fmt;
use std::sync::Arc;

use echoline::Shutdown;
use echoline::metrics::Observer;
use echoline::sources::Sources;
use echoline::tls::Certificates;
use echoline::udp::DatagramCounts;

/// The server that an admin address shows.
#[derive(Debug)]
pub(crate) struct ObservedServer {
    pub(crate) observer: Observer,
    pub(crate) shutdown: Shutdown,
    /// A mode of the echo server, or `chat`.
    pub(crate) mode: &'static str,
    pub(crate) addresses: Vec<String>,
    /// `None` if the server takes no datagrams.
    pub(crate) datagrams: Option<DatagramCounts>,
    /// `None` if the server cannot have planned faults.
    pub(crate) faults: Option<FaultControl>,
    /// `None` without TLS.
    pub(crate) certificates: Option<Certificates>,
    /// The rate limits of each source, and the active penalties.
    pub(crate) sources: Arc<Sources>,
    /// Additional metrics of the service.
    pub(crate) figures: Option<ExtraMetrics>,
}

/// Access to the fault plan of a running server.
///
/// The fields are closures, so that neither side depends on the other's types.
pub(crate) struct FaultControl {
    /// The seed of the random faults.
    pub(crate) seed: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Every rule of the current plan as the user wrote it, and how often it was applied.
    pub(crate) rules: Box<dyn Fn() -> Vec<(String, u64)> + Send + Sync>,
    /// Every kind of fault, and how often it was injected since the start.
    pub(crate) totals: Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>,
    /// Replaces the whole plan. The text has one rule per line. The error is one sentence.
    pub(crate) replace: Box<Replace>,
}

/// A function that installs a plan, or returns the reason why the plan is invalid.
type Replace = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl FaultControl {
    /// Returns the plan with its counts as comments, in a form that can be sent back as a plan.
    pub(super) fn text(&self) -> String {
        let rules = (self.rules)();
        let mut text = format!("# seed {}\n", (self.seed)());
        if rules.is_empty() {
            text.push_str("# no faults are planned\n");
        }
        for (rule, count) in rules {
            let times = if count == 1 { "time" } else { "times" };
            text.push_str(&format!("# happened {count} {times}\n{rule}\n"));
        }
        text
    }
}

impl fmt::Debug for FaultControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultControl").finish_non_exhaustive()
    }
}

/// The kind of a metric without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtraMetricKind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
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

/// Metrics that a command adds, read at each request.
#[derive(Clone)]
pub(crate) struct ExtraMetrics(Arc<dyn Fn() -> Vec<ExtraMetric> + Send + Sync>);

impl ExtraMetric {
    /// Returns a metric that goes up and down.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: ExtraMetricKind::Gauge, value }
    }

    /// Returns a metric that only grows.
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
        f.write_str("ExtraMetrics")
    }
}
