//! The delays before a client connects again. Pure.

use std::time::Duration;

use echoline_base::backoff::{Backoff, with_jitter};
use echoline_base::random::Random;

/// The first delay, before jitter.
const FIRST: Duration = Duration::from_millis(10);

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(1);

/// Exponential back-off with jitter: each delay is drawn from the upper half of a range that
/// doubles from 10 ms to 1 s, so that clients that lost their server at the same time do not come
/// back at the same time.
#[derive(Clone, Debug)]
pub(super) struct RetryDelay {
    random: Random,
    backoff: Backoff,
}

impl RetryDelay {
    /// The delays of one client; the same seed gives the same delays.
    pub(super) fn new(seed: u64, client: u32) -> Self {
        let random = Random::of(&[seed, client.into(), 0x7265_7472_7900]);
        Self { random, backoff: Backoff::new(FIRST, LONGEST) }
    }

    /// The delay before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        with_jitter(self.backoff.next_delay(), &mut self.random)
    }

    /// Starts again with the shortest delay.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 37: the delays grow, are bounded, and differ from client to client.
    #[test]
    fn regression_retries_back_off_with_jitter_from_the_seed() {
        let delays = |seed, client| {
            let mut retry = RetryDelay::new(seed, client);
            (0..20).map(|_| retry.next()).collect::<Vec<_>>()
        };
        for client in 0..100 {
            for (number, delay) in delays(1, client).into_iter().enumerate() {
                let ceiling = LONGEST.min(FIRST * (1 << number));
                assert!(delay >= ceiling / 2 && delay <= ceiling, "{number}: {delay:?}");
            }
        }
        assert_eq!(delays(1, 0), delays(1, 0));
        assert_ne!(delays(1, 0), delays(1, 1));
        assert_ne!(delays(1, 0), delays(2, 0));
        let mut retry = RetryDelay::new(1, 0);
        let delays: Vec<_> = (0..20).map(|_| retry.next()).collect();
        assert!(delays[19] >= LONGEST / 2);
        retry.reset();
        assert!(retry.next() <= FIRST);
    }
}
