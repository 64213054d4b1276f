//! Exponential back-off: delays that double between attempts. Pure.
//!
//! This module only computes the delays. The caller waits, with its own clock.

use std::time::Duration;

use crate::random::Random;

/// The delays between attempts that fail one after another. The delay doubles after each failure,
/// up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Creates a back-off whose delays grow from `first` to `longest`. No failure is counted yet.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Counts a failure and returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Starts again with the shortest delay, because an attempt succeeded.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the delay after a failure that follows `failures` earlier ones.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// Draws a delay from the upper half of `delay`, so that clients that failed at the same time do
/// not return at the same time. The same generator draws the same delays.
pub fn with_jitter(delay: Duration, random: &mut Random) -> Duration {
    delay.mul_f64(0.5 + random.fraction() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(10 * MILLI, 1000 * MILLI);
        let delays: Vec<u128> = (0..9).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(backoff.after(3), 80 * MILLI);
        backoff.reset();
        assert_eq!(backoff.next_delay(), 10 * MILLI);
    }

    #[test]
    fn stays_at_the_longest_delay_after_any_number_of_failures() {
        let backoff = Backoff::new(MILLI, Duration::from_secs(3));
        for failures in [12, 31, 32, 1000, u32::MAX] {
            assert_eq!(backoff.after(failures), Duration::from_secs(3), "{failures}");
        }
        assert_eq!(Backoff { failures: u32::MAX, ..backoff }.next_delay(), Duration::from_secs(3));
        let days = Duration::from_secs(1 << 20);
        assert_eq!(Backoff::new(days, Duration::MAX).after(40), days * u32::MAX);
    }

    #[test]
    fn jitter_stays_in_the_upper_half_and_depends_on_the_seed_alone() {
        let draw = |seed| {
            let mut random = Random::of(&[seed]);
            (0..1000).map(|_| with_jitter(100 * MILLI, &mut random)).collect::<Vec<_>>()
        };
        assert!(draw(1).iter().all(|delay| (50 * MILLI..=100 * MILLI).contains(delay)));
        assert!(draw(1).iter().max() > draw(1).iter().min());
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
