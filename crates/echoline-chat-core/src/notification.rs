//! The private and server messages to one session, as values. Pure.

use std::sync::Arc;

use crate::LineKind;
use crate::name::Name;
use crate::operation::SaidLine;

/// A message of another user or of the server to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// A private line of another user.
    Private {
        /// Milliseconds since 1970.
        time_ms: u64,
        /// The name of the author.
        from: Name,
        /// The session of the author.
        session: u64,
        /// The user's number, the same in all their sessions.
        lineage: u64,
        /// `Said` or `Action`.
        kind: LineKind,
        /// The text.
        text: Arc<str>,
    },
    /// Words of the server.
    Notice(String),
    /// A user of this lineage invites the receiver to a room.
    Invitation {
        /// The name of the inviting user.
        by: Name,
        /// The user's number, the same in all their sessions.
        lineage: u64,
        /// The name of the room.
        room: Name,
    },
    /// Lines of the receiver did not reach the other nodes, or were refused.
    NotDelivered {
        /// The name of the room.
        room: Name,
        /// The reason, empty if there is none.
        reason: String,
        /// The lines.
        lines: Vec<SaidLine>,
    },
    /// The link to the other nodes is lost, or back.
    Link {
        /// Whether the link is lost.
        is_lost: bool,
        /// The words for the user.
        words: String,
    },
    /// The receiver was taken out of this room, with these words, if any.
    Expelled {
        /// The name of the room.
        room: Name,
        /// The words for the user.
        words: String,
    },
}

/// The end of a session, with the words that its user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The words for the user.
    pub words: String,
    /// The reason that a page shows, if the words do not say it.
    pub reason: Option<String>,
}

impl Notification {
    /// Returns whether the session must get it, also if its mailbox is full.
    pub fn is_essential(&self) -> bool {
        matches!(self, Self::Expelled { .. } | Self::NotDelivered { .. })
    }

    /// Returns the bytes of the texts.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Private { text, .. } => text.len(),
            Self::Notice(words) | Self::Link { words, .. } | Self::Expelled { words, .. } => {
                words.len()
            }
            Self::Invitation { by, room, .. } => by.as_str().len() + room.as_str().len(),
            Self::NotDelivered { lines, .. } => lines.iter().map(|line| line.text.len()).sum(),
        }
    }
}
