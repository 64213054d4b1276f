//! Which session continues which: a user who comes back with a token gets a new session. Pure.

use std::collections::{HashMap, VecDeque};

/// Continued sessions that are remembered; the oldest is forgotten first.
const SESSIONS_MAX: usize = 10_000;

/// The sessions that continue an earlier one.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// The first session of the chain that each continued session belongs to.
    first: HashMap<u64, u64>,
    /// The newest session of each chain, by the chain's first session.
    newest: HashMap<u64, u64>,
    /// The sessions in `first`, oldest first.
    order: VecDeque<u64>,
}

impl Succession {
    /// Records that `new` continues `old`.
    pub(super) fn record(&mut self, old: u64, new: u64) {
        let first = self.first_of(old);
        self.first.insert(new, first);
        self.newest.insert(first, new);
        self.order.push_back(new);
        if self.order.len() > SESSIONS_MAX
            && let Some(oldest) = self.order.pop_front()
            && let Some(first) = self.first.remove(&oldest)
            && self.newest.get(&first) == Some(&oldest)
        {
            self.newest.remove(&first);
        }
    }

    /// Returns the first session of the chain that `session` belongs to.
    pub(super) fn first_of(&self, session: u64) -> u64 {
        self.first.get(&session).copied().unwrap_or(session)
    }

    /// Returns the newest session of the chain that begins with `first`.
    pub(super) fn newest_of(&self, first: u64) -> u64 {
        self.newest.get(&first).copied().unwrap_or(first)
    }
}

/// Names a user for pages and programs: the same text after a resume, another one after a restart.
pub(super) fn person_id(epoch: u64, first: u64) -> String {
    format!("{epoch:x}-{first:x}")
}

/// Returns the first session that a [`person_id`] names; `None` for text of another form or epoch.
pub(super) fn session_of_id(epoch: u64, id: &str) -> Option<u64> {
    let (theirs, first) = id.split_once('-')?;
    let read = |text: &str| u64::from_str_radix(text, 16).ok();
    (read(theirs)? == epoch).then(|| read(first)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 7: an id means the same user after each resume.
    #[test]
    fn regression_an_id_follows_a_user_through_resumes() {
        let mut succession = Succession::default();
        assert_eq!((succession.first_of(3), succession.newest_of(3)), (3, 3));
        succession.record(3, 8);
        succession.record(8, 12);
        assert_eq!((succession.first_of(12), succession.newest_of(3)), (3, 12));
        assert_eq!(succession.newest_of(5), 5, "another user is not affected");
    }

    #[test]
    fn the_record_is_bounded() {
        let mut succession = Succession::default();
        for session in 0..SESSIONS_MAX as u64 + 5 {
            succession.record(1_000_000 + session, session);
        }
        assert_eq!(succession.first.len(), SESSIONS_MAX);
        assert_eq!(succession.newest.len(), SESSIONS_MAX);
        assert_eq!(succession.first_of(0), 0, "forgotten");
        assert_eq!(succession.first_of(5), 1_000_005);
    }

    #[test]
    fn an_id_of_another_epoch_names_no_session() {
        let id = person_id(0x1a2b, 0xff);
        assert_eq!(id, "1a2b-ff");
        assert_eq!(session_of_id(0x1a2b, &id), Some(0xff));
        for wrong in ["1a2c-ff", "ff", "", "-", "1a2b-", "1a2b-zz", "1a2b-ff-1", "ann"] {
            assert_eq!(session_of_id(0x1a2b, wrong), None, "{wrong}");
        }
    }
}
