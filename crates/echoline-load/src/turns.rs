//! Whose turn it is: which message a client sends next, and when. Pure.

use std::time::Duration;

use super::pacer::Pacer;

/// What becomes of messages whose time has passed while their connection was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenLate {
    /// They are sent as soon as the connection is free: the plan is kept.
    #[default]
    CatchUp,
    /// They are left out, all but the last that is due: the server gets time to breathe.
    Skip,
}

/// The messages of one client, in turn. Times count from the start of the run.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    pacer: Pacer,
    /// When the next message is due, once that was asked for.
    upcoming: Option<Duration>,
    /// The number of the next message.
    number: u32,
    messages: Option<u32>,
    /// What is due at this time or later is no part of the plan.
    end: Option<Duration>,
    when_late: WhenLate,
    over: bool,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send this message, which was due at this time.
    Send {
        number: u32,
        due: Duration,
        /// Messages that were left out before it because they were late.
        left_out: u32,
    },
    /// Wait until then.
    Wait(Duration),
    /// Everything was sent.
    Over,
}

impl Turns {
    pub(super) fn new(
        pacer: Pacer,
        messages: Option<u32>,
        end: Option<Duration>,
        when_late: WhenLate,
    ) -> Self {
        Self { pacer, upcoming: None, number: 0, messages, end, when_late, over: false }
    }

    /// The next turn of a client that could send at `now`.
    pub(super) fn take(&mut self, now: Duration) -> Turn {
        let Some(mut due) = self.due(now) else { return Turn::Over };
        if due > now {
            return Turn::Wait(due);
        }
        let first = self.number;
        self.advance();
        while self.when_late == WhenLate::Skip && self.is_open() && self.next_is_late(now) {
            due = self.upcoming(now);
            self.advance();
        }
        Turn::Send { number: self.number - 1, due, left_out: self.number - 1 - first }
    }

    /// When the next message is due for a client that could send at `now`; `None` where there is
    /// none.
    pub(super) fn due(&mut self, now: Duration) -> Option<Duration> {
        let late = !self.is_open() && self.end.is_some_and(|end| now >= end);
        self.over |= late || self.number == self.messages.unwrap_or(u32::MAX);
        if self.over {
            return None;
        }
        let due = self.upcoming(now);
        self.over = self.end.is_some_and(|end| due >= end);
        (!self.over).then_some(due)
    }

    /// Counts the messages of the plan that were not taken. A closed loop for a time, or without a
    /// number of messages, has no plan beyond what it sends.
    pub(super) fn rest(&self) -> u64 {
        if self.over {
            return 0;
        }
        match (self.end, self.unsent()) {
            (Some(end), unsent) if self.is_open() => unsent.min(self.rest_until(end)),
            (Some(_), _) => 0,
            (None, unsent) if self.messages.is_some() => unsent,
            (None, _) => 0,
        }
    }

    /// Counts those of them that are due before `now`; in closed loop the one that comes next.
    pub(super) fn rest_due(&self, now: Duration) -> u64 {
        let due = if self.is_open() { self.rest_until(now) } else { 1 };
        self.rest().min(due)
    }

    /// When the last message of an open loop is due; `None` if no number of messages ends it.
    pub(super) fn last_due(&self) -> Option<Duration> {
        let messages = self.messages.filter(|_| self.is_open())?;
        Some(self.pacer.time_of(messages.saturating_sub(1).into()))
    }

    /// Messages up to the limit of their number.
    fn unsent(&self) -> u64 {
        self.messages.map_or(u64::MAX, |messages| u64::from(messages - self.number))
    }

    fn rest_until(&self, time: Duration) -> u64 {
        let upcoming = self.upcoming.is_some_and(|due| due < time);
        self.pacer.rest_until(time) + u64::from(upcoming)
    }

    /// Whether messages have times of their own.
    pub(super) fn is_open(&self) -> bool {
        self.pacer.is_open()
    }

    /// How many messages were taken.
    #[cfg(test)]
    fn taken(&self) -> u32 {
        self.number
    }

    fn next_is_late(&mut self, now: Duration) -> bool {
        let due = self.upcoming(now);
        due <= now
            && self.end.is_none_or(|end| due < end)
            && self.number < self.messages.unwrap_or(u32::MAX)
    }

    fn upcoming(&mut self, now: Duration) -> Duration {
        let pacer = &mut self.pacer;
        *self.upcoming.get_or_insert_with(|| pacer.next(now))
    }

