//! Wakes many waiters at their due times. It is more precise than the runtime's timer, which ticks
//! once per millisecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::polling::{Polling, PollingControl, PollingUse};
use super::precise::Timer;
use echoline_base::poison::IgnorePoison;

/// The precision of a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Precise to the millisecond. Uses the runtime's own timer, which tests can pause.
    Tick,
    /// Precise to some tens of microseconds: a timer of the system. If the thread polls before each
    /// due time, precise to a few microseconds.
    Exact(Polling),
}

/// The timer of one thread. Its [`run`](Self::run) wakes the tasks.
#[derive(Debug)]
pub struct Alarm {
    precision: Precision,
    /// The waiting tasks. There is at most one entry for each connection, plus outdated entries of
    /// tasks that were woken by something else.
    wakers: Mutex<BinaryHeap<Reverse<ScheduledWaker>>>,
    /// Signals that the next due time has changed.
    changed: Notify,
    /// Nanoseconds of polling, and pauses.
    polled: AtomicU64,
    pauses: AtomicU32,
}

#[derive(Debug)]
struct ScheduledWaker {
    due: Instant,
    waker: Waker,
}

impl Alarm {
    /// Creates an alarm without waiters.
    pub fn new(precision: Precision) -> Self {
        Self {
            precision,
            wakers: Mutex::default(),
            changed: Notify::new(),
            polled: AtomicU64::new(0),
            pauses: AtomicU32::new(0),
        }
    }

    /// Returns what polling took so far. May be called from any thread.
    pub fn polling_use(&self) -> PollingUse {
        PollingUse {
            polled: Duration::from_nanos(self.polled.load(Ordering::Relaxed)),
            pauses: self.pauses.load(Ordering::Relaxed),
        }
    }

    /// Wakes `waker` at `due`.
    pub fn wake_at(&self, due: Instant, waker: Waker) {
        let mut wakers = self.wakers.lock().ignore_poison();
        let is_next = wakers.peek().is_none_or(|Reverse(next)| due < next.due);
        wakers.push(Reverse(ScheduledWaker { due, waker }));
        drop(wakers);
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Wakes every waiter at once, because the run is ending.
    pub fn wake_all(&self) {
        let mut wakers = self.wakers.lock().ignore_poison();
        wakers.drain().for_each(|Reverse(waiter)| waiter.waker.wake());
    }

    /// Wakes the waiters at their times. Never completes.
    pub async fn run(&self) {
        let (mut timer, polling) = match self.precision {
            Precision::Tick => (None, Polling::Fixed(Duration::ZERO)),
            Precision::Exact(polling) => (Timer::new(), polling),
        };
        let mut control = PollingControl::new(polling);
        loop {
            match self.wake_due(Instant::now()) {
                None => self.changed.notified().await,
                Some(due) => tokio::select! {
                    () = self.until(due, &mut timer, &mut control) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    /// Wakes the tasks that are due, and returns the next due time.
    fn wake_due(&self, now: Instant) -> Option<Instant> {
        let mut wakers = self.wakers.lock().ignore_poison();
        while let Some(Reverse(next)) = wakers.peek() {
            if next.due > now {
                return Some(next.due);
            }
            if let Some(Reverse(waiter)) = wakers.pop() {
                waiter.waker.wake();
            }
        }
        None
    }

    /// Waits until `due`. Cancel safe.
    async fn until(&self, due: Instant, timer: &mut Option<Timer>, control: &mut PollingControl) {
        loop {
            let now = Instant::now();
            let left = due.saturating_duration_since(now);
            let polling = control.length(now);
            if left.is_zero() {
                return self.end_polling(now, control);
            }
            if left <= polling {
                control.note_poll(now);
                // The runtime polls for input each time, without sleeping.
                tokio::task::yield_now().await;
                continue;
            }
            self.end_polling(now, control);
            let until = due - polling;
            match timer {
                Some(timer) => timer.sleep(left - polling).await,
                None => sleep_until(until).await,
            }
            let woken = Instant::now();
            if woken >= until {
                control.note_wake_up(woken - until);
            }
        }
    }

    fn end_polling(&self, now: Instant, control: &mut PollingControl) {
        control.end_stretch(now, involuntary_switches);
        let PollingUse { polled, pauses } = control.used();
        let polled = u64::try_from(polled.as_nanos()).unwrap_or(u64::MAX);
        self.polled.store(polled, Ordering::Relaxed);
        self.pauses.store(pauses, Ordering::Relaxed);
    }
}

/// Returns how often the system took the core from this thread, to give it to another one
/// (getrusage(2), `ru_nivcsw`); zero if it does not tell.
fn involuntary_switches() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok();
    usage.and_then(|usage| usage.involuntary_context_switches().try_into().ok()).unwrap_or(0)
}

impl PartialEq for ScheduledWaker {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for ScheduledWaker {}

impl PartialOrd for ScheduledWaker {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ScheduledWaker {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Poll;

    use super::*;

    async fn wait(alarm: &Alarm, due: Instant) {
        let mut asked = false;
        poll_fn(|cx| {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut asked, true) {
                alarm.wake_at(due, cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    async fn in_order(precision: Precision) -> Vec<u64> {
        let alarm = Arc::new(Alarm::new(precision));
        let running = tokio::spawn({
            let alarm = Arc::clone(&alarm);
            async move { alarm.run().await }
        });
        let start = Instant::now();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waits = tokio::task::JoinSet::new();
        // The times are long enough that all tasks wait before the first is due, even on a busy
        // host.
        for millis in [300, 100, 200] {
            let (alarm, woken) = (Arc::clone(&alarm), Arc::clone(&woken));
            waits.spawn(async move {
                wait(&alarm, start + Duration::from_millis(millis)).await;
                woken.lock().unwrap().push(millis);
            });
        }
        waits.join_all().await;
        assert!(start.elapsed() >= Duration::from_millis(300));
        running.abort();
        let woken = woken.lock().unwrap();
        woken.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_wake_in_order() {
        assert_eq!(in_order(Precision::Tick).await, [100, 200, 300]);
    }

    #[tokio::test]
    async fn exact_times_wake_in_order() {
        for polling in [0, 500].map(Duration::from_micros).map(Polling::Fixed) {
            assert_eq!(in_order(Precision::Exact(polling)).await, [100, 200, 300]);
        }
        assert_eq!(in_order(Precision::Exact(Polling::Adaptive)).await, [100, 200, 300]);
    }
}
