//! Who may keep order, and what becomes of it: kicks, mutes, invitations, what a room is.

use std::sync::Arc;

use super::act::{Change, Outcome, Refusal};
use super::bans::Scope;
use super::crowd::Crowd;
use super::hall::{Hall, State};
use super::history::LineKind;
use super::mailbox::Letter;
use super::muted::Muted;
use super::name::Name;
use super::perform::Actor;
use super::person::Person;
use super::room::Room;
use super::room_operators;

impl Hall {
    /// Whether who acts may ban in `scope`: an operator of the whole chat anywhere, one of a room
    /// there.
    pub(super) fn may_ban(&self, state: &State, actor: Actor, scope: &Scope) -> bool {
        let Some(person) = state.people.get(&actor.session) else { return false };
        match scope {
            Scope::Chat => person.is_operator(),
            Scope::Room(room) => {
                let crowd = state.rooms.get(room.key());
                person.is_operator() || crowd.is_some_and(|crowd| keeps_order(person, crowd))
            }
        }
    }

    /// Who acts, where they keep order in the room of this name.
    fn authority(
        &self,
        state: &State,
        actor: Actor,
        room: &Name,
    ) -> Result<(Arc<Person>, Arc<Crowd>), Refusal> {
        let person = state.people.get(&actor.session).ok_or(Refusal::Outside)?;
        let crowd = state.rooms.get(room.key()).ok_or(Refusal::Outside)?;
        if !person.is_operator() && !keeps_order(person, crowd) {
            return Err(Refusal::NotOperator);
        }
        Ok((Arc::clone(person), Arc::clone(crowd)))
    }

    /// Whether who acts keeps order in the room of this name.
    pub(super) fn keeps_order_in(&self, actor: Actor, room: &Name) -> bool {
        self.authority(&self.lock(), actor, room).is_ok()
    }

