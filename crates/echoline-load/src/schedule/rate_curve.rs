//! A rate that changes over time, and its integral and inverse. Pure.

use std::time::Duration;

/// A rate that may stay at its first value for a time, then changes linearly or in steps to its
/// last value, and stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RateCurve {
    /// The number of events per second, before and after the change.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// The duration of the change in seconds.
    pub(crate) over: f64,
    /// The number of equal steps of the change; `None` for a linear one.
    pub(crate) steps: Option<u32>,
    /// The time for which the first rate holds before the change begins, in seconds.
    pub(crate) lead: f64,
}

impl RateCurve {
    /// Returns the number of events, as a fraction, that are due before `time`.
    pub(crate) fn count_until(&self, time: Duration) -> f64 {
        let seconds = time.as_secs_f64();
        if seconds <= self.lead {
            return self.from * seconds;
        }
        let (before, seconds) = (self.from * self.lead, seconds - self.lead);
        let within = seconds.min(self.over);
        let after = (seconds - self.over).max(0.0) * self.to;
        let changing = match self.steps {
            None => within * (self.from + self.slope() * within / 2.0),
            Some(steps) => self.rate_steps(steps).map(|s| s.rate * s.overlap(within)).sum(),
        };
        before + changing + after
    }

    /// Returns the due time of the event at `position`; [`Duration::MAX`] if it never becomes due.
    pub(crate) fn time_of(&self, position: f64) -> Duration {
        let lead_count = self.from * self.lead;
        let seconds = if position < lead_count {
            position / self.from
        } else {
            self.lead + self.changing_time_of(position - lead_count)
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn changing_time_of(&self, position: f64) -> f64 {
        match self.steps {
            None => self.ramp_time_of(position),
            Some(steps) => self.step_time_of(position, steps),
        }
    }

    fn ramp_time_of(&self, position: f64) -> f64 {
        let whole = (self.from + self.to) / 2.0 * self.over;
        if position >= whole {
            return self.over + (position - whole) / self.to;
        }
        if position <= 0.0 {
            return 0.0;
        }
        // The solution t of from·t + slope·t²/2 = position, in a numerically stable form.
        let root = (self.from * self.from + 2.0 * self.slope() * position).max(0.0).sqrt();
        2.0 * position / (self.from + root)
    }

    fn step_time_of(&self, mut position: f64, steps: u32) -> f64 {
        for step in self.rate_steps(steps) {
            let events = step.rate * step.length;
            if position < events {
                return step.start + position / step.rate;
            }
            position -= events;
        }
        self.over + position / self.to
    }

    fn slope(&self) -> f64 {
        (self.to - self.from) / self.over
    }

    fn rate_steps(&self, steps: u32) -> impl Iterator<Item = RateStep> + use<> {
        let Self { from, to, over, .. } = *self;
        let length = over / f64::from(steps);
        (0..steps).map(move |number| {
            let share = f64::from(number) / f64::from((steps - 1).max(1));
            RateStep { start: f64::from(number) * length, length, rate: from + (to - from) * share }
        })
    }
}

/// A step of constant rate.
struct RateStep {
    start: f64,
    length: f64,
    rate: f64,
}

impl RateStep {
    /// Returns the part of the step before `seconds`.
    fn overlap(&self, seconds: f64) -> f64 {
        (seconds - self.start).clamp(0.0, self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ramp(from: f64, to: f64) -> RateCurve {
        RateCurve { from, to, over: 10.0, steps: None, lead: 0.0 }
    }

    #[test]
    fn a_ramp_has_the_area_of_a_trapezium() {
        let up = ramp(0.0, 100.0);
        assert_eq!(up.count_until(Duration::from_secs(10)), 500.0);
        assert_eq!(up.count_until(Duration::from_secs(11)), 600.0);
        // A quarter of the events are due in the first half of the time.
        assert_eq!(up.time_of(125.0), Duration::from_secs(5));
        assert_eq!(up.time_of(0.0), Duration::ZERO);
        let down = ramp(100.0, 0.0);
        assert_eq!(down.count_until(Duration::from_secs(60)), 500.0);
        assert_eq!(down.time_of(501.0), Duration::MAX);
    }

    #[test]
    fn each_step_has_a_constant_rate() {
        let steps = RateCurve { steps: Some(5), ..ramp(100.0, 500.0) };
        for (second, rate) in [(0, 100.0), (3, 200.0), (9, 500.0), (12, 500.0)] {
            let until = |second| steps.count_until(Duration::from_secs(second));
            assert_eq!(until(second + 1) - until(second), rate, "second {second}");
        }
        assert_eq!(steps.time_of(200.0), Duration::from_secs(2));
        assert_eq!(steps.time_of(201.0), Duration::from_millis(2005));
    }

    #[test]
    fn the_lead_keeps_the_first_rate() {
        let curve = RateCurve { lead: 2.0, ..ramp(100.0, 300.0) };
        assert_eq!(curve.time_of(150.0), Duration::from_millis(1500));
        assert_eq!(curve.count_until(Duration::from_secs(12)), 200.0 + 2000.0);
    }

    proptest! {
        /// The two functions are inverse, and time never decreases.
        #[test]
        fn the_due_time_is_the_inverse_of_the_count(
            from in 0.0f64..1e5, to in 1.0f64..1e5, lead in 0.0f64..5.0,
            steps in prop::option::of(2u32..20), share in 0.0f64..1.5,
        ) {
            let curve = RateCurve { from, to, over: 10.0, steps, lead };
            let position = share * curve.count_until(Duration::from_secs_f64(10.0 + lead));
            let time = curve.time_of(position);
            let back = curve.count_until(time);
            prop_assert!((back - position).abs() <= 1e-3 + position * 1e-9, "{position} {back}");
            prop_assert!(curve.time_of(position + 1.0) >= time);
        }
    }
}
