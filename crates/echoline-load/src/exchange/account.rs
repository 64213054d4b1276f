//! The account of one client: the messages that it may send, that are in flight, and that are
//! settled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::worker::LoadWorker;
use crate::schedule::send_schedule::SendSchedule;
use crate::statistics::outage::Availability;
use crate::statistics::{
    CorrectReply, DatagramAnomaly, MessageOutcome, RunRecord, ServerOutage, SkipReason,
};

/// The account of a client.
///
/// It balances when it is dropped: every message that was taken from the schedule is settled
/// exactly once, and every other planned message is skipped exactly once.
#[derive(Debug)]
pub(crate) struct ClientAccount {
    pub(super) worker: Arc<LoadWorker>,
    pub(super) index: u32,
    pub(super) schedule: SendSchedule,
    /// Messages whose reply is awaited, the oldest first.
    pub(super) in_flight: VecDeque<InFlightMessage>,
    pub(super) availability: Availability,
    /// The reason why the client has stopped sending; `None` while it runs.
    pub(super) end: Option<SkipReason>,
    /// Whether a message or a connection failed.
    pub(super) failed: bool,
}

/// A message that was started and is not settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlightMessage {
    pub(super) number: u32,
    /// The length of the message in bytes, line end included.
    pub(super) length: usize,
    /// The time at which the schedule wanted the message to be sent, from the start; `None` in
    /// closed loop.
    pub(super) intended: Option<Duration>,
    /// The time just before the message was sent, from the start.
    pub(super) started: Duration,
    /// The tester's own delay: the time until the message was started, from its due time or from
    /// when its connection became free, whichever was later.
    pub(super) lag: Duration,
    /// Whether the connection was busy at the intended time of the message.
    pub(super) delayed: bool,
    pub(super) is_warm_up: bool,
}

impl InFlightMessage {
    /// Returns the time since the message should have been sent.
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.intended.unwrap_or(self.started))
    }

    /// Records that the message was sent. This is called only when the message is settled, so that
    /// the ledger always adds up.
    fn record_sent(&self, sent_at: Duration, record: &mut RunRecord) {
        self.record_many_sent(sent_at, record, 1);
    }

    /// Records that `count` messages like this one were sent.
    #[inline]
    fn record_many_sent(&self, sent_at: Duration, record: &mut RunRecord, count: u64) {
        record.ledger.plan(count);
        record.series.many_sent(sent_at, count);
        if self.intended.is_some() {
            record.lag.record_many(self.lag, count);
            record.delayed += if self.delayed { count } else { 0 };
        }
    }

    /// Returns whether `other` has the same times, so that both are recorded together.
    fn is_like(&self, other: &Self) -> bool {
        self.started == other.started
            && self.intended == other.intended
            && self.is_warm_up == other.is_warm_up
            && (self.intended.is_none() || (self.lag, self.delayed) == (other.lag, other.delayed))
    }
}

impl ClientAccount {
    pub(super) fn new(worker: Arc<LoadWorker>, index: u32) -> Self {
        let settings = worker.settings();
        let pacer = settings.messages.share(index, settings.plan.clients());
        let messages = settings.plan.messages_of(index);
        let schedule = SendSchedule::new(pacer, messages, settings.end(), settings.late_policy);
        let measured = (settings.warm_up, settings.end().unwrap_or(Duration::MAX));
        let availability = Availability::new(measured);
        let in_flight = VecDeque::new();
        Self { worker, index, schedule, in_flight, availability, end: None, failed: false }
    }

    /// Records a correct reply.
    pub(super) fn reply(&mut self, message: &InFlightMessage, now: Duration) {
        self.reply_many(message, 1, now);
    }

    /// Records correct replies to the `count` oldest messages in flight.
    #[inline]
    pub(super) fn reply_to_oldest(&mut self, count: usize, now: Duration) {
        let mut left = count;
        while left > 0
            && let Some(first) = self.in_flight.pop_front()
        {
            let mut like = 1;
            while like < left && self.in_flight.front().is_some_and(|next| next.is_like(&first)) {
                self.in_flight.pop_front();
                like += 1;
            }
            self.reply_many(&first, like, now);
            left -= like;
        }
    }

    /// Records correct replies to `count` messages with the times of this one.
    #[inline]
    fn reply_many(&mut self, message: &InFlightMessage, count: usize, now: Duration) {
        let at = self.offset(message.is_warm_up, now);
        let service = now.saturating_sub(message.started);
        let latency = message.intended.map(|_| message.age(now));
        self.availability.note_reply();
        let mut records = self.worker.records();
        let record = records.of(message.is_warm_up);
        message.record_many_sent(at.saturating_sub(service), record, count as u64);
        record.many_replies(CorrectReply { at, latency, service }, count as u64);
        if let Some(latency) = latency {
            record
                .latency_without_lag
                .record_many(latency.saturating_sub(message.lag), count as u64);
        }
        if !message.is_warm_up {
            records.last_reply = at;
        }
    }

