//! A connection's one timer, for all its deadlines.
//!
//! Activity only notes the time; the timer is armed once and looks at the notes when it fires. So
//! a busy connection pays one reading of the clock per wait and never touches the timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::{Closed, Limits};
use super::shutdown::Phase;
use super::terms::Terms;

/// How long a draining connection still listens, so that what has arrived is seen and answered.
const DRAIN_QUIET: Duration = Duration::from_millis(20);

/// A timer that fires this late means that the whole process was stopped or starved: then the
/// peer gets [`GRACE`] more, because what it sent in time may not have been read yet.
const LATE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(1);

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The peer is to send; it may have to take something first.
    Input {
        /// Some of what is asked for has come.
        partial: bool,
        /// Some of what was written is not sent.
        unsent: bool,
    },
    /// The peer is to take what is written.
    Room,
}

/// When what began, and the timer that looks at it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    idle_since: Option<Instant>,
    partial_since: Option<Instant>,
    stalled_since: Option<Instant>,
    draining_since: Option<Instant>,
    grace_until: Option<Instant>,
    /// What the timer was armed for; another kind of waiting may have a nearer deadline.
    armed_for: Option<Waiting>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Created before the phase is looked at, so that no change of phase is missed.
    phase_change: Option<Pin<Box<OwnedNotified>>>,
    waker: Option<Waker>,
}

impl Watch {
    /// What was asked for has come in full.
    pub(super) fn note_input(&mut self) {
        self.idle_since = None;
        self.partial_since = None;
        self.grace_until = None;
    }

    /// The peer took something.
    pub(super) fn note_progress(&mut self) {
        self.stalled_since = None;
        self.grace_until = None;
    }

    /// Called before every read: ends a connection that a draining server has given its time,
    /// even when its peer never stops sending.
    pub(super) fn check(&mut self, partial: bool, terms: &Terms) -> Result<(), Closed> {
        if partial && self.partial_since.is_none() {
            self.partial_since = Some(Instant::now());
        }
        match terms.shutdown.phase() {
            Phase::Running => Ok(()),
            Phase::Aborting => Err(Closed::Aborted),
            Phase::Draining => {
                let now = Instant::now();
                let deadline = *self.draining_since.get_or_insert(now) + DRAIN_QUIET;
                // A line that was begun in time is finished; one begun since is not waited for.
                let in_hand = partial && self.partial_since.is_some_and(|since| since <= deadline);
                if now >= deadline && !in_hand { Err(Closed::Drained) } else { Ok(()) }
            }
        }
    }

    /// Pending until a deadline has passed; then the reason. Also wakes when the phase changes.
    pub(super) fn poll(
        &mut self,
        waiting: Waiting,
        terms: &Terms,
        cx: &mut Context<'_>,
    ) -> Poll<Closed> {
        if self.phase_change.is_none() {
            self.phase_change = Some(Box::pin(terms.shutdown.changed()));
        }
        let phase = terms.shutdown.phase();
        self.note_start(waiting, phase, &terms.limits);
        if phase == Phase::Running && self.is_armed(waiting, cx.waker()) {
            return Poll::Pending;
        }
        self.armed_for = Some(waiting);
        self.poll_slowly(waiting, terms, cx)
    }

    fn note_start(&mut self, waiting: Waiting, phase: Phase, limits: &Limits) {
        if waiting == Waiting::Room || matches!(waiting, Waiting::Input { unsent: true, .. }) {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
        if waiting != Waiting::Room && limits.idle_timeout.is_some() && self.idle_since.is_none() {
            self.idle_since = Some(Instant::now());
        }
        if phase == Phase::Draining {
            self.draining_since.get_or_insert_with(Instant::now);
        }
    }

    /// The timer will fire no later than it must, and wake who asks now.
    fn is_armed(&self, waiting: Waiting, waker: &Waker) -> bool {
        self.armed_for == Some(waiting)
            && self.waker.as_ref().is_some_and(|known| known.will_wake(waker))
            && self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed())
    }

    fn poll_slowly(
        &mut self,
        waiting: Waiting,
        terms: &Terms,
        cx: &mut Context<'_>,
    ) -> Poll<Closed> {
        self.waker = Some(cx.waker().clone());
        loop {
            let phase = terms.shutdown.phase();
            if phase == Phase::Aborting {
                return Poll::Ready(Closed::Aborted);
            }
            self.note_start(waiting, phase, &terms.limits);
            if self.poll_phase_change(terms, cx).is_ready() {
                continue;
            }
            let Some((deadline, closed)) = self.earliest(waiting, phase, &terms.limits) else {
                self.timer = None;
                return Poll::Pending;
            };
            let now = Instant::now();
            if deadline <= now {
                if now - deadline <= LATE || self.grace_until.is_some() {
                    return Poll::Ready(closed);
                }
                self.grace_until = Some(now + GRACE);
                continue;
            }
            if self.poll_timer(deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready when the phase has changed; then a fresh notice takes the place of the used one.
    fn poll_phase_change(&mut self, terms: &Terms, cx: &mut Context<'_>) -> Poll<()> {
        let notice = self.phase_change.get_or_insert_with(|| Box::pin(terms.shutdown.changed()));
        let polled = notice.as_mut().poll(cx);
        if polled.is_ready() {
            notice.set(terms.shutdown.changed());
        }
        polled
    }

    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// The nearest deadline and what it means; `None` where nothing limits this wait.
    fn earliest(
        &self,
        waiting: Waiting,
        phase: Phase,
        limits: &Limits,
    ) -> Option<(Instant, Closed)> {
        let after = |since: Option<Instant>, length: Option<Duration>, closed: Closed| {
            // A time-out too long to be added up never comes.
            Some((since?.checked_add(length?)?, closed))
        };
        let stalled = after(self.stalled_since, limits.stall_timeout, Closed::StallTimeout);
        let nearest = match waiting {
            Waiting::Room => stalled,
            Waiting::Input { partial, unsent } => {
                let line = partial.then_some(self.partial_since).flatten();
                let drains = phase == Phase::Draining && !partial;
                [
                    after(self.idle_since, limits.idle_timeout, Closed::IdleTimeout),
                    after(line, limits.line_timeout, Closed::LineTimeout),
                    stalled.filter(|_| unsent),
                    after(self.draining_since, Some(DRAIN_QUIET), Closed::Drained)
                        .filter(|_| drains),
                ]
                .into_iter()
                .flatten()
                .min_by_key(|(deadline, _)| *deadline)
            }
        };
        nearest.map(|(deadline, closed)| match self.grace_until {
            Some(grace) => (deadline.max(grace), closed),
            None => (deadline, closed),
        })
    }
}
