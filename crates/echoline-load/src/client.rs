//! One client of a load run: its account, its connections one after the other.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::dial::{Wire, describe, ports_used_up};
use super::exchange::{DatagramExchange, Exchange, Leave};
use super::job::{Job, Open};
use super::ledger::{End, Outcome};
use super::outage::{Availability, Outage};
use super::record::{Answer, Record};
use super::retry::RetryDelay;
use super::strays::Stray;
use super::turns::Turns;
use echoline::Phase;

/// A client and its account. However it ends, also by being dropped at any time: every message
/// that it took is settled and every other is skipped, once.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) job: Arc<Job>,
    pub(super) index: u32,
    pub(super) turns: Turns,
    /// Messages whose reply is awaited, the oldest first.
    pub(super) flights: VecDeque<Flight>,
    availability: Availability,
    /// Why it sends no more; `None` as long as it may.
    end: Option<End>,
    failed: bool,
}

/// A message under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) number: u32,
    /// Its bytes, line end included.
    pub(super) length: usize,
    /// When it should have been sent; `None` in closed loop.
    pub(super) intended: Option<Instant>,
    /// Before it was sent.
    pub(super) begun: Instant,
    /// How long after its connection was free and its time had come that was.
    pub(super) lag: Duration,
    /// Whether its connection was busy at its intended time.
    pub(super) delayed: bool,
    pub(super) is_warm_up: bool,
}

impl Flight {
    /// How old it is, from when it should have been sent.
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.intended.unwrap_or(self.begun))
    }

    /// What sending it has to say. Noted when it is settled, so that the ledger adds up always.
    fn note_sent(&self, begun_at: Duration, record: &mut Record) {
        record.ledger.plan(1);
        record.series.sent(begun_at);
        if self.intended.is_some() {
            record.lag.record(self.lag);
            record.delayed += u64::from(self.delayed);
        }
    }
}

impl Client {
    pub(super) fn new(job: Arc<Job>, index: u32) -> Self {
        let settings = job.settings();
        let pacer = settings.messages.share(index, settings.plan.clients());
        let messages = settings.plan.messages_of(index);
        let turns = Turns::new(pacer, messages, settings.end(), settings.when_late);
        let judged = (settings.warm_up, settings.end().unwrap_or(Duration::MAX));
        let availability = Availability::new(judged);
        let flights = VecDeque::new();
        Self { job, index, turns, flights, availability, end: None, failed: false }
    }

    /// Connects, waits for the common start, sends everything, connects again where it should.
    pub(super) async fn run(mut self) {
        // Where each message has a connection of its own, that is part of the exchange.
        let mut waiting = self.job.settings().per_connection.is_none();
        if !waiting {
            self.start().await;
        }
        let mut retry = RetryDelay::new(self.job.settings().plan.seed(), self.index);
        for number in 0.. {
            if !waiting && !self.turn().await {
                return self.finish(End::Finished);
            }
            let connected = self.connect(number).await;
            if waiting {
                self.start().await;
                waiting = false;
            }
            let end = match connected {
                Ok((wire, open)) => match self.use_up(wire, open).await {
                    None => {
                        retry.reset();
                        continue;
                    }
                    Some(end) => end,
                },
                Err(end) => end,
            };
            if !self.may_go_on(end) {
                return self.finish(end);
            }
            // A server that accepts, says that it is busy and closes is no better than none.
            if self.availability.has_answered() {
                retry.reset();
            } else {
                self.pause(retry.next()).await;
            }
        }
    }

    /// Waits before the next attempt to connect, at most until the end of the plan.
    async fn pause(&self, delay: Duration) {
        let common = &self.job.common;
        let plan_ends = common.start.at().zip(self.job.settings().end());
        let mut until = Instant::now() + delay;
        if let Some((start, end)) = plan_ends {
            until = until.min(start + end);
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = common.stop.reached(Phase::Draining) => {}
        }
    }

    /// Ends the account.
    pub(super) fn finish(mut self, end: End) {
        self.end = Some(end);
    }

