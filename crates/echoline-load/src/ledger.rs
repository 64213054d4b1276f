//! The account of all planned messages. Pure.

use std::collections::BTreeMap;

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The right reply came in time.
    Ok,
    /// Another reply came.
    Wrong,
    /// No reply came in time.
    TimedOut,
    /// The connection was reset before the reply, perhaps before all of the message was sent.
    Reset,
    /// The connection was closed before the reply.
    Lost,
    /// The run was stopped while the reply was awaited: neither right nor an error.
    InFlight,
}

impl Outcome {
    /// Every outcome, in the order of the ledger.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::Wrong, Self::TimedOut, Self::Reset, Self::Lost, Self::InFlight];

    /// As it is written in reports.
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
}

/// Why a client sent no more, or not this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It had sent everything.
    Finished,
    /// It never had a connection.
    NotConnected,
    /// A wrong reply: which reply belongs to which message is not known any more.
    Wrong,
    /// No reply in time: one that comes late would be taken for the next.
    TimedOut,
    /// The connection ended.
    Lost,
    /// The run was stopped.
    Stopped,
    /// It was so late that it was left out, as `--when-late skip` says.
    Late,
    /// The run was over before its turn came: its connection was busy until then.
    Overdue,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 8] = [
        Self::Finished,
        Self::NotConnected,
        Self::Wrong,
        Self::TimedOut,
        Self::Lost,
        Self::Stopped,
        Self::Late,
        Self::Overdue,
    ];
}

impl End {
    /// Whether something went wrong with the connection or its server.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::NotConnected | Self::Wrong | Self::TimedOut | Self::Lost => true,
            Self::Finished | Self::Stopped | Self::Late | Self::Overdue => false,
        }
    }

    /// Whether the client had no server when it ended.
    pub(super) fn is_missing_server(self) -> bool {
        matches!(self, Self::NotConnected | Self::Lost)
    }
}

impl From<Outcome> for End {
    /// Why a client whose message had this outcome sends no more.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Finished,
            Outcome::Wrong => Self::Wrong,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Reset | Outcome::Lost => Self::Lost,
            Outcome::InFlight => Self::Stopped,
        }
    }
}

/// Every planned message, in one column: planned = sent + skipped + stopped, and
/// sent = ok + wrong + timed out + reset + lost + in flight. Messages that were stopped, or in
/// flight at a stop, are neither right nor errors.
///
/// A plan without an end (a closed loop for a time) plans what it sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    planned: u64,
    settled: [u64; Outcome::ALL.len()],
    skipped: BTreeMap<End, u64>,
}

impl Ledger {
    /// So many messages are to be sent.
    #[must_use]
    pub fn new(planned: u64) -> Self {
        Self { planned, ..Self::default() }
    }

    /// One message was sent, and this became of it.
    pub fn settle(&mut self, outcome: Outcome) {
        self.settle_many(outcome, 1);
    }

    /// So many messages were sent, and this became of them.
    pub fn settle_many(&mut self, outcome: Outcome, messages: u64) {
        self.settled[outcome as usize] += messages;
    }

    /// So many more messages are to be sent.
    pub fn plan(&mut self, messages: u64) {
        self.planned += messages;
    }

    /// Takes in the account of another worker or machine.
    pub fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        for (mine, theirs) in self.settled.iter_mut().zip(other.settled) {
            *mine += theirs;
        }
        for (end, messages) in other.skipped_by_end() {
            self.skip(messages, end);
        }
    }

    /// So many messages will not be sent.
    pub fn skip(&mut self, messages: u64, end: End) {
        if messages > 0 {
            *self.skipped.entry(end).or_default() += messages;
        }
    }

    /// Whether every planned message is accounted for, once.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.planned == self.sent() + self.skipped() + self.stopped()
    }

    /// Messages of the plan.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// Messages that were sent, at least in part, and are settled.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.settled.iter().sum()
    }

    /// Messages of which this became.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.settled[outcome as usize]
    }

    /// Messages that were answered right and in time.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.count(Outcome::Ok)
    }

    /// Messages with another reply.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.count(Outcome::Wrong)
    }

    /// Messages without a reply in time.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.count(Outcome::TimedOut)
    }

    /// Messages whose connection was reset.
    #[must_use]
    pub fn reset(&self) -> u64 {
        self.count(Outcome::Reset)
    }

    /// Messages whose reply was still awaited when the run was broken off.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.count(Outcome::InFlight)
    }

    /// Everything that was planned and did not get its right answer in time, as a share of what
    /// was planned; what a stop from outside left unsent or unanswered is no error.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        let counted = self.counted();
        if counted == 0 { 0.0 } else { (counted.saturating_sub(self.ok())) as f64 / counted as f64 }
    }

    /// Planned messages that a stop from outside has not cut off: each was right or an error.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.planned.saturating_sub(self.stopped() + self.in_flight())
    }

    /// Messages whose connection was closed.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.count(Outcome::Lost)
    }

    /// Messages that were planned and never sent, for another reason than a stop of the run.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.values().sum::<u64>() - self.stopped()
    }

    /// Messages that were not sent because the run was stopped before their time.
    #[must_use]
    pub fn stopped(&self) -> u64 {
        self.skipped.get(&End::Stopped).copied().unwrap_or(0)
    }

    /// The number of messages that were never sent, by reason; [`End::Stopped`] is one of them.
    pub fn skipped_by_end(&self) -> impl Iterator<Item = (End, u64)> {
        self.skipped.iter().map(|(&end, &messages)| (end, messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 47: each outcome has its own count, and a message in flight is no error.
    #[test]
    fn regression_every_outcome_is_counted_by_itself() {
        let mut ledger = Ledger::new(100);
        let outcomes = [Outcome::Ok, Outcome::Wrong, Outcome::TimedOut, Outcome::Reset];
        for (count, outcome) in (2..).zip(outcomes.into_iter().chain([Outcome::InFlight])) {
            ledger.settle_many(outcome, count);
        }
        assert_eq!((ledger.ok(), ledger.wrong(), ledger.timed_out()), (2, 3, 4));
        assert_eq!((ledger.reset(), ledger.in_flight()), (5, 6));
        ledger.skip(80, End::Stopped);
        assert!(ledger.adds_up());
        assert_eq!(ledger.error_share(), 12.0 / 14.0);
    }

    #[test]
    fn what_is_forgotten_or_counted_twice_is_seen() {
        let mut ledger = Ledger::new(2);
        ledger.settle(Outcome::Ok);
        assert!(!ledger.adds_up());
        ledger.skip(1, End::Stopped);
        assert!(ledger.adds_up());
        ledger.settle(Outcome::Lost);
        assert!(!ledger.adds_up());
    }

    /// Issue 11, item 36: what a stop cuts off is neither right nor an error.
    #[test]
    fn regression_a_stop_is_an_outcome_of_its_own() {
        let mut ledger = Ledger::new(1000);
        ledger.settle_many(Outcome::Ok, 80);
        ledger.settle(Outcome::TimedOut);
        ledger.settle_many(Outcome::InFlight, 4);
        ledger.skip(5, End::Late);
        ledger.skip(910, End::Stopped);
        assert!(ledger.adds_up());
        assert_eq!((ledger.skipped(), ledger.stopped(), ledger.counted()), (5, 910, 86));
        assert_eq!(ledger.error_share(), 6.0 / 86.0);
    }
}
