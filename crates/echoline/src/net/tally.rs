//! What the connections of one worker add up to, for whoever watches a server.
//!
//! A worker has a tally of its own, so that no two cores write to one cache line, and adding is a
//! relaxed atomic: about 5 ns, three of them in the about 3 µs that a message costs. Clocks cost
//! more, so of many turns only some are timed.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::buffers;
use super::service_times::{ServiceTimes, bucket};
use super::snapshot::{Traffic, WorkerState};

/// One of so many turns is timed. Chosen by chance, because those of connections that come round
/// in order would be the same ones again and again.
const TIMED_ONE_IN: u32 = 16;

/// At first, and after each look at a worker, so many turns are all timed, so that a few messages a
/// second are enough to know how long they take.
const TIMED_AFTER_LOOK: u32 = 500;

/// Where one worker counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally {
    /// Connections that are open on this worker; what decides who gets the next.
    pub(super) open: AtomicUsize,
    /// The thread of this worker has panicked.
    lost: AtomicBool,
    /// `None` where nobody watches: then nothing else is counted or timed.
    counted: Option<Box<Counted>>,
}

/// What is counted where somebody watches. Each is part of a [`Traffic`] of the same name.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Bytes that were read.
    pub(super) received: Counter,
    /// Bytes that the system has taken to send.
    pub(super) sent: Counter,
    /// Lines, or what else a handler asked for and got; in a raw echo, reads.
    pub(super) messages: Counter,
    service: TimedTurns,
    /// Turns that are still to be timed whatever chance says.
    to_be_timed: AtomicU32,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, count: u64) {
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

impl Tally {
    pub(super) fn new(watched: Watched) -> Self {
        let counted = (watched == Watched::Yes).then(|| {
            let to_be_timed = AtomicU32::new(TIMED_AFTER_LOOK);
            Box::new(Counted { to_be_timed, ..Counted::default() })
        });
        Self { open: AtomicUsize::new(0), lost: AtomicBool::new(false), counted }
    }

    /// Notes that the worker's thread has panicked.
    pub(super) fn note_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Whether the worker's thread has panicked, so that it serves no connection any more.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where to count; `None` where nobody watches.
    #[inline]
    pub(super) fn counted(&self) -> Option<&Counted> {
        self.counted.as_deref()
    }

    /// Takes part in one turn of a connection's task, `turn`, and notes how long it took where
    /// that was chosen to be timed and something was read in it.
    #[inline]
    pub(super) fn time<T>(&self, turn: impl FnOnce() -> T) -> T {
        match self.counted() {
            Some(counted) if counted.is_due() || is_chosen() => counted.time(turn),
            _ => turn(),
        }
    }

    /// What was counted so far. After each look the next turns are timed.
    pub(super) fn state(&self) -> WorkerState {
        let connections = self.open.load(Ordering::Relaxed);
        let traffic = self.counted().map(Counted::traffic).unwrap_or_default();
        WorkerState { connections, traffic, busy: Duration::ZERO }
    }
}

impl Counted {
    #[inline]
    fn is_due(&self) -> bool {
        let left = self.to_be_timed.load(Ordering::Relaxed);
        if left > 0 {
            // A look in between may be overwritten; the next one comes.
            self.to_be_timed.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    fn time<T>(&self, turn: impl FnOnce() -> T) -> T {
        let (reads, start) = (buffers::activity(), Instant::now());
        let result = turn();
        // A turn that read nothing was about something else: a deadline, a slow reader.
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

/// Whether somebody watches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Yes,
    No,
}

thread_local! {
    /// Anything but 0 will do.
    static CHANCE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
}

/// Whether this turn is to be timed, by chance (Marsaglia's xorshift).
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
        let tally = Tally::new(Watched::Yes);
        (0..TIMED_AFTER_LOOK).for_each(|_| tally.time(|| ()));
        for _ in 0..16_000 {
            tally.time(buffers::note_activity);
            tally.time(|| ());
        }
        let timed = tally.state().traffic.service.count();
        assert!((800..1200).contains(&timed), "{timed}");
        (0..500).for_each(|_| tally.time(buffers::note_activity));
        assert_eq!(tally.state().traffic.service.count(), timed + 500, "those after a look");
    }

    #[test]
    fn who_is_not_watched_counts_its_connections_only() {
        let tally = Tally::new(Watched::No);
        tally.open.fetch_add(1, Ordering::Relaxed);
        tally.time(buffers::note_activity);
        assert!(tally.counted().is_none());
        assert_eq!((tally.state().connections, tally.state().traffic), (1, Traffic::default()));
    }
}
