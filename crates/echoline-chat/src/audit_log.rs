//! The audit log of a chat without a store. It has three bounded lists: actions of the chat's
//! operators, actions of rooms' operators, and guesses at the operators' password. Pure.

use std::collections::VecDeque;

use echoline_chat_store::PasswordGuesses;

/// The number of kept actions of the chat's operators, and of rooms' operators.
const ACTS_MAX: usize = 1000;

/// The number of kept sources of guesses.
const SOURCES_MAX: usize = 200;

/// An entry: time (milliseconds since 1970), name of the operator, action.
pub(super) type AuditEntry = (u64, String, String);

/// The log; the newest entries come first.
#[derive(Debug, Default)]
pub(super) struct AuditLog {
    acts: u64,
    of_chat: VecDeque<(u64, AuditEntry)>,
    of_rooms: VecDeque<(u64, AuditEntry)>,
    guesses: VecDeque<PasswordGuesses>,
}

impl AuditLog {
    /// Adds an action of an operator of the chat, or of rooms only.
    pub(super) fn add(&mut self, is_of_chat: bool, entry: AuditEntry) {
        self.acts += 1;
        let acts = if is_of_chat { &mut self.of_chat } else { &mut self.of_rooms };
        acts.truncate(ACTS_MAX - 1);
        acts.push_front((self.acts, entry));
    }

    /// Counts a guess, in one entry for each source. If the list is full, the source that has been
    /// quiet for longest is dropped.
    pub(super) fn add_guess(&mut self, time_ms: u64, by: &str, source: &str) {
        let found = self.guesses.iter().position(|guesses| guesses.source == source);
        let known = found.and_then(|index| self.guesses.remove(index));
        let (first_ms, count) = known.map_or((time_ms, 0), |known| (known.first_ms, known.count));
        self.guesses.truncate(SOURCES_MAX - 1);
        self.guesses.push_front(PasswordGuesses {
            source: source.to_owned(),
            count: count + 1,
            first_ms,
            last_ms: time_ms,
            by: by.to_owned(),
        });
    }

    /// Returns the latest actions, newest first.
    pub(super) fn newest(&self, most: usize) -> Vec<AuditEntry> {
        let acts = self.of_chat.iter().take(most).chain(self.of_rooms.iter().take(most));
        let mut acts: Vec<_> = acts.collect();
        acts.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        acts.into_iter().take(most).map(|(_, entry)| entry.clone()).collect()
    }

    /// Returns the sources of the newest guesses, newest first.
    pub(super) fn guesses(&self, most: usize) -> Vec<PasswordGuesses> {
        self.guesses.iter().take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 7: neither guesses nor the actions of a room's operator evict the actions of
    /// the chat's operators.
    #[test]
    fn attack_neither_guesses_nor_acts_in_rooms_evict_acts_of_the_chat() {
        let mut log = AuditLog::default();
        log.add(true, (1, "root".into(), "kicked eve".into()));
        for number in 0..10_800_u64 {
            log.add_guess(number, "mallory", &format!("192.0.2.{}", number % 7));
            log.add(false, (2, "mallory".into(), "set den to private".into()));
        }
        let acts = log.newest(usize::MAX);
        assert_eq!((acts.len(), acts.last().unwrap().2.as_str()), (ACTS_MAX + 1, "kicked eve"));
        let guesses = log.guesses(99);
        assert_eq!((guesses.len(), guesses[0].last_ms), (7, 10_799));
        assert_eq!(guesses.iter().map(|guesses| guesses.count).sum::<u64>(), 10_800);
        for number in 0..SOURCES_MAX * 2 {
            log.add_guess(9, "mallory", &number.to_string());
        }
        assert_eq!(log.guesses(usize::MAX).len(), SOURCES_MAX);
    }
}
