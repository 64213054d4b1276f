//! The progress of a run, for a display.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::worker::{LoadWorker, RunContext};
use crate::statistics::{Ledger, SeriesInterval};
use crate::verdict::Objective;

/// The state of a run at one moment.
#[derive(Clone, Debug)]
pub struct RunProgress {
    /// The time since the common start; zero before the start.
    pub elapsed: Duration,
    /// The end of the plan, from the common start; `None` if a number of messages ends it.
    pub end: Option<Duration>,
    /// The number of open connections.
    pub open: u32,
    /// Whether the run is in its warm-up.
    pub is_warm_up: bool,
    /// The settled messages of the warm-up and of the measured time together.
    pub ledger: Ledger,
    /// The last complete interval of the series, which is a second in short runs; `None` before the
    /// first interval is complete.
    pub recent: Option<SeriesInterval>,
    /// The length of the interval in `recent`.
    pub recent_length: Duration,
    /// The alarm that is certain to be met and has stopped the run.
    pub certain_alarm: Option<Objective>,
}

impl RunProgress {
    pub(super) fn new(
        context: &RunContext,
        workers: &[Arc<LoadWorker>],
        certain_alarm: Option<Objective>,
    ) -> Self {
        let settings = &context.settings;
        let elapsed = context.start.elapsed(Instant::now());
        let mut progress = Self {
            elapsed,
            end: settings.end(),
            open: workers.iter().map(|worker| worker.open_now()).sum(),
            is_warm_up: elapsed < settings.warm_up,
            ledger: Ledger::default(),
            recent: None,
            recent_length: Duration::ZERO,
            certain_alarm,
        };
        let before = if progress.is_warm_up { Duration::ZERO } else { settings.warm_up };
        for worker in workers {
            let mut records = worker.records();
            progress.ledger.merge(&records.warm_up.ledger);
            progress.ledger.merge(&records.measured.ledger);
            let series = &records.of(progress.is_warm_up).series;
            progress.recent_length = series.length();
            if let Some(interval) = series.last_complete(elapsed.saturating_sub(before)) {
                progress.recent.get_or_insert_default().merge(interval);
            }
        }
        progress
    }
}
