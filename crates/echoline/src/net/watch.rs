//! A connection's one timer, for all its deadlines.
//!
//! Activity only notes the time; the timer is armed once and looks at the notes when it fires. So
//! a busy connection pays one reading of the clock per wait and never touches the timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::Closed;
use super::place::Place;
use super::shutdown::Phase;
use super::summary::{Account, Amount};
use super::tally::Counted;
use super::terms::Terms;

/// Time for which a draining connection goes on as before.
const DRAIN_QUIET: Duration = Duration::from_millis(20);

/// Time of a draining connection to wait for the next line, since the last one. Most round trips
/// are shorter, so a client that sends a line for each answer is not cut off in between.
const DRAIN_TURN: Duration = Duration::from_millis(200);

/// Reads after [`DRAIN_QUIET`]: the answers to them leave with the end of the stream. The limit
/// ends a connection whose peer never stops sending.
const LATE_READS_MAX: u8 = 64;

/// A deadline that has passed is looked at once more after this, so that the runtime asks the
/// system what has come before anybody is given up: SIGCONT wakes it with its timers only.
const LOOK: Duration = Duration::from_millis(1);

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

/// The state of the output when a connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputState {
    Sent,
    /// The output is kept back, to be sent together with the end of the stream.
    Held,
    /// The peer does not take the output.
    Blocked,
}

/// When what began, the timer that looks at it, and the terms that it looks for.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) terms: Arc<Terms>,
    /// Where the connection is one of a server's: whose task the server wakes. Given back when
    /// this value ends, and not before: a lingering connection counts.
    pub(super) place: Option<Arc<Place>>,
    idle_since: Option<Instant>,
    partial_since: Option<Instant>,
    /// Boxed to keep idle connections small: most never have any of it.
    rare: Option<Box<Rare>>,
    /// The waiting that armed the timer; another kind of waiting may have a nearer deadline.
    armed_for: Option<Waiting>,
    /// The handler is in the middle of a message, for which a drain waits.
    in_message: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What only connections in trouble, or at their end, have to note.
#[derive(Debug, Default)]
struct Rare {
    stalled_since: Option<Instant>,
    draining_since: Option<Instant>,
    /// Reads that got something after [`DRAIN_QUIET`].
    late_reads: u8,
    /// When the connection had answered a late line and nothing more came.
    answered_since: Option<Instant>,
    grace_until: Option<Instant>,
    /// Only where nobody else wakes the waiting task when the phase changes. Created before the
    /// phase is looked at, so that no change is missed.
    phase_change: Option<Pin<Box<OwnedNotified>>>,
    /// Who was last told to be woken, where that is not the task that the server knows.
    waker: Option<Waker>,
}

impl Watch {
    pub(super) fn new(terms: Arc<Terms>, place: Option<Arc<Place>>) -> Self {
        Self {
            terms,
            place,
            idle_since: None,
            partial_since: None,
            rare: None,
            armed_for: None,
            in_message: false,
            timer: None,
        }
    }

    /// What was asked for has come in full.
    #[inline]
    pub(super) fn note_input(&mut self) {
        self.idle_since = None;
        self.partial_since = None;
        if let Some(rare) = &mut self.rare {
            rare.grace_until = None;
        }
    }

    /// A measure for one read or write.
    #[inline]
    pub(super) fn amount(&self) -> Amount {
        Amount::new(self.account().is_some())
    }

    /// So much was read.
    #[inline]
    pub(super) fn note_received(&self, amount: Amount) {
        if let Some(counted) = self.counted() {
            counted.received.add(amount.bytes as u64);
        }
        if let Some(account) = self.account() {
            account.note_received(amount);
        }
    }

    /// A line was read.
    #[inline]
    pub(super) fn note_line(&self, bytes: &[u8]) {
        if let (Some(hook), Some(place)) = (&self.terms.on_line, &self.place) {
            (hook.0)(place.received(bytes));
        }
    }

    #[inline]
    fn account(&self) -> Option<&Account> {
        self.place.as_ref()?.account()
    }

    /// So many messages were handed out since this was last said.
    #[inline]
    pub(super) fn note_messages(&self, count: u32) {
        if count > 0
            && let Some(counted) = self.counted()
        {
            counted.messages.add(count.into());
        }
    }

