//! A change of the chat, as a value: the only way in which a chat changes. Pure.
//!
//! In one process an operation is applied at once. In a cluster it goes through the stream, and
//! every node applies it when it comes back.

use core::net::IpAddr;
use serde::{Deserialize, Serialize};

use crate::LineKind;
use crate::name::Name;
use crate::room::ReplayFrom;
use crate::room::credential::Credential;
use crate::state::bans::{Ban, Scope, Subject};
use crate::state::tokens::SavedSession;

/// The author and the time of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationContext {
    /// The number of the session.
    pub session: u64,
    /// The node that serves the session; 0 if there is only one.
    pub node: u32,
    /// Whether that is this node.
    pub is_here: bool,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// A change of the chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Comes in under a name.
    Enter {
        /// The name of the user.
        name: Name,
        /// The network address, if it is known.
        address: Option<IpAddr>,
        /// The part of the session that a token restored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<Back>,
    },
    /// Wants back what a token stands for.
    Redeem {
        /// The digest of the token.
        token: String,
    },
    /// Goes: with words for the others, or silently where everybody has to go.
    Exit {
        /// The words for the others; `None` if they hear nothing.
        reason: Option<String>,
        /// The saved session, if a token restores it.
        keep: Option<ResumeToken>,
    },
    /// Saves the session under a token that restores it.
    #[serde(rename = "keep")]
    SaveSession(ResumeToken),
    /// Takes another name.
    Rename {
        /// The name of the user.
        name: Name,
    },
    /// Goes to a room.
    Join {
        /// The name of the room.
        room: Name,
        /// The first line that the newcomer sees.
        #[serde(rename = "see")]
        replay_from: ReplayFrom,
        /// The credential that the newcomer shows.
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
    /// Deletes the words of a line: their own, or as an operator.
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
        /// The words; none if they are removed.
        words: String,
    },
    /// Is away, or back.
    Away {
        /// The words; none if they are removed.
        words: Option<String>,
    },
    /// Writes to one person alone.
    Write {
        /// The session of the recipient.
        to: u64,
        /// The words; none if they are removed.
        words: String,
        /// `Said` or `Action`.
        #[serde(default = "said", skip_serializing_if = "is_said")]
        kind: LineKind,
    },
    /// The server tells one person something.
    Tell {
        /// The session of the recipient.
        to: u64,
        /// The words; none if they are removed.
        words: String,
    },
    /// Wrote too fast, and is muted until then (milliseconds since 1970), for the `count`th time.
    FloodMuted {
        /// The end of the mute, in milliseconds since 1970.
        until_ms: u64,
        /// The number of mutes so far.
        count: u8,
    },
    /// Has shown the operators' password.
    BecomeOperator,
    /// Sends somebody out of a room.
    Kick {
        /// The name of the room.
        room: Name,
        /// The session of the member.
        whom: u64,
        /// The words; none if they are removed.
        words: String,
    },
    /// Keeps somebody out.
    Ban(Ban),
    /// Lets them in again.
    Unban {
        /// The banned name or network.
        subject: Subject,
        /// The part of the chat from which it is banned.
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
    /// Writes down what an operator did.
    Audit {
        /// What the operator did.
        what: String,
    },
    /// A node went down, and all its users with it.
    #[serde(rename = "gone")]
    NodeDown {
        /// The number of the node.
        node: u32,
        /// The name of the user.
        name: String,
        /// The words for the others; `None` if they hear nothing.
        reason: String,
    },
    /// Users of a node whose lease had expired rejoin.
    #[serde(rename = "return")]
    Rejoin {
        /// The users.
        people: Vec<RejoiningUser>,
    },
}

/// The part of a saved session that every node has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// 0 if it was not saved.
    pub lineage: u64,
    /// The node that serves the session found that they are an operator of the chat still.
    pub operator: bool,
    /// The away text, if the user is away.
    pub away: Option<String>,
}

/// Where somebody stands, and the token that brings them back there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeToken {
    /// The digest of the token.
    pub token: String,
    /// The saved session.
    pub place: SavedSession,
}

/// A line that somebody says.
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
    /// Only who is invited may come in.
    Private(bool),
    /// Who knows the words may come in of which this is the hash.
    Password(Option<String>),
    /// This session keeps order in it, or no longer.
    Operator(u64, bool),
    /// This session may not speak until then (milliseconds since 1970), or may again.
    Mute(u64, Option<u64>),
    /// This session may come in.
    Invite(u64),
}

/// Somebody who comes back with their machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoiningUser {
    /// The number of the session.
    pub session: u64,
    /// The user's number, the same in all their sessions.
    #[serde(default)]
    pub lineage: u64,
    /// When the session began, in milliseconds since 1970.
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
    /// The rooms, and whether they keep order there.
    pub rooms: Vec<(Name, bool)>,
    /// The last of their acts that was performed.
    pub last: u64,
}
