//! The records that a chat stores, and their format. Without a store, the chat has them only in
//! memory, and they are lost when the process ends.

pub(crate) mod persistence;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use echoline_base::poison::IgnorePoison;
use echoline_chat_core::state::{Ban, Position, SavedSession, Scope, SessionState, Subject};
use echoline_chat_core::{Effect, Name, StoredLine};
use echoline_chat_store::{self, PasswordGuesses, Store, StoreChange, SyncPolicy};

/// The optional store and the audit log. Both outlive a room. The store also outlives the process.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    store: Option<Arc<Store>>,
    /// Whether lines are shown only after they are stored.
    pub(crate) holds: bool,
    /// Whether the last write failed.
    is_failing: AtomicBool,
    audit: Mutex<AuditLog>,
}

impl Archive {
    /// Creates an archive that writes everything to `store`.
    pub(crate) fn in_store(store: Store, sync: SyncPolicy) -> Self {
        Self { store: Some(Arc::new(store)), holds: sync == SyncPolicy::Each, ..Self::default() }
    }

    /// Returns the store, if there is one.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.clone()
    }

    /// Returns whether rooms outlive their last member.
    pub(crate) fn is_lasting(&self) -> bool {
        self.store.is_some()
    }

    /// Returns whether the last write to the store succeeded.
    pub(crate) fn is_well(&self) -> bool {
        !self.is_failing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_well(&self, is_well: bool) {
        self.is_failing.store(!is_well, Ordering::Relaxed);
    }

    fn write(&self, change: impl FnOnce() -> StoreChange) {
        if let Some(store) = &self.store {
            store.write(change());
        }
    }

    /// Writes an effect to the store or the audit log, if it is one that must be stored.
    pub(crate) fn keep(&self, effect: Effect<'_>) {
        match effect {
            Effect::KeepLine { room, appended, kind, name, text } => {
                self.write(|| StoreChange::Line {
                    room: Arc::from(room.name.as_str()),
                    line: StoredLine {
                        number: appended.number,
                        time_ms: appended.time_ms,
                        kind,
                        name: Arc::from(name),
                        text: Arc::from(text),
                    },
                })
            }
            Effect::DeleteLine { room, number } => {
                self.write(|| StoreChange::LineDeleted {
                    room: Arc::from(room.name.as_str()),
                    number,
                });
            }
            Effect::KeepRoom(room) => self.write(|| StoreChange::Room {
                name: room.name.to_string(),
                topic: (!room.topic.is_empty()).then(|| room.topic.to_string()),
                private: room.private,
                password: room.password.as_deref().map(str::to_owned),
                more: serde_json::to_string(&room.origin)
                    .expect("an origin has only numbers and addresses"),
            }),
            Effect::DeleteRoom(room) => self.write(|| StoreChange::RoomRemoved(room.to_string())),
            Effect::KeepBan(ban) => self.write(|| StoreChange::Ban(stored_ban(ban))),
            Effect::DeleteBan(ban) => self.write(|| StoreChange::Unban(subject(ban))),
            Effect::KeepToken { token, saved } => {
                self.write(|| StoreChange::Token(stored_token(token, saved)));
            }
            Effect::DeleteToken(token) => self.write(|| StoreChange::TokenUsed(token.to_owned())),
            Effect::Audit { is_of_chat, time_ms, by, what } => {
                self.audit(is_of_chat, (time_ms, by.to_owned(), what));
            }
            Effect::Notify { .. } | Effect::Disconnect { .. } => {}
        }
    }

    /// Records an action of an operator. `is_of_chat` is whether they are an operator of the whole
    /// chat.
    pub(crate) fn audit(&self, is_of_chat: bool, (time_ms, by, what): AuditEntry) {
        if !self.is_lasting() {
            return self.audit_log().add(is_of_chat, (time_ms, by, what));
        }
        self.write(|| StoreChange::Audit { is_of_chat, time_ms, by, what });
    }

    /// Counts a wrong operators' password, which the user with the name `by` typed. In a cluster,
    /// each node counts only its own users.
    pub(crate) fn guess(&self, time_ms: u64, by: &str, source: &str) {
        if !self.is_lasting() {
            return self.audit_log().add_guess(time_ms, by, source);
        }
        let (by, source) = (by.to_owned(), source.to_owned());
        self.write(|| StoreChange::PasswordGuess { time_ms, by, source });
    }

    fn audit_log(&self) -> MutexGuard<'_, AuditLog> {
        self.audit.lock().ignore_poison()
    }

    /// Returns the last entries of the audit log, the oldest first.
    pub(crate) async fn audit_entries(&self, most: usize) -> Vec<AuditEntry> {
        let mut entries = match &self.store {
            Some(store) => store.audit(most).await.unwrap_or_default(),
            None => self.audit_log().newest(most),
        };
        entries.reverse();
        entries
    }

    /// Returns the sources of the last wrong operators' passwords, the oldest first.
    pub(crate) async fn guesses(&self, most: usize) -> Vec<PasswordGuesses> {
        let mut guesses = match &self.store {
            Some(store) => store.guesses(most).await.unwrap_or_default(),
            None => self.audit_log().guesses(most),
        };
        guesses.reverse();
        guesses
    }

    /// Writes the pending changes and closes the store. Blocks for at most `limit`. Returns the
    /// number of changes that could not be written.
    pub(crate) fn close(&self, limit: Duration) -> u64 {
        self.store.as_ref().map_or(0, |store| store.close_within(limit))
    }
}

