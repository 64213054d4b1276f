//! The proposals that are published but not settled yet.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use echoline_chat_core::Proposal;

/// All proposals, each from its first publish until it is settled.
#[derive(Debug, Default)]
pub(super) struct InFlightPublishes {
    publishes: HashMap<String, InFlightPublish>,
    /// The ids of acknowledged proposals, by the sequence of the entry in the acknowledgement. Each
    /// has the time at which the acknowledgement arrived.
    acknowledged: BTreeMap<u64, Vec<(String, Instant)>>,
}

/// A proposal, and the number of the round in which it is published.
#[derive(Clone, Debug)]
pub(super) struct InFlightPublish {
    pub(super) proposal: Rc<Proposal>,
    /// The number of earlier messages with this proposal that were acknowledged and whose entries
    /// were lost.
    pub(super) round: u32,
}

/// If an acknowledged entry has not arrived after this time, it may be lost.
const OVERDUE: Duration = Duration::from_secs(10);

impl InFlightPublish {
    /// Returns the message id. Each round has a different id, because the server drops messages
    /// with ids that it knows.
    pub(super) fn message_id(&self) -> String {
        match self.round {
            0 => self.proposal.id.clone(),
            round => format!("{}.{}", self.proposal.id, round + 1),
        }
    }
}

impl InFlightPublishes {
    /// Adds a proposal, and returns its first message.
    pub(super) fn add(&mut self, proposal: Proposal) -> InFlightPublish {
        let publish = InFlightPublish { proposal: Rc::new(proposal), round: 0 };
        self.publishes.insert(publish.proposal.id.clone(), publish.clone());
        publish
    }

    /// Returns whether the message contains one of these proposals.
    pub(super) fn contains(&self, message_id: &str) -> bool {
        let without_round = message_id.rsplit_once('.').map(|(id, _)| id);
        self.publishes.contains_key(message_id)
            || without_round.is_some_and(|id| self.publishes.contains_key(id))
    }

    /// Records that the server acknowledged a proposal as the entry `sequence`.
    pub(super) fn acknowledge(&mut self, id: &str, sequence: u64, now: Instant) {
        self.acknowledged.entry(sequence).or_default().push((id.to_owned(), now));
    }

    /// Takes the ids of proposals that were acknowledged as entries up to `applied`. These entries
    /// have been applied, or are lost.
    pub(super) fn take_arrived(&mut self, applied: u64) -> Vec<String> {
        let rest = self.acknowledged.split_off(&(applied + 1));
        let arrived = std::mem::replace(&mut self.acknowledged, rest);
        arrived.into_values().flatten().map(|(id, _)| id).collect()
    }

    /// Takes the ids of acknowledged proposals whose entries have not arrived in time.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<String> {
        let late =
            |ids: &mut Vec<(String, Instant)>| ids.iter().all(|(_, since)| *since + OVERDUE < now);
        let overdue = self.acknowledged.extract_if(.., |_, ids| late(ids));
        overdue.flat_map(|(_, ids)| ids).map(|(id, _)| id).collect()
    }

    /// Treats all acknowledged entries as arrived, because the stream was replaced.
    /// [`take_arrived`](Self::take_arrived) then returns their ids.
    pub(super) fn stream_replaced(&mut self) {
        let lost = std::mem::take(&mut self.acknowledged).into_values();
        let lost = lost.flatten().collect::<Vec<_>>();
        if !lost.is_empty() {
            self.acknowledged.insert(0, lost);
        }
    }

    /// Removes a settled proposal.
    pub(super) fn settle(&mut self, id: &str) {
        self.publishes.remove(id);
    }

    /// Starts another round for a proposal whose entry was lost, and returns the message to
    /// publish.
    pub(super) fn next_round(&mut self, id: &str) -> Option<InFlightPublish> {
        let publish = self.publishes.get_mut(id)?;
        publish.round += 1;
        Some(publish.clone())
    }

    /// Returns all proposals, so that they can be published over a new connection.
    pub(super) fn restart(&mut self) -> Vec<InFlightPublish> {
        self.acknowledged.clear();
        self.publishes.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.publishes.len()
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
    async fn a_proposal_is_in_flight_until_it_is_settled() {
        let (mut in_flight, now) = (InFlightPublishes::default(), Instant::now());
        assert_eq!(in_flight.add(proposal("a.1")).message_id(), "a.1");
        in_flight.add(proposal("b"));
        assert!(in_flight.contains("a.1") && in_flight.contains("b.2") && !in_flight.contains("a"));
        in_flight.acknowledge("a.1", 5, now);
        in_flight.acknowledge("b", 7, now);
        assert_eq!(in_flight.take_arrived(4), Vec::<String>::new());
        assert_eq!(in_flight.take_arrived(5), ["a.1"]);
        assert_eq!(in_flight.next_round("a.1").unwrap().message_id(), "a.1.2");
        in_flight.settle("a.1");
        assert!(in_flight.next_round("a.1").is_none());
        assert!(in_flight.take_arrived(6).is_empty() && in_flight.take_overdue(now).is_empty());
        assert_eq!(in_flight.take_overdue(now + OVERDUE * 2), ["b"]);
        in_flight.acknowledge("b", 9, now);
        in_flight.stream_replaced();
        assert_eq!(in_flight.take_arrived(0), ["b"]);
        assert_eq!(in_flight.restart().len(), 1);
    }
}
