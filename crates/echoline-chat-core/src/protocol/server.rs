//! The messages that the server sends to a program or a page.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{is_off, reveal};
use crate::LineKind;
use echoline_base::SecretText;

/// A message to a program or a page. `Display` writes it as one JSON object without a line end,
/// with its fields in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ServerMessage<'a> {
    /// The answer to the first message: the user is in the chat.
    Welcome {
        /// The name of the user.
        name: Cow<'a, str>,
        /// The token that restores the session.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
        token: Option<SecretText>,
        /// The maximum length of a message from a page, in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_line: Option<usize>,
        /// The display settings of the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        view: Option<DisplayChoices>,
    },
    /// The rooms that the user is in, sent after each change.
    Seats {
        /// The room in which the user's lines are said; `null` if the user is in no room.
        current: Option<Cow<'a, str>>,
        /// The rooms.
        rooms: Vec<JoinedRoom<'a>>,
    },
    /// A line that a user said.
    Said(RoomLine<'a>),
    /// An action of a user.
    Action(RoomLine<'a>),
    /// A user joined.
    Joined(RoomLine<'a>),
    /// A user left.
    Left(RoomLine<'a>),
    /// A user changed their name; `text` is the new name.
    Renamed(RoomLine<'a>),
    /// A user set or removed the topic.
    Topic(RoomLine<'a>),
    /// The server tells the room something.
    Notice(RoomLine<'a>),
    /// A private line from or to another user.
    Private {
        /// The author.
        name: Cow<'a, str>,
        /// The receiver, if this user is the author.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Cow<'a, str>>,
        /// The time, in milliseconds since 1970 (UTC).
        time_ms: u64,
        /// The text.
        text: Cow<'a, str>,
        /// The id of the other user.
        person: Cow<'a, str>,
        /// Whether the line is an action (`/me`).
        #[serde(default, skip_serializing_if = "is_off")]
        action: bool,
        /// Whether this user wrote the line.
        #[serde(default, skip_serializing_if = "is_off")]
        own: bool,
    },
    /// The client missed lines of a room.
    Missed {
        /// The name of the room.
        room: Cow<'a, str>,
        /// The number of missed lines.
        count: u64,
    },
    /// The answer to a command, as a sentence.
    Reply {
        /// The text.
        text: Cow<'a, str>,
        /// The room or private thread of the command.
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    /// A message of the client was invalid or refused.
    Error {
        /// The text.
        text: Cow<'a, str>,
        /// The cause of the error.
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<ErrorTopic>,
        /// The action that the client's source did too often.
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Cow<'a, str>>,
        /// The time after which the client may try again, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_ms: Option<u64>,
        /// The room or private thread of the refused message.
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    /// The server refused a line that the user typed on this page.
    Refused {
        /// The kind of the line.
        of: LineKind,
        /// The text.
        text: Cow<'a, str>,
        /// The reason.
        reason: Cow<'a, str>,
        /// The room or private thread of the line.
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    /// A line of this user did not reach the other nodes.
    Undelivered {
        /// The kind of the line.
        of: LineKind,
        /// The name of the room.
        room: Cow<'a, str>,
        /// The text.
        text: Cow<'a, str>,
        /// The reason.
        reason: Cow<'a, str>,
    },
    /// The link to the other nodes was lost or restored.
    Link {
        /// Whether the link is lost.
        lost: bool,
        /// The text.
        text: Cow<'a, str>,
    },
    /// The display settings of the user have changed.
    View {
        /// The new settings.
        view: DisplayChoices,
    },
    /// The numbers of the room's lines start again, because the server was restarted.
    Renewed {
        /// The name of the room.
        room: Cow<'a, str>,
    },
    /// A page of the members of a room.
    People {
        /// The name of the room.
        room: Cow<'a, str>,
        /// The topic, empty if none is set.
        topic: Cow<'a, str>,
        /// The number of the room's last line when the answer was made.
        number: u64,
        /// The number of members in the room.
        count: usize,
        /// The members on this page.
        people: Vec<ListedMember<'a>>,
        /// Whether another page follows.
        more: bool,
        /// The position of this page.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        /// The position of the next page.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u32>,
    },
    /// One user. If the user is not in the chat, `person` and `name` repeat the question.
    Person {
        /// Whether the user is in the chat.
        here: bool,
        /// The id of the user.
        person: Option<Cow<'a, str>>,
        /// The name of the user.
        name: Option<Cow<'a, str>>,
        /// The away text, if the user is away.
        #[serde(skip_serializing_if = "Option::is_none")]
        away: Option<Cow<'a, str>>,
    },
    /// A page of the rooms of the chat.
    Rooms {
        /// The rooms.
        rooms: Vec<ListedRoom<'a>>,
        /// Whether another page follows.
        more: bool,
        /// The position of this page.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        /// The position of the next page.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<usize>,
    },
    /// Earlier lines.
    History {
        /// The name of the room.
        room: Cow<'a, str>,
        /// The lines.
        lines: Vec<EarlierLine<'a>>,
        /// Whether the room has earlier lines than these.
        more: bool,
    },
    /// The commands.
    Commands {
        /// The commands.
        commands: Vec<ListedCommand<'a>>,
    },
    /// The answer to a ping.
    Pong {
        /// The number from the ping.
        ping: u64,
        /// Whether lines of this user have not reached the other nodes yet.
        #[serde(default, skip_serializing_if = "is_off")]
        held: bool,
    },
    /// The chat ends the connection.
    End {
        /// The text.
        text: Cow<'a, str>,
        /// Whether a page must not reconnect by itself.
        #[serde(rename = "final", default, skip_serializing_if = "is_off")]
        is_final: bool,
    },
}

/// A line of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLine<'a> {
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The number of the line.
    pub number: u64,
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The name of the user.
    pub name: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
    /// Whether this user wrote the line.
    pub own: bool,
    /// The number of the line whose text this notice deletes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// Whether this user ignores the author. A page counts such a line, but does not show it.
    #[serde(default, skip_serializing_if = "is_off")]
    pub ignored: bool,
}

/// The room or the private thread that a message to a page belongs to. Both fields are empty for a
/// program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread<'a> {
    /// The name of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Cow<'a, str>>,
    /// The id of the other user of a private thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Cow<'a, str>>,
}

/// The cause of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorTopic {
    /// The first message is invalid.
    Hello,
    /// The name was refused.
    Name,
    /// The token was refused.
    Token,
    /// A rate limit was exceeded before the login.
    Wait,
    /// A rate limit was exceeded after the login.
    Rate,
    /// Earlier lines cannot be read.
    History,
}

/// The display settings of a user. A page applies them itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisplayChoices {
    /// Whether lines are shown with their numbers.
    pub numbers: bool,
    /// Whether lines are shown with their times.
    pub times: bool,
    /// Whether joins, leaves and renames are hidden.
    pub quiet: bool,
}

/// A room that the user is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedRoom<'a> {
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The number of the next line.
    pub next: u64,
    /// The topic, empty if none is set.
    pub topic: Cow<'a, str>,
    /// Whether the user is an operator of the room.
    pub operator: bool,
}

/// A member in a list of the members of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMember<'a> {
    /// The name of the user.
    pub name: Cow<'a, str>,
    /// The id of the user.
    pub person: Cow<'a, str>,
    /// Whether the user is an operator.
    #[serde(default, skip_serializing_if = "is_off")]
    pub operator: bool,
    /// The away text, if the user is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub away: Option<Cow<'a, str>>,
}

/// A room in a list of the rooms of the chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRoom<'a> {
    /// The name of the room.
    pub room: Cow<'a, str>,
    /// The number of members of the room.
    pub count: usize,
    /// The topic, empty if none is set.
    pub topic: Cow<'a, str>,
    /// Whether this user needs a password to join.
    pub password: bool,
    /// Whether this user is in the room.
    #[serde(rename = "in")]
    pub is_in: bool,
}

/// An earlier line of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierLine<'a> {
    /// The kind of the line.
    pub kind: LineKind,
    /// The number of the line.
    pub number: u64,
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The name of the user.
    pub name: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedCommand<'a> {
    /// The name of the command.
    pub name: Cow<'a, str>,
    /// The command with its arguments.
    pub usage: Cow<'a, str>,
    /// The purpose of the command, in a few words.
    pub purpose: Cow<'a, str>,
    /// Whether only operators may use the command.
    pub operator: bool,
    /// The names that other chats use for the command.
    pub aliases: Vec<Cow<'a, str>>,
}

impl<'a> ServerMessage<'a> {
    /// Returns the message for a line of a room.
    pub fn of_line(kind: LineKind, line: RoomLine<'a>) -> Self {
        match kind {
            LineKind::Said => Self::Said(line),
            LineKind::Action => Self::Action(line),
            LineKind::Joined => Self::Joined(line),
            LineKind::Left => Self::Left(line),
            LineKind::Renamed => Self::Renamed(line),
            LineKind::Topic => Self::Topic(line),
            LineKind::Notice => Self::Notice(line),
        }
    }

    /// Returns a reply that belongs to no thread.
    pub fn reply(text: &'a str) -> Self {
        Self::Reply { text: text.into(), thread: Thread::default() }
    }

    /// Returns an error without a topic.
    pub fn error(text: &'a str, thread: Thread<'a>) -> Self {
        Self::Error { text: text.into(), about: None, action: None, wait_ms: None, thread }
    }

    /// Creates the message that ends the connection. A page reconnects by itself.
    pub fn end(text: &'a str) -> Self {
        Self::End { text: text.into(), is_final: false }
    }

    /// Creates the message that ends the connection for good: an operator ended it, or the user has
    /// another session. A page must not reconnect by itself, because it would be sent away again.
    pub fn dismissal(text: &'a str) -> Self {
        Self::End { text: text.into(), is_final: true }
    }
}

impl fmt::Display for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `serde_json` collects the fields in a map, which sorts them.
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        value.fmt(f)
    }
}
