//! Histograms of durations, and the percentiles for which they have enough samples. Pure.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::nanos::nanos;

/// The number of samples that must lie beyond a percentile. With fewer samples, its value depends
/// on chance.
const BEYOND_MIN: u64 = 10;

/// The longest recorded time. It is a day, like the longest time-out.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of significant decimal digits of the histogram. Its error is at most 0.1 %.
const DIGITS: u8 = 3;

/// A percentile, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile {
    per_million: u32,
}

impl Percentile {
    /// The default percentiles of a report: p50, p90, p99, p99.9.
    pub const DEFAULTS: [Self; 4] = [Self::P50, Self::P90, Self::P99, Self::P999];

    pub(crate) const P50: Self = Self { per_million: 500_000 };
    pub(crate) const P90: Self = Self { per_million: 900_000 };
    pub(crate) const P99: Self = Self { per_million: 990_000 };
    pub(crate) const P999: Self = Self { per_million: 999_000 };

    /// Creates a percentile from 0 to 100, exact to four decimals; `None` outside of that range.
    #[must_use]
    pub fn new(percent: f64) -> Option<Self> {
        let per_million = (percent * 10_000.0).round();
        // The range is checked, so the conversion is exact.
        (0.0..=1e6).contains(&per_million).then_some(Self { per_million: per_million as u32 })
    }

    /// Returns the percentile as a number from 0 to 100.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.per_million) / 10_000.0
    }

    /// Returns the percentile as a quantile, from 0 to 1.
    #[must_use]
    pub fn quantile(self) -> f64 {
        f64::from(self.per_million) / 1e6
    }

    /// Returns the smallest number of samples of which at least ten lie beyond the percentile.
    pub(crate) fn samples_min(self) -> u64 {
        let beyond = u64::from(1_000_000 - self.per_million).max(1);
        (BEYOND_MIN * 1_000_000).div_ceil(beyond)
    }

    /// Returns whether at least ten of `samples` lie beyond the percentile.
    #[must_use]
    pub fn is_certain(self, samples: u64) -> bool {
        // This computes with integers, because 100 × (1 − 0.9) is not exactly 10 with
        // floating-point numbers.
        u128::from(samples) * u128::from(1_000_000 - self.per_million)
            >= u128::from(BEYOND_MIN) * 1_000_000
    }
}

impl std::fmt::Display for Percentile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("p{}", self.percent()))
    }
}

/// A histogram of durations in nanoseconds, with three significant digits and bounded memory.
///
/// ```
/// use std::time::Duration;
///
/// use echoline_load::Percentile;
/// use echoline_load::statistics::DurationHistogram;
///
/// let mut times = DurationHistogram::default();
/// (1..=100).for_each(|nanos| times.record(Duration::from_nanos(nanos)));
/// let [p50, _, p99, _] = Percentile::DEFAULTS;
/// assert_eq!(times.percentile(p50), Some(Duration::from_nanos(50)));
/// // One sample lies beyond: that is chance.
/// assert_eq!(times.percentile(p99), None);
/// assert_eq!(times.max(), Some(Duration::from_nanos(100)));
/// ```
#[derive(Clone, Debug)]
pub struct DurationHistogram {
    histogram: Histogram<u64>,
    /// The exact maximum, because the histogram has only three digits.
    max: Duration,
}

impl Default for DurationHistogram {
    fn default() -> Self {
        // The lowest value is 1 ns, so that a value of a few microseconds still has three digits.
        // The histogram grows with the longest sample, up to about 300 KB for a day.
        let histogram = Histogram::new(DIGITS).expect("3 digits are at most 5");
        Self { histogram, max: Duration::ZERO }
    }
}

impl DurationHistogram {
    /// Converts a histogram of nanoseconds that was read from a file. `max` is the exact longest
    /// time, if it is known.
    #[must_use]
    pub fn from_histogram(mut histogram: Histogram<u64>, max: Option<Duration>) -> Self {
        histogram.auto(true);
        let max = max.unwrap_or_else(|| Duration::from_nanos(histogram.max()));
        Self { histogram, max }
    }

    /// Records a sample; a time over a day counts as a day.
    pub fn record(&mut self, time: Duration) {
        self.record_many(time, 1);
    }

    /// Records `count` equal samples; a time over a day counts as a day.
    #[inline]
    pub fn record_many(&mut self, time: Duration, count: u64) {
        let time = time.min(LONGEST);
        self.histogram.record_n(nanos(time), count).expect("it grows by itself up to a day");
        self.max = self.max.max(time);
    }

