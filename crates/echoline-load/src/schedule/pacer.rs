//! Schedules of events. Pure: the schedule is a value, and time is an argument.

use std::fmt;
use std::time::Duration;

use crate::schedule::rate_curve::RateCurve;
use echoline_base::random::Random;

const SECOND: Duration = Duration::from_secs(1);

/// A rate of events, `1000/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// Creates a rate of `count` events in each time `per`; `None` if one of them is zero.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        (count > 0 && !per.is_zero()).then_some(Self { count, per })
    }

    /// Returns the rate nearest to `events` per second, in whole events per thousand seconds;
    /// `None` if it is zero or over four million events per second.
    #[must_use]
    pub fn per_second(events: f64) -> Option<Self> {
        let count = (events * 1000.0).round();
        let fits = (1.0..=f64::from(u32::MAX)).contains(&count);
        fits.then_some(Self { count: count as u32, per: 1000 * SECOND })
    }

    /// Returns the rate in events per second.
    #[must_use]
    pub fn as_per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// Returns the due time of event `number`; event 0 is due at once.
    ///
    /// The time is computed from the number and not from the previous event, so that rounding
    /// errors do not add up.
    fn due(self, number: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(number.into()) / u128::from(self.count);
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Returns the number of events that are due before `time`.
    fn count_until(self, time: Duration) -> u64 {
        let events = time.as_nanos().saturating_mul(self.count.into());
        u64::try_from(events.div_ceil(self.per.as_nanos())).unwrap_or(u64::MAX)
    }
}

/// A schedule and the current position in it. Times count from the start of the run.
///
/// ```
/// use std::time::Duration;
///
/// use echoline_load::{Pacer, Rate};
///
/// let (now, second) = (Duration::from_millis(700), Duration::from_secs(1));
/// let mut constant = Pacer::constant(Rate::new(4, second).unwrap());
/// assert_eq!(constant.next(now), Duration::ZERO);
/// assert_eq!(constant.next(now), Duration::from_millis(250));
/// assert_eq!(Pacer::closed_loop().next(now), now);
///
/// // Client 1 of 2 has every second event, beginning with the second.
/// let mut share = Pacer::constant(Rate::new(4, second).unwrap()).share(1, 2);
/// assert_eq!(share.next(now), Duration::from_millis(250));
/// assert_eq!(share.next(now), Duration::from_millis(750));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    schedule: ArrivalSchedule,
    /// The process of independent arrivals; `None` for equal intervals.
    poisson: Option<Poisson>,
    /// This pacer yields the events `first + i × stride`.
    first: u64,
    stride: u64,
    /// The number of events that were yielded.
    given: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ArrivalSchedule {
    ClosedLoop { think: Duration },
    Constant(Rate),
    Changing(RateCurve),
}

/// A Poisson process of rate one, scaled to the schedule's rate. The processes of several clients
/// add up to a Poisson process with the total rate.
#[derive(Clone, Debug, PartialEq)]
struct Poisson {
    seed: u64,
    random: Random,
    /// The sum of all intervals so far, in events of the whole schedule.
    position: f64,
}

impl Poisson {
    fn new(seed: u64, client: u32) -> Self {
        Self { seed, random: Random::new(seed, client, u32::MAX), position: 0.0 }
    }
}

impl Pacer {
    fn new(schedule: ArrivalSchedule) -> Self {
        Self { schedule, poisson: None, first: 0, stride: 1, given: 0 }
    }

    /// Creates a closed loop: each event is due as soon as the caller is ready for it.
    #[must_use]
    pub fn closed_loop() -> Self {
        Self::thinking(Duration::ZERO)
    }

    /// Creates a closed loop in which each event but the first is due `think` after the caller is
    /// ready for it.
    #[must_use]
    pub fn thinking(think: Duration) -> Self {
        Self::new(ArrivalSchedule::ClosedLoop { think })
    }

    /// Creates a schedule of events at equal intervals, even if the caller is not ready.
    #[must_use]
    pub fn constant(rate: Rate) -> Self {
        Self::new(ArrivalSchedule::Constant(rate))
    }

    /// Creates a schedule whose rate stays at `from` for the time `lead`, changes linearly during
    /// the time `over`, and then stays at `to`.
    #[must_use]
    pub fn ramp(from: Rate, to: Rate, over: Duration, lead: Duration) -> Self {
        Self::new(ArrivalSchedule::Changing(Self::curve(from, to, over, lead, None)))
    }

    /// Like [`ramp`](Self::ramp), but the rate changes in `steps` equal steps, at least one,
    /// instead of linearly.
    #[must_use]
    pub fn steps(from: Rate, to: Rate, over: Duration, lead: Duration, steps: u32) -> Self {
        Self::new(ArrivalSchedule::Changing(Self::curve(from, to, over, lead, Some(steps.max(1)))))
    }

