//! The record of a run: its ledger, its times, and the reasons of failures. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::statistics::{
    DatagramAnomalies, DatagramAnomaly, DurationHistogram, Ledger, MessageOutcome, Series,
    ServerOutage, SkipReason,
};

/// The maximum number of distinct reasons that are kept, because a server can cause any number of
/// them.
const REASONS_MAX: usize = 20;

/// The text under which further reasons are counted.
const OTHER_REASONS: &str = "other reasons";

/// The measurements of a run. Records of several workers or machines are merged exactly.
#[derive(Clone, Debug, Default)]
pub struct RunRecord {
    /// The account of all planned messages.
    pub ledger: Ledger,
    /// The number of clients whose messages were all answered correctly.
    pub clients_ok: u32,
    /// The time that clients were without a server.
    pub outage: ServerOutage,
    /// The number of connections that were opened.
    pub connections: u64,
    /// The latency of correct replies in open loop: from the intended time until the reply was
    /// complete. Empty in closed loop.
    pub latency: DurationHistogram,
    /// The same without the tester's own [`lag`](Self::lag): as if each message had been sent at
    /// its intended time, or as soon as its connection was free. A server that gets several late
    /// messages at once answers slower, so this is an upper bound.
    pub latency_without_lag: DurationHistogram,
    /// The service time of correct replies: from just before the message was sent until the reply
    /// was complete.
    pub service: DurationHistogram,
    /// The connect time: from the start of connecting until the socket was open.
    pub connect: DurationHistogram,
    /// The handshake time: from the open socket until the end of the TLS and WebSocket handshakes.
    /// Empty without handshakes.
    pub handshake: DurationHistogram,
    /// The tester's own delay in open loop: the time until the message was sent, from its intended
    /// time or from when the connection became free, whichever was later.
    pub lag: DurationHistogram,
    /// The number of messages in open loop whose connection was busy at their intended time.
    pub delayed: u64,
    /// The counts of irregular replies over UDP.
    pub anomalies: DatagramAnomalies,
    /// The counts and latencies over time.
    pub series: Series,
    failures: [DurationHistogram; MessageOutcome::ALL.len()],
    reasons: BTreeMap<String, u64>,
    reasons_dropped: u64,
    wrong_example: Option<String>,
}

/// A correct reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorrectReply {
    /// The time at which the reply was complete, from the start of the measured time.
    pub at: Duration,
    /// The time from the intended send time until the reply was complete; `None` in closed loop.
    pub latency: Option<Duration>,
    /// The time from just before the message was sent until the reply was complete.
    pub service: Duration,
}

impl RunRecord {
    /// Creates a record of `planned` messages.
    #[must_use]
    pub fn new(planned: u64) -> Self {
        Self { ledger: Ledger::new(planned), ..Self::default() }
    }

    /// Records a correct reply.
    pub fn reply(&mut self, reply: CorrectReply) {
        self.many_replies(reply, 1);
    }

    /// Records `count` correct replies with the same times.
    #[inline]
    pub fn many_replies(&mut self, reply: CorrectReply, count: u64) {
        self.ledger.settle_many(MessageOutcome::Ok, count);
        self.service.record_many(reply.service, count);
        if let Some(latency) = reply.latency {
            self.latency.record_many(latency, count);
        }
        self.series.many_answered(reply.at, reply.latency.unwrap_or(reply.service), count);
    }

    /// Records that a message failed at `at`, with its age from the intended time or from sending.
    pub fn fail(&mut self, outcome: MessageOutcome, at: Duration, age: Duration) {
        self.ledger.settle(outcome);
        self.failures[outcome as usize].record(age);
        self.series.failed(at);
    }

    /// Returns the ages of the messages with this outcome. The age of a timed-out message is a
    /// lower bound of its latency.
    #[must_use]
    pub fn failures(&self, outcome: MessageOutcome) -> &DurationHistogram {
        &self.failures[outcome as usize]
    }

