//! The records of a history, except for its lines: changes, and the results of queries.

use std::sync::Arc;

use echoline_chat_core::StoredLine;

/// A ban of a name, an address or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBan {
    /// The unique key of the ban. The store does not interpret it.
    pub subject: String,
    /// The name, address or network, as users see it.
    pub shown: String,
    /// The name of the operator who made the ban.
    pub by: String,
    /// The reason of the ban.
    pub reason: String,
    /// The end of the ban, in milliseconds since 1970 (UTC); `None` means for ever.
    pub until_ms: Option<u64>,
    /// Further properties, or empty. The store does not interpret them.
    pub more: String,
}

/// A resume token, with the session that it restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The unique key of the token.
    pub token: String,
    /// The name of the user.
    pub name: String,
    /// The user's rooms. Each has its name, the number of the last line that the user saw, and
    /// whether the user was an operator there.
    pub rooms: Vec<(String, u64, bool)>,
    /// The time at which the token expires, in milliseconds since 1970 (UTC).
    pub until_ms: u64,
    /// Further properties of the session, or empty. The store does not interpret them.
    pub more: String,
}

/// A change of the history. The store applies changes in the order of the calls of
/// [`Store::write`].
///
/// [`Store::write`]: super::Store::write
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    /// Adds a line to a room. If the room is unknown, it is created as a public room without a
    /// topic.
    Line {
        /// The name of the room.
        room: Arc<str>,
        /// The line. If the room already has a line with this number, the existing line is kept.
        line: StoredLine,
    },
    /// Replaces the text of a line by [`DELETED`](super::DELETED), and removes the old text from
    /// the disk. Does nothing if there is no such line.
    LineDeleted {
        /// The name of the room.
        room: Arc<str>,
        /// The number of the line.
        number: u64,
    },
    /// Creates a room, or replaces its properties.
    Room {
        /// The name of the room.
        name: String,
        /// The topic of the room.
        topic: Option<String>,
        /// Whether the room is hidden from users who are not in it.
        private: bool,
        /// The hash of the room's password. The store does not interpret it.
        password: Option<String>,
        /// Further properties, or empty. The store does not interpret them.
        more: String,
    },
    /// Removes a room with its lines. Tokens keep their positions in the room. Their field `more`
    /// tells this room from a later room with the same name.
    RoomRemoved(String),
    /// Adds a ban, or replaces the ban with the same subject.
    Ban(StoredBan),
    /// Removes the ban with this subject.
    Unban(String),
    /// Adds a token, or replaces the token with the same key.
    Token(StoredToken),
    /// Removes a token, because it was redeemed.
    TokenUsed(String),
    /// Counts a wrong operators' password.
    PasswordGuess {
        /// The time, in milliseconds since 1970 (UTC).
        time_ms: u64,
        /// The user's name.
        by: String,
        /// The user's address or network.
        source: String,
    },
    /// Adds an entry to one of the two audit logs: that of the chat's operators, or that of the
    /// rooms' operators. Each log has its own limit.
    Audit {
        /// Whether the action was done by an operator of the chat.
        is_of_chat: bool,
        /// The time, in milliseconds since 1970 (UTC).
        time_ms: u64,
        /// The name of the operator.
        by: String,
        /// A description of the action.
        what: String,
    },
}

impl StoreChange {
    /// Returns whether users can cause any number of such changes. These changes may use only a
    /// part of the queue. The rest is for bans, deletions, redeemed tokens and the audit log.
    pub(crate) const fn is_unlimited(&self) -> bool {
        matches!(
            self,
            Self::Line { .. } | Self::Room { .. } | Self::RoomRemoved(_) | Self::Token(_)
        )
    }

    /// Returns the approximate size of the change in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let text = match self {
            Self::LineDeleted { room, .. } => room.len(),
            Self::Line { line, .. } => line.name.len() + line.text.len(),
            Self::Room { name, topic, password, more, .. } => {
                let text = length(topic.as_deref()) + length(password.as_deref());
                name.len() + text + more.len()
            }
            Self::RoomRemoved(text) | Self::Unban(text) | Self::TokenUsed(text) => text.len(),
            Self::Ban(ban) => {
                let StoredBan { subject, shown, by, reason, more, .. } = ban;
                subject.len() + shown.len() + by.len() + reason.len() + more.len()
            }
            Self::Token(token) => {
                let rooms: usize = token.rooms.iter().map(|(room, ..)| room.len() + 48).sum();
                token.token.len() + token.name.len() + token.more.len() + rooms
            }
            Self::Audit { by, what, .. } => by.len() + what.len(),
            Self::PasswordGuess { by, source, .. } => by.len() + source.len(),
        };
        size_of::<Self>() + text
    }
}

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

/// The content of a history at the time when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoredHistory {
    /// The rooms, ordered by name.
    pub rooms: Vec<RestoredRoom>,
    /// The bans, ordered by subject. Some may have ended.
    pub bans: Vec<StoredBan>,
    /// The tokens. Some may have expired.
    pub tokens: Vec<StoredToken>,
    /// Warnings for an operator about damage and its repair, one sentence each.
    pub notices: Vec<String>,
}

/// A room of a history at the time when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredRoom {
    /// The name of the room.
    pub name: String,
    /// The topic of the room, if it has one.
    pub topic: Option<String>,
    /// Whether the room is hidden from users who are not in it.
    pub private: bool,
    /// The hash of the room's password.
    pub password: Option<String>,
    /// Further properties, or empty. The store does not interpret them.
    pub more: String,
    /// The number of the next line: one more than that of the last line, or 1 in an empty room.
    pub next_number: u64,
    /// The time of the last line, in milliseconds since 1970; 0 in an empty room.
    pub last_time_ms: u64,
    /// Up to this number, the room has only lines that users said.
    pub trimmed: u64,
    /// The newest lines, the oldest of them first. They include the requested number of newest
    /// lines, and the same number of newest lines that users said.
    pub lines: Vec<StoredLine>,
}

/// A page of search results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPage {
    /// The matching lines, newest first.
    pub lines: Vec<StoredLine>,
    /// Lines with numbers below this were not scanned; `None` if all lines were scanned.
    pub before: Option<u64>,
}

/// Wrong operators' passwords from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordGuesses {
    /// The address or network.
    pub source: String,
    /// The number of guesses.
    pub count: u64,
    /// The time of the first guess, in milliseconds since 1970 (UTC).
    pub first_ms: u64,
    /// The time of the last guess, in milliseconds since 1970 (UTC).
    pub last_ms: u64,
    /// The name of the user who made the last guess.
    pub by: String,
}
