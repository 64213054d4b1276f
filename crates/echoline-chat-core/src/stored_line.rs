//! A line of a room, as the history stores it.

use std::sync::Arc;

/// The text that replaces the text of a deleted line.
pub const DELETED: &str = "[deleted]";

/// The notice in each room after the server was restarted.
pub const RESTARTED: &str = "The server was started again";

/// The text that is shown for a line that is missing in the history.
pub const MISSING: &str = "[missing]";

/// The kind of a line. It is stored as a small integer, whose meaning must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// 0: a user said the line.
    Said,
    /// 1: a user described an action (`/me`).
    Action,
    /// 2: a user joined the room.
    Joined,
    /// 3: a user left the room.
    Left,
    /// 4: a user changed their name.
    Renamed,
    /// 5: a user set the topic of the room.
    Topic,
    /// 6: a notice of the server.
    Notice,
}

impl LineKind {
    /// All kinds, indexed by their codes.
    pub const ALL: [Self; 7] = [
        Self::Said,
        Self::Action,
        Self::Joined,
        Self::Left,
        Self::Renamed,
        Self::Topic,
        Self::Notice,
    ];

    /// Returns whether the author chose text in lines of this kind. Such lines are hidden from
    /// users who ignore the author. A new name counts as text.
    #[must_use]
    pub fn has_own_words(self) -> bool {
        self.has_words() || self == Self::Renamed
    }

    /// Returns the name of this kind in messages to programs and in transcripts.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Said => "said",
            Self::Action => "action",
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Renamed => "renamed",
            Self::Topic => "topic",
            Self::Notice => "notice",
        }
    }

    /// Returns the number of this kind in the database.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns whether a user said lines of this kind. Such lines have a limit of their own, so a
    /// flood of joins and leaves does not displace them.
    #[must_use]
    pub const fn is_said(self) -> bool {
        matches!(self, Self::Said | Self::Action)
    }

    /// Returns whether lines of this kind have a text of their author, which can be deleted.
    #[must_use]
    pub const fn has_words(self) -> bool {
        matches!(self, Self::Said | Self::Action | Self::Topic | Self::Left)
    }

    /// Returns the kind with this number, or `None` if there is none.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A line of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLine {
    /// The number of the line in its room; at most [`i64::MAX`], the largest integer of SQLite.
    pub number: u64,
    /// The time, in milliseconds since 1970 (UTC). It is for display only; the order is that of the
    /// numbers.
    pub time_ms: u64,
    /// The kind of the line.
    pub kind: LineKind,
    /// The name of the author.
    pub name: Arc<str>,
    /// The text of the line.
    pub text: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_code() {
        for (number, kind) in LineKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), number);
            assert_eq!(LineKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(LineKind::from_code(7), None);
    }
}
