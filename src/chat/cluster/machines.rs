//! Machines that are gone, and those that come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::inspect::RETURNING_MAX;
use super::{Cluster, LastAct, Leave, NODE, departure, remember};
use crate::chat::act::{Act, Returning};
use crate::chat::bans::Suspect;
use crate::chat::crowd::Crowd;
use crate::chat::hall::{Hall, State};
use crate::chat::history::LineKind;
use crate::chat::key::Key;
use crate::chat::mailbox::Letter;
use crate::chat::name::Name;
use crate::chat::perform::Actor;
use crate::chat::person::Person;
use crate::chat::room::{Seat, See};

impl Hall {
    /// A machine is gone, and all its people with it: each room is told in one line.
    pub(super) fn see_off(
        &self,
        cluster: &Cluster,
        now_ms: u64,
        node: u32,
        name: &str,
        reason: &str,
    ) {
        if !cluster.lock().note_gone(node) {
            return;
        }
        let mut state = self.lock();
        let mut people: Vec<Arc<Person>> =
            state.people.values().filter(|person| person.node() == node).cloned().collect();
        people.sort_unstable_by_key(|person| person.session);
        let mut rooms = BTreeMap::<Key, (Arc<Crowd>, Vec<(Seat, &Person)>)>::new();
        for person in &people {
            for (crowd, seat) in person.seats() {
                let room = crowd.with(|room| room.name.key().clone());
                let (_, seats) = rooms.entry(room).or_insert((crowd, Vec::new()));
                seats.push((seat, person));
            }
            state.release(&person.name(), person.session);
            state.people.remove(person.session);
        }
        for (crowd, seats) in rooms.values() {
            // Under one lock: whoever asks who is here asks before that line or after it.
            crowd.change(|room| {
                let gone = seats.iter().filter(|(seat, _)| room.set_aside(*seat));
                let names: Vec<String> =
                    gone.map(|(_, person)| person.name().to_string()).collect();
                if !names.is_empty() {
                    room.announce(now_ms, &departure::words(name, reason, &names));
                    self.look_after(room, now_ms);
                }
            });
            for (_, person) in seats.iter().filter(|(_, person)| !person.is_here) {
                self.give_back(person, crowd);
            }
        }
        drop(state);
        tracing::info!(machine = name, people = people.len(), "a machine is gone: {reason}");
        let is_this = {
            let mut state = cluster.lock();
            people.iter().for_each(|person| {
                let _ = remember(&mut state.gone_with, LastAct::of(person));
            });
            state.node == node
        };
        if is_this {
            self.come_back(cluster, people);
        }
    }

    /// This machine was taken for gone: it has another number from now on, and brings its people
    /// back. What they had sent before can have no effect any more, and is sent again after that.
    pub(super) fn come_back(&self, cluster: &Cluster, people: Vec<Arc<Person>>) {
        let mut state = cluster.lock();
        state.node = state.node.wrapping_add(1);
        state.take_back();
        if state.leave != Leave::Stays {
            state.leave = Leave::Left;
            state.is_returning = false;
            cluster.left.notify_all();
            cluster.send_all(&mut state);
            return;
        }
        state.is_returning = true;
        state.counts.returns += 1;
        // Some may have been on their way back already.
        let here = people.into_iter().filter(|person| person.is_here);
        state.returning.extend(here.map(|person| (person.session, person)));
        state.returning.retain(|_, person| person.comes_back());
        let people: Vec<_> = state.returning.values().cloned().collect();
        drop(state);
        let chunks: Vec<Vec<Returning>> = people
            .chunks(RETURNING_MAX)
            .map(|chunk| chunk.iter().map(returning).collect())
            .collect();
        // The last one says that all are back, also where there is nobody.
        let (last, before) = chunks
            .split_last()
            .map_or((Vec::new(), &[][..]), |(last, before)| (last.clone(), before));
        for people in before {
            cluster.announce(NODE, Act::Return { people: people.clone() });
        }
        cluster.announce(NODE, Act::Return { people: last });
    }

    /// People of a machine are here again, under their names where those are still free.
    pub(super) fn welcome_back(&self, cluster: &Cluster, actor: Actor, people: Vec<Returning>) {
        let mut state = self.lock();
        for returning in people {
            if !state.people.contains_key(&returning.session) {
                self.welcome(cluster, &mut state, actor, returning);
            }
        }
        drop(state);
        let mut state = cluster.lock();
        let is_all = state.returning.is_empty();
        if actor.is_here && is_all && std::mem::take(&mut state.is_returning) {
            cluster.send_all(&mut state);
        }
    }