/// The part of a saved session that the store has as JSON, beside the table of rooms.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct SavedMore {
    /// The rooms, in the order in which the user joined them.
    pub(crate) rooms: Vec<SavedRoom>,
    #[serde(flatten)]
    pub(crate) state: SessionState,
}

/// A room of a saved session. `password` is the stamp of the room's password: a part of its hash.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedRoom {
    pub(crate) room: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// The number of the room's first line, which identifies the room.
    #[serde(default)]
    pub(crate) born: u64,
}

/// The part of a ban that the store has as JSON, beside the other columns.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct BanMore {
    lineage: Option<u64>,
}

impl BanMore {
    /// Returns the JSON text. It is empty if there is no lineage, as in a history of the first
    /// version.
    fn write(&self) -> String {
        match self.lineage {
            Some(_) => serde_json::to_string(self).expect("a lineage is a number"),
            None => String::new(),
        }
    }
}

impl SavedMore {
    fn of(saved: &SavedSession) -> Self {
        let room = |at: &Position| SavedRoom {
            room: at.room.clone(),
            password: at.password.clone(),
            born: at.born,
        };
        let rooms = saved.rooms.iter().map(room).collect();
        Self { rooms, state: saved.more.clone() }
    }

    fn write(&self) -> String {
        serde_json::to_string(self).expect("a saved session has only names and numbers")
    }

