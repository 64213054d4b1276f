//! Everything that all machines know at one place of the order, as bytes; and going on from there.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::bans::{Ban, Bans};
use crate::chat::crowd::Crowd;
use crate::chat::follower::Snapshot;
use crate::chat::hall::{Hall, State};
use crate::chat::name::Name;
use crate::chat::perform::Actor;
use crate::chat::person::Person;
use crate::chat::room_record::RoomRecord;
use crate::chat::tokens::{Place, Tokens};

/// The form of what is written here.
const VERSION: u16 = 1;

/// What people hear when the order itself is another one.
const ANEW: &str = "The chat begins anew, because its stream is another one; come back";

/// All that is known. Lists are in an order of their own, so that all machines write the same.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u16,
    numbers_from: u64,
    rooms: Vec<RoomRecord>,
    people: Vec<PersonRecord>,
    bans: Vec<Ban>,
    tokens: Vec<(String, Place)>,
    nodes: BTreeMap<u32, u64>,
    gone_nodes: VecDeque<u32>,
    gone_sessions: VecDeque<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PersonRecord {
    session: u64,
    node: u32,
    name: Name,
    address: Option<IpAddr>,
    operator: bool,
    retired: bool,
    away: Option<String>,
    last: u64,
}

impl Hall {
    /// Everything that is known after the last entry.
    pub(super) fn record(&self) -> Snapshot {
        let Some(cluster) = &self.cluster else {
            return Snapshot { sequence: 0, state: bytes::Bytes::new() };
        };
        let state = self.lock();
        let mut people: Vec<PersonRecord> = state.people.values().map(person).collect();
        people.sort_unstable_by_key(|person| person.session);
        let rooms = state.rooms.values().map(|crowd| crowd.with(|room| room.record()));
        let followed = cluster.lock();
        let record = Record {
            version: VERSION,
            numbers_from: state.numbers_from,
            rooms: rooms.collect(),
            people,
            bans: state.bans.all().cloned().collect(),
            tokens: state.tokens.all(),
            nodes: followed.nodes.iter().map(|(&node, &last)| (node, last)).collect(),
            gone_nodes: followed.gone_nodes.clone(),
            gone_sessions: followed.gone_sessions.clone(),
        };
        let bytes = serde_json::to_vec(&record).expect("it is made of texts and numbers");
        Snapshot { sequence: followed.applied, state: bytes.into() }
    }

