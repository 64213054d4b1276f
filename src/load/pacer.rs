//! When things are to happen. Pure: the schedule is a value, and time is an argument.

use std::time::Duration;

/// So many events in so much time, `1000/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// `count` events `per` time; `None` where one of them is zero.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        (count > 0 && !per.is_zero()).then_some(Self { count, per })
    }

    /// When event `number` is due, counted from the first, which is due at once.
    ///
    /// Always from the number, never from the event before: so errors do not add up.
    fn due(self, number: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(number.into()) / u128::from(self.count);
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }
}

/// A schedule, and how far it has come. Times count from the start of the run.
///
/// ```
/// use std::time::Duration;
///
/// use echoline::load::{Pacer, Rate};
///
/// let (now, second) = (Duration::from_millis(700), Duration::from_secs(1));
/// let mut constant = Pacer::constant(Rate::new(4, second).unwrap());
/// assert_eq!(constant.next(now), Duration::ZERO);
/// assert_eq!(constant.next(now), Duration::from_millis(250));
/// assert_eq!(Pacer::closed_loop().next(now), now);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pacer {
    schedule: Schedule,
    /// Events that were given out.
    given: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    ClosedLoop,
    Constant(Rate),
}

impl Pacer {
    /// Each event as soon as the one who asks is ready for it.
    #[must_use]
    pub fn closed_loop() -> Self {
        Self { schedule: Schedule::ClosedLoop, given: 0 }
    }

    /// Events at equal distances, whoever is ready or not.
    #[must_use]
    pub fn constant(rate: Rate) -> Self {
        Self { schedule: Schedule::Constant(rate), given: 0 }
    }

    /// When the next event is to happen. The answer may lie before `now`: then whoever asks is
    /// late, and by how much.
    pub fn next(&mut self, now: Duration) -> Duration {
        let number = self.given;
        self.given += 1;
        match self.schedule {
            Schedule::ClosedLoop => now,
            Schedule::Constant(rate) => rate.due(number),
        }
    }

    /// The rate of the schedule; `None` where events wait for nothing but one another.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        match self.schedule {
            Schedule::ClosedLoop => None,
            Schedule::Constant(rate) => Some(rate),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per {
            per if per == Duration::from_secs(1) => write!(f, "{}/s", self.count),
            per => write!(f, "{}/{per:?}", self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_of_nothing_is_none() {
        assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        assert_eq!(Rate::new(3, Duration::from_secs(1)).unwrap().to_string(), "3/s");
    }

    #[test]
    fn a_very_long_schedule_does_not_overflow() {
        let rate = Rate::new(1, Duration::MAX).unwrap();
        assert_eq!(rate.due(u64::MAX), Duration::MAX);
    }

    proptest! {
        /// Errors of rounding do not add up: after whole periods the schedule is exact.
        #[test]
        fn a_constant_rate_keeps_its_rate(count in 1u32..5000, periods in 0u64..5000) {
            let rate = Rate::new(count, Duration::from_secs(1)).unwrap();
            prop_assert_eq!(rate.due(periods * u64::from(count)), Duration::from_secs(periods));
            prop_assert!(rate.due(periods) <= rate.due(periods + 1));
        }

        #[test]
        fn the_schedule_does_not_depend_on_when_it_is_asked(
            nows in prop::collection::vec(0u64..10_000, 1..50),
        ) {
            let mut pacer = Pacer::constant(Rate::new(7, Duration::from_secs(1)).unwrap());
            let times: Vec<_> =
                nows.iter().map(|&now| pacer.next(Duration::from_millis(now))).collect();
            let mut again = Pacer::constant(Rate::new(7, Duration::from_secs(1)).unwrap());
            let others: Vec<_> = nows.iter().map(|_| again.next(Duration::ZERO)).collect();
            prop_assert_eq!(times, others);
        }
    }
}
