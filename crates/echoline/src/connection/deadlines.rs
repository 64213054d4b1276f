//! A connection's one timer, for all its deadlines.
//!
//! Activity only records the time. The timer is set once, and when it fires, it is compared with
//! the recorded times. So a busy connection reads the clock once per wait and never touches the
//! timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, Sleep, sleep_until};

use super::config::ConnectionConfig;
use super::limits::Closed;
use crate::metrics::summary::{Amount, ConnectionCounters};
use crate::metrics::worker_stats::WorkerCounters;
use crate::server::registry::ConnectionSlot;
use crate::server::shutdown::Phase;

/// The time for which a draining connection continues unchanged.
const DRAIN_QUIET: Duration = Duration::from_millis(20);

/// The time after the last line for which a draining connection waits for the next one. Most round
/// trips are shorter. So a client that sends its next line after each answer still gets all its
/// answers.
const DRAIN_TURN: Duration = Duration::from_millis(200);

/// The maximum number of reads after [`DRAIN_QUIET`]. Their answers are sent together with the end
/// of the stream. The limit ends a connection whose peer never stops sending.
const LATE_READS_MAX: u8 = 64;

/// The time after which a passed deadline is checked again, so that the runtime can poll for input
/// first. Otherwise, after SIGCONT, the runtime would run only its timers, and close connections
/// whose input is waiting.
const LOOK: Duration = Duration::from_millis(1);

/// If a timer fires later than this, the whole process was stopped or had no processor time. The
/// peer then gets the additional time [`GRACE`], because its input may not have been read yet.
const LATE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(1);

/// The direction that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitFor {
    /// The connection waits for input from the peer. The peer may have to read output first.
    Input {
        /// Whether the requested input has arrived in part.
        partial: bool,
        /// Whether some output is not sent yet.
        unsent: bool,
    },
    /// The connection waits until the peer has read output.
    Output,
}

/// The state of the output when a connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputState {
    Sent,
    /// The output is held back, to be sent together with the end of the stream.
    Held,
    /// The peer does not take the output.
    Blocked,
}

/// The start times of the waits of a connection, the timer that checks them, and the limits that
/// apply.
#[derive(Debug)]
pub(super) struct Deadlines {
    pub(super) config: Arc<ConnectionConfig>,
    /// The connection slot, if a server has accepted the connection. It is released only when this
    /// value is dropped, because a lingering connection counts too.
    pub(super) slot: Option<Arc<ConnectionSlot>>,
    idle_since: Option<Instant>,
    partial_since: Option<Instant>,
    /// This state is boxed to keep idle connections small, because most connections never need it.
    extras: Option<Box<DeadlineExtras>>,
    /// The kind of wait for which the timer is set. Another kind may have an earlier deadline.
    armed_for: Option<WaitFor>,
    /// Whether the handler is in the middle of a message, for which a drain waits.
    in_message: bool,
    /// Whether the server counts traffic or calls a hook for each line. It does not change while
    /// the connection is open.
    is_observed: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

/// State that only slow, draining or closing connections need, boxed to keep the others small.
#[derive(Debug, Default)]
struct DeadlineExtras {
    stalled_since: Option<Instant>,
    draining_since: Option<Instant>,
    /// The number of reads that received bytes after [`DRAIN_QUIET`].
    late_reads: u8,
    /// The time at which the connection had answered a late line and no further input had arrived.
    answered_since: Option<Instant>,
    grace_until: Option<Instant>,
    /// The next change of the phase. It is set only if the registry does not wake the waiting task
    /// at a change. It is created before the phase is read, so that no change is missed.
    phase_change: Option<Pin<Box<OwnedNotified>>>,
    /// The last registered waker, if it differs from the waker that the registry has.
    waker: Option<Waker>,
}

impl Deadlines {
    pub(super) fn new(config: Arc<ConnectionConfig>, slot: Option<Arc<ConnectionSlot>>) -> Self {
        let is_observed = slot.as_ref().is_some_and(|slot| {
            config.on_line.is_some()
                || slot.worker_counters().is_some()
                || slot.connection_counters().is_some()
        });
        Self {
            config,
            slot,
            idle_since: None,
            partial_since: None,
            extras: None,
            armed_for: None,
            in_message: false,
            is_observed,
            timer: None,
        }
    }

    /// Returns deadlines of the same connection for a wait in another task, or in another part of
    /// the same task.
    pub(super) fn for_another_wait(&self) -> Self {
        Self::new(Arc::clone(&self.config), self.slot.clone())
    }

    /// Records that the requested input is complete.
    #[inline]
    pub(super) fn note_input(&mut self) {
        self.idle_since = None;
        self.partial_since = None;
        if let Some(extras) = &mut self.extras {
            extras.grace_until = None;
        }
    }

    /// Returns an empty amount for one read or write. It counts lines if the connection has
    /// counters.
    #[inline]
    pub(super) fn amount(&self) -> Amount {
        Amount::new(self.is_observed && self.connection_counters().is_some())
    }

