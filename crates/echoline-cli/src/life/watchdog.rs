//! The service manager's watchdog: it ends a process that does not say in time that it is alive.

use std::env;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::notify::{News, Notifier};
use echoline::metrics::LivenessProbe;

/// How long this process may be silent (sd_watchdog_enabled(3)); `None` where nobody watches.
pub(super) fn limit() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let for_us = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|&limit| limit > 0 && for_us).map(Duration::from_micros)
}

/// Says twice in every `limit` that the process is alive, but only if all of its threads are: one
/// that hangs serves nobody, while the others look as if all were well. Never ends.
pub(super) async fn reassure(notifier: &Notifier, liveness_probe: &LivenessProbe, limit: Duration) {
    let mut silent = false;
    loop {
        let next = Instant::now() + limit / 2;
        let check = timeout_at(next, liveness_probe.check()).await;
        match check {
            Ok(()) => notifier.tell(&[News::Watchdog]),
            Err(_) if !silent => {
                tracing::error!("a thread that serves connections hangs: the watchdog is not told")
            }
            Err(_) => {}
        }
        silent = check.is_err();
        sleep_until(next).await;
    }
}
