//! The proposals that are on their way.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::follower::Proposal;

/// Every proposal from the moment it was taken until it is settled.
#[derive(Debug, Default)]
pub(super) struct Mailing {
    letters: HashMap<String, Letter>,
    /// Those that are stored and have not come back yet, by where they are stored.
    stored: BTreeMap<u64, Vec<(String, Instant)>>,
}

/// One proposal, and the message that carries it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) proposal: Rc<Proposal>,
    /// How many messages were stored for it and turned out to be no good.
    pub(super) round: u32,
}

/// After this long an entry that was acknowledged and has not come may be lost.
const OVERDUE: Duration = Duration::from_secs(10);

impl Letter {
    /// What the server knows the message by. Another round is another message: the server would
    /// drop the first one's id.
    pub(super) fn message_id(&self) -> String {
        match self.round {
            0 => self.proposal.id.clone(),
            round => format!("{}.{}", self.proposal.id, round + 1),
        }
    }
}

impl Mailing {
    pub(super) fn take(&mut self, proposal: Proposal) -> Letter {
        let letter = Letter { proposal: Rc::new(proposal), round: 0 };
        self.letters.insert(letter.proposal.id.clone(), letter.clone());
        letter
    }

    /// Whether this message is one of ours that is on its way.
    pub(super) fn is_ours(&self, message_id: &str) -> bool {
        let round = message_id.rsplit_once('.').map(|(id, _)| id);
        self.letters.contains_key(message_id)
            || round.is_some_and(|id| self.letters.contains_key(id))
    }

    pub(super) fn stored(&mut self, id: &str, sequence: u64, now: Instant) {
        self.stored.entry(sequence).or_default().push((id.to_owned(), now));
    }

    /// Those that were stored at or before this place: they have come back, or never will.
    pub(super) fn arrived(&mut self, applied: u64) -> Vec<String> {
        let rest = self.stored.split_off(&(applied + 1));
        let arrived = std::mem::replace(&mut self.stored, rest);
        arrived.into_values().flatten().map(|(id, _)| id).collect()
    }

    /// Those that should have come back long ago.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<String> {
        let late =
            |ids: &mut Vec<(String, Instant)>| ids.iter().all(|(_, since)| *since + OVERDUE < now);
        let overdue = self.stored.extract_if(.., |_, ids| late(ids));
        overdue.flat_map(|(_, ids)| ids).map(|(id, _)| id).collect()
    }

    /// Wherever they were stored, it is not there any more.
    pub(super) fn lose(&mut self) {
        let lost = std::mem::take(&mut self.stored).into_values().flatten().collect::<Vec<_>>();
        if !lost.is_empty() {
            self.stored.insert(0, lost);
        }
    }

    pub(super) fn settle(&mut self, id: &str) {
        self.letters.remove(id);
    }

    /// The next message for a proposal whose last one is no good.
    pub(super) fn again(&mut self, id: &str) -> Option<Letter> {
        let letter = self.letters.get_mut(id)?;
        letter.round += 1;
        Some(letter.clone())
    }

    /// All of them, to be sent over a new connection.
    pub(super) fn all(&mut self) -> Vec<Letter> {
        self.stored.clear();
        self.letters.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn proposal(id: &str) -> Proposal {
        Proposal { id: id.to_owned(), payload: Bytes::new() }
    }

    #[tokio::test]
    async fn a_letter_is_on_its_way_until_it_is_settled() {
        let (mut mailing, now) = (Mailing::default(), Instant::now());
        assert_eq!(mailing.take(proposal("a.1")).message_id(), "a.1");
        mailing.take(proposal("b"));
        assert!(mailing.is_ours("a.1") && mailing.is_ours("b.2") && !mailing.is_ours("a"));
        mailing.stored("a.1", 5, now);
        mailing.stored("b", 7, now);
        assert_eq!(mailing.arrived(4), Vec::<String>::new());
        assert_eq!(mailing.arrived(5), ["a.1"]);
        assert_eq!(mailing.again("a.1").unwrap().message_id(), "a.1.2");
        mailing.settle("a.1");
        assert!(mailing.again("a.1").is_none());
        assert!(mailing.arrived(6).is_empty() && mailing.overdue(now).is_empty());
        assert_eq!(mailing.overdue(now + OVERDUE * 2), ["b"]);
        mailing.stored("b", 9, now);
        mailing.lose();
        assert_eq!(mailing.arrived(0), ["b"]);
        assert_eq!(mailing.all().len(), 1);
    }
}
