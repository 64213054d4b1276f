//! What happened: the ledger, the times, and the reasons of failures. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::{End, Ledger, Outcome};
use super::outage::Outage;
use super::series::Series;
use super::strays::{Stray, Strays};
use super::times::Times;

/// Different reasons that are kept apart; a server can make up any number of them.
const REASONS_MAX: usize = 20;

/// What reasons beyond those are counted under.
const OTHER_REASONS: &str = "other reasons";

/// Everything that a run has to say about its messages and clients. Records of several workers
/// or machines are merged exactly.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The account of all planned messages.
    pub ledger: Ledger,
    /// Clients all of whose messages were answered right.
    pub clients_ok: u32,
    /// The time that clients were without a server.
    pub outage: Outage,
    /// Connections that were opened.
    pub connections: u64,
    /// In open loop, of right answers: from the intended time of the plan until the reply was
    /// complete. Empty in closed loop, where nothing is intended.
    pub latency: Times,
    /// Of right answers: from before the message was sent until the reply was complete.
    pub service: Times,
    /// From the beginning of a connection until its socket was open.
    pub connect: Times,
    /// From then until it could be used: the handshakes of TLS and WebSocket. Empty where there is
    /// nothing to be done.
    pub handshake: Times,
    /// In open loop: how much later than intended, or than its connection was free, the tester
    /// began to send. It is the tester's own fault.
    pub lag: Times,
    /// In open loop: messages that found their connection busy at their intended time.
    pub delayed: u64,
    /// Over UDP: answers that came otherwise than once, in time and in order.
    pub strays: Strays,
    /// The same, second by second.
    pub series: Series,
    failures: [Times; Outcome::ALL.len()],
    reasons: BTreeMap<String, u64>,
    reasons_dropped: u64,
    wrong_example: Option<String>,
}

/// A right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it was complete, from the start of what is measured.
    pub at: Duration,
    /// From the intended time until then; `None` in closed loop.
    pub latency: Option<Duration>,
    /// From before the message was sent until then.
    pub service: Duration,
}

impl Record {
    /// For `planned` messages.
    #[must_use]
    pub fn new(planned: u64) -> Self {
        Self { ledger: Ledger::new(planned), ..Self::default() }
    }

    /// A message was answered right.
    pub fn answer(&mut self, answer: Answer) {
        self.ledger.settle(Outcome::Ok);
        self.service.record(answer.service);
        if let Some(latency) = answer.latency {
            self.latency.record(latency);
        }
        self.series.answered(answer.at, answer.latency.unwrap_or(answer.service));
    }

    /// A message was not answered right: its age at this moment, from the intended time where
    /// there is one.
    pub fn fail(&mut self, outcome: Outcome, at: Duration, age: Duration) {
        self.ledger.settle(outcome);
        self.failures[outcome as usize].record(age);
        self.series.failed(at);
    }

    /// How old the messages were when they failed in this way. A time-out's age is the least that
    /// its latency would have been.
    #[must_use]
    pub fn failures(&self, outcome: Outcome) -> &Times {
        &self.failures[outcome as usize]
    }

    /// Puts back the ages of failures that were read from elsewhere.
    pub fn set_failures(&mut self, outcome: Outcome, ages: Times) {
        self.failures[outcome as usize] = ages;
    }

    /// A datagram came at this time that settles nothing.
    pub fn note_stray(&mut self, stray: Stray, at: Duration) {
        self.strays.count(stray);
        self.series.stray(stray, at);
    }

