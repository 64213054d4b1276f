//! What somebody does that others can see, as a value: the one way in which a chat changes. Pure.
//!
//! In one process an act is performed at once. In a cluster it goes to all machines first, and each
//! performs it when it comes back in their common order.

use core::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bans::{Ban, Scope, Subject, ending};
use super::history::LineKind;
use super::name::Name;
use super::room::ReplayFrom;
use super::state::{ClaimNameError, Credential, JoinError, Membership};
use super::tokens::SavedSession;
use super::user::User;

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    /// Comes in under a name.
    Enter {
        name: Name,
        address: Option<IpAddr>,
        /// The part of the session that a token restored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<Back>,
    },
    /// Wants back what a token stands for.
    Redeem { token: String },
    /// Goes: with words for the others, or silently where everybody has to go.
    Exit { reason: Option<String>, keep: Option<ResumeToken> },
    /// Saves the session under a token that restores it.
    #[serde(rename = "keep")]
    SaveSession(ResumeToken),
    /// Takes another name.
    Rename { name: Name },
    /// Goes to a room.
    Join {
        room: Name,
        #[serde(rename = "see")]
        replay_from: ReplayFrom,
        #[serde(rename = "pass")]
        credential: Credential,
    },
    /// Leaves a room.
    Part { room: Name },
    /// Says lines in a room.
    Say { room: Name, lines: Vec<SaidLine> },
    /// Deletes the words of a line: their own, or as an operator.
    Delete { room: Name, number: u64, own: bool },
    /// Sets the topic of a room, or removes it.
    Topic { room: Name, words: String },
    /// Is away, or back.
    Away { words: Option<String> },
    /// Writes to one person alone.
    Write {
        to: u64,
        words: String,
        /// `Said` or `Action`.
        #[serde(default = "said", skip_serializing_if = "is_said")]
        kind: LineKind,
    },
    /// The server tells one person something.
    Tell { to: u64, words: String },
    /// Wrote too fast, and is muted until then (milliseconds since 1970), for the `count`th time.
    FloodMuted { until_ms: u64, count: u8 },
    /// Has shown the operators' password.
    BecomeOperator,
    /// Sends somebody out of a room.
    Kick { room: Name, whom: u64, words: String },
    /// Keeps somebody out.
    Ban(Ban),
    /// Lets them in again.
    Unban { subject: Subject, scope: Scope },
    /// Changes a setting of a room, or the rights of a member.
    Alter { room: Name, change: RoomChange },
    /// Removes a room and all its lines.
    Forget { room: Name },
    /// Writes down what an operator did.
    Audit { what: String },
    /// A node went down, and all its users with it.
    #[serde(rename = "gone")]
    NodeDown { node: u32, name: String, reason: String },
    /// Users of a node whose lease had expired rejoin.
    #[serde(rename = "return")]
    Rejoin { people: Vec<RejoiningUser> },
}

/// The part of a saved session that every node has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Back {
    /// 0 if it was not saved.
    pub(super) lineage: u64,
    /// The node that serves the session found that they are an operator of the chat still.
    pub(super) operator: bool,
    pub(super) away: Option<String>,
}

/// Where somebody stands, and the token that brings them back there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResumeToken {
    pub(super) token: String,
    pub(super) place: SavedSession,
}

/// A line that somebody says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SaidLine {
    /// `Said` or `Action`.
    #[serde(rename = "k", default = "said", skip_serializing_if = "is_said")]
    pub(super) kind: LineKind,
    #[serde(rename = "t")]
    pub(super) text: String,
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
pub(super) enum RoomChange {
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
pub(super) struct RejoiningUser {
    pub(super) session: u64,
    #[serde(default)]
    pub(super) lineage: u64,
    #[serde(default)]
    pub(super) since_ms: u64,
    pub(super) name: Name,
    pub(super) address: Option<IpAddr>,
    pub(super) operator: bool,
    pub(super) away: Option<String>,
    /// The rooms, and whether they keep order there.
    pub(super) rooms: Vec<(Name, bool)>,
    /// The last of their acts that was performed.
    pub(super) last: u64,
}

/// What came of an act.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Entered(Result<Arc<User>, ClaimNameError>),
    /// What the token brings back, and the token.
    Redeemed(Option<ResumeToken>),
    Renamed(Result<(), ClaimNameError>),
    Joined(Result<Membership, JoinError>),
    /// The ban that was lifted, if there was one.
    Unbanned(Option<Ban>),
    Refused(OperationError),
}

/// Why an act came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OperationError {
    /// Who acts is not in the room any more.
    Outside,
    /// Who acts may not speak there until then.
    Muted(u64),
    /// The author is not an operator there.
    NotOperator,
    /// The user of the operation is not in the chat.
    Absent,
    /// The recipient's mailbox is full.
    Unread,
    /// The list of bans is full: how many it holds.
    TooManyBans(usize),
    /// It did not reach the other machines: why.
    NotDelivered(&'static str),
}

impl OperationError {
    /// Why, in words that stand behind others; `moment` says when something ends.
    pub(super) fn reason(&self, moment: fn(u64) -> String) -> String {
        match self {
            Self::Outside => "you are not in that room any more".to_owned(),
            Self::Muted(until) => {
                format!("you may not speak there {}", ending(Some(*until), moment))
            }
            Self::NotOperator => "only an operator can do that".to_owned(),
            Self::Absent => "who it is about is not there any more".to_owned(),
            Self::Unread => "who it is for does not read".to_owned(),
            Self::TooManyBans(most) => {
                format!("there are {most} bans already; /bans lists them, /unban lifts one")
            }
            Self::NotDelivered(why) => (*why).to_owned(),
        }
    }
}

impl Outcome {
    /// Why it came to nothing, in the words of the server.
    pub(super) fn refusal(&self) -> Option<&OperationError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
