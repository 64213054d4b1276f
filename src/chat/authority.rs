//! Who may keep order, and what becomes of it: kicks, mutes, invitations, what a room is.

use std::sync::Arc;

use super::act::{Change, Outcome, Refusal};
use super::bans::Scope;
use super::crowd::Crowd;
use super::hall::{Hall, State};
use super::mailbox::Letter;
use super::muted::Muted;
use super::name::Name;
use super::perform::Actor;
use super::person::Person;

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
        if Arc::ptr_eq(&crowd, &self.lobby) {
            // There is nothing to fall back on.
            other.end_because("Goodbye", Some(&told));
        }
        Outcome::Done
    }

    pub(super) fn alter(&self, actor: Actor, room: &Name, change: Change) -> Outcome {
        let state = self.lock();
        let (person, crowd) = match self.authority(&state, actor, room) {
            Ok(found) => found,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let other = |session: u64| state.people.get(&session).ok_or(Refusal::Absent);
        let done = match change {
            Change::Private(is_private) => {
                self.redefine(&crowd, |room| room.private = is_private);
                Ok(())
            }
            Change::Password(hash) => {
                self.redefine(&crowd, |room| room.password = hash.map(Arc::from));
                Ok(())
            }
            Change::Operator(session, operator) => {
                other(session).and_then(|other| appoint(other, &crowd, room, operator))
            }
            Change::Mute(session, until_ms) => {
                other(session).and_then(|other| mute(actor, &person, other, &crowd, until_ms))
            }
            Change::Invite(session) => other(session).map(|other| {
                crowd.with(|room| room.invite(other.name().key().clone()));
                let words = format!("{} invites you: /join {room}", person.name());
                other.deliver(Letter::Notice(words));
            }),
        };
        done.map_or_else(Outcome::Refused, |()| Outcome::Done)
    }

    fn redefine(&self, crowd: &Crowd, change: impl FnOnce(&mut super::room::Room)) {
        crowd.with(|room| {
            change(room);
            self.archive.room(room);
        });
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

fn appoint(other: &Person, crowd: &Arc<Crowd>, room: &Name, operator: bool) -> Result<(), Refusal> {
    let seat = other.seat_in(crowd).ok_or(Refusal::Absent)?;
    let is_in = crowd.with(|room| {
        let is_in = room.is_in(seat);
        if is_in {
            room.set_operator(seat, operator);
        }
        is_in
    });
    if !is_in {
        return Err(Refusal::Absent);
    }
    let now = if operator { "an operator" } else { "no operator any more" };
    other.deliver(Letter::Notice(format!("You are {now} of {room}")));
    Ok(())
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
    let muted = Muted { key: other.name().key().clone(), session: other.session };
    let room = crowd.with(|room| {
        room.mute(actor.now_ms, muted, until_ms);
        room.name.clone()
    });
    let what = if until_ms.is_some() { "muted" } else { "unmuted" };
    other.deliver(Letter::Notice(format!("You were {what} in {room}")));
    Ok(())
}
