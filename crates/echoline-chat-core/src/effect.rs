//! The effects that a change has outside of the chat's state: messages to sessions, and records for
//! the store.
//!
//! The caller carries out each effect when it is emitted, while the room or the chat is still
//! locked. The store and the mailboxes therefore see all effects in order, and effects need no
//! allocation.

use std::sync::Arc;

use crate::room::{Appended, Room};
use crate::state::{Ban, SavedSession};
use crate::{LineKind, Name, SaidLine};

/// An action that the caller must carry out because the chat has changed.
#[derive(Debug)]
pub enum Effect<'a> {
    /// Delivers a notification to a session, if this node serves it.
    Notify {
        /// The number of the session.
        session: u64,
        /// The notification.
        notification: Notification,
    },
    /// Ends a session, if this node serves it.
    Disconnect {
        /// The number of the session.
        session: u64,
        /// The message for the user.
        disconnect: Disconnect,
    },
    /// Stores a line that was appended to a room.
    KeepLine {
        /// The room.
        room: &'a Room,
        /// The number and the time of the line.
        appended: Appended,
        /// The kind of the line.
        kind: LineKind,
        /// The name in the line.
        name: &'a str,
        /// The text.
        text: &'a str,
    },
    /// Deletes the text of a stored line.
    DeleteLine {
        /// The room.
        room: &'a Room,
        /// The number of the line.
        number: u64,
    },
    /// Stores the settings of a room.
    KeepRoom(&'a Room),
    /// Deletes a removed room and its lines from the store.
    DeleteRoom(&'a Name),
    /// Stores a ban.
    KeepBan(&'a Ban),
    /// Deletes a ban that was lifted.
    DeleteBan(&'a Ban),
    /// Stores a saved session under the digest of its token.
    KeepToken {
        /// The digest of the token.
        token: &'a str,
        /// The saved session.
        saved: &'a SavedSession,
    },
    /// Deletes the token of this digest.
    DeleteToken(&'a str),
    /// Stores an entry of the audit log.
    Audit {
        /// Whether the author is an operator of the whole chat, not only of the room.
        is_of_chat: bool,
        /// The time, in milliseconds since 1970 (UTC).
        time_ms: u64,
        /// The name of the author.
        by: &'a str,
        /// The operator's action.
        what: String,
    },
}

/// The receiver of effects.
pub trait Effects {
    /// Carries out an effect, or records it.
    fn emit(&mut self, effect: Effect<'_>);
}

impl<F: FnMut(Effect<'_>)> Effects for F {
    fn emit(&mut self, effect: Effect<'_>) {
        self(effect);
    }
}

impl dyn Effects + '_ {
    /// Delivers a notification to a session.
    pub fn notify(&mut self, session: u64, notification: Notification) {
        self.emit(Effect::Notify { session, notification });
    }

    /// Delivers a message of the server to a session.
    pub fn notice(&mut self, session: u64, words: impl Into<String>) {
        self.notify(session, Notification::Notice(words.into()));
    }

    /// Ends a session with this message.
    pub fn disconnect(&mut self, session: u64, words: impl Into<String>) {
        let disconnect = Disconnect { words: words.into(), reason: None };
        self.emit(Effect::Disconnect { session, disconnect });
    }

    /// Stores a line. Emitted under the room's lock, so that lines are stored in their order.
    pub(crate) fn keep_line(
        &mut self,
        room: &Room,
        appended: Appended,
        kind: LineKind,
        name: &str,
        text: &str,
    ) {
        self.emit(Effect::KeepLine { room, appended, kind, name, text });
    }
}

/// A message of another user or of the server to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// A private line of another user.
    Private {
        /// The time, in milliseconds since 1970 (UTC).
        time_ms: u64,
        /// The name of the author.
        from: Name,
        /// The session of the author.
        session: u64,
        /// The author's lineage: a number that is the same in all their sessions.
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
        /// The name of the user who invites.
        by: Name,
        /// The lineage of the user who invites.
        lineage: u64,
        /// The name of the room.
        room: Name,
    },
    /// Lines of the receiver were refused, or did not reach the other nodes.
    NotDelivered {
        /// The name of the room.
        room: Name,
        /// The reason; empty if there is none.
        reason: String,
        /// The lines.
        lines: Vec<SaidLine>,
    },
    /// The link to the other nodes was lost or restored.
    Link {
        /// Whether the link is lost.
        is_lost: bool,
        /// The message for the user.
        words: String,
    },
    /// The receiver was expelled from a room.
    Expelled {
        /// The name of the room.
        room: Name,
        /// The message for the user.
        words: String,
    },
}

/// The end of a session, with the message for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The message for the user.
    pub words: String,
    /// The reason that a page shows, if `words` does not contain it.
    pub reason: Option<String>,
}

impl Notification {
    /// Returns whether the session must receive the notification even if its mailbox is full.
    pub fn is_essential(&self) -> bool {
        matches!(self, Self::Expelled { .. } | Self::NotDelivered { .. })
    }

    /// Returns the total length of the texts in bytes.
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
