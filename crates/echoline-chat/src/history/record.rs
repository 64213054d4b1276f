//! What is kept: the lines of rooms, the rooms, and what people were told they may rely on.

use std::sync::Arc;

/// The text of a line whose words were deleted.
pub const DELETED: &str = "[deleted]";

/// The text shown for a line that is missing in the file, although its number was given.
pub const MISSING: &str = "[missing]";

/// What a line of a room is. Stored as a small integer, which never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// 0: somebody said it.
    Said,
    /// 1: somebody did it (`/me`).
    Action,
    /// 2: somebody came.
    Joined,
    /// 3: somebody went.
    Left,
    /// 4: somebody took another name.
    Renamed,
    /// 5: the room's topic was set.
    Topic,
    /// 6: the server said it.
    Notice,
}

impl Kind {
    /// All kinds, each at the place of its number.
    pub const ALL: [Self; 7] = [
        Self::Said,
        Self::Action,
        Self::Joined,
        Self::Left,
        Self::Renamed,
        Self::Topic,
        Self::Notice,
    ];

    /// The number that stands for it in the file.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether a user said it. Such lines are bounded apart from joins, leaves and all others, so
    /// that no flood of those displaces what was said.
    #[must_use]
    pub const fn is_said(self) -> bool {
        matches!(self, Self::Said | Self::Action)
    }

    /// Whether lines of this kind have words of their author, which can be deleted.
    #[must_use]
    pub const fn has_words(self) -> bool {
        matches!(self, Self::Said | Self::Action | Self::Topic | Self::Left)
    }

    /// The kind that `code` stands for; `None` where none does.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A line of a room as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order of the room; at most [`i64::MAX`], which SQLite can hold.
    pub number: u64,
    /// Milliseconds since 1970, UTC. For display only: the order is by number.
    pub time_ms: u64,
    /// What it is.
    pub kind: Kind,
    /// Whose line it is.
    pub name: Arc<str>,
    /// What it says.
    pub text: Arc<str>,
}

/// Somebody, or somewhere, that may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The key of a name, an address or a network: opaque here, and unique.
    pub subject: String,
    /// The subject as people are shown it.
    pub shown: String,
    /// Who banned it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when, in milliseconds since 1970, UTC; `None`: until it is lifted.
    pub until_ms: Option<u64>,
    /// Further properties of the ban: opaque here, empty if there are none.
    pub more: String,
}

/// What lets somebody who left go on where they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What they have to say; unique.
    pub token: String,
    /// The name they had.
    pub name: String,
    /// The rooms they were in, the last number they saw there, and whether they were an operator.
    pub rooms: Vec<(String, u64, bool)>,
    /// Until when it is good, in milliseconds since 1970, UTC.
    pub until_ms: u64,
    /// Further properties of the session: opaque here, empty if there are none.
    pub more: String,
}

/// Something to keep. Changes are applied in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A line was added to a room; a room that is not known yet is begun, public and without topic.
    Line {
        /// The room's name.
        room: Arc<str>,
        /// The line. A number that the room has already is left as it is.
        line: Stored,
    },
    /// The words of a line were deleted: it reads [`DELETED`], and its text leaves the disk. A line
    /// that is not there is left as it is.
    Deleted {
        /// The room's name.
        room: Arc<str>,
        /// The number of the line.
        number: u64,
    },
    /// A room was begun, or is different now.
    Room {
        /// Its name.
        name: String,
        /// What it is about.
        topic: Option<String>,
        /// Whether it is shown to those who are not in it.
        private: bool,
        /// The hash of its password: opaque here.
        password: Option<String>,
        /// Further properties of the room: opaque here, empty if there are none.
        more: String,
    },
    /// A room is no more: its lines go. Tokens keep their positions in it, so that their owners can
    /// make it again; what tells it from another room of its name is in `more`.
    RoomGone(String),
    /// Somebody was banned, or the ban changed.
    Ban(Ban),
    /// The ban of this subject was lifted.
    Unban(String),
    /// A token was given.
    Token(Token),
    /// A token was used, and is no longer good.
    TokenUsed(String),
    /// An operator of a room did something: as `Audit`, in places of its own.
    RoomAudit {
        /// When, in milliseconds since 1970, UTC.
        time_ms: u64,
        /// The name of the operator.
        by: String,
        /// The act, as text.
        what: String,
    },
    /// A user gave a wrong operators' password.
    Guess {
        /// When, in milliseconds since 1970, UTC.
        time_ms: u64,
        /// The user's name.
        by: String,
        /// The address or network that they come from.
        source: String,
    },
    /// An operator did something that is to be accounted for.
    Audit {
        /// When, in milliseconds since 1970, UTC.
        time_ms: u64,
        /// The name of the operator.
        by: String,
        /// The act, as text.
        what: String,
    },
}

impl Change {
    /// Whether each user can cause as many of these as they like. Such changes leave a part of the
    /// queue to bans, deletions, used tokens and the audit log.
    pub(super) const fn is_anybodys(&self) -> bool {
        matches!(self, Self::Line { .. } | Self::Room { .. } | Self::RoomGone(_) | Self::Token(_))
    }

    /// The bytes that it holds while it waits, nearly.
    pub(super) fn size(&self) -> usize {
        let text = match self {
            Self::Deleted { room, .. } => room.len(),
            Self::Line { line, .. } => line.name.len() + line.text.len(),
            Self::Room { name, topic, password, more, .. } => {
                let text = length(topic.as_deref()) + length(password.as_deref());
                name.len() + text + more.len()
            }
            Self::RoomGone(text) | Self::Unban(text) | Self::TokenUsed(text) => text.len(),
            Self::Ban(ban) => {
                let Ban { subject, shown, by, reason, more, .. } = ban;
                subject.len() + shown.len() + by.len() + reason.len() + more.len()
            }
            Self::Token(token) => {
                let rooms: usize = token.rooms.iter().map(|(room, ..)| room.len() + 48).sum();
                token.token.len() + token.name.len() + token.more.len() + rooms
            }
            Self::Audit { by, what, .. } | Self::RoomAudit { by, what, .. } => {
                by.len() + what.len()
            }
            Self::Guess { by, source, .. } => by.len() + source.len(),
        };
        size_of::<Self>() + text
    }
}

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

/// What a store held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The rooms, by name.
    pub rooms: Vec<RestoredRoom>,
    /// The bans, by subject; some may have ended meanwhile.
    pub bans: Vec<Ban>,
    /// The tokens; some may have ended meanwhile.
    pub tokens: Vec<Token>,
    /// What an operator should be told, a sentence each: what was damaged, and what was done.
    pub notices: Vec<String>,
}

/// A room as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredRoom {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub topic: Option<String>,
    /// Whether it is shown to those who are not in it.
    pub private: bool,
    /// The hash of its password.
    pub password: Option<String>,
    /// Further properties of the room: opaque here, empty if there are none.
    pub more: String,
    /// The number that its next line gets: one more than its last line has, 1 in an empty room.
    pub next_number: u64,
    /// The time of its last line; 0 in an empty room.
    pub last_time_ms: u64,
    /// Up to this number only lines that users said are kept.
    pub trimmed: u64,
    /// The newest lines, as many as were asked for, and as many that users said; the oldest of them
    /// first.
    pub lines: Vec<Stored>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_their_kinds() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), number);
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Kind::from_code(7), None);
    }
}
