//! Wakes many waiters at their due times. It is more precise than the runtime's timer, which ticks
//! once per millisecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::precise::Timer;
use echoline_base::poison::IgnorePoison;

/// The precision of a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Precise to the millisecond. Uses the runtime's own timer, which tests can pause.
    Tick,
    /// Precise to some tens of microseconds. Uses a timer of the system. With a spin time, the
    /// thread polls without sleeping for that time before each due time.
    Exact {
        /// The time before each due time at which the thread starts to poll without sleeping.
        spin: Duration,
    },
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
}

#[derive(Debug)]
struct ScheduledWaker {
    due: Instant,
    waker: Waker,
}

impl Alarm {
    /// Creates an alarm without waiters.
    pub fn new(precision: Precision) -> Self {
        Self { precision, wakers: Mutex::default(), changed: Notify::new() }
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
        let mut timer = match self.precision {
            Precision::Tick => None,
            Precision::Exact { .. } => Timer::new(),
        };
        loop {
            match self.wake_due(Instant::now()) {
                None => self.changed.notified().await,
                Some(due) => tokio::select! {
                    () = self.until(due, &mut timer) => {}
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
    async fn until(&self, due: Instant, timer: &mut Option<Timer>) {
        let spin = match self.precision {
            Precision::Tick => Duration::ZERO,
            Precision::Exact { spin } => spin,
        };
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match timer {
                _ if left.is_zero() => return,
                // The runtime polls for input each time, without sleeping.
                _ if left <= spin => tokio::task::yield_now().await,
                Some(timer) => timer.sleep(left - spin).await,
                None => sleep_until(due - spin).await,
            }
        }
    }
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
        for spin in [0, 500] {
            let spin = Duration::from_micros(spin);
            assert_eq!(in_order(Precision::Exact { spin }).await, [100, 200, 300]);
        }
    }
}
