//! Snapshots: encodes the state after one entry of the stream, and restores such a state.

use std::collections::BTreeSet;

use super::follow::ClusterNode;
use super::proposals::{LOST, ReplySender};
use echoline_chat_core::replication::{
    AppliedOperations, OperationStatus, Record, Sent, UserRecord, read_snapshot,
};
use echoline_chat_core::state::GOES_ON;
use echoline_chat_core::{OperationContext, OperationError, Outcome, StateSnapshot};

/// The message for users if the chat starts again empty.
const ANEW: &str = "The chat starts over, because its stream was replaced; connect again";

impl ClusterNode<'_> {
    /// Returns the state after the last entry that was applied.
    pub(super) fn snapshot(&self) -> StateSnapshot {
        let live = self.chat.lock();
        let followed = self.cluster.lock();
        let record = Record {
            version: Record::VERSION,
            next_first_line: live.next_first_line,
            rooms: live.rooms.values().map(|cell| cell.with(|room| room.record())).collect(),
            users: live.users.values().map(|user| UserRecord::of(user)).collect(),
            bans: live.bans.all().cloned().collect(),
            tokens: live.tokens.all(),
            former_users: live.former_users.clone(),
            flood_mutes: live.flood_mutes.clone(),
            nodes: followed.nodes.clone(),
            gone_nodes: followed.gone_nodes.clone(),
            gone_sessions: followed.gone_sessions.clone(),
            session_floors: followed.session_floors.clone(),
            gone_with: followed.gone_with.clone(),
        };
        let bytes = serde_json::to_vec(&record).expect("a record has only texts and numbers");
        StateSnapshot { sequence: followed.applied, state: bytes.into() }
    }

    /// Continues from a snapshot that is later than the last applied entry. Users of this node miss
    /// the entries in between. They rejoin under another node number, because the outcomes of their
    /// operations are unknown.
    pub(super) fn restore(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        let mut record = read_snapshot(&snapshot.state)?;
        let known = AppliedOperations::of(&record);
        let mut live = self.chat.lock();
        let mut followed = self.cluster.lock();
        let before = std::mem::take(&mut followed.returning);
        let served = self.chat.change(&mut live, OperationContext::of_server(0), |change| {
            let served = change.state.suspend_all().into_iter().chain(before).collect();
            change.restore(&mut record, &served);
            served
        });
        followed.applied = snapshot.sequence;
        followed.nodes = record.nodes;
        followed.gone_nodes = record.gone_nodes;
        followed.gone_sessions = record.gone_sessions;
        followed.session_floors = record.session_floors;
        followed.gone_with = record.gone_with;
        followed.returning = served;
        let dismissed = |session: &u64| known.gone_sessions.contains(session);
        for session in followed.returning.extract_if(.., dismissed) {
            if let Some(user) = live.suspended.get_mut(&session) {
                user.retire();
            }
            live.session(session).into_iter().for_each(|session| session.end(GOES_ON));
        }
        let lost = followed.forget_done(&known);
        drop((followed, live));
        self.tell_lost_in_gap(lost);
        self.fall_behind();
        Ok(())
    }

    /// Starts the rejoin of this node's users, if it has any.
    fn fall_behind(&self) {
        let mut followed = self.cluster.lock();
        if followed.returning.is_empty() && followed.sent.is_empty() {
            return;
        }
        followed.counts.gaps += 1;
        let node = followed.node;
        if followed.gone_nodes.contains(&node) {
            drop(followed);
            self.come_back(&[]);
        } else {
            followed.is_returning = true;
            let name = &self.cluster.options.node_name;
            self.cluster.propose_gone(&mut followed, node, name, "fell behind");
        }
    }

    /// Reports the outcome of operations that were in flight when this node missed entries. A
    /// waiting caller gets an error, and the author of a refused line is told.
    fn tell_lost_in_gap(&self, lost: Vec<(u64, Sent<ReplySender>, OperationStatus)>) {
        for (session, sent, status) in lost {
            if let Some(reply) = sent.reply {
                let _ = reply.send(Outcome::Refused(OperationError::NotDelivered(LOST)));
            } else if status == OperationStatus::Refused {
                self.tell_lost(session, &sent.operation, LOST);
            }
        }
    }

    /// Drops the whole state, because the stream was replaced. All users must leave.
    pub(super) fn reset(&self) {
        let mut live = self.chat.lock();
        let mut followed = self.cluster.lock();
        let before = std::mem::take(&mut followed.returning);
        self.chat.change(&mut live, OperationContext::of_server(0), |change| {
            let here = change.state.suspend_all();
            let sessions: BTreeSet<u64> = here.into_iter().chain(before).collect();
            sessions.into_iter().for_each(|session| change.effects.disconnect(session, ANEW));
            change.state.reset();
        });
        followed.applied = 0;
        let before = followed.node;
        followed.node = followed.node.wrapping_add(1);
        followed.nodes.clear();
        followed.gone_nodes.clear();
        followed.gone_sessions.clear();
        followed.session_floors.clear();
        followed.gone_with.clear();
        followed.sent.clear();
        let outboxes = std::mem::take(&mut followed.outboxes);
        followed.is_returning = false;
        // If the new stream begins with entries of the old one, the users who leave now are in it.
        // No node uses their node number any more, so this node proposes that the node with that
        // number is down.
        self.cluster.propose_gone(
            &mut followed,
            before,
            &self.cluster.options.node_name,
            "began anew",
        );
        drop(followed);
        for (session, _) in outboxes.iter().filter(|(_, outbox)| outbox.is_over) {
            live.end_session(*session);
        }
        tracing::warn!("the chat starts again empty, because its stream was replaced");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::Chat;
    use crate::chat::Credential;
    use crate::cluster::ClusterOptions;
    use crate::settings::ChatSettings;
    use echoline_chat_core::room::ReplayFrom;
    use echoline_chat_core::state::person_id;
    use echoline_chat_core::{
        LineKind, Name, Operation, OperationContext, ReplicatedState, RestoredSession, SaidLine,
    };

    fn node(node: u32) -> Arc<Chat> {
        let (cluster, node_name) = ("tea".to_owned(), format!("m{node}"));
        let options = ClusterOptions { cluster, node_name, node };
        Chat::clustered(ChatSettings::default(), options).0
    }

    /// Issue 11, items 7 and 14: a node that joins later knows which session continues an earlier
    /// one. An id means the same user on that node, and lines of the earlier session belong to that
    /// user.
    #[test]
    fn regression_a_snapshot_records_the_session_that_continues_another() {
        let chat = node(1);
        let lobby = chat.settings.lobby.clone();
        let does = |session, operation| {
            chat.apply_operation(
                OperationContext { session, node: 1, is_here: false, now_ms: 5 },
                operation,
            )
        };
        let enter = |session, back| {
            let name = Name::parse("ann").unwrap();
            let entered = does(session, Operation::Enter { name, address: None, back });
            assert!(matches!(entered, Outcome::Entered(Ok(_))), "{entered:?}");
            let (replay_from, pass) = (ReplayFrom::Last(0), Credential::Nothing);
            does(session, Operation::Join { room: lobby.clone(), replay_from, credential: pass });
        };
        // The later session has the lower number. This is possible if another node serves it.
        enter(9, None);
        let lines = vec![SaidLine { kind: LineKind::Said, text: "mine".into() }];
        does(9, Operation::Say { room: lobby.clone(), lines });
        let id = person_id(chat.user(9).unwrap().lineage);
        let old = chat.user(9).unwrap();
        chat.lock().users.get_mut(9).unwrap().retire();
        chat.lock().release(&old.name(), 9);
        enter(4, Some(RestoredSession { lineage: old.lineage, operator: false, away: None }));
        let find = |chat: &Chat| chat.person_with_id(&id).map(|user| user.session);
        assert_eq!(find(&chat), Some(4));

        let late = node(2);
        late.restore(&chat.snapshot()).unwrap();
        assert_eq!(find(&late), Some(4));
        let lineage = late.user(4).unwrap().lineage;
        let author = late.lobby.with(|room| {
            let numbers = room.log.first()..room.log.next();
            let mut lines = numbers.filter_map(|number| room.log.line(number));
            lines.find(|line| line.text == "mine").map(|line| line.author)
        });
        assert_eq!(author, Some(lineage));
    }
}