    #[inline]
    fn counted(&self) -> Option<&Counted> {
        self.place.as_ref()?.counted()
    }

    /// The peer took so much.
    #[inline]
    pub(super) fn note_sent(&mut self, amount: Amount) {
        if let Some(counted) = self.counted() {
            counted.sent.add(amount.bytes as u64);
        }
        if let Some(account) = self.account() {
            account.note_sent(amount);
        }
        if let Some(rare) = &mut self.rare {
            rare.stalled_since = None;
            rare.grace_until = None;
        }
    }

    /// Sets whether the handler is in the middle of a message; returns the value before.
    pub(super) fn set_in_message(&mut self, in_message: bool) -> bool {
        // The timer may have been armed for the end of a drain, which a message changes.
        self.armed_for = None;
        std::mem::replace(&mut self.in_message, in_message)
    }

    /// Asked before every read: why it may be the last one, if it may.
    ///
    /// # Errors
    /// The same reason, if nothing more is read, even from a peer that never stops sending.
    #[inline]
    pub(super) fn check(&mut self, partial: bool) -> Result<Option<Closed>, Closed> {
        if !partial && self.terms.shutdown.phase() < Phase::Draining {
            return Ok(None);
        }
        if partial && self.partial_since.is_none() {
            self.partial_since = Some(Instant::now());
        }
        match self.terms.shutdown.phase() {
            Phase::Running | Phase::Retiring => Ok(None),
            Phase::Aborting => Err(Closed::Aborted),
            Phase::Draining => {
                let now = Instant::now();
                let deadline = *self.rare().draining_since.get_or_insert(now) + DRAIN_QUIET;
                // A line whose first byte came in time is finished; a later one is not waited for.
                let in_hand = partial && self.partial_since.is_some_and(|since| since <= deadline);
                if now < deadline || in_hand || self.in_message {
                    return Ok(None);
                }
                let spent = self.rare().late_reads >= LATE_READS_MAX;
                if spent { Err(Closed::Drained) } else { Ok(Some(Closed::Drained)) }
            }
        }
    }

    /// A read got something that may have been the last one because of `over`.
    #[inline]
    pub(super) fn note_read(&mut self, over: Option<Closed>) {
        if over.is_some() {
            let rare = self.rare();
            rare.late_reads += 1;
            rare.answered_since = None;
        }
    }

    /// As [`poll`](Self::poll), for input that may be the last because of `over`. If an answer is
    /// held or a late line was answered, one more look is all that the connection waits for.
    #[inline]
    pub(super) fn poll_input(
        &mut self,
        over: Option<Closed>,
        partial: bool,
        output: OutputState,
        cx: &mut Context<'_>,
    ) -> Poll<Closed> {
        let unsent = output == OutputState::Blocked;
        if over.is_none() {
            return self.poll(Waiting::Input { partial, unsent }, cx);
        }
        let rare = self.rare();
        let answered = !partial && (output == OutputState::Held || rare.late_reads > 0);
        let since = rare.answered_since.filter(|_| answered);
        rare.answered_since = since.or_else(|| answered.then(Instant::now));
        // A line whose first byte came this late has DRAIN_TURN, not the line timeout.
        self.poll(Waiting::Input { partial: false, unsent }, cx)
    }

    /// Pending until a deadline has passed; then the reason. Also wakes when the phase changes.
    #[inline]
    pub(super) fn poll(&mut self, waiting: Waiting, cx: &mut Context<'_>) -> Poll<Closed> {
        let phase = self.terms.shutdown.phase();
        self.note_start(waiting, phase);
        if phase < Phase::Draining && self.is_armed(waiting, cx.waker()) {
            return Poll::Pending;
        }
        self.armed_for = Some(waiting);
        self.poll_slowly(waiting, cx)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    #[inline]
    fn note_start(&mut self, waiting: Waiting, phase: Phase) {
        if waiting == Waiting::Room || matches!(waiting, Waiting::Input { unsent: true, .. }) {
            self.rare().stalled_since.get_or_insert_with(Instant::now);
        }
        if waiting != Waiting::Room
            && self.terms.limits.idle_timeout.is_some()
            && self.idle_since.is_none()
        {
            self.idle_since = Some(Instant::now());
        }
        if phase == Phase::Draining {
            self.rare().draining_since.get_or_insert_with(Instant::now);
        }
    }

    /// The timer will fire no later than it must, and wake who asks now.
    #[inline]
    fn is_armed(&self, waiting: Waiting, waker: &Waker) -> bool {
        self.armed_for == Some(waiting)
            && self.is_known(waker)
            && self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed())
    }

