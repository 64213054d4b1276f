//! Snapshots: the state of all nodes at one entry of the stream, as bytes; and going on from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::envelope::id_of_end;
use super::inspect_snapshot::inspect;
use super::outbox::Sent;
use super::{Cluster, LOST, NODE};
use crate::apply::GOES_ON;
use crate::bans::{Ban, Bans};
use crate::chat_state::ChatState;
use crate::effect::Effects;
use crate::flood_mutes::FloodMutes;
use crate::former_users::FormerUsers;
use crate::key::Key;
use crate::name::Name;
use crate::notification::Notification;
use crate::operation::{Operation, OperationContext};
use crate::outcome::{OperationError, Outcome};
use crate::rejoin::{LastOperation, known_lineage};
use crate::replicated_state::StateSnapshot;
use crate::room_cell::RoomCell;
use crate::room_record::RoomRecord;
use crate::state::Chat;
use crate::tokens::{SavedSession, Tokens, digest_of_kept};
use crate::user::User;

/// The version of the form.
const VERSION: u16 = 1;

/// The words for users whose chat has another stream now.
const ANEW: &str = "The chat begins anew, because its stream is another one; come back";

/// The recorded state. Its lists have an order, so that all nodes write the same bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u16,
    #[serde(rename = "numbers_from")]
    pub(super) next_first_line: u64,
    pub(super) rooms: Vec<RoomRecord>,
    pub(super) people: Vec<UserRecord>,
    pub(super) bans: Vec<Ban>,
    pub(super) tokens: Vec<(String, SavedSession)>,
    #[serde(default)]
    pub(super) former_users: FormerUsers,
    #[serde(default)]
    pub(super) flood_mutes: FloodMutes,
    pub(super) nodes: BTreeMap<u32, u64>,
    pub(super) gone_nodes: VecDeque<u32>,
    pub(super) gone_sessions: VecDeque<u64>,
    #[serde(default)]
    pub(super) session_floors: BTreeMap<u32, u32>,
    pub(super) gone_with: VecDeque<LastOperation>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) session: u64,
    #[serde(default)]
    pub(super) lineage: u64,
    #[serde(default)]
    pub(super) since_ms: u64,
    pub(super) node: u32,
    pub(super) name: Name,
    pub(super) address: Option<IpAddr>,
    pub(super) operator: bool,
    pub(super) retired: bool,
    pub(super) away: Option<String>,
    pub(super) last: u64,
    pub(super) refused: bool,
}

impl Record {
    /// Reads a snapshot, and checks it as any other input.
    fn read(state: &[u8]) -> Result<Self, String> {
        let mut record: Self = serde_json::from_slice(state).map_err(|error| error.to_string())?;
        if record.version > VERSION {
            return Err("it is of a newer version of echoline: update this machine".to_owned());
        }
        inspect(&mut record)?;
        Ok(record)
    }
}

