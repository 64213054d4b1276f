//! When to write: a pure decision.

use std::time::{Duration, Instant};

use super::options::Sync;
use echoline_base::backoff::Backoff;

/// When the next attempt to write is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Now,
    At(Instant),
    /// Nothing waits.
    WhenAsked,
}

/// What the decision depends on besides the past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Whether something waits.
    pub(super) waiting: bool,
    /// Whether so much waits that it cannot wait longer.
    pub(super) half_full: bool,
    /// Whether the store is being closed.
    pub(super) closing: bool,
}

/// The past: the last commit, and attempts that failed since.
#[derive(Debug)]
pub(super) struct Pace {
    sync: Sync,
    last_commit: Option<Instant>,
    backoff: Backoff,
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// Between two transactions where [`Sync::Second`] is asked for.
const SECOND: Duration = Duration::from_secs(1);
/// After a first failure; doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// While somebody waits for the store to close.
const RETRY_CLOSING: Duration = Duration::from_millis(500);

impl Pace {
    pub(super) const fn new(sync: Sync) -> Self {
        let backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        Self { sync, last_commit: None, backoff, retry: None }
    }

    pub(super) fn next(&self, load: Load) -> Next {
        if let Some(retry) = self.retry {
            let sooner = retry.pause.saturating_sub(RETRY_CLOSING);
            return Next::At(if load.closing { retry.at - sooner } else { retry.at });
        }
        match (self.sync, self.last_commit) {
            _ if !load.waiting => Next::WhenAsked,
            (Sync::Second, Some(last)) if !load.half_full && !load.closing => {
                Next::At(last + SECOND)
            }
            _ => Next::Now,
        }
    }

    pub(super) const fn committed(&mut self, now: Instant) {
        self.last_commit = Some(now);
        self.backoff.reset();
        self.retry = None;
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let pause = self.backoff.next_delay();
        self.retry = Some(Retry { at: now + pause, pause });
    }

    pub(super) const fn is_failing(&self) -> bool {
        self.retry.is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
mod tests {
    use super::*;

    const LOAD: Load = Load { waiting: true, half_full: false, closing: false };

    #[test]
    fn each_is_written_at_once() {
        let mut pace = Pace::new(Sync::Each);
        assert_eq!(pace.next(LOAD), Next::Now);
        pace.committed(Instant::now());
        assert_eq!(pace.next(LOAD), Next::Now);
        assert_eq!(pace.next(Load { waiting: false, ..LOAD }), Next::WhenAsked);
    }

    #[test]
    fn a_second_passes_between_two_commits_unless_there_is_much() {
        let (mut pace, now) = (Pace::new(Sync::Second), Instant::now());
        assert_eq!(pace.next(LOAD), Next::Now, "nothing was written before");
        pace.committed(now);
        assert_eq!(pace.next(LOAD), Next::At(now + SECOND));
        assert_eq!(pace.next(Load { half_full: true, ..LOAD }), Next::Now);
        assert_eq!(pace.next(Load { closing: true, ..LOAD }), Next::Now);
    }

    /// Fault 63: a full disk is tried again, ever more seldom, however much waits.
    #[test]
    fn attempts_back_off_to_five_seconds_and_begin_anew_after_one_that_worked() {
        let (mut pace, now) = (Pace::new(Sync::Each), Instant::now());
        let pauses = [100, 200, 400, 800, 1600, 3200, 5000, 5000].map(Duration::from_millis);
        for pause in pauses {
            pace.failed(now);
            assert_eq!(pace.next(Load { half_full: true, ..LOAD }), Next::At(now + pause));
        }
        assert_eq!(pace.next(Load { closing: true, ..LOAD }), Next::At(now + RETRY_CLOSING));
        pace.committed(now);
        assert!(!pace.is_failing());
        pace.failed(now);
        assert_eq!(pace.next(LOAD), Next::At(now + RETRY_FIRST));
    }
}