    /// A message was answered right.
    pub(super) fn answer(&mut self, flight: &Flight, now: Instant) {
        let at = self.offset(flight.is_warm_up, now);
        let service = now.saturating_duration_since(flight.begun);
        let latency = flight.intended.map(|_| flight.age(now));
        self.availability.answer();
        let mut records = self.job.records();
        let record = records.of(flight.is_warm_up);
        flight.note_sent(at.saturating_sub(service), record);
        record.answer(Answer { at, latency, service });
        if !flight.is_warm_up {
            records.last_answer = at;
        }
    }

    /// A message failed.
    pub(super) fn fail(&mut self, flight: &Flight, outcome: Outcome, now: Instant) {
        self.failed = true;
        let at = self.offset(flight.is_warm_up, now);
        let begun_at = self.offset(flight.is_warm_up, flight.begun);
        let mut records = self.job.records();
        let record = records.of(flight.is_warm_up);
        flight.note_sent(begun_at, record);
        record.fail(outcome, at, flight.age(now));
        if !flight.is_warm_up {
            records.last_failure = records.last_failure.max(at);
        }
    }

    /// A datagram came that settles nothing.
    pub(super) fn stray(&self, stray: Stray, now: Instant) {
        let is_warm_up = self.since_start(now) < self.job.settings().warm_up;
        let at = self.offset(is_warm_up, now);
        self.job.records().of(is_warm_up).note_stray(stray, at);
    }

    /// Messages were left out because they were late.
    pub(super) fn leave_out(&mut self, messages: u32, is_warm_up: bool) {
        if messages > 0 {
            let mut records = self.job.records();
            let ledger = &mut records.of(is_warm_up).ledger;
            ledger.plan(messages.into());
            ledger.skip(messages.into(), End::Late);
        }
    }

    /// Something to be told went wrong.
    pub(super) fn note(&self, note: impl FnOnce(&mut Record)) {
        note(&mut self.job.records().measured);
    }

    /// Time since the common start.
    pub(super) fn since_start(&self, now: Instant) -> Duration {
        self.job.common.start.elapsed(now)
    }

    /// Time since the beginning of the warm-up, or of what is measured.
    fn offset(&self, is_warm_up: bool, now: Instant) -> Duration {
        let warm_up = if is_warm_up { Duration::ZERO } else { self.job.settings().warm_up };
        self.since_start(now).saturating_sub(warm_up)
    }

    /// Says that it is ready, and waits until all are or the run is stopped.
    async fn start(&self) {
        let common = &self.job.common;
        common.start.arrive();
        tokio::select! {
            biased;
            _ = common.start.wait() => {}
            () = common.stop.reached(Phase::Draining) => {}
        }
    }

