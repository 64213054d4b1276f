//! Everything that all machines know at one place of the order, as bytes; and going on from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::envelope::id_of_end;
use super::inspect_snapshot::inspect;
use super::outbox::Sent;
use super::{Cluster, LOST, LastAct, NODE};
use crate::apply_operation::OperationContext;
use crate::bans::{Ban, Bans};
use crate::flood_mutes::FloodMutes;
use crate::former_users::FormerUsers;
use crate::key::Key;
use crate::name::Name;
use crate::operation::{Operation, OperationError, Outcome};
use crate::room_record::RoomRecord;
use crate::shared_room::SharedRoom;
use crate::state::{Chat, State};
use crate::tokens::{SavedSession, Tokens, digest_of_kept};
use crate::user::User;
use echoline_chat_core::StateSnapshot;

/// The form of what is written here.
const VERSION: u16 = 1;

/// What people hear when the order itself is another one.
const ANEW: &str = "The chat begins anew, because its stream is another one; come back";

/// All that is known. Lists are in an order of their own, so that all machines write the same.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u16,
    pub(super) numbers_from: u64,
    pub(super) rooms: Vec<RoomRecord>,
    pub(super) people: Vec<PersonRecord>,
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
    pub(super) gone_with: VecDeque<LastAct>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PersonRecord {
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
    /// Everything that is known after the last entry.
    pub(super) fn record(&self) -> StateSnapshot {
        let Some(cluster) = &self.cluster else {
            return StateSnapshot { sequence: 0, state: bytes::Bytes::new() };
        };
        let state = self.lock();
        let mut people: Vec<PersonRecord> = state.people.values().map(user).collect();
        people.sort_unstable_by_key(|user| user.session);
        let rooms = state.rooms.values().map(|shared_room| shared_room.with(|room| room.record()));
        let followed = cluster.lock();
        let record = Record {
            version: VERSION,
            numbers_from: state.numbers_from,
            rooms: rooms.collect(),
            people,
            bans: state.bans.all().cloned().collect(),
            tokens: state.tokens.all(),
            former_users: state.former_users.clone(),
            flood_mutes: state.flood_mutes.clone(),
            nodes: followed.nodes.iter().map(|(&node, &last)| (node, last)).collect(),
            gone_nodes: followed.gone_nodes.clone(),
            gone_sessions: followed.gone_sessions.clone(),
            session_floors: followed.session_floors.clone(),
            gone_with: followed.gone_with.clone(),
        };
        let bytes = serde_json::to_vec(&record).expect("it is made of texts and numbers");
        StateSnapshot { sequence: followed.applied, state: bytes.into() }
    }

    /// Goes on from a snapshot, which is later than what is known. People of this machine miss what
    /// is between, and are brought back by another machine number: what came of their commands
    /// is not known here.
    pub(super) fn go_on_from(&self, snapshot: &StateSnapshot) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let record = Record::read(&snapshot.state)?;
        let mut state = self.lock();
        let here = self.suspend(&mut state);
        let served = here.iter().map(|user| (user.session, Arc::clone(user)));
        let mut served: BTreeMap<u64, Arc<User>> = served.collect();
        served.extend(cluster.lock().returning.clone());
        let known = Known::of(&record);
        let rooms: BTreeSet<Key> =
            record.rooms.iter().map(|room| room.name.key().clone()).collect();
        let mut bans = Bans::default();
        for ban in record.bans {
            // The snapshot of an earlier version may hold more bans of a room than fit now. All
            // nodes drop the same ones.
            let _ = bans.add(0, ban);
        }
        let mut tokens = Tokens::default();
        for (token, place) in record.tokens {
            // None is dropped, unless an earlier version had more of one source.
            let _ = tokens.keep(0, digest_of_kept(token).into(), place);
        }
        (state.bans, state.tokens, state.numbers_from) = (bans, tokens, record.numbers_from);
        (state.former_users, state.flood_mutes) = (record.former_users, record.flood_mutes);
        for user in record.people {
            let served = served.get(&user.session).cloned();
            user.come(&mut state, served);
        }
        for room in record.rooms {
            let found = state.rooms.get(room.name.key()).cloned();
            let shared_room = found.unwrap_or_else(|| self.make_room(&mut state, &room.name, None));
            fill(&state, &shared_room, room);
        }
        // The others have removed these rooms.
        state.rooms.retain(|key, shared_room| {
            rooms.contains(key) || Arc::ptr_eq(shared_room, &self.lobby)
        });
        for user in served.values() {
            match_seats(&state, user);
        }
        drop(state);
        let mut followed = cluster.lock();
        followed.applied = snapshot.sequence;
        followed.nodes = record.nodes;
        followed.gone_nodes = record.gone_nodes;
        followed.gone_sessions = record.gone_sessions;
        followed.session_floors = record.session_floors;
        followed.gone_with = record.gone_with;
        followed.returning = served;
        let dismissed = |session: &u64, _: &mut Arc<User>| known.gone_sessions.contains(session);
        for (_, user) in followed.returning.extract_if(.., dismissed) {
            user.retire_and_end();
        }
        let lost = followed.forget_done(&known);
        drop(followed);
        self.tell_lost_in_gap(cluster, lost);
        self.fall_behind(cluster);
        Ok(())
    }

    /// Brings the people of this machine back, where there are some.
    fn fall_behind(&self, cluster: &Cluster) {
        let mut followed = cluster.lock();
        if followed.returning.is_empty() && followed.sent.is_empty() {
            return;
        }
        followed.counts.gaps += 1;
        let node = followed.node;
        if followed.gone_nodes.contains(&node) {
            drop(followed);
            self.come_back(cluster, Vec::new());
        } else {
            followed.is_returning = true;
            let name = &cluster.options.machine;
            cluster.propose_gone(&mut followed, node, name, "fell behind");
        }
    }

    /// What was sent before a gap is settled: who waits for an answer hears that there is none,
    /// and who said something that came to nothing hears so.
    fn tell_lost_in_gap(&self, cluster: &Cluster, lost: Vec<(u64, Sent, Fate)>) {
        for (session, sent, fate) in lost {
            if let Some(reply) = sent.reply {
                let _ = reply.send(Outcome::Refused(OperationError::NotDelivered(LOST)));
            } else if fate == Fate::Refused {
                self.tell_lost(cluster, session, &sent.act, LOST);
            }
        }
    }

    /// The order is another one: nothing of what was known holds, and everybody has to go.
    pub(super) fn forget_everything(&self) {
        let Some(cluster) = &self.cluster else { return };
        let mut state = self.lock();
        let returning = std::mem::take(&mut cluster.lock().returning);
        for user in self.suspend(&mut state).iter().chain(returning.values()) {
            user.end(ANEW);
        }
        let lobby = Arc::clone(&self.lobby);
        state.rooms.retain(|_, shared_room| Arc::ptr_eq(shared_room, &lobby));
        lobby.change(|room| room.begin_anew(self.settings.log));
        (state.bans, state.tokens, state.numbers_from) = Default::default();
        (state.former_users, state.flood_mutes, state.awaiting) = Default::default();
        drop(state);
        let mut followed = cluster.lock();
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
        // Where the order is the same up to some place, the people who go now are found in it
        // again: as those of a machine that is not there any more.
        cluster.propose_gone(&mut followed, before, &cluster.options.machine, "began anew");
        drop(followed);
        for user in outboxes.into_values().filter_map(|outbox| outbox.leaver) {
            self.give_all_back(&user);
        }
        tracing::warn!("the chat begins anew, because its stream is another one");
    }

    /// Takes everybody out of everything; returns those whom this machine serves.
    fn suspend(&self, state: &mut State) -> Vec<Arc<User>> {
        let people: Vec<Arc<User>> = state.people.drain().map(|(_, user)| user).collect();
        state.names.clear();
        for user in &people {
            for (shared_room, member_id) in user.memberships() {
                shared_room.with(|room| room.suspend(member_id));
                if !user.is_here {
                    self.give_back(user, &shared_room);
                }
            }
        }
        people.into_iter().filter(|user| user.is_here).collect()
    }
}

