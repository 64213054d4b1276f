//! A system timer that is finer than the runtime's.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// Waits until `due`. With `timer` this is as precise as the system allows, and never later than
/// with the runtime's timer. Cancel safe.
pub(crate) async fn exactly(timer: &mut Option<Timer>, due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match timer {
            _ if left.is_zero() => return,
            // The runtime's timer is needed for a clock that a test has paused.
            Some(timer) => tokio::select! {
                () = timer.sleep(left) => {}
                () = sleep_until(due) => {}
            },
            None => sleep_until(due).await,
        }
    }
}

/// A timer descriptor (timerfd_create(2)), whose times are not rounded up to ticks.
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<Descriptor>);

/// A timer descriptor in the form that the runtime registers.
#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// Creates a timer. Returns `None` if the system provides no timer descriptor.
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, and asks for nothing more than \
        that the descriptor is owned and stays the same: that of a `Descriptor` is and does"
    )]
    pub(crate) fn new() -> Option<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
        AsyncFd::new(Descriptor(timer)).ok().map(Self)
    }

    /// Sleeps for about `length`. It may return early. Cancel safe.
    pub(crate) async fn sleep(&mut self, length: Duration) {
        // A length of zero would switch the timer off.
        let once = Expiration::OneShot(length.max(Duration::from_nanos(1)).into());
        let set = self.0.get_ref().0.set(once, TimerSetTimeFlags::empty());
        if set.is_err() {
            return tokio::time::sleep(length).await;
        }
        // The runtime gets an event for each expiry, so the expiry count need not be read.
        if let Ok(mut ready) = self.0.readable().await {
            ready.clear_ready();
        }
    }
}
