//! The private and server messages to one session, as values. Pure.

use std::sync::Arc;

use super::history::LineKind;
use super::name::Name;
use super::operation::SaidLine;

/// A message of another user or of the server to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notification {
    /// A private line of another user.
    Private {
        /// Milliseconds since 1970.
        time_ms: u64,
        from: Name,
        session: u64,
        lineage: u64,
        /// `Said` or `Action`.
        kind: LineKind,
        text: Arc<str>,
    },
    /// Words of the server.
    Notice(String),
    /// A user of this lineage invites the receiver to a room.
    Invitation { by: Name, lineage: u64, room: Name },
    /// Lines of the receiver did not reach the other nodes, or were refused.
    NotDelivered { room: Name, reason: String, lines: Vec<SaidLine> },
    /// The link to the other nodes is lost, or back.
    Link { is_lost: bool, words: String },
    /// The receiver was taken out of this room, with these words, if any.
    Expelled { room: Name, words: String },
}

/// The end of a session, with the words that its user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disconnect {
    pub(super) words: String,
    /// The reason that a page shows, if the words do not say it.
    pub(super) reason: Option<String>,
}

impl Notification {
    /// Whether the session must get it, also if its mailbox is full.
    pub(super) fn is_essential(&self) -> bool {
        matches!(self, Self::Expelled { .. } | Self::NotDelivered { .. })
    }

    /// The bytes of the texts.
    pub(super) fn bytes(&self) -> usize {
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
