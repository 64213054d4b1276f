//! The series of a run: the counts and latencies of each second, in bounded memory. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::statistics::nanos::nanos;
use crate::statistics::{DatagramAnomalies, DatagramAnomaly};

/// The maximum number of intervals. If one more is needed, neighbours are merged in pairs.
pub(crate) const INTERVALS_MAX: usize = 300;

/// The measurements of one interval of a run.
#[derive(Clone, Debug)]
pub struct SeriesInterval {
    /// The number of messages that were sent in the interval.
    pub sent: u64,
    /// Messages that were answered correctly in the interval, even if they were sent before it.
    pub ok: u64,
    /// Messages that failed in the interval, even if they were sent before it.
    pub failed: u64,
    /// The counts of irregular replies in the interval.
    pub anomalies: DatagramAnomalies,
    /// The latency of the correct replies in the interval, in nanoseconds with two significant
    /// digits. It counts from the intended time in open loop, and from sending in closed loop.
    pub latency: Histogram<u32>,
}

impl Default for SeriesInterval {
    fn default() -> Self {
        let latency = Histogram::new(2).expect("2 digits are at most 5");
        Self { sent: 0, ok: 0, failed: 0, anomalies: DatagramAnomalies::default(), latency }
    }
}

impl SeriesInterval {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.failed += other.failed;
        self.anomalies.merge(&other.anomalies);
        self.latency.add(&other.latency).expect("it grows by itself up to any value");
    }
}

/// A run in at most 300 intervals of equal length. An interval is one second, in longer runs two,
/// four or more seconds.
///
/// Offsets count from the start of the measured time, after the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The binary logarithm of the interval length in seconds: a shift is cheaper than a division.
    exponent: u32,
    intervals: Vec<SeriesInterval>,
}

impl Series {
    /// Creates a series from intervals of a file. Returns `None` if `length` is not a power of two
    /// in seconds, or if there are more than 300 intervals.
    #[must_use]
    pub fn from_intervals(length: Duration, intervals: Vec<SeriesInterval>) -> Option<Self> {
        let fits = length.subsec_nanos() == 0
            && length.as_secs().is_power_of_two()
            && intervals.len() <= INTERVALS_MAX;
        fits.then(|| Self { exponent: length.as_secs().ilog2(), intervals })
    }