    /// Waits until a message is due or the run is stopped; whether any will ever be.
    async fn turn(&mut self) -> bool {
        let mut asked = false;
        poll_fn(|cx| {
            let now = Instant::now();
            let Some(due) = self.turns.due(self.since_start(now)) else {
                return Poll::Ready(false);
            };
            let start = self.job.common.start.at().unwrap_or(now);
            if start + due <= now || !self.job.is_running() {
                return Poll::Ready(true);
            }
            if !std::mem::replace(&mut asked, true) {
                self.job.alarm.wake_at(start + due, cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    async fn connect(&mut self, number: u64) -> Result<(Wire, Open), End> {
        let job = Arc::clone(&self.job);
        let limit = job.settings().timeout();
        let connected = tokio::select! {
            biased;
            () = job.common.stop.reached(Phase::Draining) => return Err(End::Stopped),
            connected = timeout(limit, job.common.dialer.connect(self.index, number)) => connected,
        };
        let reason = match connected {
            Ok(Ok(dialled)) => {
                self.note(|record| {
                    record.connections += 1;
                    record.connect.record(dialled.connect);
                    if let Some(took) = dialled.handshake {
                        record.handshake.record(took);
                    }
                });
                self.availability.connect(self.since_start(Instant::now()));
                return Ok((dialled.wire, self.job.note_open()));
            }
            Ok(Err(error)) => self.describe_connect(&error),
            Err(_) => format!("no answer within {limit:?}"),
        };
        self.failed = true;
        self.availability.refuse();
        self.note(|record| record.note_reason(&format!("cannot connect: {reason}")));
        self.note_unsent();
        Err(End::NotConnected)
    }

    /// A client of a closed loop for a time has no server for the message that it would send now.
    /// The other plans count each message that is not sent.
    fn note_unsent(&self) {
        if self.job.settings().is_closed_for_a_time() {
            let is_warm_up = self.since_start(Instant::now()) < self.job.settings().warm_up;
            let mut records = self.job.records();
            let ledger = &mut records.of(is_warm_up).ledger;
            ledger.plan(1);
            ledger.skip(1, End::NotConnected);
        }
    }

    fn describe_connect(&self, error: &io::Error) -> String {
        if ports_used_up(error) {
            self.job.note_ports_used_up();
        }
        describe(error)
    }

    /// Why the client ended with this connection; `None` where it goes on with another.
    async fn use_up(&mut self, wire: Wire, _open: Open) -> Option<End> {
        let leave = match wire {
            Wire::Stream(stream) => {
                let (leave, stream) = Exchange::new(stream, self).run().await;
                stream.shutdown_now();
                leave
            }
            Wire::Datagrams(socket) => DatagramExchange::new(socket, self).run().await,
        };
        let end = match leave {
            Leave::Finished(end) => Some(end),
            Leave::Renew => None,
        };
        let failed = end.is_some_and(End::is_failure);
        self.availability.disconnect(self.since_start(Instant::now()), failed);
        end
    }

    /// Whether there is sense in another connection after this.
    fn may_go_on(&self, end: End) -> bool {
        let now = self.since_start(Instant::now());
        let in_time = match self.job.settings().end() {
            Some(end) => now < end,
            None => self.turns.rest() > 0 && now < self.patience(),
        };
        end.is_failure() && in_time && self.job.settings().reconnect && self.job.is_running()
    }

    /// Until when a client looks for a server if only a number of messages ends its plan: for as
    /// long as it would wait for one connection, and in open loop for the grace after the last
    /// message of the plan.
    fn patience(&self) -> Duration {
        let settings = self.job.settings();
        let since = self.availability.since().unwrap_or(Duration::MAX);
        let planned = self.turns.last_due().unwrap_or(Duration::ZERO);
        let connecting = since.saturating_add(settings.timeout());
        connecting.max(planned.saturating_add(settings.grace()))
    }

    /// Accounts for the messages that were not sent.
    fn skip_rest(&mut self, end: End, now: Instant) {
        let at = self.since_start(now);
        let rest = self.turns.rest();
        let stopped = !self.job.is_running();
        let outage = self.availability.finish(at, end.is_failure() && !stopped);
        // A stop is no fault of the server; what was due before it and found no server is.
        let failed = match stopped {
            true if outage.clients > 0 => self.turns.rest_due(at),
            true => 0,
            false => rest,
        };
        let failure = if stopped { End::NotConnected } else { end };
        let clients = u32::from(outage.clients > 0 || end.is_missing_server());
        let judged = self.job.settings().is_closed_for_a_time();
        self.note(|record| {
            record.ledger.plan(rest);
            record.ledger.skip(rest - failed, End::Stopped);
            record.ledger.skip(failed, failure);
            record.end_client(0, end);
            let times = if judged { outage } else { Outage::default() };
            record.outage.merge(&Outage { clients, ..times });
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let (outcome, cut_end) = self.job.cut().account();
        let now = Instant::now();
        while let Some(flight) = self.flights.pop_front() {
            self.fail(&flight, outcome, now);
            if outcome == Outcome::TimedOut {
                let text = "no reply before the end of the run and its grace";
                self.note(|record| record.note_reason(text));
            }
        }
        let end = self.end.unwrap_or(cut_end);
        // A client that failed once and went on with another connection is none that is ok.
        let end = if self.failed && end == End::Finished { End::Overdue } else { end };
        self.skip_rest(end, now);
    }
}
