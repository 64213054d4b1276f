//! Messages to one session: private lines and messages of the server. Pure.

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
    /// A sentence of the server.
    Notice(String),
    /// A user invites the receiver to a room.
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
    /// The receiver was expelled from a room.
    Expelled {
        /// The name of the room.
        room: Name,
        /// The words for the user.
        words: String,
    },
}

/// The end of a session, with the message for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The words for the user.
    pub words: String,
    /// The reason for a page, if `words` does not contain it.
    pub reason: Option<String>,
}

impl Notification {
    /// Returns whether the session must receive it even if its mailbox is full.
    pub fn is_essential(&self) -> bool {
        matches!(self, Self::Expelled { .. } | Self::NotDelivered { .. })
    }

    /// Returns the length of the texts in bytes.
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