    fn welcome(&self, cluster: &Cluster, state: &mut State, actor: Actor, returning: Returning) {
        let Returning { session, lineage, since_ms, name, address, operator, away, rooms, last } =
            returning;
        let lineage = super::snapshot::known(lineage, session);
        let known = {
            let mut state = cluster.lock();
            let known = if actor.is_here { state.returning.remove(&session) } else { None };
            if state.gone_sessions.contains(&session) {
                known.iter().for_each(|person| person.go_on_elsewhere());
                return;
            }
            known
        };
        let suspect = Suspect { name: Some(&name), address, lineage: Some(lineage) };
        let banned = state.bans.find(actor.now_ms, suspect, None);
        if let Some(ban) = banned.filter(|_| !operator) {
            known.iter().for_each(|person| person.end(&self.ban_words(ban)));
            return;
        }
        let free = free_name(state, &name, session);
        let theirs = Actor { session, is_here: known.is_some(), ..actor };
        let is_other = !free.same_as(&name);
        let person = known.unwrap_or_else(|| {
            Arc::new(Person::new(theirs, address, name, lineage).since(since_ms))
        });
        if is_other {
            person.deliver(Letter::Notice(format!("Your name was taken; you are {free} now")));
        }
        person.set_name(free.clone());
        person.set_node(actor.node);
        person.set_last(last.max(person.last()));
        person.set_refused(false);
        person.set_away(away.as_deref());
        person.make_operator(operator);
        state.people.insert(Arc::clone(&person));
        for (room, is_operator) in rooms {
            let ban = state.bans.find(actor.now_ms, person.suspect(&free), Some(room.key()));
            if let Some(ban) = ban.filter(|_| !operator) {
                person.hear_of_leaving(room, self.ban_words(ban));
                continue;
            }
            let found = state.rooms.get(room.key()).cloned();
            let crowd = found.unwrap_or_else(|| self.make_room(state, &room, None));
            self.seat(actor.now_ms, &person, &crowd, &free, is_operator);
        }
    }

    fn seat(&self, now_ms: u64, person: &Person, crowd: &Arc<Crowd>, name: &Name, operator: bool) {
        let kept = person.seat_in(crowd);
        let seat = crowd.change(|room| {
            let (seat, joined) = match kept {
                // Who is served here goes on reading where they stood.
                Some(seat) => (seat, room.readmit(now_ms, seat, name.clone())),
                None => room.join(now_ms, person.who(), name.clone(), See::Last(0)),
            };
            room.set_operator(seat, operator);
            self.archive.line(room, joined, LineKind::Joined, name, "");
            self.look_after(room, now_ms);
            seat
        });
        if kept.is_none() {
            person.take_seat(Arc::clone(crowd), seat);
        }
    }
}

/// Somebody's name, or the first one like it that is free.
fn free_name(state: &mut State, name: &Name, session: u64) -> Name {
    let others = (2..).map(|number| name.with_suffix(number));
    let mut names = std::iter::once(name.clone()).chain(others);
    names.find(|name| state.claim(name, session).is_ok()).expect("there are names without end")
}

fn returning(person: &Arc<Person>) -> Returning {
    let room = |(crowd, seat): (Arc<Crowd>, _)| {
        crowd.with(|room| {
            let comes_back = !room.is_expelled(seat);
            comes_back.then(|| (room.name.clone(), room.is_operator(seat)))
        })
    };
    let rooms = person.seats().into_iter().filter_map(room);
    Returning {
        session: person.session,
        lineage: person.lineage,
        since_ms: person.since_ms,
        name: person.name(),
        address: person.address,
        operator: person.is_operator(),
        away: person.away().map(|words| words.to_string()),
        rooms: rooms.collect(),
        last: person.last(),
    }
}

impl LastAct {
    pub(super) fn of(person: &Arc<Person>) -> Self {
        let (session, number) = (person.session, person.last());
        Self { session, number, refused: person.was_refused() }
    }
}

impl Cluster {
    fn send_all(&self, state: &mut super::State) {
        let sessions: Vec<u64> = state.outboxes.keys().copied().collect();
        for session in sessions {
            self.send_next(state, session);
        }
    }
}

impl super::State {
    /// What was on its way can have no effect any more: it waits to be sent again.
    fn take_back(&mut self) {
        for session in std::mem::take(&mut self.sent).into_values() {
            if let Some(outbox) = self.outboxes.get_mut(&session) {
                outbox.take_back();
            }
        }
        if let Some(outbox) = self.outboxes.get_mut(&NODE) {
            outbox.forget_returns();
        }
    }

    /// Notes that a machine is gone; `false` where that was known.
    fn note_gone(&mut self, node: u32) -> bool {
        if self.gone_nodes.contains(&node) {
            return false;
        }
        let _ = remember(&mut self.gone_nodes, node);
        self.nodes.remove(&node);
        true
    }
}
