//! The account of all planned messages. Pure.

use std::collections::BTreeMap;

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right reply came in time.
    Ok,
    /// Another reply came.
    Wrong,
    /// No reply came in time.
    TimedOut,
    /// The connection ended before the reply, perhaps before all of the message was sent.
    Lost,
}

/// Why a client sent no more.
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
}

impl From<Outcome> for End {
    /// Why a client whose message had this outcome sends no more.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ok => Self::Finished,
            Outcome::Wrong => Self::Wrong,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Lost => Self::Lost,
        }
    }
}

/// Every planned message, in one column: planned = sent + skipped, and
/// sent = ok + wrong + timed out + lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    planned: u64,
    ok: u64,
    wrong: u64,
    timed_out: u64,
    lost: u64,
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
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Wrong => &mut self.wrong,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Lost => &mut self.lost,
        } += 1;
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
        self.planned == self.sent() + self.skipped()
    }

    /// Messages of the plan.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// Messages that were sent, at least in part, and are settled.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.ok + self.wrong + self.timed_out + self.lost
    }

    /// Messages that were answered right and in time.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.ok
    }

    /// Messages with another reply.
    #[must_use]
    pub fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Messages without a reply in time.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.timed_out
    }

    /// Messages whose connection ended.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Messages that were planned and never sent.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Why how many of them were skipped.
    pub fn skipped_by_end(&self) -> impl Iterator<Item = (End, u64)> {
        self.skipped.iter().map(|(&end, &messages)| (end, messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
