//! The sessions in the chat, by their number and by the lineage of their user.

use std::collections::HashMap;
use std::collections::hash_map::Drain;
use std::ops::Deref;
use std::sync::Arc;

use super::user::User;

/// The sessions in the chat, by number.
#[derive(Debug, Default)]
pub(super) struct UserTable {
    people: HashMap<u64, Arc<User>>,
    /// The sessions that a token restored, by lineage: these cannot be calculated.
    restored: HashMap<u64, u64>,
    lineages_from: u64,
}

impl UserTable {
    /// No sessions; the lineage of session 0 would be `lineages_from`.
    pub(super) fn new(lineages_from: u64) -> Self {
        Self { lineages_from, ..Self::default() }
    }

    /// Returns the lineage of a session that does not continue another one.
    pub(super) fn lineage(&self, session: u64) -> u64 {
        self.lineages_from.wrapping_add(session)
    }

    pub(super) fn insert(&mut self, user: Arc<User>) {
        if user.lineage != self.lineage(user.session) && !user.is_retired() {
            self.restored.insert(user.lineage, user.session);
        }
        self.people.insert(user.session, user);
    }

    pub(super) fn remove(&mut self, session: u64) {
        if let Some(user) = self.people.remove(&session)
            && self.restored.get(&user.lineage) == Some(&session)
        {
            self.restored.remove(&user.lineage);
        }
    }

    pub(super) fn drain(&mut self) -> Drain<'_, u64, Arc<User>> {
        self.restored.clear();
        self.people.drain()
    }

    /// Returns the session in which the user of this lineage is now, if any.
    pub(super) fn of_lineage(&self, lineage: u64) -> Option<&Arc<User>> {
        let restored = self.restored.get(&lineage).copied();
        let session = restored.unwrap_or(lineage.wrapping_sub(self.lineages_from));
        let user = self.people.get(&session)?;
        (user.lineage == lineage && !user.is_retired()).then_some(user)
    }
}

impl Deref for UserTable {
    type Target = HashMap<u64, Arc<User>>;

    fn deref(&self) -> &Self::Target {
        &self.people
    }
}

/// Returns the text by which pages and programs know a user: the same after each resume.
pub(super) fn person_id(lineage: u64) -> String {
    format!("{lineage:x}")
}

/// Returns the lineage that a [`person_id`] names; `None` for text of another form.
pub(super) fn lineage_of_id(id: &str) -> Option<u64> {
    let lineage = u64::from_str_radix(id, 16).ok()?;
    (person_id(lineage) == id).then_some(lineage)
}

#[cfg(test)]
mod tests {
    use super::super::apply_operation::OperationContext;
    use super::super::name::Name;
    use super::*;

    fn user(session: u64, lineage: u64) -> Arc<User> {
        let context = OperationContext { session, node: 0, is_here: true, now_ms: 0 };
        Arc::new(User::new(context, None, Name::parse("ann").unwrap(), lineage))
    }

    /// Issue 11, item 7: an id means the same user after each resume, also while the session before
    /// has not ended, and no other user.
    #[test]
    fn regression_a_lineage_finds_the_session_in_which_its_user_is() {
        let mut sessions = UserTable::new(u64::MAX - 1);
        let find =
            |sessions: &UserTable, lineage| sessions.of_lineage(lineage).map(|user| user.session);
        let lineage = sessions.lineage(3);
        assert_eq!(lineage, 1, "it wraps around");
        let (first, second) = (user(3, lineage), user(8, lineage));
        sessions.insert(Arc::clone(&first));
        sessions.insert(user(4, sessions.lineage(4)));
        assert_eq!((find(&sessions, lineage), find(&sessions, 2)), (Some(3), Some(4)));
        first.retire();
        assert_eq!(find(&sessions, lineage), None, "it goes on elsewhere");
        sessions.insert(Arc::clone(&second));
        assert_eq!(find(&sessions, lineage), Some(8));
        sessions.remove(3);
        assert_eq!(find(&sessions, lineage), Some(8));
        second.retire();
        sessions.insert(user(12, lineage));
        sessions.remove(8);
        assert_eq!(find(&sessions, lineage), Some(12));
        sessions.remove(12);
        assert_eq!((find(&sessions, lineage), sessions.restored.len()), (None, 0));
        assert_eq!(find(&sessions, 2), Some(4), "another user is not affected");
        sessions.insert(user(13, 77));
        assert_eq!(sessions.drain().count(), 2);
        assert_eq!((find(&sessions, 77), sessions.restored.len()), (None, 0));
    }

    #[test]
    fn an_id_is_read_in_the_form_in_which_it_is_written() {
        assert_eq!(person_id(0xff), "ff");
        assert_eq!(lineage_of_id("ff"), Some(0xff));
        for wrong in ["", "-", "FF", "0ff", "+ff", "zz", "1a2b-ff", "ann", "1ffffffffffffffff"] {
            assert_eq!(lineage_of_id(wrong), None, "{wrong}");
        }
    }
}
