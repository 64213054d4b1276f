//! Decides which message a client sends next, and when. Pure.

use std::time::Duration;

use crate::schedule::Pacer;

/// The policy for messages whose due time passed while their connection was busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatePolicy {
    /// All late messages are sent as soon as the connection is free.
    #[default]
    CatchUp,
    /// Only the last due message is sent and the earlier ones are skipped, so that the server can
    /// recover.
    Skip,
}

/// The planned messages of one client in their order. Times count from the start of the run.
#[derive(Clone, Debug)]
pub(crate) struct SendSchedule {
    pacer: Pacer,
    /// The due time of the next message, if it was computed already.
    upcoming: Option<Duration>,
    /// The number of the next message.
    number: u32,
    messages: Option<u32>,
    /// The end of the plan. Messages that are due at this time or later are not part of the plan.
    end: Option<Duration>,
    late_policy: LatePolicy,
    finished: bool,
}

/// The next action of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextSend {
    /// Send this message.
    Send {
        number: u32,
        due: Duration,
        /// The number of late messages that were skipped between the previous message and this one.
        skipped: u32,
    },
    /// Wait until this time.
    Wait(Duration),
    /// Everything was sent.
    Finished,
}

impl SendSchedule {
    pub(crate) fn new(
        pacer: Pacer,
        messages: Option<u32>,
        end: Option<Duration>,
        late_policy: LatePolicy,
    ) -> Self {
        Self { pacer, upcoming: None, number: 0, messages, end, late_policy, finished: false }
    }

    /// Returns the next action of a client that could send at `now`.
    #[inline]
    pub(crate) fn take(&mut self, now: Duration) -> NextSend {
        if self.pacer.is_immediate() {
            return self.take_immediate(now);
        }
        let Some(mut due) = self.due(now) else { return NextSend::Finished };
        if due > now {
            return NextSend::Wait(due);
        }
        let first = self.number;
        self.advance();
        while self.late_policy == LatePolicy::Skip && self.is_open() && self.next_is_late(now) {
            due = self.upcoming(now);
            self.advance();
        }
        NextSend::Send { number: self.number - 1, due, skipped: self.number - 1 - first }
    }

    /// Returns the next action in a closed loop without think time, which needs no due times.
    #[inline]
    fn take_immediate(&mut self, now: Duration) -> NextSend {
        let late = self.end.is_some_and(|end| now >= end);
        self.finished |= late || self.number == self.messages.unwrap_or(u32::MAX);
        if self.finished {
            return NextSend::Finished;
        }
        self.number += 1;
        NextSend::Send { number: self.number - 1, due: now, skipped: 0 }
    }