    /// Parses the output of `write`. An earlier version stored no such text; then the default is
    /// returned.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

fn stored_ban(ban: &Ban) -> echoline_chat_store::StoredBan {
    echoline_chat_store::StoredBan {
        subject: subject(ban),
        shown: ban.subject.to_string(),
        by: ban.by.clone(),
        reason: ban.reason.clone(),
        until_ms: ban.until_ms,
        more: BanMore { lineage: ban.lineage }.write(),
    }
}

fn stored_token(token: &str, saved: &SavedSession) -> echoline_chat_store::StoredToken {
    let rooms = saved.rooms.iter().map(|at| (at.room.to_string(), at.next, at.operator));
    echoline_chat_store::StoredToken {
        token: token.to_owned(),
        name: saved.name.to_string(),
        rooms: rooms.collect(),
        until_ms: saved.until_ms,
        more: SavedMore::of(saved).write(),
    }
}

/// Returns the key of a ban in the store: its scope, its kind and its subject, separated by spaces.
/// Names contain no spaces.
fn subject(ban: &Ban) -> String {
    let (kind, subject) = match &ban.subject {
        Subject::Name(_) => ("name", ban.subject.to_string()),
        Subject::Network(network) => ("network", network.to_string()),
    };
    match &ban.scope {
        Scope::Chat => format!("chat {kind} {subject}"),
        Scope::Room(room) => format!("room {room} {kind} {subject}"),
    }
}

/// Converts a ban from the store. Returns `None` if its format is unknown to this version.
pub(crate) fn restored(ban: &echoline_chat_store::StoredBan) -> Option<Ban> {
    let words: Vec<&str> = ban.subject.split(' ').collect();
    let (scope, kind, subject) = match *words.as_slice() {
        ["chat", kind, subject] => (Scope::Chat, kind, subject),
        ["room", room, kind, subject] => (Scope::Room(Name::parse_room(room).ok()?), kind, subject),
        _ => return None,
    };
    let subject = match kind {
        "name" => Subject::Name(Name::parse(subject).ok()?),
        "network" => Subject::Network(subject.parse().ok()?),
        _ => return None,
    };
    let (by, reason, until_ms) = (ban.by.clone(), ban.reason.clone(), ban.until_ms);
    let BanMore { lineage } = serde_json::from_str(&ban.more).unwrap_or_default();
    Some(Ban { subject, scope, by, reason, until_ms, lineage })
}

/// The maximum number of remembered actions, separately for operators of the chat and of rooms.
const ACTS_MAX: usize = 1000;

/// The maximum number of sources of wrong passwords that are remembered.
const SOURCES_MAX: usize = 200;

/// An entry: the time (milliseconds since 1970), the name of the operator, and the action.
pub(crate) type AuditEntry = (u64, String, String);

/// The audit log in memory. The newest entries come first.
#[derive(Debug, Default)]
pub(crate) struct AuditLog {
    /// The number of actions since the start, by which the two lists are merged.
    added: u64,
    of_chat: VecDeque<(u64, AuditEntry)>,
    of_rooms: VecDeque<(u64, AuditEntry)>,
    guesses: VecDeque<PasswordGuesses>,
}

impl AuditLog {
    /// Adds an action. `is_of_chat` is whether the operator is one of the whole chat.
    pub(crate) fn add(&mut self, is_of_chat: bool, entry: AuditEntry) {
        self.added += 1;
        let list = if is_of_chat { &mut self.of_chat } else { &mut self.of_rooms };
        list.truncate(ACTS_MAX - 1);
        list.push_front((self.added, entry));
    }

    /// Counts a wrong password in the entry of its source. If the list is full, the source whose
    /// last wrong password is oldest is dropped.
    pub(crate) fn add_guess(&mut self, time_ms: u64, by: &str, source: &str) {
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

    /// Returns the last actions, the newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<AuditEntry> {
        let both = self.of_chat.iter().take(most).chain(self.of_rooms.iter().take(most));
        let mut merged: Vec<_> = both.collect();
        merged.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        merged.into_iter().take(most).map(|(_, entry)| entry.clone()).collect()
    }

    /// Returns the sources of the last wrong passwords, the newest first.
    pub(crate) fn guesses(&self, most: usize) -> Vec<PasswordGuesses> {
        self.guesses.iter().take(most).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 7: neither wrong passwords nor actions of a room's operator displace the
    /// actions of the chat's operators.
    #[test]
    fn attack_guesses_and_actions_in_rooms_displace_no_actions_of_the_chat() {
        let mut log = AuditLog::default();
        log.add(true, (1, "root".into(), "kicked eve".into()));
        for number in 0..10_800_u64 {
            log.add_guess(number, "mallory", &format!("192.0.2.{}", number % 7));
            log.add(false, (2, "mallory".into(), "set den to private".into()));
        }
        let newest = log.newest(usize::MAX);
        assert_eq!((newest.len(), newest.last().unwrap().2.as_str()), (ACTS_MAX + 1, "kicked eve"));
        let guesses = log.guesses(99);
        assert_eq!((guesses.len(), guesses[0].last_ms), (7, 10_799));
        assert_eq!(guesses.iter().map(|guesses| guesses.count).sum::<u64>(), 10_800);
        for number in 0..SOURCES_MAX * 2 {
            log.add_guess(9, "mallory", &number.to_string());
        }
        assert_eq!(log.guesses(usize::MAX).len(), SOURCES_MAX);
    }
}
