//! Measures the tester's own processor time.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tokio::time::Instant;

use crate::verdict::ProcessorTime;

/// Measures the processor time of this process from one instant on.
pub(super) struct ProcessorMeter {
    start: Instant,
    /// The processor time in user and in system mode so far; `None` if the system does not report
    /// it.
    used: Option<(Duration, Duration)>,
}

impl ProcessorMeter {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), used: processor_time() }
    }

    pub(super) fn read(&self) -> Option<ProcessorTime> {
        let ((user_before, system_before), (user, system)) = self.used.zip(processor_time())?;
        Some(ProcessorTime {
            user: user.saturating_sub(user_before),
            system: system.saturating_sub(system_before),
            elapsed: self.start.elapsed(),
        })
    }
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