    pub(super) fn kick(&self, actor: Actor, room: &Name, whom: u64, words: &str) -> Outcome {
        let mut state = self.lock();
        let (person, crowd) = match self.authority(&state, actor, room) {
            Ok(found) => found,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let Some(other) = state.people.get(&whom).cloned() else {
            return Outcome::Refused(Refusal::Absent);
        };
        if is_above(&other, &person) {
            return Outcome::Refused(Refusal::NotOperator);
        }
        let by = person.name();
        let colon = if words.is_empty() { "" } else { ": " };
        let told = format!("You were kicked from {room} by {by}{colon}{words}");
        let reason = format!("kicked by {by}{colon}{words}");
        if !self.expel(&mut state, actor.now_ms, &other, &crowd, &told, &reason) {
            return Outcome::Refused(Refusal::Absent);
        }
        self.lose_room(&mut state, std::slice::from_ref(&other), &crowd);
        if Arc::ptr_eq(&crowd, &self.lobby) {
            // There is nothing to fall back on.
            other.end_because("Goodbye", Some(&told));
        }
        Outcome::Done
    }

    pub(super) fn alter(&self, actor: Actor, room: &Name, change: Change) -> Outcome {
        let mut state = self.lock();
        let (person, crowd) = match self.authority(&state, actor, room) {
            Ok(found) => found,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let other = |session: u64, state: &State| {
            state.people.get(&session).cloned().ok_or(Refusal::Absent)
        };
        let done = match change {
            Change::Private(is_private) => {
                self.redefine(&crowd, |room| room.private = is_private);
                Ok(())
            }
            Change::Password(hash) => {
                self.redefine(&crowd, |room| room.password = hash.map(Arc::from));
                Ok(())
            }
            Change::Operator(session, operator) => other(session, &state)
                .and_then(|other| self.appoint(&mut state, actor, &other, &crowd, operator)),
            Change::Mute(session, until_ms) => other(session, &state)
                .and_then(|other| mute(actor, &person, &other, &crowd, until_ms)),
            Change::Invite(session) => other(session, &state).map(|other| {
                crowd.with(|room| room.invite(other.lineage));
                let (by, lineage, room) = (person.name(), person.lineage, room.clone());
                other.deliver(Letter::Invitation { by, lineage, room });
            }),
        };
        done.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    fn redefine(&self, crowd: &Crowd, change: impl FnOnce(&mut Room)) {
        crowd.with(|room| {
            change(room);
            self.archive.room(room);
        });
    }
}

impl Hall {
    /// Remembers that a user wrote too fast, so that the mute lasts if they come back.
    pub(super) fn flood_muted(&self, actor: Actor, until_ms: u64, count: u8) -> Outcome {
        let mut state = self.lock();
        let Some(person) = state.people.get(&actor.session).cloned() else {
            return Outcome::Refused(Refusal::Outside);
        };
        state.flood_mutes.begin(actor.now_ms, person.writer(), until_ms, count);
        Outcome::Done
    }

    /// Notes whether a room has an operator, and gives it one if it had none for too long.
    /// The lobby gets no operator in this way: every user is in it.
    pub(super) fn look_after(&self, room: &mut Room, now_ms: u64) {
        if room.name.same_as(&self.settings.lobby) {
            return;
        }
        if let Some((name, appended)) = room.elect(now_ms) {
            let words = room_operators::words(&name);
            self.archive.line_of(room, appended, LineKind::Notice, "", &words);
        }
    }

    /// The same before something is said: it costs nothing while the room has an operator.
    pub(super) fn elect_if_due(&self, room: &mut Room, now_ms: u64) {
        if room.operators.is_due(now_ms) {
            self.look_after(room, now_ms);
        }
    }

    /// Makes a user an operator of the room, or no longer. An operator of the whole chat takes
    /// the right from another one in all of it.
    fn appoint(
        &self,
        state: &mut State,
        actor: Actor,
        other: &Person,
        crowd: &Arc<Crowd>,
        operator: bool,
    ) -> Result<(), Refusal> {
        let by = state.people.get(&actor.session).ok_or(Refusal::Outside)?;
        if !operator && is_above(other, by) {
            return Err(Refusal::NotOperator);
        }
        let was_above_all = !operator && other.is_operator();
        if was_above_all {
            other.make_operator(false);
            other.deliver(Letter::Notice("You are no operator of the chat any more".to_owned()));
        }
        if !operator {
            for (token, place) in state.tokens.depose(other.lineage) {
                self.archive.token(&token, &place);
            }
        }
        let seat = other.seat_in(crowd);
        let (room, is_done) = crowd.with(|room| {
            let was_former = !operator && room.operators.forget(other.lineage);
            let seat = seat.filter(|&seat| room.is_in(seat));
            if let Some(seat) = seat {
                room.set_operator(seat, operator);
                self.look_after(room, actor.now_ms);
            }
            (room.name.clone(), seat.is_some() || was_former)
        });
        if !is_done {
            return if was_above_all { Ok(()) } else { Err(Refusal::Absent) };
        }
        let now = if operator { "an operator" } else { "no operator any more" };
        other.deliver(Letter::Notice(format!("You are {now} of {room}")));
        Ok(())
    }
}

fn keeps_order(person: &Person, crowd: &Arc<Crowd>) -> bool {
    let seat = person.seat_in(crowd);
    seat.is_some_and(|seat| crowd.with(|room| room.standing(seat).1))
}

/// Whether the other is an operator of the whole chat, and this one is not: then nothing can be
/// done to them.
pub(super) fn is_above(other: &Person, person: &Person) -> bool {
    other.is_operator() && !person.is_operator()
}

/// Mutes until then, or gives the word back.
fn mute(
    actor: Actor,
    person: &Person,
    other: &Person,
    crowd: &Crowd,
    until_ms: Option<u64>,
) -> Result<(), Refusal> {
    if until_ms.is_some() && is_above(other, person) {
        return Err(Refusal::NotOperator);
    }
    let muted = Muted { key: other.name().key().clone(), lineage: other.lineage };
    let room = crowd.with(|room| {
        room.mute(actor.now_ms, muted, until_ms);
        room.name.clone()
    });
    let what = if until_ms.is_some() { "muted" } else { "unmuted" };
    other.deliver(Letter::Notice(format!("You were {what} in {room}")));
    Ok(())
}