    /// The share of planned messages that were not answered right, from 0 to 1. In a closed loop
    /// for a time, which has no plan, the time without a server counts as if messages had been due
    /// in it.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let errors = self.ledger.error_share();
        errors + (1.0 - errors) * self.outage.share()
    }

    /// Messages that were sent and never answered, neither in time nor late.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        let ledger = &self.ledger;
        let late = self.strays.late.min(ledger.timed_out());
        ledger.timed_out() - late + ledger.reset() + ledger.lost()
    }

    /// The times that a user would tell of: latency (in closed loop service time), and time-outs
    /// with their age, which must not vanish from the longest times.
    #[must_use]
    pub fn response_times(&self) -> Times {
        let [answers, timed_out] = self.users_times();
        let mut times = answers.clone();
        times.merge(timed_out);
        times
    }

    /// Counts the [`response_times`](Self::response_times) over `limit`, without copying them.
    pub(super) fn slower_than(&self, limit: Duration) -> u64 {
        self.users_times().iter().map(|times| times.count_above(limit)).sum()
    }

    /// The longest of these times.
    pub(super) fn slowest(&self) -> Option<Duration> {
        self.users_times().iter().filter_map(|times| times.max()).max()
    }

    fn users_times(&self) -> [&Times; 2] {
        let answers = if self.latency.count() > 0 { &self.latency } else { &self.service };
        [answers, self.failures(Outcome::TimedOut)]
    }

    /// Takes in what another worker or machine has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.ledger.merge(&other.ledger);
        self.clients_ok += other.clients_ok;
        self.outage.merge(&other.outage);
        self.connections += other.connections;
        self.delayed += other.delayed;
        self.strays.merge(&other.strays);
        self.latency.merge(&other.latency);
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

    /// Keeps the first wrong reply, beside what was sent, to be shown.
    pub fn note_wrong(&mut self, example: impl FnOnce() -> String) {
        self.wrong_example.get_or_insert_with(example);
    }

    /// The first wrong reply, beside what was sent.
    #[must_use]
    pub fn wrong_example(&self) -> Option<&str> {
        self.wrong_example.as_deref()
    }

    /// A client ends with so many messages unsent.
    pub fn end_client(&mut self, unsent: u64, end: End) {
        self.ledger.skip(unsent, end);
        self.clients_ok += u32::from(end == End::Finished);
    }

    /// Something went wrong, because of `reason`.
    pub fn note_reason(&mut self, reason: &str) {
        self.note_reasons(reason, 1);
    }

    /// Something went wrong so many times, because of `reason`.
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

    /// Each different reason and how often there was one, the most frequent first; at most 20,
    /// and the rest as "other reasons".
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

    fn answer() -> Answer {
        Answer { at: SECOND, latency: Some(2 * SECOND), service: SECOND }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        use Outcome::{InFlight, Lost, Ok, Reset, TimedOut, Wrong};
        let failure = prop::sample::select(vec![Wrong, TimedOut, Reset, Lost, InFlight]);
        prop_oneof![2 => Just(Ok), 1 => failure]
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut record = Record::new(100);
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
    fn time_outs_do_not_vanish_from_the_longest_times() {
        let mut record = Record::new(2);
        record.answer(answer());
        record.fail(Outcome::TimedOut, SECOND, 5 * SECOND);
        assert_eq!(record.response_times().max(), Some(5 * SECOND));
        assert_eq!(record.latency.max(), Some(2 * SECOND));
        assert_eq!(record.service.max(), Some(SECOND));
    }

    proptest! {
        /// Whatever becomes of the messages of each client, as `worker` records it, in one record
        /// or in one for each client.
        #[test]
        fn the_ledger_adds_up_for_any_sequence_of_outcomes(
            clients in prop::collection::vec(
                (prop::collection::vec(outcome(), 0..20), any::<bool>()), 0..8,
            ),
        ) {
            let mut merged = Record::default();
            for (outcomes, connected) in &clients {
                let mut record = Record::new(20);
                let mut sent = 0;
                let mut end = if *connected { End::Stopped } else { End::NotConnected };
                for &outcome in outcomes.iter().filter(|_| *connected) {
                    sent += 1;
                    match outcome {
                        Outcome::Ok => record.answer(answer()),
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
            let parts: u64 = Outcome::ALL.iter().map(|&outcome| ledger.count(outcome)).sum();
            prop_assert_eq!(ledger.sent(), parts);
            let skipped: u64 = ledger.skipped_by_end().map(|(_, messages)| messages).sum();
            prop_assert_eq!(ledger.planned() - ledger.sent(), skipped);
            prop_assert!((0.0..=1.0).contains(&ledger.error_share()));
        }
    }
}
