//! The records that a chat keeps in its store, and their format. Without a store, the chat keeps
//! them in memory only, and they are lost when the process ends.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::audit_log::{AuditEntry, AuditLog};
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::effect::Effect;
use echoline_chat_core::name::Name;
use echoline_chat_core::state::bans::{Ban, Scope, Subject};
use echoline_chat_core::state::tokens::{Position, SavedSession, SessionState};
use echoline_chat_store::{
    self, PasswordGuesses, SearchPage, Store, StoreChange, StoreError, StoredLine, SyncPolicy,
};

/// The optional store and the audit log. Both outlive a room; the store also outlives the process.
#[derive(Debug, Default)]
pub(super) struct Archive {
    store: Option<Store>,
    /// Whether lines are shown only when they are stored.
    pub(super) holds: bool,
    /// Whether the last write failed.
    is_failing: AtomicBool,
    audit: Mutex<AuditLog>,
}

impl Archive {
    /// Creates an archive that keeps everything in `store`.
    pub(super) fn in_store(store: Store, sync: SyncPolicy) -> Self {
        Self { store: Some(store), holds: sync == SyncPolicy::Each, ..Self::default() }
    }

    /// Returns whether rooms outlive their last member.
    pub(super) fn is_lasting(&self) -> bool {
        self.store.is_some()
    }

    /// Returns whether the store accepts writes.
    pub(super) fn is_well(&self) -> bool {
        !self.is_failing.load(Ordering::Relaxed)
    }

    pub(super) fn set_well(&self, is_well: bool) {
        self.is_failing.store(!is_well, Ordering::Relaxed);
    }

    fn write(&self, change: impl FnOnce() -> StoreChange) {
        if let Some(store) = &self.store {
            store.write(change());
        }
    }

    /// Writes an effect of an operation to the store or the audit log, if it must be kept.
    pub(super) fn keep(&self, effect: Effect<'_>) {
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
                    .expect("it is made of numbers and addresses"),
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

    /// Records an action of an operator, either of the chat or only of rooms.
    pub(super) fn audit(&self, is_of_chat: bool, (time_ms, by, what): AuditEntry) {
        if !self.is_lasting() {
            return self.audit_log().add(is_of_chat, (time_ms, by, what));
        }
        self.write(|| match is_of_chat {
            true => StoreChange::Audit { time_ms, by, what },
            false => StoreChange::RoomAudit { time_ms, by, what },
        });
    }

    /// Counts a wrong operators' password that the user called `by` gave. In a cluster, each node
    /// counts only its own users.
    pub(super) fn guess(&self, time_ms: u64, by: &str, source: &str) {
        if !self.is_lasting() {
            return self.audit_log().add_guess(time_ms, by, source);
        }
        let (by, source) = (by.to_owned(), source.to_owned());
        self.write(|| StoreChange::PasswordGuess { time_ms, by, source });
    }

    fn audit_log(&self) -> MutexGuard<'_, AuditLog> {
        self.audit.lock().ignore_poison()
    }

    /// Returns the last entries of the audit log, oldest first.
    pub(super) async fn acts(&self, most: usize) -> Vec<AuditEntry> {
        let mut acts = match &self.store {
            Some(store) => store.audit(most).await.unwrap_or_default(),
            None => self.audit_log().newest(most),
        };
        acts.reverse();
        acts
    }

    /// Returns the sources of the last guesses at the operators' password, the oldest of them
    /// first.
    pub(super) async fn guesses(&self, most: usize) -> Vec<PasswordGuesses> {
        let mut guesses = match &self.store {
            Some(store) => store.guesses(most).await.unwrap_or_default(),
            None => self.audit_log().guesses(most),
        };
        guesses.reverse();
        guesses
    }

    pub(super) async fn lines(
        &self,
        room: &Name,
        numbers: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        match &self.store {
            Some(store) => store.lines(room.as_str(), numbers, most).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the newest lines of a room before a number.
    pub(super) async fn last(
        &self,
        room: &Name,
        before: u64,
        count: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        match &self.store {
            Some(store) => store.last(room.as_str(), before, count).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the number up to which only said lines of a room are kept.
    pub(super) async fn trimmed(&self, room: &Name) -> Result<u64, StoreError> {
        match &self.store {
            Some(store) => store.trimmed(room.as_str()).await,
            None => Ok(0),
        }
    }

    /// Searches one page of a room, from the line below `before` on.
    pub(super) async fn search(
        &self,
        room: &Name,
        words: &str,
        before: u64,
        most: usize,
    ) -> Result<SearchPage, StoreError> {
        match &self.store {
            Some(store) => store.search_before(room.as_str(), words, before, most).await,
            None => Ok(SearchPage { lines: Vec::new(), before: None }),
        }
    }

    /// Writes the pending changes and closes the store, for at most `limit`. Returns the number of
    /// changes that could not be written.
    pub(super) fn close(&self, limit: Duration) -> u64 {
        self.store.as_ref().map_or(0, |store| store.close_within(limit))
    }
}

/// The part of a saved session that the store keeps as JSON, beside the table of rooms.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(super) struct SavedMore {
    /// The rooms, in the order in which the user joined them.
    pub(super) rooms: Vec<SavedRoom>,
    #[serde(flatten)]
    pub(super) state: SessionState,
}

/// A room of a saved session, and the stamp of the password that it had.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SavedRoom {
    pub(super) room: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    /// The number of the room's first line.
    #[serde(default)]
    pub(super) born: u64,
}

/// The part of a ban that the store keeps as JSON, beside the other columns.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct BanMore {
    lineage: Option<u64>,
}

impl BanMore {
    /// Returns an empty text if there is no value, as in a history of the first version.
    fn write(&self) -> String {
        match self.lineage {
            Some(_) => serde_json::to_string(self).expect("it is a number"),
            None => String::new(),
        }
    }
}

impl SavedMore {
    fn of(place: &SavedSession) -> Self {
        let room = |at: &Position| SavedRoom {
            room: at.room.clone(),
            password: at.password.clone(),
            born: at.born,
        };
        let rooms = place.rooms.iter().map(room).collect();
        Self { rooms, state: place.more.clone() }
    }

    fn write(&self) -> String {
        serde_json::to_string(self).expect("it is made of names and numbers")
    }

    /// Parses the output of `write`. The session of an earlier version has no such text, which
    /// gives the default.
    pub(super) fn read(text: &str) -> Self {
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
/// No name contains a space.
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

/// Converts a stored ban. Returns `None` if this version does not know its format.
pub(super) fn restored(ban: &echoline_chat_store::StoredBan) -> Option<Ban> {
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