    /// Whether `waker` is who was last told to be woken, by the timer and at a change of phase.
    #[inline]
    fn is_known(&self, waker: &Waker) -> bool {
        match self.rare.as_ref().and_then(|rare| rare.waker.as_ref()) {
            Some(known) => known.will_wake(waker),
            None => self.is_supervised(waker),
        }
    }

    /// Whether the server wakes `waker` when its phase changes.
    fn is_supervised(&self, waker: &Waker) -> bool {
        self.place.as_ref().is_some_and(|place| place.wakes(waker))
    }

    fn poll_slowly(&mut self, waiting: Waiting, cx: &mut Context<'_>) -> Poll<Closed> {
        let supervised = self.is_supervised(cx.waker());
        if let Some(rare) = &mut self.rare {
            rare.waker = None;
        }
        loop {
            if !supervised {
                self.await_phase_change(cx);
            }
            let phase = self.terms.shutdown.phase();
            if phase == Phase::Aborting {
                return Poll::Ready(Closed::Aborted);
            }
            self.note_start(waiting, phase);
            let Some((deadline, closed)) = self.earliest(waiting, phase) else {
                self.timer = None;
                return Poll::Pending;
            };
            let now = Instant::now();
            if deadline <= now {
                if self.rare().grace_until.is_some() {
                    return Poll::Ready(closed);
                }
                let grace = if now - deadline > LATE { GRACE } else { LOOK };
                self.rare().grace_until = Some(now + grace);
                continue;
            }
            if self.poll_timer(deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Has the task woken at the next change of phase.
    fn await_phase_change(&mut self, cx: &mut Context<'_>) {
        let shutdown = &self.terms.shutdown;
        let rare = self.rare.get_or_insert_default();
        rare.waker = Some(cx.waker().clone());
        let notice = rare.phase_change.get_or_insert_with(|| Box::pin(shutdown.changed()));
        while notice.as_mut().poll(cx).is_ready() {
            notice.set(shutdown.changed());
        }
    }

    fn poll_timer(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// The nearest deadline and its meaning; `None` where nothing limits this wait.
    fn earliest(&self, waiting: Waiting, phase: Phase) -> Option<(Instant, Closed)> {
        let limits = &self.terms.limits;
        let (stalled_since, grace_until) = match self.rare.as_deref() {
            Some(rare) => (rare.stalled_since, rare.grace_until),
            None => (None, None),
        };
        let after = |since: Option<Instant>, length: Option<Duration>, closed: Closed| {
            // A time-out too long to be added up never comes.
            Some((since?.checked_add(length?)?, closed))
        };
        let stalled = after(stalled_since, limits.stall_timeout, Closed::StallTimeout);
        let nearest = match waiting {
            Waiting::Room => stalled,
            Waiting::Input { partial, unsent } => {
                let line = partial.then_some(self.partial_since).flatten();
                let drains = phase == Phase::Draining && !partial && !self.in_message;
                [
                    after(self.idle_since, limits.idle_timeout, Closed::IdleTimeout),
                    after(line, limits.line_timeout, Closed::LineTimeout),
                    stalled.filter(|_| unsent),
                    self.end_of_drain().filter(|_| drains).map(|end| (end, Closed::Drained)),
                ]
                .into_iter()
                .flatten()
                .min_by_key(|(deadline, _)| *deadline)
            }
        };
        nearest.map(|(deadline, closed)| match grace_until {
            Some(grace) => (deadline.max(grace), closed),
            None => (deadline, closed),
        })
    }

    /// When a draining connection that gets nothing more ends.
    fn end_of_drain(&self) -> Option<Instant> {
        let rare = self.rare.as_deref()?;
        let since = rare.draining_since?;
        if rare.answered_since.is_some() {
            return rare.answered_since;
        }
        // None is less than every time.
        let last = self.idle_since.max(self.partial_since).unwrap_or(since);
        Some((since + DRAIN_QUIET).max(last + DRAIN_TURN))
    }
}