    fn curve(
        from: Rate,
        to: Rate,
        over: Duration,
        lead: Duration,
        steps: Option<u32>,
    ) -> RateCurve {
        let (from, to) = (from.as_per_second(), to.as_per_second());
        RateCurve { from, to, over: over.as_secs_f64(), steps, lead: lead.as_secs_f64() }
    }

    /// Returns the schedule with the same rates but independent arrivals, like those of many users.
    /// They are a Poisson process derived from `seed`. A closed loop does not change.
    #[must_use]
    pub fn poisson(mut self, seed: u64) -> Self {
        self.poisson = self.is_open().then(|| Poisson::new(seed, 0));
        self
    }

    /// Returns the share of `client`, one of `clients`, in this schedule, from the beginning of the
    /// schedule.
    #[must_use]
    pub fn share(&self, client: u32, clients: u32) -> Self {
        Self {
            schedule: self.schedule,
            poisson: self.poisson.as_ref().map(|poisson| Poisson::new(poisson.seed, client)),
            first: client.into(),
            stride: clients.max(1).into(),
            given: 0,
        }
    }

    /// Yields the due time of the next event. If it is before `now`, the caller is late by the
    /// difference.
    pub fn next(&mut self, now: Duration) -> Duration {
        let number = self.first.saturating_add(self.given.saturating_mul(self.stride));
        self.given += 1;
        if let Some(poisson) = &mut self.poisson {
            poisson.position += poisson.random.exponential() * self.stride as f64;
            return match self.schedule {
                ArrivalSchedule::ClosedLoop { .. } => now,
                ArrivalSchedule::Constant(rate) => {
                    let seconds = poisson.position / rate.as_per_second();
                    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
                }
                ArrivalSchedule::Changing(curve) => curve.time_of(poisson.position),
            };
        }
        match self.schedule {
            ArrivalSchedule::ClosedLoop { .. } if self.given == 1 => now,
            ArrivalSchedule::ClosedLoop { think } => now.saturating_add(think),
            ArrivalSchedule::Constant(rate) => rate.due(number),
            ArrivalSchedule::Changing(curve) => curve.time_of(number as f64),
        }
    }

    /// Returns the number of remaining events that are due before `end`. For a Poisson process this
    /// is the expected number. In closed loop it is zero, because events have no due times.
    #[must_use]
    pub fn remaining_until(&self, end: Duration) -> u64 {
        let all = match self.schedule {
            ArrivalSchedule::ClosedLoop { .. } => return 0,
            ArrivalSchedule::Constant(rate) => rate.count_until(end),
            ArrivalSchedule::Changing(curve) => curve.count_until(end).ceil() as u64,
        };
        if let Some(poisson) = &self.poisson {
            let rest = (all as f64 - poisson.position) / self.stride as f64;
            return rest.max(0.0).round() as u64;
        }
        let own = all.saturating_sub(self.first).div_ceil(self.stride);
        own.saturating_sub(self.given)
    }

    /// Returns the due time of event `index` of this pacer, counted from 0. For a Poisson process
    /// this is the expected time, and in closed loop the start.
    pub(crate) fn time_of(&self, index: u64) -> Duration {
        let number = self.first.saturating_add(index.saturating_mul(self.stride));
        match self.schedule {
            ArrivalSchedule::ClosedLoop { .. } => Duration::ZERO,
            ArrivalSchedule::Constant(rate) => rate.due(number),
            ArrivalSchedule::Changing(curve) => curve.time_of(number as f64),
        }
    }

