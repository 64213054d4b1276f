//! Chooses the next message on a connection, and keeps the deadline of the oldest message in
//! flight.

use std::num::NonZero;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::account::{ClientAccount, InFlightMessage};
use crate::schedule::send_schedule::NextSend;
use crate::statistics::SkipReason;

/// The state that decides which message a connection begins next, and when its oldest message times
/// out.
#[derive(Debug)]
pub(super) struct Dispatcher {
    /// The start of the run. All times count from it.
    start: Instant,
    /// The current time, if it was read since the last wake-up.
    now: Option<Duration>,
    pub(super) deadline: Deadline,
    /// The time since which the connection has room for a message.
    free_since: Duration,
    /// The number of messages that this connection may still start to send.
    left: u32,
    /// The due time that the worker's alarm was last set to.
    alarm: Option<Duration>,
}

/// The action of a client after a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeEnd {
    /// The client ends for this reason.
    Finished(SkipReason),
    /// The connection has carried its share of messages: the client opens another.
    Reconnect,
}

/// The next action of a connection that has room for a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dispatch {
    /// Begin this message.
    Begin(DueMessage),
    /// Wait until the alarm wakes the task. The alarm is already set.
    Wait,
    /// Begin no more messages.
    End(ExchangeEnd),
}

/// A message that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueMessage {
    pub(super) number: u32,
    /// The due time, from the start.
    due: Duration,
    /// The number of messages that were skipped before this one.
    skipped: u32,
}

impl Dispatcher {
    pub(super) fn new(account: &ClientAccount, now: Instant) -> Self {
        let settings = account.worker.settings();
        let start = account.worker.context.start.at().unwrap_or(now);
        let now = now.saturating_duration_since(start);
        Self {
            start,
            now: Some(now),
            deadline: Deadline::new(start, now + settings.timeout()),
            free_since: now,
            left: settings.per_connection.map_or(u32::MAX, NonZero::get),
            alarm: None,
        }
    }

    /// Returns the time of the last wake-up, or a later one, from the start.
    #[inline]
    pub(super) fn now(&mut self) -> Duration {
        match self.now {
            Some(now) => now,
            None => self.read_clock(),
        }
    }

    /// Reads the clock.
    pub(super) fn read_clock(&mut self) -> Duration {
        let now = Instant::now().saturating_duration_since(self.start);
        self.now = Some(now);
        now
    }

    /// Forgets the time: the clock is read again when it is needed.
    #[inline]
    pub(super) fn forget_time(&mut self) {
        self.now = None;
    }

    #[inline]
    pub(super) fn next(&mut self, account: &mut ClientAccount, cx: &Context<'_>) -> Dispatch {
        if !account.worker.is_running() {
            return Dispatch::End(ExchangeEnd::Finished(SkipReason::Stopped));
        }
        if self.left == 0 {
            return Dispatch::End(reconnect_or_finish(account));
        }
        let now = self.now();
        match account.schedule.take(now) {
            NextSend::Send { number, due, skipped } => {
                Dispatch::Begin(DueMessage { number, due, skipped })
            }
            NextSend::Wait(due) => {
                self.set_alarm(account, due, cx);
                Dispatch::Wait
            }
            NextSend::Finished => Dispatch::End(ExchangeEnd::Finished(SkipReason::Finished)),
        }
    }

    /// Begins a message of `length` bytes.
    #[inline]
    pub(super) fn begin(
        &mut self,
        account: &mut ClientAccount,
        message: DueMessage,
        length: usize,
    ) {
        let DueMessage { number, due, skipped } = message;
        let now = self.now();
        let settings = account.worker.settings();
        if account.in_flight.is_empty() {
            self.deadline.postpone(now + settings.timeout());
        }
        let is_warm_up = due < settings.warm_up;
        let intended = account.schedule.is_open().then_some(due);
        let in_flight = InFlightMessage {
            number,
            length,
            intended,
            started: now,
            lag: intended.map_or(Duration::ZERO, |intended| {
                now.saturating_sub(intended.max(self.free_since))
            }),
            delayed: intended.is_some_and(|intended| intended < self.free_since),
            is_warm_up,
        };
        self.left -= 1;
        account.in_flight.push_back(in_flight);
        if skipped > 0 {
            account.skip(skipped, SkipReason::Late, is_warm_up);
        }
    }

    /// Records that a message was settled at `now`, which makes room for another one.
    #[inline]
    pub(super) fn settle(&mut self, account: &ClientAccount, now: Duration) {
        self.free_since = now;
        if let Some(next) = account.in_flight.front() {
            self.deadline.postpone(next.started + account.worker.settings().timeout());
        }
    }

    fn set_alarm(&mut self, account: &ClientAccount, due: Duration, cx: &Context<'_>) {
        if self.alarm != Some(due) {
            self.alarm = Some(due);
            account.worker.alarm.wake_at(self.start + due, cx.waker().clone());
        }
    }
}

/// Returns [`ExchangeEnd::Reconnect`] only if the client has more to send.
fn reconnect_or_finish(account: &ClientAccount) -> ExchangeEnd {
    let endless = account.worker.settings().plan.messages().is_none();
    let more = account.schedule.remaining() > 0 || (endless && !account.schedule.is_open());
    if more { ExchangeEnd::Reconnect } else { ExchangeEnd::Finished(SkipReason::Finished) }
}

/// A deadline that is cheap to postpone.
///
/// Postponing only stores the new time. When the timer fires, `poll` compares it with the stored
/// time and sets the timer again if necessary. So a request that is answered in time never touches
/// the timer wheel.
#[derive(Debug)]
pub(super) struct Deadline {
    start: Instant,
    /// From the start.
    due: Duration,
    timer: Pin<Box<Sleep>>,
    /// The waker that the timer wakes when it fires.
    waker: Option<Waker>,
}

impl Deadline {
    fn new(start: Instant, due: Duration) -> Self {
        Self { start, due, timer: Box::pin(sleep_until(start + due)), waker: None }
    }

    /// Moves the deadline to `due`, which is not before the current one.
    fn postpone(&mut self, due: Duration) {
        debug_assert!(due >= self.due, "the timer may be armed for later already");
        self.due = due;
    }

    /// Pending until the deadline has passed.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        if is_known && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = self.start + self.due;
            if self.timer.deadline() >= due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passes_at_the_postponed_time() {
        let start = Instant::now();
        let after = Duration::from_secs;
        let mut deadline = Deadline::new(start, after(5));
        let early = tokio::time::timeout_at(start + after(3), poll_fn(|cx| deadline.poll(cx)));
        assert!(early.await.is_err());
        deadline.postpone(after(8));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 8);
    }
}