    /// Records that `amount` was read.
    #[inline]
    pub(super) fn note_received(&self, amount: Amount) {
        if !self.is_observed {
            return;
        }
        if let Some(worker_counters) = self.worker_counters() {
            worker_counters.received.add(amount.bytes as u64);
        }
        if let Some(connection_counters) = self.connection_counters() {
            connection_counters.note_received(amount);
        }
    }

    /// Records a read whose bytes are one message.
    #[inline]
    pub(super) fn note_whole_read(&self, bytes: &[u8]) {
        if self.is_observed {
            let mut amount = self.amount();
            amount.add(bytes);
            self.note_received(amount);
            if !bytes.is_empty() {
                self.note_messages(1);
                self.note_line(bytes);
            }
        }
    }

    /// Records a failure of the connection, for a handler that returns an error of its own.
    #[cold]
    pub(super) fn note_failure(&self, closed: Closed) {
        if let Some(slot) = &self.slot {
            slot.note_failure(closed);
        }
    }

    /// Records a line that was read.
    #[inline]
    pub(super) fn note_line(&self, bytes: &[u8]) {
        if self.is_observed
            && let (Some(hook), Some(slot)) = (&self.config.on_line, &self.slot)
        {
            (hook.0)(slot.received(bytes));
        }
    }

    #[inline]
    fn connection_counters(&self) -> Option<&ConnectionCounters> {
        self.slot.as_ref()?.connection_counters()
    }

    /// Counts messages that were returned to the handler.
    #[inline]
    pub(super) fn note_messages(&self, count: u32) {
        if self.is_observed
            && count > 0
            && let Some(worker_counters) = self.worker_counters()
        {
            worker_counters.messages.add(count.into());
        }
    }

    #[inline]
    fn worker_counters(&self) -> Option<&WorkerCounters> {
        self.slot.as_ref()?.worker_counters()
    }

    /// Records that the peer has accepted `amount` of output.
    #[inline]
    pub(super) fn note_sent(&mut self, amount: Amount) {
        if self.is_observed {
            self.count_sent(amount);
        }
        if let Some(extras) = &mut self.extras {
            extras.stalled_since = None;
            extras.grace_until = None;
        }
    }

    fn count_sent(&self, amount: Amount) {
        if let Some(worker_counters) = self.worker_counters() {
            worker_counters.sent.add(amount.bytes as u64);
        }
        if let Some(connection_counters) = self.connection_counters() {
            connection_counters.note_sent(amount);
        }
    }

    /// Sets whether the handler is in the middle of a message. Returns the previous value.
    pub(super) fn set_in_message(&mut self, in_message: bool) -> bool {
        // The timer may be set for the end of a drain, and a message changes this time.
        self.armed_for = None;
        std::mem::replace(&mut self.in_message, in_message)
    }

    /// Returns whether [`check`](Self::check) has any effect: in the middle of a line, or while the
    /// server shuts down.
    #[inline]
    pub(super) fn needs_check(&self, partial: bool) -> bool {
        partial || self.config.shutdown.phase() >= Phase::Draining
    }

    /// Prepares for a read. Returns a close reason if this read may be the last one.
    ///
    /// # Errors
    /// The close reason, if the connection must not read any more.
    #[inline(always)]
    pub(super) fn check(&mut self, partial: bool) -> Result<Option<Closed>, Closed> {
        if !self.needs_check(partial) {
            return Ok(None);
        }
        if partial && self.partial_since.is_none() {
            self.partial_since = Some(Instant::now());
        }
        match self.config.shutdown.phase() {
            Phase::Running | Phase::Retiring => Ok(None),
            Phase::Aborting => Err(Closed::Aborted),
            Phase::Draining => {
                let now = Instant::now();
                let deadline = *self.extras().draining_since.get_or_insert(now) + DRAIN_QUIET;
                // A line that began before the deadline is read to its end. A later line is not
                // read.
                let in_hand = partial && self.partial_since.is_some_and(|since| since <= deadline);
                if now < deadline || in_hand || self.in_message {
                    return Ok(None);
                }
                let spent = self.extras().late_reads >= LATE_READS_MAX;
                if spent { Err(Closed::Drained) } else { Ok(Some(Closed::Drained)) }
            }
        }
    }

    /// Records a read that received bytes. If `over` is set, it may have been the last read.
    #[inline]
    pub(super) fn note_read(&mut self, over: Option<Closed>) {
        if over.is_some() {
            let extras = self.extras();
            extras.late_reads += 1;
            extras.answered_since = None;
        }
    }

    /// Works like [`poll`](Self::poll), for input. If `over` is set, this input may be the last. If
    /// an answer is then held or a late line was answered, the connection waits only until the next
    /// poll.
    #[inline(always)]
    pub(super) fn poll_input(
        &mut self,
        over: Option<Closed>,
        partial: bool,
        output: OutputState,
        cx: &mut Context<'_>,
    ) -> Poll<Closed> {
        let unsent = output == OutputState::Blocked;
        if over.is_none() {
            return self.poll(WaitFor::Input { partial, unsent }, cx);
        }
        let extras = self.extras();
        let answered = !partial && (output == OutputState::Held || extras.late_reads > 0);
        let since = extras.answered_since.filter(|_| answered);
        extras.answered_since = since.or_else(|| answered.then(Instant::now));
        // A line that begins during the drain must end within `DRAIN_TURN` instead of the line
        // time-out.
        self.poll(WaitFor::Input { partial: false, unsent }, cx)
    }