/// Somebody of this machine is expected back where the others think that they are.
fn match_seats(state: &State, user: &User) {
    let Some(recorded) = state.people.get(&user.session) else { return };
    for (shared_room, member_id) in user.memberships() {
        let theirs = recorded.member_id_in(&shared_room);
        let lost = shared_room.with(|room| match theirs {
            Some(theirs) => {
                let operator = room.is_operator(theirs);
                room.set_operator(member_id, operator);
                None
            }
            None => room.give_up(member_id).then(|| room.name.clone()),
        });
        if let Some(room) = lost {
            let words = format!("You were taken out of {room}, in lines that are missing here");
            user.notify_expelled(room, words);
        }
    }
}

/// A room as it was recorded, with its people.
fn fill(state: &State, shared_room: &Arc<SharedRoom>, record: RoomRecord) {
    let members = shared_room.change(|room| room.fill(record));
    for (session, operator) in members {
        let Some(user) = state.people.get(&session) else { continue };
        let member_id = shared_room.with(|room| room.member_id(user, operator));
        user.add_membership(Arc::clone(shared_room), member_id);
    }
}

fn user(user: &Arc<User>) -> PersonRecord {
    PersonRecord {
        session: user.session,
        lineage: user.lineage,
        since_ms: user.since_ms,
        node: user.node(),
        name: user.name(),
        address: user.address,
        operator: user.is_operator(),
        retired: user.is_retired(),
        away: user.away().map(|words| words.to_string()),
        last: user.last(),
        refused: user.was_refused(),
    }
}

/// The lineage of a session; an earlier version does not tell it.
pub(super) fn known(lineage: u64, session: u64) -> u64 {
    if lineage > 0 { lineage } else { session }
}

impl PersonRecord {
    /// Adds the user to the state; this node does not serve them.
    fn come(self, state: &mut State, served: Option<Arc<User>>) {
        let context =
            OperationContext { session: self.session, node: self.node, is_here: false, now_ms: 0 };
        let (name, lineage) = (self.name.clone(), known(self.lineage, self.session));
        let user = User::new(context, self.address, name, lineage).since(self.since_ms);
        let user = user.representing(served);
        user.make_operator(self.operator);
        if self.retired {
            user.retire();
        } else {
            // Nobody else can have it: it was theirs in the record.
            let _ = state.claim(&self.name, self.session);
        }
        user.set_away(self.away.as_deref());
        user.set_last(self.last);
        user.set_refused(self.refused);
        state.people.insert(Arc::new(user));
    }
}

/// What a snapshot knows of acts that were sent before it was taken.
struct Known {
    /// The last act of each author, and whether it came to nothing.
    lasts: BTreeMap<u64, LastAct>,
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
        let people = record.people.iter().map(|user| LastAct {
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
        old.retire();
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
