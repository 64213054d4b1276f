//! Seeded pseudo-random numbers, which are the same on every machine. Pure.

/// The SplitMix64 generator. It is fast, and good enough to make messages distinct, to spread
/// arrivals and to choose faults. It is not cryptographically secure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// Creates a generator for a seed, a client and a number. Each combination has its own
    /// sequence.
    #[inline]
    pub fn new(seed: u64, client: u32, number: u32) -> Self {
        let mut random = Self(seed ^ (u64::from(client) << 32 | u64::from(number)));
        // Scrambles the state. Without this, two states that differ by the increment of the
        // generator would have the same sequence, one step apart.
        Self(random.next_u64())
    }

    /// Creates a generator for a list of numbers. Each list has its own sequence.
    pub fn of(numbers: &[u64]) -> Self {
        numbers.iter().fold(Self(0), |mut random, number| {
            random.0 ^= number;
            Self(random.next_u64())
        })
    }

    /// Returns a uniformly distributed number in the range [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns the next number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from the exponential distribution with mean 1. The times between
    /// independent events have this distribution.
    pub fn exponential(&mut self) -> f64 {
        // The 53 bits make a number in (0, 1], so its logarithm is finite.
        let fraction = ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -fraction.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_seeds_give_unrelated_numbers() {
        let mut ones = [0; 64];
        for number in 0..1000 {
            let difference =
                Random::of(&[1, 2, number]).next_u64() ^ Random::of(&[1, 2, number + 1]).next_u64();
            ones.iter_mut().enumerate().for_each(|(bit, count)| *count += difference >> bit & 1);
        }
        assert!(ones.iter().all(|count| (400..600).contains(count)), "{ones:?}");
        assert_ne!(Random::of(&[1, 2]), Random::of(&[2, 1]));
        assert!((0..1000).all(|seed| (0.0..1.0).contains(&Random::of(&[seed]).fraction())));
    }

    #[test]
    fn exponential_distances_have_mean_one_and_deviation_one() {
        let mut random = Random::new(7, 0, 0);
        let samples: Vec<f64> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = samples.iter().sum::<f64>() / 1e5;
        let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