    /// Records that a message failed.
    pub(super) fn fail(
        &mut self,
        message: &InFlightMessage,
        outcome: MessageOutcome,
        now: Duration,
    ) {
        self.failed = true;
        let at = self.offset(message.is_warm_up, now);
        let sent_at = self.offset(message.is_warm_up, message.started);
        let mut records = self.worker.records();
        let record = records.of(message.is_warm_up);
        message.record_sent(sent_at, record);
        record.fail(outcome, at, message.age(now));
        if !message.is_warm_up {
            records.last_failure = records.last_failure.max(at);
        }
    }

    /// Fails all messages in flight.
    pub(super) fn fail_all(&mut self, outcome: MessageOutcome, now: Duration) {
        while let Some(message) = self.in_flight.pop_front() {
            self.fail(&message, outcome, now);
        }
    }

    /// Records a datagram that settles no message.
    pub(super) fn anomaly(&self, anomaly: DatagramAnomaly, now: Duration) {
        let is_warm_up = self.is_warm_up(now);
        let at = self.offset(is_warm_up, now);
        self.worker.records().of(is_warm_up).note_anomaly(anomaly, at);
    }

    /// Skips planned messages.
    pub(super) fn skip(&self, messages: u32, reason: SkipReason, is_warm_up: bool) {
        if messages > 0 {
            let mut records = self.worker.records();
            let ledger = &mut records.of(is_warm_up).ledger;
            ledger.plan(messages.into());
            ledger.skip(messages.into(), reason);
        }
    }

    /// Changes the record of the measured time, after the warm-up.
    pub(super) fn note(&self, note: impl FnOnce(&mut RunRecord)) {
        note(&mut self.worker.records().measured);
    }

    /// Counts a reason for failures.
    pub(super) fn note_reason(&self, reason: &str) {
        self.note(|record| record.note_reason(reason));
    }

    /// Returns the time since the common start.
    pub(super) fn since_start(&self, now: Instant) -> Duration {
        self.worker.context.start.elapsed(now)
    }

    /// Returns whether the warm-up lasts at `now`, from the start.
    pub(super) fn is_warm_up(&self, now: Duration) -> bool {
        now < self.worker.settings().warm_up
    }

    /// Returns the time since the start of the warm-up, or of the measured time if `is_warm_up` is
    /// false.
    fn offset(&self, is_warm_up: bool, now: Duration) -> Duration {
        if is_warm_up { now } else { now.saturating_sub(self.worker.settings().warm_up) }
    }

    /// Skips the planned messages that were not sent.
    fn skip_unsent(&mut self, end: SkipReason, at: Duration) {
        let unsent = self.schedule.remaining();
        let stopped = !self.worker.is_running();
        let outage = self.availability.finish(at, end.is_failure() && !stopped);
        // Messages that a stop leaves unsent are not errors. But messages that were due before the
        // stop, while the client had no server, are errors.
        let failed = match stopped {
            true if outage.clients > 0 => self.schedule.remaining_due(at),
            true => 0,
            false => unsent,
        };
        let failure = if stopped { SkipReason::NotConnected } else { end };
        let clients = u32::from(outage.clients > 0 || end.is_missing_server());
        let counts_time = self.worker.settings().is_closed_for_a_time();
        self.note(|record| {
            record.ledger.plan(unsent);
            record.ledger.skip(unsent - failed, SkipReason::Stopped);
            record.ledger.skip(failed, failure);
            record.end_client(0, end);
            let times = if counts_time { outage } else { ServerOutage::default() };
            record.outage.merge(&ServerOutage { clients, ..times });
        });
    }
}

impl Drop for ClientAccount {
    fn drop(&mut self) {
        let (outcome, stop_end) = self.worker.stop_reason().account();
        let now = self.since_start(Instant::now());
        while let Some(message) = self.in_flight.pop_front() {
            self.fail(&message, outcome, now);
            if outcome == MessageOutcome::TimedOut {
                self.note_reason("no reply before the end of the run and its grace period");
            }
        }
        let end = self.end.unwrap_or(stop_end);
        // A client with a failure does not count as successful, even if it continued over another
        // connection.
        let end = match end {
            SkipReason::Finished if self.failed => SkipReason::Overdue,
            end => end,
        };
        self.skip_unsent(end, now);
    }
}
