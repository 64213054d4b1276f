//! One token bucket, represented by the time at which it will be full (the generic cell rate
//! algorithm, ITU-T I.371). Pure: times are arguments, in nanoseconds.

use std::time::Duration;

/// A token bucket; full by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    full_at: u64,
}

impl TokenBucket {
    /// Returns a bucket that will be full at this time.
    pub(crate) fn full_at(time: u64) -> Self {
        Self { full_at: time }
    }

    /// Takes tokens from the bucket. `cost` is the time in which these tokens return, and `depth`
    /// is the time in which an empty bucket fills. Returns `false` if too few tokens are left.
    #[inline]
    pub(crate) fn take(&mut self, cost: u64, depth: u64, now: u64) -> bool {
        let full_at = self.full_at.max(now).saturating_add(cost);
        let is_there = full_at - now <= depth;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }

    /// Gives back the tokens that an earlier call of `take` with `cost` removed.
    pub(crate) fn give_back(&mut self, cost: u64) {
        self.full_at = self.full_at.saturating_sub(cost);
    }

    pub(crate) fn is_full(self, now: u64) -> bool {
        self.full_at <= now
    }
}

/// Returns `time` in whole nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_its_depth_and_then_its_rate() {
        let mut bucket = TokenBucket::default();
        let taken = (0..10).filter(|_| bucket.take(10, 30, 5)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take(10, 30, 14) && bucket.take(10, 30, 15));
        bucket.give_back(10);
        assert!(bucket.take(10, 30, 15) && !bucket.is_full(44) && bucket.is_full(45));
        assert!(!TokenBucket::full_at(u64::MAX).take(10, 30, 15));
    }
}