    /// Goes on from a snapshot, which is later than what is known. People of this machine miss what
    /// is between, and are brought back by another machine number: nobody can say what became of
    /// what they had sent.
    pub(super) fn go_on_from(&self, snapshot: &Snapshot) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let record: Record =
            serde_json::from_slice(&snapshot.state).map_err(|error| error.to_string())?;
        if record.version > VERSION {
            return Err("it is of a newer version of echoline: update this machine".to_owned());
        }
        let mut state = self.lock();
        let here = self.set_aside(&mut state);
        let lasts: BTreeMap<u64, u64> =
            record.people.iter().map(|person| (person.session, person.last)).collect();
        let mut bans = Bans::default();
        record.bans.into_iter().for_each(|ban| bans.add(0, ban));
        let mut tokens = Tokens::default();
        record.tokens.into_iter().for_each(|(t, place)| tokens.keep(0, Arc::from(t), place));
        (state.bans, state.tokens, state.numbers_from) = (bans, tokens, record.numbers_from);
        for person in record.people {
            person.come(&mut state);
        }
        for room in record.rooms {
            let found = state.rooms.get(room.name.key()).cloned();
            let crowd = found.unwrap_or_else(|| self.make_room(&mut state, &room.name));
            fill(&state, &crowd, room);
        }
        drop(state);
        let mut followed = cluster.lock();
        followed.applied = snapshot.sequence;
        followed.nodes = record.nodes.into_iter().collect();
        followed.gone_nodes = record.gone_nodes;
        followed.gone_sessions = record.gone_sessions;
        followed.forget_done(&lasts);
        if here.is_empty() && followed.sent.is_empty() {
            return Ok(());
        }
        followed.counts.gaps += 1;
        let node = followed.node;
        if followed.gone_nodes.contains(&node) {
            drop(followed);
            self.come_back(cluster, here);
        } else {
            followed.returning.extend(here.into_iter().map(|person| (person.session, person)));
            followed.is_returning = true;
            let name = &cluster.options.machine;
            cluster.propose_gone(&mut followed, node, name, "fell behind");
        }
        Ok(())
    }

    /// The order is another one: nothing of what was known holds, and everybody has to go.
    pub(super) fn forget_everything(&self) {
        let Some(cluster) = &self.cluster else { return };
        let mut state = self.lock();
        for person in self.set_aside(&mut state) {
            person.end(ANEW);
        }
        let lobby = Arc::clone(&self.lobby);
        state.rooms.retain(|_, crowd| Arc::ptr_eq(crowd, &lobby));
        lobby.change(|room| room.begin_anew(self.settings.log));
        (state.bans, state.tokens, state.numbers_from) = Default::default();
        drop(state);
        let mut followed = cluster.lock();
        followed.applied = 0;
        followed.node = followed.node.wrapping_add(1);
        followed.nodes.clear();
        followed.gone_nodes.clear();
        followed.gone_sessions.clear();
        followed.sent.clear();
        followed.outboxes.clear();
        followed.returning.clear();
        followed.is_returning = false;
        tracing::warn!("the chat begins anew, because its stream is another one");
    }

    /// Takes everybody out of everything; returns those whom this machine serves.
    fn set_aside(&self, state: &mut State) -> Vec<Arc<Person>> {
        let people: Vec<Arc<Person>> = state.people.drain().map(|(_, person)| person).collect();
        state.names.clear();
        for person in &people {
            for (crowd, seat) in person.seats() {
                crowd.with(|room| room.expel_silently(seat));
                if !person.is_here {
                    self.give_back(person, &crowd);
                }
            }
        }
        people.into_iter().filter(|person| person.is_here).collect()
    }
}

/// A room as it was recorded, with its people.
fn fill(state: &State, crowd: &Arc<Crowd>, record: RoomRecord) {
    let members = crowd.change(|room| room.fill(record));
    for (session, operator) in members {
        let Some(person) = state.people.get(&session) else { continue };
        let seat = crowd.with(|room| room.seat(person, operator));
        person.take_seat(Arc::clone(crowd), seat);
    }
}

fn person(person: &Arc<Person>) -> PersonRecord {
    PersonRecord {
        session: person.session,
        node: person.node(),
        name: person.name(),
        address: person.address,
        operator: person.is_operator(),
        retired: person.is_retired(),
        away: person.away().map(|words| words.to_string()),
        last: person.last(),
    }
}

impl PersonRecord {
    /// Whoever it is, this machine does not serve them.
    fn come(self, state: &mut State) {
        let actor = Actor { session: self.session, node: self.node, is_here: false, now_ms: 0 };
        let person = Person::new(actor, self.address, self.name.clone());
        if self.operator {
            person.make_operator();
        }
        if self.retired {
            person.retire();
        } else {
            // Nobody else can have it: it was theirs in the record.
            let _ = state.claim(&self.name, self.session);
        }
        person.set_away(self.away.as_deref());
        person.set_last(self.last);
        state.people.insert(self.session, Arc::new(person));
    }
}

impl super::State {
    /// What was performed before the snapshot was taken is not on its way any more.
    fn forget_done(&mut self, lasts: &BTreeMap<u64, u64>) {
        let Self { outboxes, sent, .. } = self;
        sent.retain(|_, session| {
            let Some(outbox) = outboxes.get_mut(session) else { return true };
            let is_done = lasts.get(session).is_some_and(|last| outbox.number() <= *last);
            if is_done {
                // Whoever waits for what came of it hears that nobody knows.
                drop(outbox.settle());
            }
            !is_done
        });
    }
}