    /// Returns the due time of the next message of a client that could send at `now`; `None` if
    /// there is none.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Duration> {
        let late = !self.is_open() && self.end.is_some_and(|end| now >= end);
        self.finished |= late || self.number == self.messages.unwrap_or(u32::MAX);
        if self.finished {
            return None;
        }
        let due = self.upcoming(now);
        self.finished = self.end.is_some_and(|end| due >= end);
        (!self.finished).then_some(due)
    }

    /// Returns the number of planned messages that the schedule has not returned or skipped yet. In
    /// a closed loop with a duration, or without a number of messages, only the sent messages are
    /// planned.
    pub(crate) fn remaining(&self) -> u64 {
        if self.finished {
            return 0;
        }
        match (self.end, self.unsent()) {
            (Some(end), unsent) if self.is_open() => unsent.min(self.remaining_until(end)),
            (Some(_), _) => 0,
            (None, unsent) if self.messages.is_some() => unsent,
            (None, _) => 0,
        }
    }

    /// Returns the number of remaining messages that are due before `now`. In closed loop only the
    /// next message counts as due.
    pub(crate) fn remaining_due(&self, now: Duration) -> u64 {
        let due = if self.is_open() { self.remaining_until(now) } else { 1 };
        self.remaining().min(due)
    }

    /// Returns the due time of the last message of an open loop; `None` if its number of messages
    /// is not limited.
    pub(crate) fn last_due(&self) -> Option<Duration> {
        let messages = self.messages.filter(|_| self.is_open())?;
        Some(self.pacer.time_of(messages.saturating_sub(1).into()))
    }

    /// Returns the number of messages that the schedule has not returned or skipped yet. Returns
    /// `u64::MAX` if their number is not limited.
    fn unsent(&self) -> u64 {
        self.messages.map_or(u64::MAX, |messages| u64::from(messages - self.number))
    }

    fn remaining_until(&self, time: Duration) -> u64 {
        let upcoming = self.upcoming.is_some_and(|due| due < time);
        self.pacer.remaining_until(time) + u64::from(upcoming)
    }

    /// Returns whether messages have due times.
    pub(crate) fn is_open(&self) -> bool {
        self.pacer.is_open()
    }

    /// Returns the number of messages that the schedule has returned or skipped.
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

    use super::*;
    use crate::schedule::Rate;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn constant(per_second: u32) -> Pacer {
        Pacer::constant(Rate::new(per_second, Duration::from_secs(1)).unwrap())
    }

    fn send(number: u32, due: u32, skipped: u32) -> NextSend {
        NextSend::Send { number, due: due * MILLISECOND, skipped }
    }

    #[test]
    fn a_late_client_catches_up_or_skips() {
        let schedule = |late_policy| {
            SendSchedule::new(constant(1000), None, Some(10 * MILLISECOND), late_policy)
        };
        let mut patient = schedule(LatePolicy::CatchUp);
        let mut hasty = schedule(LatePolicy::Skip);
        for schedule in [&mut patient, &mut hasty] {
            assert_eq!(schedule.take(Duration::ZERO), send(0, 0, 0));
            assert_eq!(schedule.take(Duration::ZERO), NextSend::Wait(MILLISECOND));
        }
        let late = 4 * MILLISECOND + MILLISECOND / 2;
        assert_eq!(patient.take(late), send(1, 1, 0));
        assert_eq!(patient.take(late), send(2, 2, 0));
        assert_eq!(hasty.take(late), send(4, 4, 3));
        assert_eq!(hasty.take(late), NextSend::Wait(5 * MILLISECOND));
        assert_eq!((patient.remaining(), hasty.remaining()), (7, 5));
        // Messages after the end of the plan are not skipped, because they are not planned.
        assert_eq!(hasty.take(99 * MILLISECOND), send(9, 9, 4));
        assert_eq!(hasty.take(99 * MILLISECOND), NextSend::Finished);
        assert_eq!(hasty.remaining(), 0);
    }

    #[test]
    fn a_closed_loop_ends_by_number_or_by_time() {
        let mut counted = SendSchedule::new(Pacer::closed_loop(), Some(1), None, LatePolicy::Skip);
        assert_eq!(counted.remaining(), 1);
        assert_eq!(counted.take(MILLISECOND), send(0, 1, 0));
        assert_eq!(counted.take(MILLISECOND), NextSend::Finished);
        let mut timed =
            SendSchedule::new(Pacer::closed_loop(), None, Some(MILLISECOND), LatePolicy::Skip);
        assert_eq!(timed.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!(timed.take(MILLISECOND), NextSend::Finished);
        assert_eq!(timed.remaining(), 0);
    }

    /// Issue 11, item 36: a closed loop with a duration plans only the messages that it sends.
    #[test]
    fn regression_a_closed_loop_for_a_time_plans_only_what_it_sends() {
        let end = Some(10 * MILLISECOND);
        let mut both =
            SendSchedule::new(Pacer::closed_loop(), Some(1000), end, LatePolicy::CatchUp);
        assert_eq!(both.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!((both.remaining(), both.remaining_due(MILLISECOND)), (0, 0));
    }

    /// Issue 11, item 36: at a stop, only messages that are due may count as errors.
    #[test]
    fn counts_due_messages_at_a_stop() {
        let mut open = SendSchedule::new(constant(1000), Some(50), None, LatePolicy::CatchUp);
        assert_eq!(open.take(Duration::ZERO), send(0, 0, 0));
        assert_eq!(open.take(Duration::ZERO), NextSend::Wait(MILLISECOND));
        assert_eq!((open.remaining(), open.remaining_due(10 * MILLISECOND)), (49, 9));
        assert_eq!(open.last_due(), Some(49 * MILLISECOND));
        let counted = SendSchedule::new(Pacer::closed_loop(), Some(9), None, LatePolicy::CatchUp);
        assert_eq!((counted.remaining(), counted.remaining_due(Duration::ZERO)), (9, 1));
        assert_eq!(counted.last_due(), None);
    }

    proptest! {
        /// For any lateness of a client, the sent, skipped and remaining messages add up to the
        /// plan.
        #[test]
        fn no_message_is_lost(
            waits in prop::collection::vec(0u32..40, 0..60), skip: bool, poisson: bool,
        ) {
            let pacer = if poisson { constant(100).poisson(5) } else { constant(100) };
            let late_policy = if skip { LatePolicy::Skip } else { LatePolicy::CatchUp };
            let messages = (!poisson).then_some(60);
            let end = Some(500 * MILLISECOND);
            let mut schedule = SendSchedule::new(pacer, messages, end, late_policy);
            let (mut now, mut sent, mut skipped) = (Duration::ZERO, 0, 0);
            for wait in waits {
                now += wait * MILLISECOND;
                if let NextSend::Send { due, skipped: more, .. } = schedule.take(now) {
                    prop_assert!(due <= now);
                    sent += 1;
                    skipped += more;
                }
            }
            prop_assert_eq!(sent + skipped, schedule.taken());
            if !poisson {
                prop_assert_eq!(u64::from(schedule.taken()) + schedule.remaining(), 50);
            }
        }
    }
}
