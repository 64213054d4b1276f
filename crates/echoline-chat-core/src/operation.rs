//! Operations: values that describe the changes of a chat. A chat changes in no other way.
//!
//! In one process an operation is applied at once. In a cluster it goes through the stream, and
//! every node applies it when the stream delivers it.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::room::ReplayFrom;
use crate::state::{Ban, SavedSession, Scope, Subject};
use crate::{LineKind, Name};

/// The author and the time of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationContext {
    /// The number of the session.
    pub session: u64,
    /// The node that serves the session; 0 if there is only one.
    pub node: u32,
    /// Whether this node serves the session.
    pub is_here: bool,
    /// The time of the operation, in milliseconds since 1970 (UTC).
    pub now_ms: u64,
}

impl OperationContext {
    /// Returns the context of a change by the server itself.
    pub fn of_server(now_ms: u64) -> Self {
        Self { session: 0, node: 0, is_here: true, now_ms }
    }
}

/// A change of the chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Enters the chat under a name.
    Enter {
        /// The name of the user.
        name: Name,
        /// The network address, if it is known.
        address: Option<IpAddr>,
        /// The part of an earlier session that a token restored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<RestoredSession>,
    },
    /// Redeems a token: restores the session that was saved under it.
    Redeem {
        /// The digest of the token.
        token: String,
    },
    /// Leaves the chat.
    Exit {
        /// The reason for the other users; `None` if they are not told.
        reason: Option<String>,
        /// The session to save, and its token; `None` if no token restores the session.
        keep: Option<ResumeToken>,
    },
    /// Saves the session under a token that restores it.
    #[serde(rename = "keep")]
    SaveSession(ResumeToken),
    /// Changes the name of the user.
    Rename {
        /// The new name.
        name: Name,
    },
    /// Joins a room.
    Join {
        /// The name of the room.
        room: Name,
        /// The first line that the new member sees.
        #[serde(rename = "see")]
        replay_from: ReplayFrom,
        /// The credential that the new member shows.
        #[serde(rename = "pass")]
        credential: Credential,
    },
    /// Leaves a room.
    Part {
        /// The name of the room.
        room: Name,
    },
    /// Says lines in a room.
    Say {
        /// The name of the room.
        room: Name,
        /// The lines.
        lines: Vec<SaidLine>,
    },
    /// Deletes the text of a line. The author may delete their own lines, an operator any line.
    Delete {
        /// The name of the room.
        room: Name,
        /// The number of the line.
        number: u64,
        /// Whether the line is the author's own.
        own: bool,
    },
    /// Sets the topic of a room, or removes it.
    Topic {
        /// The name of the room.
        room: Name,
        /// The topic; empty to remove it.
        words: String,
    },
    /// Sets the away text, or removes it.
    Away {
        /// The away text; `None` to remove it.
        words: Option<String>,
    },
    /// Writes a private line to one user.
    Write {
        /// The session of the recipient.
        to: u64,
        /// The text.
        words: String,
        /// `Said` or `Action`.
        #[serde(default = "said", skip_serializing_if = "is_said")]
        kind: LineKind,
    },
    /// Delivers a notice of the server to one user.
    Tell {
        /// The session of the recipient.
        to: u64,
        /// The text.
        words: String,
    },
    /// Mutes the author, who wrote too fast.
    FloodMuted {
        /// The end of the mute, in milliseconds since 1970.
        until_ms: u64,
        /// The number of mutes so far, including this one.
        count: u8,
    },
    /// Makes the author an operator of the chat. The author's node has checked the password.
    BecomeOperator,
    /// Expels a member from a room.
    Kick {
        /// The name of the room.
        room: Name,
        /// The session of the member.
        whom: u64,
        /// The reason; empty if none was given.
        words: String,
    },
    /// Adds a ban.
    Ban(Ban),
    /// Lifts a ban.
    Unban {
        /// The banned name or network.
        subject: Subject,
        /// Whether the ban applies to the whole chat or to one room.
        scope: Scope,
    },
    /// Changes a setting of a room, or the rights of a member.
    Alter {
        /// The name of the room.
        room: Name,
        /// The change.
        change: RoomChange,
    },
    /// Removes a room and all its lines.
    Forget {
        /// The name of the room.
        room: Name,
    },
    /// Adds an entry to the audit log.
    Audit {
        /// The operator's action.
        what: String,
    },
    /// A node went down. All its users leave.
    #[serde(rename = "gone")]
    NodeDown {
        /// The number of the node.
        node: u32,
        /// The name of the node.
        name: String,
        /// The reason for the other users.
        reason: String,
    },
    /// Users rejoin. Their node's lease had expired.
    #[serde(rename = "return")]
    Rejoin {
        /// The users.
        #[serde(rename = "people")]
        users: Vec<RejoiningUser>,
    },
}

