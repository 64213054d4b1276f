//! The account of all planned messages. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The outcome of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageOutcome {
    /// The correct reply arrived in time.
    Ok,
    /// The reply was wrong.
    Wrong,
    /// No reply arrived in time.
    TimedOut,
    /// The connection was reset before the reply, perhaps before all of the message was sent.
    Reset,
    /// The connection was closed before the reply.
    Lost,
    /// The run was stopped before the reply. This is neither a success nor an error.
    InFlight,
}

impl MessageOutcome {
    /// Every outcome, in the order of the ledger.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Wrong, Self::TimedOut, Self::Reset, Self::Lost, Self::InFlight];

    /// Returns the name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "wrong",
            Self::TimedOut => "timed out",
            Self::Reset => "reset",
            Self::Lost => "lost",
            Self::InFlight => "in flight",
        }
    }

    /// Returns the name as a field key of a file.
    pub(crate) fn key(self) -> String {
        self.name().replace(' ', "_")
    }
}

/// The reason why a client ended, and why messages were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The client sent everything.
    Finished,
    /// The client could not connect.
    NotConnected,
    /// A reply was wrong, so it is unknown which reply belongs to which message.
    Wrong,
    /// A reply did not arrive in time. A late reply would be matched with the next message.
    TimedOut,
    /// The connection ended.
    Lost,
    /// The run was stopped.
    Stopped,
    /// The message was late, and the late policy is [`Skip`](crate::schedule::LatePolicy::Skip).
    Late,
    /// The run was over before the connection was free for the message.
    Overdue,
}

impl SkipReason {
    /// Returns whether the connection or its server failed.
    pub(crate) fn is_failure(self) -> bool {
        match self {
            Self::NotConnected | Self::Wrong | Self::TimedOut | Self::Lost => true,
            Self::Finished | Self::Stopped | Self::Late | Self::Overdue => false,
        }
    }

    /// Returns whether the client had no server when it ended.
    pub(crate) fn is_missing_server(self) -> bool {
        matches!(self, Self::NotConnected | Self::Lost)
    }
}

impl From<MessageOutcome> for SkipReason {
    /// Returns the reason why a client whose message had this outcome sends no more.
    fn from(outcome: MessageOutcome) -> Self {
        match outcome {
            MessageOutcome::Ok => Self::Finished,
            MessageOutcome::Wrong => Self::Wrong,
            MessageOutcome::TimedOut => Self::TimedOut,
            MessageOutcome::Reset | MessageOutcome::Lost => Self::Lost,
            MessageOutcome::InFlight => Self::Stopped,
        }
    }
}

/// The account of all planned messages: planned = sent + skipped + stopped, and sent = ok + wrong +
/// timed out + reset + lost + in flight. Messages that were stopped, or in flight at a stop, are
/// neither successes nor errors.
///
/// A plan without a number of messages (a closed loop with a duration) plans the messages that it
/// sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    planned: u64,
    settled: [u64; MessageOutcome::ALL.len()],
    skipped: BTreeMap<SkipReason, u64>,
}

impl Ledger {
    /// Creates an account of `planned` messages.
    #[must_use]
    pub fn new(planned: u64) -> Self {
        Self { planned, ..Self::default() }
    }

    /// Counts a sent message with its outcome.
    pub fn settle(&mut self, outcome: MessageOutcome) {
        self.settle_many(outcome, 1);
    }

    /// Counts sent messages with this outcome.
    pub fn settle_many(&mut self, outcome: MessageOutcome, messages: u64) {
        self.settled[outcome as usize] += messages;
    }

    /// Adds messages to the plan.
    pub fn plan(&mut self, messages: u64) {
        self.planned += messages;
    }

