//! Counters of one worker's connections, for the observers of a server.
//!
//! Each worker has its own counters, so that two cores never write to the same cache line. Adding
//! is a relaxed atomic operation and takes about 5 ns. A message needs three of them, and takes
//! about 3 µs in total. Reading the clock costs more, so only some turns are timed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::service_times::{ServiceTimes, bucket};
use super::snapshot::{Traffic, WorkerState};
use crate::connection::buffers;

/// One in this number of turns is timed. The choice is random, because a fixed interval could
/// select the same connection each time.
const TIMED_ONE_IN: u32 = 16;

/// The number of turns that are timed without exception, at first and after each snapshot. So the
/// duration is measured even if only a few messages arrive per second.
const TIMED_AFTER_LOOK: u32 = 500;

/// The counters of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerStats {
    /// The number of open connections of this worker. A new connection goes to the worker with the
    /// fewest.
    pub(crate) open: AtomicUsize,
    /// Whether the thread of this worker has panicked.
    lost: AtomicBool,
    /// `None` if the server has no observer. Then only `open` is counted, and nothing is timed.
    worker_counters: Option<Box<WorkerCounters>>,
}

/// Counters that only an observed server updates. Each is part of a [`Traffic`] field of the same
/// name.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounters {
    /// The number of bytes that were read.
    pub(crate) received: Counter,
    /// The number of bytes that the system has accepted for sending.
    pub(crate) sent: Counter,
    /// The number of lines, or other units of input, that handlers have received. In a raw echo it
    /// is the number of reads.
    pub(crate) messages: Counter,
    service: TimedTurns,
    /// The number of turns that will still be timed without exception.
    to_be_timed: AtomicU32,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Service times, recorded by one thread and read by others.
#[derive(Debug)]
struct TimedTurns {
    counts: [Counter; ServiceTimes::BUCKETS],
    sum_nanos: Counter,
}

impl Default for TimedTurns {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| Counter::default()), sum_nanos: Counter::default() }
    }
}

impl WorkerStats {
    pub(crate) fn new(metering: Metering) -> Self {
        let worker_counters = (metering == Metering::On).then(|| {
            let to_be_timed = AtomicU32::new(TIMED_AFTER_LOOK);
            Box::new(WorkerCounters { to_be_timed, ..WorkerCounters::default() })
        });
        Self { open: AtomicUsize::new(0), lost: AtomicBool::new(false), worker_counters }
    }

    /// Records that the worker's thread has panicked.
    pub(crate) fn note_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Returns whether the worker's thread has panicked, so that it serves no connection any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns the traffic counters; `None` if the server has no observer.
    #[inline]
    pub(crate) fn worker_counters(&self) -> Option<&WorkerCounters> {
        self.worker_counters.as_deref()
    }

    /// Runs `turn`, one turn of a connection's task. Records its duration if the turn was selected
    /// for timing and read something.
    #[inline]
    pub(crate) fn time<T>(&self, turn: impl FnOnce() -> T) -> T {
        match self.worker_counters() {
            Some(worker_counters) if worker_counters.is_due() || is_chosen() => {
                worker_counters.time(turn)
            }
            _ => turn(),
        }
    }

    /// Returns the counts so far. After each call, the next turns are all timed.
    pub(crate) fn state(&self) -> WorkerState {
        let connections = self.open.load(Ordering::Relaxed);
        let traffic = self.worker_counters().map(WorkerCounters::traffic).unwrap_or_default();
        WorkerState { connections, traffic, busy: Duration::ZERO }
    }
}

impl WorkerCounters {
    #[inline]
    fn is_due(&self) -> bool {
        let left = self.to_be_timed.load(Ordering::Relaxed);
        if left > 0 {
            // This may overwrite the reset by a concurrent snapshot. The next snapshot resets the
            // counter again.
            self.to_be_timed.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn time<T>(&self, turn: impl FnOnce() -> T) -> T {
        let (reads, start) = (buffers::activity(), Instant::now());
        let result = turn();
        // A turn without a read had another cause, such as a deadline or a slow reader, and is not
        // counted.
        if buffers::activity() != reads {
            let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.service.counts[bucket(nanos)].add(1);
            self.service.sum_nanos.add(nanos);
        }
        result
    }

    fn traffic(&self) -> Traffic {
        self.to_be_timed.store(TIMED_AFTER_LOOK, Ordering::Relaxed);
        let mut service = ServiceTimes::default();
        for (number, count) in self.service.counts.iter().enumerate() {
            service.add_bucket(number, count.now());
        }
        service.add_sum(self.service.sum_nanos.now());
        Traffic {
            received: self.received.now(),
            sent: self.sent.now(),
            messages: self.messages.now(),
            service,
        }
    }
}

/// Whether traffic is counted and timed, because the server has an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    On,
    Off,
}

thread_local! {
    /// The state of the random generator: any value except 0.
    static CHANCE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// Decides at random whether this turn is timed (Marsaglia's xorshift).
#[inline]
fn is_chosen() -> bool {
    CHANCE.with(|chance| {
        let mut next = chance.get();
        next ^= next << 13;
        next ^= next >> 17;
        next ^= next << 5;
        chance.set(next);
        next % TIMED_ONE_IN == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn about_one_turn_of_sixteen_that_read_something_is_timed() {
        let stats = WorkerStats::new(Metering::On);
        (0..TIMED_AFTER_LOOK).for_each(|_| stats.time(|| ()));
        for _ in 0..16_000 {
            stats.time(buffers::note_activity);
            stats.time(|| ());
        }
        let timed = stats.state().traffic.service.count();
        assert!((800..1200).contains(&timed), "{timed}");
        (0..500).for_each(|_| stats.time(buffers::note_activity));
        assert_eq!(stats.state().traffic.service.count(), timed + 500, "turns after a snapshot");
    }

    #[test]
    fn without_an_observer_only_connections_are_counted() {
        let stats = WorkerStats::new(Metering::Off);
        stats.open.fetch_add(1, Ordering::Relaxed);
        stats.time(buffers::note_activity);
        assert!(stats.worker_counters().is_none());
        assert_eq!((stats.state().connections, stats.state().traffic), (1, Traffic::default()));
    }
}
