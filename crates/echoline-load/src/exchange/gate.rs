//! When a message may be begun on one connection, however its messages travel.

use std::num::NonZero;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::Leave;
use crate::client::{Client, Flight};
use crate::ledger::End;
use crate::turns::Turn;

/// What lets the messages of a connection through, one by one.
#[derive(Debug)]
pub(super) struct Gate {
    /// The time, where it is known well enough.
    pub(super) now: Option<Instant>,
    /// Since when the connection has had room for a message.
    pub(super) free_since: Instant,
    /// Messages that this connection may still begin.
    left: u32,
    /// What the alarm was last set to.
    alarm: Option<Duration>,
}

/// What there is to do for a connection that has room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Begin this message.
    Begin(Due),
    /// Wait: the alarm is set.
    Wait,
    /// Nothing any more.
    Leave(Leave),
}

/// A message whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) number: u32,
    /// When it was due, from the start.
    due: Duration,
    /// Messages that were left out before it.
    left_out: u32,
}

impl Gate {
    pub(super) fn new(client: &Client, now: Instant) -> Self {
        let left = client.job.settings().per_connection.map_or(u32::MAX, NonZero::get);
        Self { now: Some(now), free_since: now, left, alarm: None }
    }

    pub(super) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    pub(super) fn next(&mut self, client: &mut Client, cx: &Context<'_>) -> Next {
        if !client.job.is_running() {
            return Next::Leave(Leave::Finished(End::Stopped));
        }
        if self.left == 0 {
            return Next::Leave(renew(client));
        }
        let now = self.now();
        match client.turns.take(client.since_start(now)) {
            Turn::Send { number, due, left_out } => Next::Begin(Due { number, due, left_out }),
            Turn::Wait(due) => {
                self.set_alarm(client, due, cx);
                Next::Wait
            }
            Turn::Over => Next::Leave(Leave::Finished(End::Finished)),
        }
    }

    /// Begins a message of `length` bytes.
    pub(super) fn begin(&mut self, client: &mut Client, message: Due, length: usize) {
        let Due { number, due, left_out } = message;
        let now = self.now();
        let settings = client.job.settings();
        let start = client.job.common.start.at().unwrap_or(now);
        let is_warm_up = due < settings.warm_up;
        let intended = client.turns.is_open().then(|| start + due);
        let ready = intended.map_or(now, |intended| intended.max(self.free_since));
        let flight = Flight {
            number,
            length,
            intended,
            begun: now,
            lag: now.saturating_duration_since(ready),
            delayed: intended.is_some_and(|intended| intended < self.free_since),
            is_warm_up,
        };
        self.left -= 1;
        client.flights.push_back(flight);
        client.leave_out(left_out, is_warm_up);
    }

    fn set_alarm(&mut self, client: &Client, due: Duration, cx: &Context<'_>) {
        if self.alarm != Some(due) {
            self.alarm = Some(due);
            if let Some(start) = client.job.common.start.at() {
                client.job.alarm.wake_at(start + due, cx.waker().clone());
            }
        }
    }
}

/// A new connection only where there is something to be sent on it.
fn renew(client: &Client) -> Leave {
    let endless = client.job.settings().plan.messages().is_none();
    let more = client.turns.rest() > 0 || (endless && !client.turns.is_open());
    if more { Leave::Renew } else { Leave::Finished(End::Finished) }
}
