//! The last two minutes of a server, second by second. Pure: the caller adds each sample.

use std::collections::VecDeque;
use std::time::Duration;

use echoline::metrics::{ServiceTimes, Snapshot, Traffic};

/// The number of seconds that are kept.
pub(super) const SECONDS: usize = 120;

/// Service times are computed over this many seconds, because one second may have too few messages.
const WINDOW: usize = 10;

/// The server's activity between two samples, as rates per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PerSecond {
    /// The number of connections that were open at the end of the second.
    pub(super) open: usize,
    pub(super) accepted: f64,
    pub(super) messages: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
    /// The share of time for which the workers were busy; 1 is one fully used core.
    pub(super) busy: f64,
    /// Percentiles of the last ten seconds; `None` if no message was timed.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
    service: ServiceTimes,
}

/// The activity in each of the last [`SECONDS`] seconds.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: VecDeque<PerSecond>,
    last: Option<HistorySample>,
}

/// The cumulative counters at the time of one sample.
#[derive(Debug)]
struct HistorySample {
    at: Duration,
    accepted: u64,
    traffic: Traffic,
    busy: Duration,
}

impl History {
    /// Adds a sample, taken `at` this time after the server's start.
    pub(super) fn push(&mut self, at: Duration, snapshot: &Snapshot) {
        let traffic = snapshot.traffic();
        let busy = snapshot.workers.iter().map(|worker| worker.busy).sum();
        let look = HistorySample { at, accepted: snapshot.accepted, traffic, busy };
        if let Some(last) = &self.last {
            let mut second = look.since(last);
            second.open = snapshot.open;
            self.keep(second);
        }
        self.last = Some(look);
    }

    /// Returns the newest second, or zeros if there is none yet.
    pub(super) fn newest(&self) -> PerSecond {
        self.seconds.back().cloned().unwrap_or_default()
    }

    /// Returns all seconds, the oldest first.
    pub(super) fn seconds(&self) -> impl Iterator<Item = &PerSecond> {
        self.seconds.iter()
    }

    fn keep(&mut self, mut second: PerSecond) {
        let mut recent = second.service.clone();
        for earlier in self.seconds.iter().rev().take(WINDOW - 1) {
            recent.merge(&earlier.service);
        }
        (second.p50, second.p99) = (recent.percentile(0.5), recent.percentile(0.99));
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(second);
    }
}

impl HistorySample {
    fn since(&self, last: &Self) -> PerSecond {
        // Without a minimum, two samples at the same time would give infinite rates.
        let length = self.at.saturating_sub(last.at).max(Duration::from_millis(1)).as_secs_f64();
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / length;
        PerSecond {
            open: 0,
            accepted: rate(self.accepted, last.accepted),
            messages: rate(self.traffic.messages, last.traffic.messages),
            received: rate(self.traffic.received, last.traffic.received),
            sent: rate(self.traffic.sent, last.traffic.sent),
            busy: self.busy.saturating_sub(last.busy).as_secs_f64() / length,
            p50: None,
            p99: None,
            service: self.traffic.service.since(&last.traffic.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echoline::Limits;
    use echoline::metrics::WorkerState;

    fn snapshot(messages: u64, times: &[u64]) -> Snapshot {
        let mut traffic = Traffic { messages, received: 10 * messages, ..Traffic::default() };
        times.iter().for_each(|&micros| traffic.service.record(Duration::from_micros(micros)));
        let busy = Duration::from_millis(messages);
        let worker = WorkerState { connections: 1, traffic, busy };
        Snapshot {
            phase: None,
            accepted: 2 * messages,
            open: 3,
            ends: Default::default(),
            limits: Limits::default(),
            workers: vec![worker.clone(), worker],
            failure: None,
        }
    }

    #[test]
    fn rates_cover_the_time_between_two_samples() {
        let mut history = History::default();
        history.push(Duration::from_secs(1), &snapshot(100, &[7]));
        assert_eq!(history.newest(), PerSecond::default());
        history.push(Duration::from_secs(3), &snapshot(200, &[7, 40, 40]));
        let newest = history.newest();
        assert_eq!((newest.open, newest.messages, newest.received), (3, 100.0, 1000.0));
        assert_eq!((newest.accepted, newest.busy), (100.0, 0.1));
        assert!(newest.p50 > Some(Duration::from_micros(30)), "{newest:?}");
    }

    #[test]
    fn service_times_cover_ten_seconds_and_two_minutes_are_kept() {
        let mut history = History::default();
        for at in 0..200 {
            let times = if at == 0 { &[][..] } else { &[50] };
            history.push(Duration::from_secs(at), &snapshot(at, times));
        }
        assert_eq!(history.seconds().count(), SECONDS);
        assert_eq!(history.newest().p99, None, "the only sample is too old");
        let mut history = History::default();
        history.push(Duration::ZERO, &snapshot(0, &[]));
        for at in 1..=11 {
            history.push(Duration::from_secs(at), &snapshot(at, &[50]));
            let expected = at <= WINDOW as u64;
            assert_eq!(history.newest().p99.is_some(), expected, "second {at}");
        }
    }
}
