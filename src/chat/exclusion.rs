//! Bans put in force and lifted, the same on every node.

use std::sync::Arc;

use super::act::{Outcome, Refusal};
use super::bans::{Ban, Scope, Subject, TooManyBans};
use super::crowd::Crowd;
use super::hall::{Hall, State};
use super::key::Key;
use super::perform::Actor;
use super::person::Person;

impl Hall {
    /// Lifts a ban.
    pub(super) fn unban(&self, actor: Actor, subject: &Subject, scope: &Scope) -> Outcome {
        let mut state = self.lock();
        if !self.may_ban(&state, actor, scope) {
            return Outcome::Refused(Refusal::NotOperator);
        }
        let lifted = state.bans.remove(subject, scope);
        if let Some(lifted) = &lifted {
            self.archive.unban(lifted);
        }
        Outcome::Unbanned(lifted)
    }

    /// Puts a ban in force, and ends the membership or session of each user that it applies to.
    pub(super) fn ban(&self, actor: Actor, ban: Ban) -> Outcome {
        let words = self.ban_words(&ban);
        let mut state = self.lock();
        if !self.may_ban(&state, actor, &ban.scope) {
            return Outcome::Refused(Refusal::NotOperator);
        }
        let scope = ban.scope.clone();
        if let Scope::Room(room) = &scope
            && !state.rooms.contains_key(room.key())
        {
            return Outcome::Refused(Refusal::Absent);
        }
        match state.bans.add(actor.now_ms, ban.clone()) {
            Ok(removed) => removed.iter().for_each(|removed| self.archive.unban(removed)),
            Err(TooManyBans(most)) => return Outcome::Refused(Refusal::TooManyBans(most)),
        }
        self.archive.ban(&ban);
        let room = match &scope {
            Scope::Chat => None,
            Scope::Room(name) => Some(name.key()),
        };
        for person in self.meant(&state, actor.now_ms, room) {
            match room {
                Some(key) => {
                    if let Some(crowd) = state.rooms.get(key).cloned() {
                        let now_ms = actor.now_ms;
                        self.expel(&mut state, now_ms, &person, &crowd, &words, "banned");
                        self.lose_room(&mut state, &person, &crowd);
                    }
                }
                None => {
                    for (crowd, _) in person.seats() {
                        self.expel(&mut state, actor.now_ms, &person, &crowd, "", "banned");
                    }
                    person.end(&words);
                }
            }
        }
        Outcome::Done
    }

    /// A token does not bring a user back to a room that they were sent out of.
    pub(super) fn lose_room(&self, state: &mut State, person: &Person, crowd: &Crowd) {
        let room = crowd.with(|room| room.name.clone());
        for (token, place) in state.tokens.lose_room(person.lineage, &room) {
            self.archive.token(&token, &place);
        }
    }

    /// Returns the users in the chat that a ban applies to, in the order in which they came.
    fn meant(&self, state: &State, now_ms: u64, room: Option<&Key>) -> Vec<Arc<Person>> {
        let people = state.people.values().filter(|person| !person.is_operator());
        let meant = people.filter(|person| {
            state.bans.find(now_ms, person.suspect(&person.name()), room).is_some()
        });
        let mut meant: Vec<_> = meant.cloned().collect();
        meant.sort_unstable_by_key(|person| person.session);
        meant
    }
}
