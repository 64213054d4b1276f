//! The outcome of an operation: ids and reasons, never live sessions. Pure.

use std::sync::Arc;

use super::bans::{Ban, ending};
use super::flood_mutes::ContinuedMute;
use super::name::Name;
use super::operation::ResumeToken;
use super::room::MemberId;

/// The outcome of an operation.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Entered(Result<Entered, ClaimNameError>),
    /// The session that the token restores, and the token.
    Redeemed(Option<ResumeToken>),
    Renamed(Result<(), ClaimNameError>),
    Joined(Result<Joined, JoinError>),
    /// The ban that was lifted, if there was one.
    Unbanned(Option<Ban>),
    Refused(OperationError),
}

/// A user who came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) session: u64,
    /// A mute for writing too fast that the session goes on with.
    pub(super) flood_mute: Option<ContinuedMute>,
}

/// A user who joined a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) session: u64,
    /// The name of the room as its maker wrote it.
    pub(super) room: Name,
    pub(super) member_id: MemberId,
    /// The number of the line that announces the member.
    pub(super) number: u64,
    /// Whether this node serves the user.
    pub(super) is_here: bool,
}

/// The reason for which an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OperationError {
    /// The author is not in the room any more.
    Outside,
    /// The author may not speak there until then (milliseconds since 1970).
    Muted(u64),
    /// The author is not an operator there.
    NotOperator,
    /// The user, room or line of the operation does not exist.
    Absent,
    /// The recipient's mailbox is full.
    Unread,
    /// The list of bans is full: how many it holds.
    TooManyBans(usize),
    /// The operation did not reach the other nodes: the reason.
    NotDelivered(&'static str),
}

impl OperationError {
    /// The reason, in words that follow others; `moment` prints a time in milliseconds since 1970.
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
    /// The reason for which the operation was refused.
    pub(super) fn refusal(&self) -> Option<&OperationError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The reason for which a user cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClaimNameError {
    /// Another user has it.
    Taken(Name),
    /// Another user has a name that looks like it.
    LooksLike(Name),
    /// It is banned: the sentence.
    Banned(String),
    /// The operation did not reach the other nodes.
    NotDelivered,
}

/// The reason for which a user cannot enter a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JoinError {
    Already,
    Banned(String),
    Invited,
    /// The room needs the password of this hash.
    Password(Arc<str>),
    TooManyRooms,
    /// Users from the same address have made so many rooms.
    TooManyOfSource(usize),
    TooManyOfYours,
    /// The user is not in the chat any more.
    Gone,
    /// The operation did not reach the other nodes: the reason.
    NotDelivered(&'static str),
}
