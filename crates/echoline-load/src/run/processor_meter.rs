//! Measures the tester's own processor time.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tokio::time::Instant;

use crate::exchange::worker::LoadWorker;
use crate::verdict::ProcessorTime;
use echoline::internals::PollingUse;

/// Measures the processor time of this process from one instant on.
pub(super) struct ProcessorMeter {
    start: Instant,
    /// The processor time in user and in system mode so far; `None` if the system does not report
    /// it.
    used: Option<(Duration, Duration)>,
    polling: PollingUse,
}

impl ProcessorMeter {
    pub(super) fn start(workers: &[Arc<LoadWorker>]) -> Self {
        Self { start: Instant::now(), used: processor_time(), polling: polling_use(workers) }
    }

    pub(super) fn read(&self, workers: &[Arc<LoadWorker>]) -> Option<ProcessorTime> {
        let polling = polling_use(workers);
        let ((user_before, system_before), (user, system)) = self.used.zip(processor_time())?;
        Some(ProcessorTime {
            user: user.saturating_sub(user_before),
            system: system.saturating_sub(system_before),
            elapsed: self.start.elapsed(),
            polled: polling.polled.saturating_sub(self.polling.polled),
            polling_pauses: polling.pauses.saturating_sub(self.polling.pauses),
        })
    }
}

/// Returns what polling took of all threads so far.
fn polling_use(workers: &[Arc<LoadWorker>]) -> PollingUse {
    workers.iter().fold(PollingUse::default(), |mut all, worker| {
        let PollingUse { polled, pauses } = worker.alarm.polling_use();
        all.polled += polled;
        all.pauses += pauses;
        all
    })
}

/// Returns the processor time of this process in user and in system mode.
fn processor_time() -> Option<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((duration(usage.user_time())?, duration(usage.system_time())?))
}

fn duration(time: TimeVal) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    let micros = u64::try_from(time.tv_usec()).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}