    /// Returns whether events have due times. In a closed loop each event waits for the previous
    /// one.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        !matches!(self.schedule, ArrivalSchedule::ClosedLoop { .. })
    }

    /// Returns whether each event is due as soon as the caller is ready for it.
    #[inline]
    pub(crate) fn is_immediate(&self) -> bool {
        matches!(self.schedule, ArrivalSchedule::ClosedLoop { think: Duration::ZERO })
    }

    /// Returns the seed of a Poisson process; `None` for other schedules.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.poisson.as_ref().map(|poisson| poisson.seed)
    }

    /// Returns the mean rate of the whole schedule between two times, in events per second; `None`
    /// in closed loop.
    #[must_use]
    pub fn average_between(&self, from: Duration, end: Duration) -> Option<f64> {
        match self.schedule {
            ArrivalSchedule::ClosedLoop { .. } => None,
            ArrivalSchedule::Constant(rate) => Some(rate.as_per_second()),
            ArrivalSchedule::Changing(curve) => {
                let events = curve.count_until(end) - curve.count_until(from);
                Some(events / end.saturating_sub(from).as_secs_f64())
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per {
            SECOND => write!(f, "{}/s", self.count),
            per if per == 60 * SECOND => write!(f, "{}/m", self.count),
            _ => write!(f, "{}/s", self.as_per_second()),
        }
    }
}

impl fmt::Display for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schedule {
            ArrivalSchedule::ClosedLoop { think: Duration::ZERO } => write!(f, "closed loop")?,
            ArrivalSchedule::ClosedLoop { think } => {
                write!(f, "closed loop, think time {think:?}")?
            }
            ArrivalSchedule::Constant(rate) => write!(f, "{rate}")?,
            ArrivalSchedule::Changing(RateCurve { from, to, over, steps, .. }) => {
                write!(f, "{from}..{to}/s over {:?}", Duration::from_secs_f64(over))?;
                steps.map_or(Ok(()), |steps| write!(f, " in {steps} steps"))?;
            }
        }
        self.poisson.as_ref().map_or(Ok(()), |_| write!(f, ", Poisson arrivals"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32) -> Rate {
        Rate::new(count, SECOND).unwrap()
    }

    #[test]
    fn rejects_a_rate_of_zero() {
        assert_eq!(Rate::new(0, SECOND), None);
        assert_eq!(Rate::new(1, Duration::ZERO), None);
        assert_eq!(Rate::per_second(0.0001), None);
        assert_eq!(Rate::per_second(f64::NAN), None);
        assert_eq!(rate(3).to_string(), "3/s");
        assert_eq!(Rate::per_second(2.5).unwrap().to_string(), "2.5/s");
    }

    #[test]
    fn a_very_long_schedule_does_not_overflow() {
        let rate = Rate::new(1, Duration::MAX).unwrap();
        assert_eq!(rate.due(u64::MAX), Duration::MAX);
        assert_eq!(rate.count_until(Duration::ZERO), 0);
    }

    #[test]
    fn a_client_thinks_after_each_message_but_not_before_the_first() {
        let mut pacer = Pacer::thinking(2 * SECOND);
        assert_eq!(pacer.next(SECOND), SECOND);
        assert_eq!(pacer.next(SECOND), 3 * SECOND);
        assert_eq!(pacer.remaining_until(100 * SECOND), 0);
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_depend_on_the_seed() {
        let arrivals = |seed, client| {
            let mut share = Pacer::constant(rate(1000)).poisson(seed).share(client, 4);
            let end = 100 * SECOND;
            std::iter::from_fn(|| Some(share.next(Duration::ZERO)).filter(|&due| due < end))
                .collect::<Vec<_>>()
        };
        let all: usize = (0..4).map(|client| arrivals(1, client).len()).sum();
        // 100,000 events are expected, and five standard deviations are 1581.
        assert!((98_419..101_581).contains(&all), "{all}");
        assert_eq!(arrivals(1, 2), arrivals(1, 2));
        assert_ne!(arrivals(1, 2), arrivals(2, 2));
        assert_ne!(arrivals(1, 2), arrivals(1, 3));
    }

    proptest! {
        /// Rounding errors do not add up: after whole periods the schedule is exact.
        #[test]
        fn a_constant_rate_keeps_its_rate(count in 1u32..5000, periods in 0u64..5000) {
            let rate = rate(count);
            prop_assert_eq!(rate.due(periods * u64::from(count)), Duration::from_secs(periods));
            prop_assert!(rate.due(periods) <= rate.due(periods + 1));
        }

        #[test]
        fn the_schedule_does_not_depend_on_when_it_is_asked(
            nows in prop::collection::vec(0u64..10_000, 1..50), poisson: bool,
        ) {
            let fresh = || {
                let pacer = Pacer::ramp(rate(7), rate(70), 3 * SECOND, SECOND);
                if poisson { pacer.poisson(3) } else { pacer }
            };
            let mut pacer = fresh();
            let times: Vec<_> =
                nows.iter().map(|&now| pacer.next(Duration::from_millis(now))).collect();
            let mut again = fresh();
            let others: Vec<_> = nows.iter().map(|_| again.next(Duration::ZERO)).collect();
            prop_assert_eq!(times, others);
        }

        /// The shares of all clients together contain each event of the schedule exactly once.
        #[test]
        fn shares_make_up_the_whole(clients in 1u32..9, count in 1u32..500, taken in 0usize..40) {
            let whole = Pacer::constant(rate(count));
            let end = 2 * SECOND;
            let mut times = Vec::new();
            for client in 0..clients {
                let mut share = whole.share(client, clients);
                let mut own = Vec::new();
                while share.remaining_until(end) > 0 {
                    own.push(share.next(Duration::ZERO));
                }
                prop_assert!(own.iter().all(|&due| due < end));
                prop_assert!(share.next(Duration::ZERO) >= end);
                let mut started = whole.share(client, clients);
                (0..taken).for_each(|_| _ = started.next(Duration::ZERO));
                let remaining = started.remaining_until(end) as usize;
                prop_assert_eq!(remaining, own.len().saturating_sub(taken));
                times.extend(own);
            }
            times.sort_unstable();
            let all: Vec<_> = (0..2 * u64::from(count)).map(|i| rate(count).due(i)).collect();
            prop_assert_eq!(times, all);
        }
    }
}
