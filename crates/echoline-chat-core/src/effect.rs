//! The effects of a change outside the chat's state: messages to sessions and records to keep.
//! Pure.
//!
//! The caller carries an effect out when it is emitted, while the room or the chat is still locked.
//! So a store and a mailbox see all effects in order, and no effect is allocated.

use crate::LineKind;
use crate::name::Name;
use crate::notification::{Disconnect, Notification};
use crate::room::{Appended, Room};
use crate::state::bans::Ban;
use crate::state::tokens::SavedSession;

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
        /// The words for the user.
        disconnect: Disconnect,
    },
    /// Keeps a line that was appended to a room.
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
    /// Deletes the words of a stored line.
    DeleteLine {
        /// The room.
        room: &'a Room,
        /// The number of the line.
        number: u64,
    },
    /// Keeps the settings of a room.
    KeepRoom(&'a Room),
    /// Deletes a room that was removed, with its lines.
    DeleteRoom(&'a Name),
    /// Keeps a ban.
    KeepBan(&'a Ban),
    /// Deletes a ban that was lifted.
    DeleteBan(&'a Ban),
    /// Keeps a saved session under the digest of its token.
    KeepToken {
        /// The digest of the token.
        token: &'a str,
        /// The saved session.
        saved: &'a SavedSession,
    },
    /// Deletes the token of this digest.
    DeleteToken(&'a str),
    /// Keeps an entry of the audit log.
    Audit {
        /// Whether the author is an operator of the chat.
        is_of_chat: bool,
        /// Milliseconds since 1970.
        time_ms: u64,
        /// The name of the author.
        by: &'a str,
        /// The operator's action.
        what: String,
    },
}

/// The receiver of effects.
pub trait Effects {
    /// Carries an effect out, or notes it.
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

    /// Keeps a line; emitted under the room's lock, so that lines are kept in their order.
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
