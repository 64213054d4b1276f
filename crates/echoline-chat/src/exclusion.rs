//! Bans put in force and lifted, the same on every node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply_operation::OperationContext;
use super::bans::{Ban, Scope, Subject, TooManyBans};
use super::operation::{OperationError, Outcome};
use super::shared_room::SharedRoom;
use super::state::{Chat, State};
use super::user::User;

impl Chat {
    /// Lifts a ban.
    pub(super) fn unban(
        &self,
        context: OperationContext,
        subject: &Subject,
        scope: &Scope,
    ) -> Outcome {
        let mut state = self.lock();
        if !self.may_ban(&state, context, scope) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let lifted = state.bans.remove(subject, scope);
        if let Some(lifted) = &lifted {
            self.archive.unban(lifted);
        }
        Outcome::Unbanned(lifted)
    }

    /// Puts a ban in force, and ends the membership or session of each user that it applies to.
    pub(super) fn ban(&self, context: OperationContext, ban: Ban) -> Outcome {
        let words = self.ban_words(&ban);
        let mut state = self.lock();
        if !self.may_ban(&state, context, &ban.scope) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let scope = ban.scope.clone();
        let meant = meant(&state, &ban);
        if let Scope::Room(room) = &scope
            && !state.rooms.contains_key(room.key())
        {
            return Outcome::Refused(OperationError::Absent);
        }
        match state.bans.add(context.now_ms, ban.clone()) {
            Ok(removed) => removed.iter().for_each(|removed| self.archive.unban(removed)),
            Err(TooManyBans(most)) => return Outcome::Refused(OperationError::TooManyBans(most)),
        }
        self.archive.ban(&ban);
        let room = match &scope {
            Scope::Chat => None,
            Scope::Room(name) => Some(name.key()),
        };
        match room.and_then(|key| state.rooms.get(key)).cloned() {
            Some(shared_room) => {
                for user in &meant {
                    self.expel(&mut state, context.now_ms, user, &shared_room, &words, "banned");
                }
                self.lose_room(&mut state, &meant, &shared_room);
            }
            None if room.is_none() => {
                for user in &meant {
                    for (shared_room, _) in user.memberships() {
                        self.expel(&mut state, context.now_ms, user, &shared_room, "", "banned");
                    }
                    user.end(&words);
                }
            }
            None => {}
        }
        Outcome::Done
    }

    /// A token does not bring users back to a room that they were sent out of. Looks at the tokens
    /// once, however many users it is for.
    pub(super) fn lose_room(
        &self,
        state: &mut State,
        users: &[Arc<User>],
        shared_room: &SharedRoom,
    ) {
        let room = shared_room.with(|room| room.name.clone());
        let lineages: BTreeSet<u64> = users.iter().map(|user| user.lineage).collect();
        for (token, place) in state.tokens.lose_room(&lineages, &room) {
            self.archive.token(&token, &place);
        }
    }
}

/// Returns the users in the chat that a ban applies to, in the order in which they came. Compares
/// each user with this ban only: an earlier ban took effect on its users when it was put in
/// force.
fn meant(state: &State, ban: &Ban) -> Vec<Arc<User>> {
    let people = state.people.values().filter(|user| !user.is_operator());
    let meant = people.filter(|user| ban.means(user.suspect(&user.name())));
    let mut meant: Vec<_> = meant.cloned().collect();
    meant.sort_unstable_by_key(|user| user.session);
    meant
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::super::operation::Operation;
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
        let chat = Chat::new(Settings::default());
        let context = |session| OperationContext { session, node: 0, is_here: true, now_ms: 1 };
        let name = |text: &str| Name::parse(text).unwrap();
        for number in 1..=1000 {
            let name = name(&format!("u{number}"));
            chat.apply_operation(
                context(number),
                Operation::Enter { name, address: None, back: None },
            );
        }
        chat.user(1).unwrap().make_operator(true);
        for number in 0..5000 {
            let added = ban(Subject::Name(name(&format!("b{number}"))), "u1");
            let _ = chat.lock().bans.add(1, added);
        }
        let start = std::time::Instant::now();
        for number in 2..12 {
            let act = Operation::Ban(ban(Subject::Name(name(&format!("u{number}"))), "u1"));
            assert!(matches!(chat.apply_operation(context(1), act), Outcome::Done));
            let ended = chat.user(number).unwrap().mailbox.ending().is_some();
            assert!(ended, "it means its user");
        }
        assert!(chat.user(12).unwrap().mailbox.ending().is_none());
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
    }
}