impl Chat {
    /// The state after the last entry that was applied.
    pub(super) fn record(&self) -> StateSnapshot {
        let Some(cluster) = &self.cluster else {
            return StateSnapshot { sequence: 0, state: bytes::Bytes::new() };
        };
        let live = self.lock();
        let followed = cluster.lock();
        let record = Record {
            version: VERSION,
            next_first_line: live.next_first_line,
            rooms: live.rooms.values().map(|cell| cell.with(|room| room.record())).collect(),
            people: live.users.values().map(|user| UserRecord::of(user)).collect(),
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
        let bytes = serde_json::to_vec(&record).expect("it is made of texts and numbers");
        StateSnapshot { sequence: followed.applied, state: bytes.into() }
    }

    /// Goes on from a snapshot, which is later than the last entry that was applied. Users of this
    /// node miss what is between, and rejoin under another node number: the outcomes of their
    /// commands are not known here.
    pub(super) fn go_on_from(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let mut record = Record::read(&snapshot.state)?;
        let known = Known::of(&record);
        let mut live = self.lock();
        let mut followed = cluster.lock();
        let before = std::mem::take(&mut followed.returning);
        let (served, _) = self.change(&mut live, |state, effects| {
            let served = state.suspend_all().into_iter().chain(before).collect();
            state.restore(&mut record, &served, effects);
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
        self.tell_lost_in_gap(cluster, lost);
        self.fall_behind(cluster);
        Ok(())
    }

    /// Lets the users of this node rejoin, if there are any.
    fn fall_behind(&self, cluster: &Cluster) {
        let mut followed = cluster.lock();
        if followed.returning.is_empty() && followed.sent.is_empty() {
            return;
        }
        followed.counts.gaps += 1;
        let node = followed.node;
        if followed.gone_nodes.contains(&node) {
            drop(followed);
            self.come_back(cluster, &[]);
        } else {
            followed.is_returning = true;
            let name = &cluster.options.machine;
            cluster.propose_gone(&mut followed, node, name, "fell behind");
        }
    }

    /// Settles what was sent before a gap: a waiting caller hears that there is no answer, and the
    /// author of a refused line hears so.
    fn tell_lost_in_gap(&self, cluster: &Cluster, lost: Vec<(u64, Sent, Fate)>) {
        for (session, sent, fate) in lost {
            if let Some(reply) = sent.reply {
                let _ = reply.send(Outcome::Refused(OperationError::NotDelivered(LOST)));
            } else if fate == Fate::Refused {
                self.tell_lost(cluster, session, &sent.act, LOST);
            }
        }
    }

    /// Forgets everything, because the stream is another one: all users have to leave.
    pub(super) fn forget_everything(&self) {
        let Some(cluster) = &self.cluster else { return };
        let mut live = self.lock();
        let mut followed = cluster.lock();
        let before = std::mem::take(&mut followed.returning);
        self.change(&mut live, |state, effects| {
            let sessions: BTreeSet<u64> = state.suspend_all().into_iter().chain(before).collect();
            sessions.into_iter().for_each(|session| effects.disconnect(session, ANEW));
            state.reset();
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
        // If the stream is the same up to some entry, the users who leave now are found in it again:
        // as those of a node that does not exist any more.
        cluster.propose_gone(&mut followed, before, &cluster.options.machine, "began anew");
        drop(followed);
        for (session, _) in outboxes.iter().filter(|(_, outbox)| outbox.is_over) {
            live.end_session(*session);
        }
        tracing::warn!("the chat begins anew, because its stream is another one");
    }
}

impl<R: RoomCell> ChatState<R> {
    /// Takes all users out of the chat. Returns the sessions of those whom this node serves; they
    /// are suspended.
    fn suspend_all(&mut self) -> Vec<u64> {
        self.names.clear();
        let mut here = Vec::new();
        for mut user in self.users.take_all().into_values() {
            if !user.is_here {
                user.release_all();
                continue;
            }
            for (cell, member_id) in user.memberships() {
                cell.with(|room| room.suspend(member_id));
            }
            here.push(user.session);
            self.suspended.insert(user.session, user);
        }
        here
    }

    /// Becomes what was recorded. Users of the `served` sessions are expected back.
    fn restore(&mut self, record: &mut Record, served: &BTreeSet<u64>, effects: &mut dyn Effects) {
        let names: BTreeSet<Key> =
            record.rooms.iter().map(|room| room.name.key().clone()).collect();
        self.bans = Bans::default();
        for ban in record.bans.drain(..) {
            // The snapshot of an earlier version may hold more bans of a room than fit now. All
            // nodes drop the same ones.
            let _ = self.bans.add(0, ban);
        }
        self.tokens = Tokens::default();
        for (token, saved) in record.tokens.drain(..) {
            // None is dropped, unless an earlier version had more of one source.
            let _ = self.tokens.keep(0, digest_of_kept(token).into(), saved);
        }
        self.next_first_line = record.next_first_line;
        self.former_users = std::mem::take(&mut record.former_users);
        self.flood_mutes = std::mem::take(&mut record.flood_mutes);
        for user in record.people.drain(..) {
            self.restore_user(user);
        }
        for room in record.rooms.drain(..) {
            let found = self.rooms.get(room.name.key()).cloned();
            let cell = found.unwrap_or_else(|| self.make_room(&room.name, None, effects));
            self.restore_room(&cell, room);
        }
        // The other nodes have removed these rooms.
        let lobby = &self.lobby;
        self.rooms.retain(|key, cell| names.contains(key) || cell.is_same(lobby));
        for &session in served {
            self.match_memberships(session, effects);
        }
    }

    /// Adds a user; this node does not serve them.
    fn restore_user(&mut self, record: UserRecord) {
        let UserRecord { session, node, .. } = record;
        let context = OperationContext { session, node, is_here: false, now_ms: 0 };
        let lineage = known_lineage(record.lineage, session);
        let user = User::new(context, record.address, record.name, lineage);
        let mut user = Box::new(user.since(record.since_ms));
        user.make_operator(record.operator);
        if record.retired {
            user.retire();
        } else {
            // No other user can have it: it was theirs in the record.
            let _ = self.claim(&user.name(), session);
        }
        user.set_away(record.away.as_deref());
        user.last = record.last;
        user.was_refused = record.refused;
        self.users.insert(user);
    }

    /// Makes a room what was recorded, with its members.
    fn restore_room(&mut self, cell: &R, record: RoomRecord) {
        let members = cell.change(|room| room.fill(record));
        for (session, is_operator) in members {
            let Some(user) = self.users.get_mut(session) else { continue };
            let (identity, name) = (user.identity(), user.name());
            let member_id = cell.with(|room| room.add_member(identity, name, is_operator));
            user.add_membership(cell.clone(), member_id);
        }
    }

    /// Keeps the memberships of a suspended user in the rooms in which the record has them.
    fn match_memberships(&self, session: u64, effects: &mut dyn Effects) {
        let Some((suspended, recorded)) = self.suspended.get(&session).zip(self.user(session))
        else {
            return;
        };
        for (cell, member_id) in suspended.memberships() {
            let theirs = recorded.member_id_in(&cell);
            let lost = cell.with(|room| match theirs {
                Some(theirs) => {
                    let is_operator = room.is_operator(theirs);
                    room.set_operator(member_id, is_operator);
                    None
                }
                None => room.cancel_suspension(member_id).then(|| room.name.clone()),
            });
            if let Some(room) = lost {
                let words = format!("You were taken out of {room}, in lines that are missing here");
                effects.notify(session, Notification::Expelled { room, words });
            }
        }
    }

    /// Forgets everything but the lobby, which is empty then.
    fn reset(&mut self) {
        let lobby = &self.lobby;
        self.rooms.retain(|_, cell| cell.is_same(lobby));
        let limits = self.options.log;
        self.lobby.change(|room| room.reset(limits));
        (self.bans, self.tokens, self.next_first_line) = Default::default();
        (self.former_users, self.flood_mutes, self.awaited_rooms) = Default::default();
    }
}

impl UserRecord {
    fn of<R>(user: &User<R>) -> Self {
        Self {
            session: user.session,
            lineage: user.lineage,
            since_ms: user.since_ms,
            node: user.node,
            name: user.name(),
            address: user.address,
            operator: user.is_operator(),
            retired: user.is_retired(),
            away: user.away().map(|words| words.to_string()),
            last: user.last,
            refused: user.was_refused,
        }
    }
}

/// What a snapshot knows of acts that were sent before it was taken.
struct Known {
    /// The last act of each author, and whether it came to nothing.
    lasts: BTreeMap<u64, LastOperation>,
    gone_nodes: BTreeSet<u32>,
    gone_sessions: BTreeSet<u64>,
    nodes: BTreeMap<u32, u64>,
}

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is on its way, or may be sent again.
    Open,
    Done,
    Refused,
}

impl Known {
    fn of(record: &Record) -> Self {
        let people = record.people.iter().map(|user| LastOperation {
            session: user.session,
            number: user.last,
            refused: user.refused,
        });
        let all = record.gone_with.iter().copied().chain(people);
        Self {
            lasts: all.map(|last| (last.session, last)).collect(),
            gone_nodes: record.gone_nodes.iter().copied().collect(),
            gone_sessions: record.gone_sessions.iter().copied().collect(),
            nodes: record.nodes.clone(),
        }
    }

    /// What became of the act of this number, which `node` sent.
    fn fate(&self, node: u32, session: u64, number: u64, act: &Operation) -> Fate {
        if session == NODE {
            let is_done = self.nodes.get(&node).is_some_and(|last| number <= *last);
            return if is_done { Fate::Done } else { Fate::Open };
        }
        let is_over = self.gone_sessions.contains(&session);
        match self.lasts.get(&session) {
            Some(last) if number < last.number => Fate::Done,
            Some(last) if number == last.number && last.refused => Fate::Refused,
            Some(last) if number == last.number => Fate::Done,
            _ if is_over => Fate::Done,
            // Nobody remembers: better once too few than twice.
            None if self.gone_nodes.contains(&node) && !matches!(act, Operation::Exit { .. }) => {
                Fate::Refused
            }
            _ => Fate::Open,
        }
    }
}

impl super::State {
    /// What was performed before the snapshot was taken is not on its way any more.
    fn forget_done(&mut self, known: &Known) -> Vec<(u64, Sent, Fate)> {
        let Self { outboxes, sent, node, .. } = self;
        let ended: BTreeSet<String> =
            known.gone_nodes.iter().map(|&node| id_of_end(node)).collect();
        sent.retain(|id, _| !ended.contains(id));
        let mut settled = Vec::new();
        sent.retain(|id, &mut session| {
            let Some(outbox) = outboxes.get_mut(&session) else { return true };
            let number = outbox.number();
            let Some(act) = outbox.sent().filter(|sent| sent.id == *id).map(|sent| &sent.act)
            else {
                return true;
            };
            let fate = known.fate(*node, session, number, act);
            if fate == Fate::Open {
                return true;
            }
            settled.extend(outbox.settle().map(|sent| (session, sent, fate)));
            false
        });
        settled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::ClusterOptions;
    use crate::history::LineKind;
    use crate::operation::{Back, SaidLine};
    use crate::room::ReplayFrom;
    use crate::settings::Settings;
    use crate::state::Credential;
    use crate::user_table::person_id;

    fn node(node: u32) -> Arc<Chat> {
        let (cluster, machine) = ("tea".to_owned(), format!("m{node}"));
        let options = ClusterOptions { cluster, machine, node };
        Chat::clustered(Settings::default(), options).0
    }

    /// Issue 11, items 7 and 14: a node that joins later knows which session continues which: an id
    /// means the same user there, and the lines of the session before are that user's own.
    #[test]
    fn regression_a_snapshot_tells_who_continues_a_session() {
        let chat = node(1);
        let lobby = chat.settings.lobby.clone();
        let does = |session, act| {
            chat.apply_operation(
                OperationContext { session, node: 1, is_here: false, now_ms: 5 },
                act,
            )
        };
        let enter = |session, back| {
            let name = Name::parse("ann").unwrap();
            let entered = does(session, Operation::Enter { name, address: None, back });
            assert!(matches!(entered, Outcome::Entered(Ok(_))), "{entered:?}");
            let (replay_from, pass) = (ReplayFrom::Last(0), Credential::Nothing);
            does(session, Operation::Join { room: lobby.clone(), replay_from, credential: pass });
        };
        // The number of the later session is lower, as it can be if another node serves it.
        enter(9, None);
        let lines = vec![SaidLine { kind: LineKind::Said, text: "mine".into() }];
        does(9, Operation::Say { room: lobby.clone(), lines });
        let id = person_id(chat.user(9).unwrap().lineage);
        let old = chat.user(9).unwrap();
        chat.lock().users.get_mut(9).unwrap().retire();
        chat.lock().release(&old.name(), 9);
        enter(4, Some(Back { lineage: old.lineage, operator: false, away: None }));
        let find = |chat: &Chat| chat.person_with_id(&id).map(|user| user.session);
        assert_eq!(find(&chat), Some(4));

        let late = node(2);
        late.go_on_from(&chat.record()).unwrap();
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