    /// Returns `Pending` until a deadline has passed, and then the close reason. It also wakes the
    /// task when the phase changes.
    #[inline(always)]
    pub(super) fn poll(&mut self, wait_for: WaitFor, cx: &mut Context<'_>) -> Poll<Closed> {
        let phase = self.config.shutdown.phase();
        self.note_start(wait_for, phase);
        if phase < Phase::Draining && self.is_armed(wait_for, cx.waker()) {
            return Poll::Pending;
        }
        self.armed_for = Some(wait_for);
        self.poll_slowly(wait_for, cx)
    }

    fn extras(&mut self) -> &mut DeadlineExtras {
        self.extras.get_or_insert_default()
    }

    #[inline]
    fn note_start(&mut self, wait_for: WaitFor, phase: Phase) {
        if wait_for == WaitFor::Output || matches!(wait_for, WaitFor::Input { unsent: true, .. }) {
            self.extras().stalled_since.get_or_insert_with(Instant::now);
        }
        if wait_for != WaitFor::Output
            && self.config.limits.idle_timeout.is_some()
            && self.idle_since.is_none()
        {
            self.idle_since = Some(Instant::now());
        }
        if phase == Phase::Draining {
            self.extras().draining_since.get_or_insert_with(Instant::now);
        }
    }

    /// Returns whether the timer is set for this kind of wait and wakes `waker`.
    #[inline]
    fn is_armed(&self, wait_for: WaitFor, waker: &Waker) -> bool {
        self.armed_for == Some(wait_for)
            && self.is_known(waker)
            && self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed())
    }

    /// Returns whether `waker` is already registered with the timer and for phase changes.
    #[inline]
    fn is_known(&self, waker: &Waker) -> bool {
        match self.extras.as_ref().and_then(|extras| extras.waker.as_ref()) {
            Some(known) => known.will_wake(waker),
            None => self.is_supervised(waker),
        }
    }

    /// Returns whether the server wakes `waker` when its phase changes.
    #[inline]
    fn is_supervised(&self, waker: &Waker) -> bool {
        self.slot.as_ref().is_some_and(|slot| slot.is_woken_by(waker))
    }

    fn poll_slowly(&mut self, wait_for: WaitFor, cx: &mut Context<'_>) -> Poll<Closed> {
        let supervised = self.is_supervised(cx.waker());
        if let Some(extras) = &mut self.extras {
            extras.waker = None;
        }
        loop {
            if !supervised {
                self.await_phase_change(cx);
            }
            let phase = self.config.shutdown.phase();
            if phase == Phase::Aborting {
                return Poll::Ready(Closed::Aborted);
            }
            self.note_start(wait_for, phase);
            let Some((deadline, closed)) = self.earliest(wait_for, phase) else {
                self.timer = None;
                return Poll::Pending;
            };
            let now = Instant::now();
            if deadline <= now {
                if self.extras().grace_until.is_some() {
                    return Poll::Ready(closed);
                }
                let grace = if now - deadline > LATE { GRACE } else { LOOK };
                self.extras().grace_until = Some(now + grace);
                continue;
            }
            if self.poll_timer(deadline, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Registers the task to be woken at the next change of phase.
    fn await_phase_change(&mut self, cx: &mut Context<'_>) {
        let shutdown = &self.config.shutdown;
        let extras = self.extras.get_or_insert_default();
        extras.waker = Some(cx.waker().clone());
        let notice = extras.phase_change.get_or_insert_with(|| Box::pin(shutdown.changed()));
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

    /// Returns the nearest deadline and its close reason; `None` if nothing limits this wait.
    fn earliest(&self, wait_for: WaitFor, phase: Phase) -> Option<(Instant, Closed)> {
        let limits = &self.config.limits;
        let (stalled_since, grace_until) = match self.extras.as_deref() {
            Some(extras) => (extras.stalled_since, extras.grace_until),
            None => (None, None),
        };
        let after = |since: Option<Instant>, length: Option<Duration>, closed: Closed| {
            // A time-out that overflows the clock never fires.
            Some((since?.checked_add(length?)?, closed))
        };
        let stalled = after(stalled_since, limits.stall_timeout, Closed::StallTimeout);
        let nearest = match wait_for {
            WaitFor::Output => stalled,
            WaitFor::Input { partial, unsent } => {
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

    /// Returns the time at which a draining connection without further input ends.
    fn end_of_drain(&self) -> Option<Instant> {
        let extras = self.extras.as_deref()?;
        let since = extras.draining_since?;
        if extras.answered_since.is_some() {
            return extras.answered_since;
        }
        // `max` returns the time that is set, because `None` is less than every time.
        let last = self.idle_since.max(self.partial_since).unwrap_or(since);
        Some((since + DRAIN_QUIET).max(last + DRAIN_TURN))
    }
}
