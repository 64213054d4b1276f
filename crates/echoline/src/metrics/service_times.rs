//! A mergeable histogram of service times: the time that a server needs to process client input.
//! Pure.

use std::time::Duration;

/// The bucket bounds within a decade. Each bound is at most a third above the previous one.
const STEPS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];

/// The number of decades, from 1 µs to 8 s. No service over a socket is faster than 1 µs.
const DECADES: usize = 7;
const FIRST_STEP_NANOS: u64 = 100;

/// The upper bounds of the buckets in nanoseconds. A sample that equals a bound counts in the
/// bucket below it. The last bucket has no bound.
const BOUNDS: [u64; STEPS.len() * DECADES] = bounds();

const BUCKETS: usize = BOUNDS.len() + 1;

const fn bounds() -> [u64; STEPS.len() * DECADES] {
    let mut bounds = [0; STEPS.len() * DECADES];
    let mut unit = FIRST_STEP_NANOS;
    let mut next = 0;
    while next < bounds.len() {
        bounds[next] = STEPS[next % STEPS.len()] * unit;
        next += 1;
        if next % STEPS.len() == 0 {
            unit *= 10;
        }
    }
    bounds
}

/// Returns the number of the bucket that counts `nanos`.
pub(crate) fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|&bound| bound < nanos)
}

/// A histogram of service times: the times from the wake-up for input until the answers are
/// written. Its size is constant, and a percentile is at most a third too high or too low.
///
/// ```
/// use std::time::Duration;
///
/// use echoline::metrics::ServiceTimes;
///
/// let mut times = ServiceTimes::default();
/// (1..=100).for_each(|micros| times.record(Duration::from_micros(micros)));
/// assert_eq!(times.count(), 100);
/// assert_eq!(times.percentile(0.5), Some(Duration::from_micros(50)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceTimes {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Default for ServiceTimes {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_nanos: 0 }
    }
}

impl ServiceTimes {
    /// The number of buckets.
    pub(crate) const BUCKETS: usize = BUCKETS;

    /// Adds a sample.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// Adds `count` samples to one bucket.
    pub(crate) fn add_bucket(&mut self, number: usize, count: u64) {
        self.counts[number] += count;
    }

    /// Adds the total time of samples to the sum.
    pub(crate) fn add_sum(&mut self, nanos: u64) {
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.add_sum(other.sum_nanos);
    }

    /// Returns the samples recorded since `earlier`, a former state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        since.sum_nanos = self.sum_nanos.saturating_sub(earlier.sum_nanos);
        since
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all samples.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// Returns the time that the given share of the samples, from 0 to 1, did not exceed; `None`
    /// without samples. Between two bounds the result is interpolated linearly. A time over 8 s
    /// counts as 8 s.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let wanted = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut below = 0;
        for (number, &here) in self.counts.iter().enumerate() {
            if below + here >= wanted {
                let low = number.checked_sub(1).map_or(0, |before| BOUNDS[before]);
                let high = BOUNDS.get(number).copied().unwrap_or(low);
                let part = (wanted - below) as f64 / here as f64;
                let nanos = low as f64 + (high - low) as f64 * part;
                return Some(Duration::from_nanos(nanos.round() as u64));
            }
            below += here;
        }
        None
    }

    /// Returns the bounds 1, 2 and 5 of every decade in ascending order, each with the number of
    /// samples that did not exceed it, as in a Prometheus histogram. The last bound is 5 s.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let shown = |number: usize| matches!(STEPS[number % STEPS.len()], 10 | 20 | 50);
        let bounds = BOUNDS.iter().enumerate().zip(sums);
        let bounds = bounds.filter(move |((number, _), _)| shown(*number));
        bounds.map(|((_, &bound), sum)| (Duration::from_nanos(bound), sum))
    }
}

impl std::fmt::Debug for ServiceTimes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceTimes")
            .field("count", &self.count())
            .field("p50", &self.percentile(0.5))
            .field("p99", &self.percentile(0.99))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(nanos: &[u64]) -> ServiceTimes {
        let mut times = ServiceTimes::default();
        nanos.iter().for_each(|&nanos| times.record(Duration::from_nanos(nanos)));
        times
    }

    #[test]
    fn the_bounds_rise_by_a_third_at_most() {
        assert_eq!((BOUNDS[0], BOUNDS[BOUNDS.len() - 1]), (1_000, 8_000_000_000));
        for pair in BOUNDS.windows(2) {
            assert!(pair[0] < pair[1] && pair[1] * 3 <= pair[0] * 4, "{pair:?}");
        }
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let sums: Vec<_> = times(&[1_000, 1_001, 2_000]).cumulative().take(3).collect();
        let micros = Duration::from_micros;
        assert_eq!(sums, [(micros(1), 1), (micros(2), 3), (micros(5), 3)]);
    }

    #[test]
    fn an_empty_histogram_has_no_percentile_and_long_times_have_the_last_bound() {
        assert_eq!(times(&[]).percentile(0.5), None);
        assert_eq!(times(&[u64::MAX]).percentile(0.5), Some(Duration::from_secs(8)));
        assert_eq!(times(&[0]).percentile(1.0), Some(Duration::from_micros(1)));
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_a_third_at_most(
            mut nanos in prop::collection::vec(1_000..8_000_000_000_u64, 1..50),
            share in 0.0..=1.0_f64,
        ) {
            let found = times(&nanos).percentile(share).unwrap().as_nanos() as f64;
            nanos.sort_unstable();
            let wanted = ((nanos.len() as f64 * share).ceil() as usize).max(1);
            let exact = nanos[wanted - 1] as f64;
            prop_assert!(found <= exact * 4.0 / 3.0 + 1.0 && found >= exact * 3.0 / 4.0 - 1.0);
        }

        #[test]
        fn since_reverses_a_merge(
            first in prop::collection::vec(0..10_000_000_u64, 0..20),
            second in prop::collection::vec(0..10_000_000_u64, 0..20),
        ) {
            let mut both = times(&first);
            both.merge(&times(&second));
            prop_assert_eq!(both.since(&times(&first)), times(&second));
            prop_assert_eq!(both.cumulative().last().unwrap().1, both.count());
        }
    }
}
