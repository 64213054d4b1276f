//! The outcome of an operation. It contains ids and reasons, never live sessions.

use std::sync::Arc;

use crate::room::MemberId;
use crate::state::{Ban, ContinuedMute, ending};
use crate::{Name, ResumeToken};

/// The outcome of an operation.
#[derive(Debug)]
pub enum Outcome {
    /// The operation was applied.
    Done,
    /// The user has logged in, or the name was refused.
    Entered(Result<Entered, ClaimNameError>),
    /// The session that the token restores, with the token; `None` if the token is invalid.
    Redeemed(Option<ResumeToken>),
    /// The user has the new name, or it was refused.
    Renamed(Result<(), ClaimNameError>),
    /// The user has joined the room, or was refused.
    Joined(Result<Joined, JoinError>),
    /// The ban that was lifted, if there was one.
    Unbanned(Option<Ban>),
    /// The operation was refused and changed nothing.
    Refused(OperationError),
}

/// A user who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// The number of the session.
    pub session: u64,
    /// A mute for writing too fast that continues in this session.
    pub flood_mute: Option<ContinuedMute>,
}

/// A user who joined a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The number of the session.
    pub session: u64,
    /// The name of the room, in the spelling of the user who created it.
    pub room: Name,
    /// The number of the member in the room.
    pub member_id: MemberId,
    /// The number of the line that announces the member.
    pub number: u64,
    /// Whether this node serves the user.
    pub is_here: bool,
}

/// The reason why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationError {
    /// The author is no longer in the room.
    NotInRoom,
    /// The author is muted in the room until this time, in milliseconds since 1970.
    Muted(u64),
    /// Only an operator may do this, and the author is not one.
    NotOperator,
    /// The user, room or line of the operation does not exist.
    NotFound,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// The list of bans is full. Contains its maximum length.
    TooManyBans(usize),
    /// The operation did not reach the other nodes, for this reason.
    NotDelivered(&'static str),
}

impl OperationError {
    /// Returns the reason, worded as the end of a sentence. `moment` formats a time in milliseconds
    /// since 1970.
    pub fn reason(&self, moment: fn(u64) -> String) -> String {
        match self {
            Self::NotInRoom => "you are no longer in that room".to_owned(),
            Self::Muted(until) => {
                format!("you are muted there {}", ending(Some(*until), moment))
            }
            Self::NotOperator => "only an operator can do that".to_owned(),
            Self::NotFound => "the user, room or line no longer exists".to_owned(),
            Self::MailboxFull => "the recipient's mailbox is full".to_owned(),
            Self::TooManyBans(most) => {
                format!("the list of {most} bans is full: /bans shows it, /unban lifts a ban")
            }
            Self::NotDelivered(why) => (*why).to_owned(),
        }
    }
}

impl Outcome {
    /// Returns the reason if the operation was refused.
    pub fn refusal(&self) -> Option<&OperationError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The reason why a user cannot have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimNameError {
    /// Another user has the name.
    Taken(Name),
    /// Another user has this name, which looks like the wanted name.
    LooksLike(Name),
    /// The name is banned. Contains the message for the user.
    Banned(String),
    /// The operation did not reach the other nodes.
    NotDelivered,
}

/// The reason why a user cannot join a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The user is in the room already.
    Already,
    /// The user is banned. Contains the message for the user.
    Banned(String),
    /// Only invited users may enter.
    Invited,
    /// The password was missing or wrong. Contains the hash of the right one.
    Password(Arc<str>),
    /// The chat has too many rooms.
    TooManyRooms,
    /// Users from the same address have already created too many rooms. Contains the limit.
    TooManyOfSource(usize),
    /// The user is in too many rooms.
    TooManyOfYours,
    /// The user is no longer in the chat.
    Gone,
    /// The operation did not reach the other nodes, for this reason.
    NotDelivered(&'static str),
}

impl ClaimNameError {
    /// Returns the message for the user who asked for the name.
    pub fn sentence(&self) -> String {
        match self {
            Self::Taken(name) => format!("The name {} is taken; choose another", name.as_str()),
            Self::LooksLike(name) => {
                format!(
                    "That name looks too much like {}, who is here; choose another",
                    name.as_str()
                )
            }
            Self::Banned(words) => words.clone(),
            Self::NotDelivered => {
                "The link to the other nodes is lost; type your name again".to_owned()
            }
        }
    }
}

impl JoinError {
    /// Converts the outcome of a join that was refused before the room was checked.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome.refusal() {
            Some(OperationError::NotDelivered(why)) => Self::NotDelivered(why),
            _ => Self::Gone,
        }
    }

    /// Returns the message for the user who wanted to join `room`.
    pub fn sentence(&self, room: &Name) -> String {
        match self {
            Self::Already => format!("You are already in {room}"),
            Self::Banned(words) => words.clone(),
            Self::Invited => format!("{room} is private: only invited users can join"),
            Self::Password(_) => format!("{room} needs the right password: /join {room} PASSWORD"),
            Self::TooManyRooms => {
                "The chat has too many rooms; join one that /rooms lists".to_owned()
            }
            Self::TooManyOfSource(count) => format!(
                "Your address has created {count} rooms, the limit; join one that /rooms lists"
            ),
            Self::TooManyOfYours => "You are in too many rooms; /leave one first".to_owned(),
            Self::Gone => format!("You could not join {room}"),
            Self::NotDelivered(why) => format!("You did not join {room}: {why}"),
        }
    }
}
