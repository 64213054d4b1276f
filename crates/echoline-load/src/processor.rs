//! The tester's own processor time.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// In the program and in the system on its behalf, since the process began; `None` where the
/// system does not tell.
pub(super) fn used() -> Option<(Duration, Duration)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((duration(usage.user_time())?, duration(usage.system_time())?))
}

fn duration(time: TimeVal) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    let micros = u64::try_from(time.tv_usec()).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}
