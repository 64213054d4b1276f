//! The users in the chat, by session and by lineage.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::state::User;

/// The users in the chat, by session.
#[derive(Debug)]
pub struct UserTable<R> {
    users: BTreeMap<u64, Box<User<R>>>,
    /// The sessions that a token restored, by lineage. Other sessions are calculated from the
    /// lineage.
    restored: BTreeMap<u64, u64>,
    lineages_from: u64,
}

impl<R> UserTable<R> {
    /// Creates an empty table. `lineages_from` is the lineage of session 0.
    pub fn new(lineages_from: u64) -> Self {
        Self { users: BTreeMap::new(), restored: BTreeMap::new(), lineages_from }
    }

    /// Returns the lineage of a new session, one that no token restored.
    pub fn lineage(&self, session: u64) -> u64 {
        self.lineages_from.wrapping_add(session)
    }

    /// Returns the user of a session.
    pub fn get_mut(&mut self, session: u64) -> Option<&mut User<R>> {
        self.users.get_mut(&session).map(|user| &mut **user)
    }

    /// Adds a user.
    pub fn insert(&mut self, user: Box<User<R>>) {
        if user.lineage != self.lineage(user.session) && !user.is_retired() {
            self.restored.insert(user.lineage, user.session);
        }
        self.users.insert(user.session, user);
    }

    /// Removes a user.
    pub fn remove(&mut self, session: u64) -> Option<Box<User<R>>> {
        let user = self.users.remove(&session)?;
        if self.restored.get(&user.lineage) == Some(&session) {
            self.restored.remove(&user.lineage);
        }
        Some(user)
    }

    /// Removes all users, and returns them by session.
    pub fn take_all(&mut self) -> BTreeMap<u64, Box<User<R>>> {
        self.restored.clear();
        std::mem::take(&mut self.users)
    }

    /// Returns the user with this lineage, in the session that they use now.
    pub(crate) fn of_lineage(&self, lineage: u64) -> Option<&User<R>> {
        let restored = self.restored.get(&lineage).copied();
        let session = restored.unwrap_or(lineage.wrapping_sub(self.lineages_from));
        let user = self.users.get(&session)?;
        (user.lineage == lineage && !user.is_retired()).then_some(user)
    }
}

impl<R> Deref for UserTable<R> {
    type Target = BTreeMap<u64, Box<User<R>>>;

    fn deref(&self) -> &Self::Target {
        &self.users
    }
}

/// Returns the id of a user for pages and programs. It stays the same in all sessions that a token
/// restores.
pub fn person_id(lineage: u64) -> String {
    format!("{lineage:x}")
}

/// Parses a [`person_id`] and returns the lineage. Returns `None` for any other text.
pub(crate) fn lineage_of_id(id: &str) -> Option<u64> {
    let lineage = u64::from_str_radix(id, 16).ok()?;
    (person_id(lineage) == id).then_some(lineage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, OperationContext};

    fn user(session: u64, lineage: u64) -> Box<User<()>> {
        let context = OperationContext { session, node: 0, is_here: true, now_ms: 0 };
        Box::new(User::new(context, None, Name::parse("ann").unwrap(), lineage))
    }

    /// Issue 11, item 7: an id means the same user in all sessions that a token restores, even
    /// while the previous session has not ended. It never means another user.
    #[test]
    fn regression_a_lineage_finds_the_session_in_which_its_user_is() {
        let mut sessions = UserTable::new(u64::MAX - 1);
        let find = |sessions: &UserTable<()>, lineage| {
            sessions.of_lineage(lineage).map(|user| user.session)
        };
        let lineage = sessions.lineage(3);
        assert_eq!(lineage, 1, "the sum wraps around");
        sessions.insert(user(3, lineage));
        sessions.insert(user(4, sessions.lineage(4)));
        assert_eq!((find(&sessions, lineage), find(&sessions, 2)), (Some(3), Some(4)));
        sessions.get_mut(3).unwrap().retire();
        assert_eq!(find(&sessions, lineage), None, "the user has moved to another session");
        sessions.insert(user(8, lineage));
        assert_eq!(find(&sessions, lineage), Some(8));
        sessions.remove(3);
        assert_eq!(find(&sessions, lineage), Some(8));
        sessions.get_mut(8).unwrap().retire();
        sessions.insert(user(12, lineage));
        sessions.remove(8);
        assert_eq!(find(&sessions, lineage), Some(12));
        sessions.remove(12);
        assert_eq!((find(&sessions, lineage), sessions.restored.len()), (None, 0));
        assert_eq!(find(&sessions, 2), Some(4), "another user is not affected");
        sessions.insert(user(13, 77));
        assert_eq!(sessions.take_all().len(), 2);
        assert_eq!((find(&sessions, 77), sessions.restored.len()), (None, 0));
    }

    #[test]
    fn a_written_id_parses_to_the_same_lineage() {
        assert_eq!(person_id(0xff), "ff");
        assert_eq!(lineage_of_id("ff"), Some(0xff));
        for wrong in ["", "-", "FF", "0ff", "+ff", "zz", "1a2b-ff", "ann", "1ffffffffffffffff"] {
            assert_eq!(lineage_of_id(wrong), None, "{wrong}");
        }
    }
}