    /// Adds the account of another worker or machine.
    pub fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        for (mine, theirs) in self.settled.iter_mut().zip(other.settled) {
            *mine += theirs;
        }
        for (reason, messages) in other.skipped_by_reason() {
            self.skip(messages, reason);
        }
    }

    /// Counts planned messages that are not sent.
    pub fn skip(&mut self, messages: u64, reason: SkipReason) {
        if messages > 0 {
            *self.skipped.entry(reason).or_default() += messages;
        }
    }

    /// Returns whether every planned message is counted exactly once.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.planned == self.sent() + self.skipped() + self.stopped()
    }

    /// Returns the number of planned messages.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// Returns the number of messages that were sent, at least in part, and are settled.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.settled.iter().sum()
    }

    /// Returns the number of messages with this outcome.
    #[must_use]
    pub fn count(&self, outcome: MessageOutcome) -> u64 {
        self.settled[outcome as usize]
    }

    /// Returns the number of messages with a correct reply in time.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.count(MessageOutcome::Ok)
    }

    /// Returns the number of messages with a wrong reply.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.count(MessageOutcome::Wrong)
    }

    /// Returns the number of messages without a reply in time.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.count(MessageOutcome::TimedOut)
    }

    /// Returns the number of messages whose connection was reset.
    #[must_use]
    pub fn reset(&self) -> u64 {
        self.count(MessageOutcome::Reset)
    }

    /// Returns the number of messages whose reply was awaited when the run was stopped.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.count(MessageOutcome::InFlight)
    }

    /// Returns the share of planned messages without a correct reply in time. Messages that a stop
    /// left unsent or unanswered are not counted.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let counted = self.counted();
        if counted == 0 { 0.0 } else { (counted.saturating_sub(self.ok())) as f64 / counted as f64 }
    }

    /// Returns the number of planned messages without those that a stop cut off. Each of them is a
    /// success or an error.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.planned.saturating_sub(self.stopped() + self.in_flight())
    }

    /// Returns the number of messages whose connection was closed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.count(MessageOutcome::Lost)
    }

    /// Returns the number of planned messages that were never sent for a reason other than a stop
    /// of the run.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.values().sum::<u64>() - self.stopped()
    }

    /// Returns the number of messages that were not sent because the run was stopped before their
    /// time.
    #[must_use]
    pub fn stopped(&self) -> u64 {
        self.skipped.get(&SkipReason::Stopped).copied().unwrap_or(0)
    }

    /// Returns the messages that were never sent, by reason, including [`SkipReason::Stopped`].
    pub fn skipped_by_reason(&self) -> impl Iterator<Item = (SkipReason, u64)> {
        self.skipped.iter().map(|(&reason, &messages)| (reason, messages))
    }
}

/// An irregular reply over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramAnomaly {
    /// A correct reply after the time-out of its message, which stays timed out.
    Late,
    /// A further correct reply to a message.
    Duplicated,
    /// A correct reply in time, after the reply to a message that was sent later.
    Reordered,
    /// A datagram that matches no message.
    Unasked,
}

/// Counts of irregular replies. None of them settles a message, so they are not part of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramAnomalies {
    /// [`DatagramAnomaly::Late`].
    pub late: u64,
    /// [`DatagramAnomaly::Duplicated`].
    pub duplicated: u64,
    /// [`DatagramAnomaly::Reordered`].
    pub reordered: u64,
    /// [`DatagramAnomaly::Unasked`].
    pub unasked: u64,
}

impl DatagramAnomalies {
    /// Counts an irregular reply.
    pub fn count(&mut self, anomaly: DatagramAnomaly) {
        *match anomaly {
            DatagramAnomaly::Late => &mut self.late,
            DatagramAnomaly::Duplicated => &mut self.duplicated,
            DatagramAnomaly::Reordered => &mut self.reordered,
            DatagramAnomaly::Unasked => &mut self.unasked,
        } += 1;
    }

    /// Adds the counts of another record.
    pub fn merge(&mut self, other: &Self) {
        self.late += other.late;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.unasked += other.unasked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 47: each outcome has its own count, and a message in flight is no error.
    #[test]
    fn regression_every_outcome_has_its_own_count() {
        let mut ledger = Ledger::new(100);
        let outcomes = [
            MessageOutcome::Ok,
            MessageOutcome::Wrong,
            MessageOutcome::TimedOut,
            MessageOutcome::Reset,
        ];
        for (count, outcome) in (2..).zip(outcomes.into_iter().chain([MessageOutcome::InFlight])) {
            ledger.settle_many(outcome, count);
        }
        assert_eq!((ledger.ok(), ledger.wrong(), ledger.timed_out()), (2, 3, 4));
        assert_eq!((ledger.reset(), ledger.in_flight()), (5, 6));
        ledger.skip(80, SkipReason::Stopped);
        assert!(ledger.adds_up());
        assert_eq!(ledger.error_share(), 12.0 / 14.0);
    }

    #[test]
    fn detects_messages_that_are_missing_or_counted_twice() {
        let mut ledger = Ledger::new(2);
        ledger.settle(MessageOutcome::Ok);
        assert!(!ledger.adds_up());
        ledger.skip(1, SkipReason::Stopped);
        assert!(ledger.adds_up());
        ledger.settle(MessageOutcome::Lost);
        assert!(!ledger.adds_up());
    }

    /// Issue 11, item 36: messages that a stop cuts off are neither successes nor errors.
    #[test]
    fn regression_a_stop_has_its_own_outcome() {
        let mut ledger = Ledger::new(1000);
        ledger.settle_many(MessageOutcome::Ok, 80);
        ledger.settle(MessageOutcome::TimedOut);
        ledger.settle_many(MessageOutcome::InFlight, 4);
        ledger.skip(5, SkipReason::Late);
        ledger.skip(910, SkipReason::Stopped);
        assert!(ledger.adds_up());
        assert_eq!((ledger.skipped(), ledger.stopped(), ledger.counted()), (5, 910, 86));
        assert_eq!(ledger.error_share(), 6.0 / 86.0);
    }
}
