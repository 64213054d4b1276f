//! Bans put in force and lifted, the same on every node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::act::{Outcome, Refusal};
use super::bans::{Ban, Scope, Subject, TooManyBans};
use super::crowd::Crowd;
use super::hall::{Hall, State};
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
        let meant = meant(&state, &ban);
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
        match room.and_then(|key| state.rooms.get(key)).cloned() {
            Some(crowd) => {
                for person in &meant {
                    self.expel(&mut state, actor.now_ms, person, &crowd, &words, "banned");
                }
                self.lose_room(&mut state, &meant, &crowd);
            }
            None if room.is_none() => {
                for person in &meant {
                    for (crowd, _) in person.seats() {
                        self.expel(&mut state, actor.now_ms, person, &crowd, "", "banned");
                    }
                    person.end(&words);
                }
            }
            None => {}
        }
        Outcome::Done
    }

    /// A token does not bring users back to a room that they were sent out of. Looks at the tokens
    /// once, however many users it is for.
    pub(super) fn lose_room(&self, state: &mut State, users: &[Arc<Person>], crowd: &Crowd) {
        let room = crowd.with(|room| room.name.clone());
        let lineages: BTreeSet<u64> = users.iter().map(|person| person.lineage).collect();
        for (token, place) in state.tokens.lose_room(&lineages, &room) {
            self.archive.token(&token, &place);
        }
    }
}

/// Returns the users in the chat that a ban applies to, in the order in which they came. Compares
/// each user with this ban only: an earlier ban took effect on its users when it was put in
/// force.
fn meant(state: &State, ban: &Ban) -> Vec<Arc<Person>> {
    let people = state.people.values().filter(|person| !person.is_operator());
    let meant = people.filter(|person| ban.means(person.suspect(&person.name())));
    let mut meant: Vec<_> = meant.cloned().collect();
    meant.sort_unstable_by_key(|person| person.session);
    meant
}

#[cfg(test)]
mod tests {
    use super::super::act::Act;
    use super::super::name::Name;
    use super::super::settings::Settings;
    use super::*;

    fn ban(subject: Subject, by: &str) -> Ban {
        let (by, reason) = (by.to_owned(), String::new());
        Ban { subject, scope: Scope::Chat, by, reason, until_ms: None, lineage: None }
    }

    /// Issue 12, item 13: a ban is compared with each user, and the bans before it are not: 1,000
    /// users and 10,000 bans took seconds under the chat's lock.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "it tells ten thousand steps from ten million")]
    fn attack_a_ban_costs_no_more_after_many_bans() {
        let hall = Hall::new(Settings::default());
        let actor = |session| Actor { session, node: 0, is_here: true, now_ms: 1 };
        let name = |text: &str| Name::parse(text).unwrap();
        for number in 1..=1000 {
            let name = name(&format!("u{number}"));
            hall.perform(actor(number), Act::Enter { name, address: None, back: None });
        }
        hall.person(1).unwrap().make_operator(true);
        for number in 0..5000 {
            let added = ban(Subject::Name(name(&format!("b{number}"))), "u1");
            let _ = hall.lock().bans.add(1, added);
        }
        let start = std::time::Instant::now();
        for number in 2..12 {
            let act = Act::Ban(ban(Subject::Name(name(&format!("u{number}"))), "u1"));
            assert!(matches!(hall.perform(actor(1), act), Outcome::Done));
            let ended = hall.person(number).unwrap().mailbox.ending().is_some();
            assert!(ended, "it means its user");
        }
        assert!(hall.person(12).unwrap().mailbox.ending().is_none());
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    }
}
