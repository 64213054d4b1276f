//! How far a run is, for whoever watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::job::{Common, Job};
use super::ledger::Ledger;
use super::objective::Objective;
use super::series::Slot;

/// A glance at a run.
#[derive(Clone, Debug)]
pub struct View {
    /// Since the common start; zero before.
    pub elapsed: Duration,
    /// When the plan ends, from the common start; `None` where a number of messages ends it.
    pub end: Option<Duration>,
    /// Connections that are open.
    pub open: u32,
    /// Whether what happens now is accounted for apart.
    pub is_warm_up: bool,
    /// The accounts of warm-up and measuring together, of what is settled.
    pub ledger: Ledger,
    /// What happened in the last whole stretch of the series, a second in short runs; `None` before
    /// the first is over.
    pub recent: Option<Slot>,
    /// The length of that stretch.
    pub recent_length: Duration,
    /// The alarm that is certain to come true and has stopped the run.
    pub foregone: Option<Objective>,
}

impl View {
    pub(super) fn new(common: &Common, jobs: &[Arc<Job>], foregone: Option<Objective>) -> Self {
        let settings = &common.settings;
        let elapsed = common.start.elapsed(Instant::now());
        let mut view = Self {
            elapsed,
            end: settings.end(),
            open: jobs.iter().map(|job| job.open_now()).sum(),
            is_warm_up: elapsed < settings.warm_up,
            ledger: Ledger::default(),
            recent: None,
            recent_length: Duration::ZERO,
            foregone,
        };
        let before = if view.is_warm_up { Duration::ZERO } else { settings.warm_up };
        for job in jobs {
            let mut records = job.records();
            view.ledger.merge(&records.warm_up.ledger);
            view.ledger.merge(&records.measured.ledger);
            let series = &records.of(view.is_warm_up).series;
            view.recent_length = series.length();
            if let Some(slot) = series.last_whole(elapsed.saturating_sub(before)) {
                view.recent.get_or_insert_default().merge(slot);
            }
        }
        view
    }
}