    fn advance(&mut self) {
        self.number += 1;
        self.upcoming = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pacer::Rate;
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn constant(per_second: u32) -> Pacer {
        Pacer::constant(Rate::new(per_second, Duration::from_secs(1)).unwrap())
    }

    fn send(number: u32, due: u32, left_out: u32) -> Turn {
        Turn::Send { number, due: due * MILLISECOND, left_out }
    }

    #[test]
    fn a_late_client_catches_up_or_skips() {
        let turns = |when_late| Turns::new(constant(1000), None, Some(10 * MILLISECOND), when_late);
        let mut patient = turns(WhenLate::CatchUp);
        let mut hasty = turns(WhenLate::Skip);
        for turns in [&mut patient, &mut hasty] {
            assert_eq!(turns.take(Duration::ZERO), send(0, 0, 0));
            assert_eq!(turns.take(Duration::ZERO), Turn::Wait(MILLISECOND));
        }
        let late = 4 * MILLISECOND + MILLISECOND / 2;
        assert_eq!(patient.take(late), send(1, 1, 0));
        assert_eq!(patient.take(late), send(2, 2, 0));
        assert_eq!(hasty.take(late), send(4, 4, 3));
        assert_eq!(hasty.take(late), Turn::Wait(5 * MILLISECOND));
        assert_eq!((patient.rest(), hasty.rest()), (7, 5));
        // The end of the plan ends the skipping too.
        assert_eq!(hasty.take(99 * MILLISECOND), send(9, 9, 4));
        assert_eq!(hasty.take(99 * MILLISECOND), Turn::Over);
        assert_eq!(hasty.rest(), 0);
    }

    #[test]
    fn a_closed_loop_ends_by_number_or_by_time() {
        let mut counted = Turns::new(Pacer::closed_loop(), Some(1), None, WhenLate::Skip);
        assert_eq!(counted.rest(), 1);
        assert_eq!(counted.take(MILLISECOND), send(0, 1, 0));
        assert_eq!(counted.take(MILLISECOND), Turn::Over);
        let mut timed = Turns::new(Pacer::closed_loop(), None, Some(MILLISECOND), WhenLate::Skip);
        assert_eq!(timed.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!(timed.take(MILLISECOND), Turn::Over);
        assert_eq!(timed.rest(), 0);
    }

    /// Issue 11, item 36: in a closed loop for a time, what there was no time for is not planned.
    #[test]
    fn regression_a_closed_loop_for_a_time_plans_no_rest() {
        let end = Some(10 * MILLISECOND);
        let mut both = Turns::new(Pacer::closed_loop(), Some(1000), end, WhenLate::CatchUp);
        assert_eq!(both.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!((both.rest(), both.rest_due(MILLISECOND)), (0, 0));
    }

    /// Issue 11, item 36: at a stop, only what is due already may count as an error.
    #[test]
    fn a_stop_finds_what_is_due() {
        let mut open = Turns::new(constant(1000), Some(50), None, WhenLate::CatchUp);
        assert_eq!(open.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!(open.take(Duration::ZERO), Turn::Wait(MILLISECOND));
        assert_eq!((open.rest(), open.rest_due(10 * MILLISECOND)), (49, 9));
        assert_eq!(open.last_due(), Some(49 * MILLISECOND));
        let counted = Turns::new(Pacer::closed_loop(), Some(9), None, WhenLate::CatchUp);
        assert_eq!((counted.rest(), counted.rest_due(Duration::ZERO)), (9, 1));
        assert_eq!(counted.last_due(), None);
    }

    proptest! {
        /// However late a client comes each time: sent, left out and rest are the whole plan.
        #[test]
        fn no_message_is_lost(
            waits in prop::collection::vec(0u32..40, 0..60), skip: bool, poisson: bool,
        ) {
            let pacer = if poisson { constant(100).poisson(5) } else { constant(100) };
            let when_late = if skip { WhenLate::Skip } else { WhenLate::CatchUp };
            let messages = (!poisson).then_some(60);
            let end = Some(500 * MILLISECOND);
            let mut turns = Turns::new(pacer, messages, end, when_late);
            let (mut now, mut sent, mut left_out) = (Duration::ZERO, 0, 0);
            for wait in waits {
                now += wait * MILLISECOND;
                if let Turn::Send { due, left_out: more, .. } = turns.take(now) {
                    prop_assert!(due <= now);
                    sent += 1;
                    left_out += more;
                }
            }
            prop_assert_eq!(sent + left_out, turns.taken());
            if !poisson {
                prop_assert_eq!(u64::from(turns.taken()) + turns.rest(), 50);
            }
        }
    }
}