/// The part of a saved session that every node must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredSession {
    /// The user's number, the same in all their sessions; 0 if it was not saved.
    pub lineage: u64,
    /// Whether the user is still an operator of the chat. The node that serves the user decides
    /// this.
    pub operator: bool,
    /// The away text, if the user is away.
    pub away: Option<String>,
}

/// A saved session, and the token that restores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken {
    /// The digest of the token.
    pub token: String,
    /// The saved session.
    #[serde(rename = "place")]
    pub saved: SavedSession,
}

/// A line that a user says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidLine {
    /// `Said` or `Action`.
    #[serde(rename = "k", default = "said", skip_serializing_if = "is_said")]
    pub kind: LineKind,
    /// The text.
    #[serde(rename = "t")]
    pub text: String,
}

fn said() -> LineKind {
    LineKind::Said
}

fn is_said(kind: &LineKind) -> bool {
    *kind == LineKind::Said
}

/// A change of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomChange {
    /// Sets whether only invited users may join.
    Private(bool),
    /// Sets the hash of the password that users need to join; `None` removes the password.
    Password(Option<String>),
    /// Makes the member with this session an operator of the room (`true`), or revokes the right
    /// (`false`).
    Operator(u64, bool),
    /// Mutes the member with this session until this time (milliseconds since 1970). `None` unmutes
    /// them.
    Mute(u64, Option<u64>),
    /// Invites the user with this session.
    Invite(u64),
}

/// A user who rejoins with their node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoiningUser {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    #[serde(default)]
    pub lineage: u64,
    /// The time at which the session began, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: u64,
    /// The name of the user.
    pub name: Name,
    /// The network address, if it is known.
    pub address: Option<IpAddr>,
    /// Whether the user is an operator.
    pub operator: bool,
    /// The away text, if the user is away.
    pub away: Option<String>,
    /// The user's rooms. The flag is whether the user is an operator of the room.
    pub rooms: Vec<(Name, bool)>,
    /// The number of the user's last operation that was applied.
    pub last: u64,
}

/// The credential with which a user joins a room.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// No credential.
    Nothing,
    /// The hash of a password that the user has typed correctly.
    Password(String),
    /// A token proves that the user was a member. This is the older form of `Return`, and is still
    /// accepted.
    Token {
        /// Whether the user was an operator of the room.
        operator: bool,
    },
    /// A token proves that the user was a member. It also records their rights and the password of
    /// the room at that time.
    Return {
        /// Whether the user was an operator of the room.
        operator: bool,
        /// A digest of the room's password at that time; `None` if the room had none.
        password: Option<String>,
        /// The number of the room's first line, which identifies the room. See
        /// [`RoomOrigin`](crate::room::RoomOrigin).
        #[serde(default)]
        born: u64,
    },
}

impl Credential {
    /// Returns whether a token proves that the user was an operator of the room.
    pub(crate) fn is_operators(&self) -> bool {
        matches!(self, Self::Token { operator: true } | Self::Return { operator: true, .. })
    }
}
