//! What a program or a page receives. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{is_off, reveal};
use crate::history::LineKind;
use echoline_base::SecretText;

/// A message to a program or a page. `Display` writes it as one JSON object without a line end,
/// with the fields in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ServerMessage<'a> {
    /// The user is in the chat: the answer to the first message.
    Welcome {
        name: Cow<'a, str>,
        /// Restores the session.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
        token: Option<SecretText>,
        /// The most bytes of one message of a page.
        #[serde(skip_serializing_if = "Option::is_none")]
        max_line: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        view: Option<DisplayChoices>,
    },
    /// The rooms of the user from here on.
    Seats {
        /// The room in which the user speaks; `null` if the user is in no room.
        current: Option<Cow<'a, str>>,
        rooms: Vec<JoinedRoom<'a>>,
    },
    Said(RoomLine<'a>),
    Action(RoomLine<'a>),
    Joined(RoomLine<'a>),
    Left(RoomLine<'a>),
    /// `text` is the new name.
    Renamed(RoomLine<'a>),
    Topic(RoomLine<'a>),
    /// The server says something to the room.
    Notice(RoomLine<'a>),
    /// A private line, from another user or by this one.
    Private {
        /// The author.
        name: Cow<'a, str>,
        /// The receiver, of a line by this user.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Cow<'a, str>>,
        time_ms: u64,
        text: Cow<'a, str>,
        /// The id of the other user.
        person: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "is_off")]
        action: bool,
        #[serde(default, skip_serializing_if = "is_off")]
        own: bool,
    },
    /// Lines of a room that the client did not receive.
    Missed {
        room: Cow<'a, str>,
        count: u64,
    },
    /// The answer to a command, in words.
    Reply {
        text: Cow<'a, str>,
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    Error {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<ErrorTopic>,
        /// The action that the source of the client did too often.
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wait_ms: Option<u64>,
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    /// The server did not say a line of this page.
    Refused {
        of: LineKind,
        text: Cow<'a, str>,
        reason: Cow<'a, str>,
        #[serde(flatten)]
        thread: Thread<'a>,
    },
    /// A line of this user did not reach the other nodes.
    Undelivered {
        of: LineKind,
        room: Cow<'a, str>,
        text: Cow<'a, str>,
        reason: Cow<'a, str>,
    },
    /// The other nodes cannot be reached, or can be reached again.
    Link {
        lost: bool,
        text: Cow<'a, str>,
    },
    View {
        view: DisplayChoices,
    },
    /// The room has other lines than before, because the server has started again.
    Renewed {
        room: Cow<'a, str>,
    },
    /// A page of the members of a room.
    People {
        room: Cow<'a, str>,
        topic: Cow<'a, str>,
        /// The last line before the answer.
        number: u64,
        count: usize,
        people: Vec<ListedMember<'a>>,
        more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u32>,
    },
    /// One user. `person` and `name` repeat the question if the user is not in the chat.
    Person {
        here: bool,
        person: Option<Cow<'a, str>>,
        name: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        away: Option<Cow<'a, str>>,
    },
    /// A page of the rooms of the chat.
    Rooms {
        rooms: Vec<ListedRoom<'a>>,
        more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<usize>,
    },
    History {
        room: Cow<'a, str>,
        lines: Vec<EarlierLine<'a>>,
        more: bool,
    },
    Commands {
        commands: Vec<ListedCommand<'a>>,
    },
    /// The answer to a ping.
    Pong {
        ping: u64,
        /// Lines of this user are still on their way to the other nodes.
        #[serde(default, skip_serializing_if = "is_off")]
        held: bool,
    },
    /// The chat ends the connection.
    End {
        text: Cow<'a, str>,
        /// A page must not come back by itself.
        #[serde(rename = "final", default, skip_serializing_if = "is_off")]
        is_final: bool,
    },
}

/// A line of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoomLine<'a> {
    pub(crate) room: Cow<'a, str>,
    pub(crate) number: u64,
    /// Milliseconds since 1970.
    pub(crate) time_ms: u64,
    pub(crate) name: Cow<'a, str>,
    pub(crate) text: Cow<'a, str>,
    /// Whether this user wrote it.
    pub(crate) own: bool,
    /// The number of the line that this notice deletes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<u64>,
    /// Whether the author is ignored: a page follows the line and does not show it.
    #[serde(default, skip_serializing_if = "is_off")]
    pub(crate) ignored: bool,
}

/// The room or the private thread that a message to a page belongs to; neither for a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thread<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room: Option<Cow<'a, str>>,
    /// The id of the other user of a private thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<Cow<'a, str>>,
}

/// The cause of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ErrorTopic {
    /// The first message cannot be read.
    Hello,
    Name,
    Token,
    /// A rate, before the user is in the chat.
    Wait,
    /// A rate, after the user came in.
    Rate,
    History,
}

/// The choices of a user that a page carries out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DisplayChoices {
    pub(crate) numbers: bool,
    pub(crate) times: bool,
    pub(crate) quiet: bool,
}

/// A room of the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinedRoom<'a> {
    pub(crate) room: Cow<'a, str>,
    /// The number of the next line.
    pub(crate) next: u64,
    pub(crate) topic: Cow<'a, str>,
    /// Whether the user is an operator of the room.
    pub(crate) operator: bool,
}

/// A member in a list of the members of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedMember<'a> {
    pub(crate) name: Cow<'a, str>,
    /// The id of the user.
    pub(crate) person: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_off")]
    pub(crate) operator: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) away: Option<Cow<'a, str>>,
}

/// A room in a list of the rooms of the chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedRoom<'a> {
    pub(crate) room: Cow<'a, str>,
    /// How many members it has.
    pub(crate) count: usize,
    pub(crate) topic: Cow<'a, str>,
    /// Whether this user needs a password.
    pub(crate) password: bool,
    /// Whether this user is in it.
    #[serde(rename = "in")]
    pub(crate) is_in: bool,
}

/// A line of a room that was said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EarlierLine<'a> {
    pub(crate) kind: LineKind,
    pub(crate) number: u64,
    pub(crate) time_ms: u64,
    pub(crate) name: Cow<'a, str>,
    pub(crate) text: Cow<'a, str>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedCommand<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) usage: Cow<'a, str>,
    pub(crate) purpose: Cow<'a, str>,
    /// Whether it is for operators.
    pub(crate) operator: bool,
    /// The names of the command in other chats.
    pub(crate) aliases: Vec<Cow<'a, str>>,
}

impl<'a> ServerMessage<'a> {
    /// The message of a room's line of this kind.
    pub(crate) fn of_line(kind: LineKind, line: RoomLine<'a>) -> Self {
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

    /// A reply that belongs to no thread.
    pub(crate) fn reply(text: &'a str) -> Self {
        Self::Reply { text: text.into(), thread: Thread::default() }
    }

    /// An error without a topic.
    pub(crate) fn error(text: &'a str, thread: Thread<'a>) -> Self {
        Self::Error { text: text.into(), about: None, action: None, wait_ms: None, thread }
    }

    /// The end of the connection; a page comes back by itself.
    pub(crate) fn end(text: &'a str) -> Self {
        Self::End { text: text.into(), is_final: false }
    }

    /// The end of the connection by an operator, or because the user is back elsewhere: a page
    /// that came back by itself would try again and again.
    pub(crate) fn dismissal(text: &'a str) -> Self {
        Self::End { text: text.into(), is_final: true }
    }
}

impl fmt::Display for ServerMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The map of `serde_json` sorts the fields.
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        value.fmt(f)
    }
}
