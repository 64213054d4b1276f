//! Counts requests with a wrong secret, and limits how often they are logged.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use echoline_base::poison::IgnorePoison;
use tokio::time::Instant;

/// The log gets at most one line in this time, however many guesses arrive.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The count of requests with a wrong secret.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<RefusalCounts>);

#[derive(Debug, Default)]
struct RefusalCounts {
    total: u64,
    logged: u64,
    logged_at: Option<Instant>,
}

impl Refusals {
    /// Counts a request. The first one is logged at once, later ones at most every [`LOG_EVERY`].
    pub(super) fn count(&self, client: Option<SocketAddr>) {
        let now = Instant::now();
        let Some(count) = self.counts(|counts| counts.add(now)) else { return };
        let client = client.map(|address| address.ip());
        tracing::warn!(
            count,
            last_client = client.map(tracing::field::display),
            "the admin address refused requests with a wrong secret"
        );
    }

    pub(super) fn total(&self) -> u64 {
        self.counts(|counts| counts.total)
    }

    fn counts<T>(&self, with: impl FnOnce(&mut RefusalCounts) -> T) -> T {
        with(&mut self.0.lock().ignore_poison())
    }
}

impl RefusalCounts {
    /// Counts a request. If a log line is due, returns the number of requests that it has to
    /// report.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.total += 1;
        if self.logged_at.is_some_and(|at| now < at + LOG_EVERY) {
            return None;
        }
        let count = self.total - self.logged;
        (self.logged, self.logged_at) = (self.total, Some(now));
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 11: guesses are counted, and do not fill the log.
    #[test]
    fn attack_a_flood_of_guesses_causes_one_line_of_the_log() {
        let (mut counts, start) = (RefusalCounts::default(), Instant::now());
        assert_eq!(counts.add(start), Some(1));
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!((0..1000).all(|_| counts.add(later(9)).is_none()));
        assert_eq!(counts.add(later(10)), Some(1001));
        assert_eq!(counts.total, 1002);
    }
}