    /// Adds the samples of `other`. The result is the same as if all samples had been recorded in
    /// this histogram.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("it grows by itself up to any value");
        self.max = self.max.max(other.max);
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Returns the value of a percentile; `None` if fewer than ten samples lie beyond it.
    #[must_use]
    pub fn percentile(&self, percentile: Percentile) -> Option<Duration> {
        percentile.is_certain(self.count()).then(|| {
            let value = self.histogram.value_at_quantile(percentile.quantile());
            // The histogram returns the upper end of a bucket, which may be larger than every
            // sample.
            Duration::from_nanos(value).min(self.max)
        })
    }

    /// Returns the longest time, exactly; `None` if there is no sample.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count() > 0).then_some(self.max)
    }

    /// Returns the shortest time, to three digits; `None` if there is no sample.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.min()))
    }

    /// Returns the mean, to three digits; `None` if there is no sample.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// Counts the samples over `limit`, with the precision of the histogram.
    pub(crate) fn count_above(&self, limit: Duration) -> u64 {
        let lowest = self.histogram.next_non_equivalent(nanos(limit));
        match lowest <= self.histogram.max() {
            true => self.histogram.count_between(lowest, self.histogram.max()),
            false => 0,
        }
    }

    /// Returns the histogram of the samples in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_need_ten_samples_beyond() {
        let mut times = DurationHistogram::default();
        assert_eq!(times.max(), None);
        for count in 1..=100 {
            times.record(Duration::from_micros(count));
            let shown = |index: usize| times.percentile(Percentile::DEFAULTS[index]).is_some();
            assert_eq!(shown(0), count >= 20, "p50 of {count}");
            assert_eq!(shown(1), count >= 100, "p90 of {count}");
            assert!(!shown(2) && !shown(3));
        }
        assert_eq!(times.max(), Some(Duration::from_micros(100)));
        assert_eq!(Percentile::DEFAULTS.map(|p| p.to_string()), ["p50", "p90", "p99", "p99.9"]);
        assert_eq!(Percentile::new(99.99).map(|p| p.to_string()), Some("p99.99".to_owned()));
        assert_eq!(Percentile::new(100.1), None);
        assert_eq!(Percentile::new(f64::NAN), None);
        for percent in [1.0, 50.0, 99.0, 99.99, 99.999] {
            let percentile = Percentile::new(percent).unwrap();
            let samples = percentile.samples_min();
            assert!(percentile.is_certain(samples) && !percentile.is_certain(samples - 1));
        }
    }

    #[test]
    fn the_shortest_and_the_longest_times_are_kept_to_three_digits() {
        for micros in [1, 2, 3, 900, 4_999_999, 80_000_000_000] {
            let mut times = DurationHistogram::default();
            (0..20).for_each(|_| times.record(Duration::from_micros(micros)));
            let median = times.percentile(Percentile::DEFAULTS[0]);
            assert_eq!(median, Some(Duration::from_micros(micros)));
        }
        let mut times = DurationHistogram::default();
        times.record(Duration::MAX);
        times.record(Duration::ZERO);
        assert_eq!(times.max(), Some(LONGEST));
    }

    #[test]
    fn longer_samples_are_counted() {
        let mut times = DurationHistogram::default();
        assert_eq!(times.count_above(Duration::ZERO), 0);
        (1..=100).for_each(|millis| times.record(Duration::from_millis(millis)));
        for (millis, count) in [(0, 100), (1, 99), (99, 1), (100, 0), (10_000, 0)] {
            assert_eq!(times.count_above(Duration::from_millis(millis)), count, "{millis} ms");
        }
        assert_eq!(times.count_above(Duration::MAX), 0);
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_samples(
            mut samples in prop::collection::vec(1_000u64..5_000_000_000, 20..2000),
        ) {
            // The samples are recorded in two histograms, to check that merging changes nothing.
            let mut times = [DurationHistogram::default(), DurationHistogram::default()];
            for (index, &sample) in samples.iter().enumerate() {
                times[index % 2].record(Duration::from_nanos(sample));
            }
            let [mut times, other] = times;
            times.merge(&other);
            samples.sort_unstable();
            for percentile in Percentile::DEFAULTS {
                let Some(shown) = times.percentile(percentile) else { continue };
                let rank = (percentile.quantile() * samples.len() as f64).ceil() as usize;
                let exact = samples[rank.clamp(1, samples.len()) - 1] as f64;
                let error = (shown.as_nanos() as f64 - exact).abs() / exact;
                prop_assert!(error <= 0.001, "{percentile}: {shown:?} for {exact} ns");
            }
            prop_assert_eq!(times.max(), samples.last().map(|&n| Duration::from_nanos(n)));
        }
    }
}