    /// Returns the length of each interval: a power of two in seconds.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs(1 << self.exponent)
    }

    /// Returns the intervals. Number `i` begins at `i` times [`length`](Self::length).
    #[must_use]
    pub fn intervals(&self) -> &[SeriesInterval] {
        &self.intervals
    }

    /// Returns the interval before the one at `offset`, if it was recorded.
    pub(crate) fn last_complete(&self, offset: Duration) -> Option<&SeriesInterval> {
        self.intervals.get(self.index(offset).checked_sub(1)?)
    }

    /// Records that a message was sent at `offset`.
    pub fn sent(&mut self, offset: Duration) {
        self.many_sent(offset, 1);
    }

    /// Records that `count` messages were sent at `offset`.
    #[inline]
    pub fn many_sent(&mut self, offset: Duration, count: u64) {
        self.at(offset).sent += count;
    }

    /// Records a correct reply at `offset`, after `latency`.
    pub fn answered(&mut self, offset: Duration, latency: Duration) {
        self.many_answered(offset, latency, 1);
    }

    /// Records `count` correct replies at `offset`, after `latency` each.
    #[inline]
    pub fn many_answered(&mut self, offset: Duration, latency: Duration, count: u64) {
        let interval = self.at(offset);
        interval.ok += count;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        interval.latency.record_n(nanos(latency), count).expect("it grows up to any value");
    }

    /// Records a failure at `offset`.
    pub fn failed(&mut self, offset: Duration) {
        self.at(offset).failed += 1;
    }

    /// Records an irregular reply at `offset`.
    pub fn anomaly(&mut self, anomaly: DatagramAnomaly, offset: Duration) {
        self.at(offset).anomalies.count(anomaly);
    }

    /// Adds empty intervals up to `end`, so that the series shows a silence at the end.
    pub fn cover(&mut self, end: Duration) {
        if let Some(last) = end.checked_sub(Duration::from_nanos(1)) {
            self.at(last);
        }
    }

    /// Adds the intervals of `other` at the same offsets.
    pub fn merge(&mut self, other: &Self) {
        let other = self.aligned(other);
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize_with(other.intervals.len(), SeriesInterval::default);
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.merge(theirs);
        }
    }

    /// Appends the intervals of `other`, which is a later run.
    pub fn append(&mut self, other: &Self) {
        let mut other = self.aligned(other);
        self.intervals.append(&mut other.intervals);
        while self.intervals.len() > INTERVALS_MAX {
            self.coarsen();
        }
    }

    /// Makes the intervals of both series equally long. Returns the changed `other`.
    fn aligned(&mut self, other: &Self) -> Self {
        let mut other = other.clone();
        while self.exponent < other.exponent {
            self.coarsen();
        }
        while other.exponent < self.exponent {
            other.coarsen();
        }
        other
    }

    #[inline]
    fn at(&mut self, offset: Duration) -> &mut SeriesInterval {
        let mut index = self.index(offset);
        while index >= INTERVALS_MAX {
            self.coarsen();
            index = self.index(offset);
        }
        if index >= self.intervals.len() {
            self.intervals.resize_with(index + 1, SeriesInterval::default);
        }
        &mut self.intervals[index]
    }

    fn index(&self, offset: Duration) -> usize {
        usize::try_from(offset.as_secs() >> self.exponent).unwrap_or(usize::MAX)
    }

    /// Merges the intervals in pairs.
    fn coarsen(&mut self) {
        self.exponent += 1;
        let mut intervals = std::mem::take(&mut self.intervals).into_iter();
        while let Some(mut interval) = intervals.next() {
            if let Some(next) = intervals.next() {
                interval.merge(&next);
            }
            self.intervals.push(interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn merges_the_intervals_of_a_long_run_without_loss() {
        let mut series = Series::default();
        for second in 0..10_000 {
            series.sent(Duration::from_secs(second));
            series.answered(Duration::from_secs(second), Duration::from_micros(second + 1));
        }
        assert!(series.intervals().len() <= INTERVALS_MAX);
        assert_eq!(series.length(), Duration::from_secs(64));
        assert_eq!(series.intervals()[0].sent, 64);
        assert_eq!(
            series.intervals().iter().map(|interval| interval.latency.len()).sum::<u64>(),
            10_000
        );
    }

    /// Issue 11, item 38: seconds without replies at the end of a run are also in the series.
    #[test]
    fn regression_silent_seconds_at_the_end_are_intervals() {
        let mut series = Series::default();
        series.answered(Duration::from_millis(200), Duration::from_micros(9));
        series.cover(Duration::ZERO);
        assert_eq!(series.intervals().len(), 1);
        series.cover(Duration::from_secs(4));
        assert_eq!(series.intervals().len(), 4);
        series.cover(Duration::from_secs(2));
        assert_eq!(series.intervals().len(), 4);
        series.cover(Duration::from_millis(4001));
        assert_eq!(series.intervals().len(), 5);
        series.cover(Duration::from_secs(301));
        assert_eq!((series.length(), series.intervals().len()), (Duration::from_secs(2), 151));
    }

    #[test]
    fn rejects_impossible_intervals() {
        let seconds = Duration::from_secs;
        assert!(Series::from_intervals(seconds(3), Vec::new()).is_none());
        assert!(Series::from_intervals(Duration::from_millis(2500), Vec::new()).is_none());
        assert!(
            Series::from_intervals(seconds(2), vec![SeriesInterval::default(); INTERVALS_MAX + 1])
                .is_none()
        );
        assert!(
            Series::from_intervals(seconds(2), vec![SeriesInterval::default(); INTERVALS_MAX])
                .is_some()
        );
    }

    #[test]
    fn appends_the_intervals_of_a_later_run() {
        let series = |seconds: u64| {
            let mut series = Series::default();
            (0..seconds).for_each(|second| series.sent(Duration::from_secs(second)));
            series
        };
        let mut both = series(3);
        both.append(&series(2));
        assert_eq!((both.intervals().len(), both.length()), (5, Duration::from_secs(1)));
        both.append(&series(500));
        assert_eq!(both.length(), Duration::from_secs(2));
        assert_eq!(both.intervals().iter().map(|interval| interval.sent).sum::<u64>(), 505);
        both.append(&series(599));
        assert_eq!(both.length(), Duration::from_secs(4));
        assert_eq!(both.intervals().iter().map(|interval| interval.sent).sum::<u64>(), 1104);
    }

    proptest! {
        /// The merged series of two workers equal the series of one worker that recorded
        /// everything.
        #[test]
        fn merging_is_exact(events in prop::collection::vec((0u64..2000, any::<bool>()), 0..50)) {
            let mut whole = Series::default();
            let mut halves = [Series::default(), Series::default()];
            for &(second, which) in &events {
                let offset = Duration::from_secs(second);
                let latency = Duration::from_micros(second);
                whole.answered(offset, latency);
                halves[usize::from(which)].answered(offset, latency);
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            prop_assert_eq!(merged.length(), whole.length());
            let counts = |series: &Series| -> Vec<_> {
                series.intervals().iter().map(|one| (one.ok, one.latency.clone())).collect()
            };
            prop_assert_eq!(counts(&merged), counts(&whole));
        }
    }
}
