//! The times of commits, and the pauses after failures.

use std::time::{Duration, Instant};

use echoline_base::backoff::Backoff;

use super::super::options::SyncPolicy;

/// The time of the next attempt to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextCommit {
    Now,
    At(Instant),
    /// There is nothing to write.
    Idle,
}

/// The state of the queue, on which the time of the next commit depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueLoad {
    /// Whether changes are waiting.
    pub(crate) waiting: bool,
    /// Whether the queue is half full. A commit of a half-full queue must not wait for the end of
    /// the second.
    pub(crate) half_full: bool,
    /// Whether the store is being closed.
    pub(crate) closing: bool,
}

/// Decides when to commit, from the last commit and the failures since.
#[derive(Debug)]
pub(crate) struct CommitSchedule {
    sync: SyncPolicy,
    last_commit: Option<Instant>,
    backoff: Backoff,
    retry: Option<ScheduledRetry>,
}

/// The time of the next retry, and the pause before it.
#[derive(Clone, Copy, Debug)]
struct ScheduledRetry {
    at: Instant,
    pause: Duration,
}

/// The interval between two commits with [`SyncPolicy::Second`].
const SECOND: Duration = Duration::from_secs(1);
/// The pause after the first failure. Each further failure doubles it.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The maximum pause between retries.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// The maximum pause while the store is being closed.
const RETRY_CLOSING: Duration = Duration::from_millis(500);

impl CommitSchedule {
    pub(crate) const fn new(sync: SyncPolicy) -> Self {
        let backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        Self { sync, last_commit: None, backoff, retry: None }
    }

    /// Returns the time of the next attempt.
    pub(crate) fn next(&self, load: QueueLoad) -> NextCommit {
        if let Some(retry) = self.retry {
            let sooner = retry.pause.saturating_sub(RETRY_CLOSING);
            return NextCommit::At(if load.closing { retry.at - sooner } else { retry.at });
        }
        match (self.sync, self.last_commit) {
            _ if !load.waiting => NextCommit::Idle,
            (SyncPolicy::Second, Some(last)) if !load.half_full && !load.closing => {
                NextCommit::At(last + SECOND)
            }
            _ => NextCommit::Now,
        }
    }

    /// Records a commit. The next failure starts with the shortest pause again.
    pub(crate) const fn committed(&mut self, now: Instant) {
        self.last_commit = Some(now);
        self.backoff.reset();
        self.retry = None;
    }

    /// Records a failed attempt, and schedules a retry.
    pub(crate) fn failed(&mut self, now: Instant) {
        let pause = self.backoff.next_delay();
        self.retry = Some(ScheduledRetry { at: now + pause, pause });
    }

    /// Returns whether the last attempt failed.
    pub(crate) const fn is_failing(&self) -> bool {
        self.retry.is_some()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any start time will do")]
mod tests {
    use super::*;

    const LOAD: QueueLoad = QueueLoad { waiting: true, half_full: false, closing: false };

    #[test]
    fn commits_each_change_at_once() {
        let mut schedule = CommitSchedule::new(SyncPolicy::Each);
        assert_eq!(schedule.next(LOAD), NextCommit::Now);
        schedule.committed(Instant::now());
        assert_eq!(schedule.next(LOAD), NextCommit::Now);
        assert_eq!(schedule.next(QueueLoad { waiting: false, ..LOAD }), NextCommit::Idle);
    }

    #[test]
    fn waits_a_second_between_commits_unless_the_queue_is_half_full() {
        let (mut schedule, now) = (CommitSchedule::new(SyncPolicy::Second), Instant::now());
        assert_eq!(schedule.next(LOAD), NextCommit::Now, "nothing was committed before");
        schedule.committed(now);
        assert_eq!(schedule.next(LOAD), NextCommit::At(now + SECOND));
        assert_eq!(schedule.next(QueueLoad { half_full: true, ..LOAD }), NextCommit::Now);
        assert_eq!(schedule.next(QueueLoad { closing: true, ..LOAD }), NextCommit::Now);
    }

    /// Fault 63: while the disk is full, retries become rarer, no matter how many changes wait.
    #[test]
    fn backs_off_to_five_seconds_until_a_commit_succeeds() {
        let (mut schedule, now) = (CommitSchedule::new(SyncPolicy::Each), Instant::now());
        let pauses = [100, 200, 400, 800, 1600, 3200, 5000, 5000].map(Duration::from_millis);
        for pause in pauses {
            schedule.failed(now);
            assert_eq!(
                schedule.next(QueueLoad { half_full: true, ..LOAD }),
                NextCommit::At(now + pause)
            );
        }
        assert_eq!(
            schedule.next(QueueLoad { closing: true, ..LOAD }),
            NextCommit::At(now + RETRY_CLOSING)
        );
        schedule.committed(now);
        assert!(!schedule.is_failing());
        schedule.failed(now);
        assert_eq!(schedule.next(LOAD), NextCommit::At(now + RETRY_FIRST));
    }
}
