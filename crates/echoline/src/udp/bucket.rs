//! Token buckets, one for each source of datagrams. Pure: time is an argument.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use core::net::IpAddr;

use crate::sources::token_bucket::{TokenBucket, nanos};

/// The maximum number of sources with their own bucket. All other sources share one bucket. So an
/// attacker who forges a million addresses cannot use more memory than this, and further addresses
/// together get the rate of one source.
const SOURCES_MAX: usize = 65_536;

/// The minimum interval between two searches for sources that can be forgotten.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// The rate at which tokens return, and the maximum number of tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenRate {
    /// The time in which one token returns, and the time in which an empty bucket fills, in
    /// nanoseconds.
    interval: u64,
    depth: u64,
}

impl TokenRate {
    /// Creates a rate of `per_second` tokens per second, and twice as many at once.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let interval = nanos(Duration::from_secs(1) / per_second.get());
        Self { interval, depth: nanos(Duration::from_secs(2)) }
    }

    /// Takes a token out of `bucket`, if there is one.
    pub(super) fn take(self, bucket: &mut TokenBucket, now: Duration) -> bool {
        bucket.take(self.interval, self.depth, nanos(now))
    }
}

/// The token buckets, one for each network that sends datagrams.
#[derive(Debug)]
pub(super) struct SourceBuckets {
    rate: TokenRate,
    buckets: HashMap<IpAddr, TokenBucket>,
    /// The bucket of all sources that arrived while the table was full.
    others: TokenBucket,
    swept_at: Duration,
}

impl SourceBuckets {
    pub(super) fn new(rate: TokenRate) -> Self {
        let buckets = HashMap::new();
        Self { rate, buckets, others: TokenBucket::default(), swept_at: Duration::ZERO }
    }

    /// Takes a token for a datagram from `source`. Returns `false` if none is left.
    pub(super) fn take(&mut self, source: IpAddr, now: Duration) -> bool {
        if let Some(bucket) = self.buckets.get_mut(&source) {
            return self.rate.take(bucket, now);
        }
        if self.buckets.len() >= SOURCES_MAX {
            self.sweep(now);
        }
        if self.buckets.len() >= SOURCES_MAX {
            return self.rate.take(&mut self.others, now);
        }
        self.rate.take(self.buckets.entry(source).or_default(), now)
    }

    /// Forgets the sources whose bucket is full, because a full bucket equals a new one.
    fn sweep(&mut self, now: Duration) {
        if now >= self.swept_at + SWEEP_EVERY {
            self.swept_at = now;
            self.buckets.retain(|_, bucket| !bucket.is_full(nanos(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: u32) -> TokenRate {
        TokenRate::new(NonZeroU32::new(per_second).unwrap())
    }

    fn source(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut buckets = SourceBuckets::new(rate(100));
        let mut passed = |now| (0..1000).filter(|_| buckets.take(source(1), now)).count();
        assert_eq!(passed(Duration::ZERO), 200);
        assert_eq!(passed(Duration::from_millis(9)), 0);
        assert_eq!(passed(Duration::from_millis(10)), 1);
        assert_eq!(passed(SECOND), 99);
        assert_eq!(passed(100 * SECOND), 200);
        assert!(buckets.take(source(2), 100 * SECOND));
    }

    #[test]
    fn a_million_sources_share_one_table() {
        let mut buckets = SourceBuckets::new(rate(100));
        let passed = (0..1_000_000).filter(|&n| buckets.take(source(n), Duration::ZERO)).count();
        assert_eq!((passed, buckets.buckets.len()), (SOURCES_MAX + 200, SOURCES_MAX));
        // Sources that have a bucket of their own are not affected.
        assert!(buckets.take(source(7), Duration::ZERO));
        // The buckets are free again after the next sweep.
        let later = SWEEP_EVERY;
        let passed = (0..1000).filter(|_| buckets.take(source(2_000_000), later)).count();
        assert_eq!((passed, buckets.buckets.len()), (200, 1));
    }

    proptest! {
        /// In any sequence of datagrams, at most as many pass as the burst and the rate allow.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1u32..2000,
            waits_us in prop::collection::vec(0u64..20_000, 1..500),
        ) {
            let mut buckets = SourceBuckets::new(rate(per_second));
            let (mut now, mut passed) = (Duration::ZERO, 0);
            for wait in waits_us {
                now += Duration::from_micros(wait);
                passed += u32::from(buckets.take(source(1), now));
            }
            let most = f64::from(per_second) * (2.0 + now.as_secs_f64()) + 1.0;
            prop_assert!(f64::from(passed) <= most, "{} > {}", passed, most);
        }
    }
}