    /// Sets the ages of the messages with this outcome, which were read from a file.
    pub fn set_failures(&mut self, outcome: MessageOutcome, ages: DurationHistogram) {
        self.failures[outcome as usize] = ages;
    }

    /// Records an irregular reply.
    pub fn note_anomaly(&mut self, anomaly: DatagramAnomaly, at: Duration) {
        self.anomalies.count(anomaly);
        self.series.anomaly(anomaly, at);
    }

    /// Returns the share of planned messages without a correct reply, from 0 to 1. In a closed loop
    /// with a duration, the time without a server counts as if messages had been due during it.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let errors = self.ledger.error_share();
        errors + (1.0 - errors) * self.outage.share()
    }

    /// Returns the number of messages that were never answered, neither in time nor late.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        let ledger = &self.ledger;
        let late = self.anomalies.late.min(ledger.timed_out());
        ledger.timed_out() - late + ledger.reset() + ledger.lost()
    }

    /// Returns the response times as users see them: latency (in closed loop service time), and the
    /// ages of timed-out messages.
    #[must_use]
    pub fn response_times(&self) -> DurationHistogram {
        let [answers, timed_out] = self.user_visible_times();
        let mut times = answers.clone();
        times.merge(timed_out);
        times
    }

    /// Counts the [`response_times`](Self::response_times) over `limit`, without copying them.
    pub(crate) fn slower_than(&self, limit: Duration) -> u64 {
        self.user_visible_times().iter().map(|times| times.count_above(limit)).sum()
    }

    /// Returns the longest of the [`response_times`](Self::response_times).
    pub(crate) fn slowest(&self) -> Option<Duration> {
        self.user_visible_times().iter().filter_map(|times| times.max()).max()
    }

    fn user_visible_times(&self) -> [&DurationHistogram; 2] {
        let answers = if self.latency.count() > 0 { &self.latency } else { &self.service };
        [answers, self.failures(MessageOutcome::TimedOut)]
    }

    /// Adds the record of another worker or machine.
    pub fn merge(&mut self, other: &Self) {
        self.ledger.merge(&other.ledger);
        self.clients_ok += other.clients_ok;
        self.outage.merge(&other.outage);
        self.connections += other.connections;
        self.delayed += other.delayed;
        self.anomalies.merge(&other.anomalies);
        self.latency.merge(&other.latency);
        self.latency_without_lag.merge(&other.latency_without_lag);
        self.service.merge(&other.service);
        self.connect.merge(&other.connect);
        self.handshake.merge(&other.handshake);
        self.lag.merge(&other.lag);
        self.series.merge(&other.series);
        for (mine, theirs) in self.failures.iter_mut().zip(&other.failures) {
            mine.merge(theirs);
        }
        for (reason, &count) in &other.reasons {
            self.note_reasons(reason, count);
        }
        self.reasons_dropped += other.reasons_dropped;
        if self.wrong_example.is_none() {
            self.wrong_example.clone_from(&other.wrong_example);
        }
    }

    /// Keeps the first wrong reply together with its message.
    pub fn note_wrong(&mut self, example: impl FnOnce() -> String) {
        self.wrong_example.get_or_insert_with(example);
    }

    /// Returns the first wrong reply, together with its message.
    #[must_use]
    pub fn wrong_example(&self) -> Option<&str> {
        self.wrong_example.as_deref()
    }

    /// Records that a client ended with unsent messages.
    pub fn end_client(&mut self, unsent: u64, end: SkipReason) {
        self.ledger.skip(unsent, end);
        self.clients_ok += u32::from(end == SkipReason::Finished);
    }

    /// Counts a reason for failures.
    pub fn note_reason(&mut self, reason: &str) {
        self.note_reasons(reason, 1);
    }

    /// Counts a reason for failures `count` times.
    pub fn note_reasons(&mut self, reason: &str, count: u64) {
        if reason == OTHER_REASONS {
            self.reasons_dropped += count;
        } else if let Some(known) = self.reasons.get_mut(reason) {
            *known += count;
        } else if self.reasons.len() < REASONS_MAX {
            self.reasons.insert(reason.to_owned(), count);
        } else {
            self.reasons_dropped += count;
        }
    }

    /// Returns the distinct reasons with their counts, the most frequent first. At most 20 are
    /// listed, and the others are counted as "other reasons".
    #[must_use]
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> =
            self.reasons.iter().map(|(text, &n)| (text.as_str(), n)).collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        if self.reasons_dropped > 0 {
            reasons.push((OTHER_REASONS, self.reasons_dropped));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reply() -> CorrectReply {
        CorrectReply { at: SECOND, latency: Some(2 * SECOND), service: SECOND }
    }

    fn outcome() -> impl Strategy<Value = MessageOutcome> {
        use MessageOutcome::{InFlight, Lost, Ok, Reset, TimedOut, Wrong};
        let failure = prop::sample::select(vec![Wrong, TimedOut, Reset, Lost, InFlight]);
        prop_oneof![2 => Just(Ok), 1 => failure]
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut record = RunRecord::new(100);
        for number in 0..100 {
            record.note_reason(&format!("reason {}", number % 25));
        }
        let mut twice = record.clone();
        twice.merge(&record);
        for (record, times) in [(record, 1), (twice, 2)] {
            let reasons = record.reasons();
            assert_eq!(reasons.len(), REASONS_MAX + 1);
            assert_eq!(reasons.last(), Some(&("other reasons", 20 * times)));
            assert_eq!(reasons.iter().map(|(_, count)| count).sum::<u64>(), 100 * times);
        }
    }

    #[test]
    fn time_outs_count_in_the_response_times() {
        let mut record = RunRecord::new(2);
        record.reply(reply());
        record.fail(MessageOutcome::TimedOut, SECOND, 5 * SECOND);
        assert_eq!(record.response_times().max(), Some(5 * SECOND));
        assert_eq!(record.latency.max(), Some(2 * SECOND));
        assert_eq!(record.service.max(), Some(SECOND));
    }

    proptest! {
        /// The ledger adds up for any outcomes, both in one record for all clients and in one
        /// record for each client.
        #[test]
        fn the_ledger_adds_up_for_any_sequence_of_outcomes(
            clients in prop::collection::vec(
                (prop::collection::vec(outcome(), 0..20), any::<bool>()), 0..8,
            ),
        ) {
            let mut merged = RunRecord::default();
            for (outcomes, connected) in &clients {
                let mut record = RunRecord::new(20);
                let mut sent = 0;
                let mut end = SkipReason::NotConnected;
                if *connected {
                    end = SkipReason::Stopped;
                }
                for &outcome in outcomes.iter().filter(|_| *connected) {
                    sent += 1;
                    match outcome {
                        MessageOutcome::Ok => record.reply(reply()),
                        other => {
                            record.fail(other, SECOND, SECOND);
                            end = other.into();
                            break;
                        }
                    }
                }
                record.end_client(20 - sent, end);
                prop_assert!(record.ledger.adds_up());
                merged.merge(&record);
            }
            let ledger = &merged.ledger;
            prop_assert!(ledger.adds_up());
            prop_assert_eq!(ledger.planned(), 20 * clients.len() as u64);
            let parts: u64 = MessageOutcome::ALL.iter().map(|&outcome| ledger.count(outcome)).sum();
            prop_assert_eq!(ledger.sent(), parts);
            let skipped: u64 = ledger.skipped_by_reason().map(|(_, messages)| messages).sum();
            prop_assert_eq!(ledger.planned() - ledger.sent(), skipped);
            prop_assert!((0.0..=1.0).contains(&ledger.error_share()));
        }
    }
}
