//! The messages that a program or a page sends to the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reveal;
use echoline_base::SecretText;

/// A message of a program or a page.
///
/// The first message of a connection is parsed as a [`Hello`] only, so that an error can name the
/// wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ClientMessage {
    /// Asks a question. The answer has fields instead of sentences.
    Ask {
        /// The subject of the question.
        ask: Query,
        /// The room that the question is about. Default: the room of the last message.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// `history`: the answer ends before the line with this number.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// `history`: the maximum number of lines in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        /// `people`, `rooms`: the value of `after` in the previous answer, to get the next page.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u32>,
        /// `person`: the id of a user.
        #[serde(skip_serializing_if = "Option::is_none")]
        person: Option<String>,
        /// `person`: the name of a user, if no id is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Tests the connection.
    Ping {
        /// The number that the answer repeats.
        ping: u64,
    },
    /// Says a text in a room or in a private thread.
    Say {
        /// The text.
        say: String,
        /// The room. Default: the room of the last message.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// The id of a user. Only this user receives the text.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Sends a line as a user types it at a terminal: a command or a text.
    Do {
        /// The line.
        #[serde(rename = "do")]
        line: String,
        /// The room. Default: the room of the last message.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// The id of the user in whose private thread the line was typed.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Enters the chat. Allowed only as the first message.
    Hello(Hello),
}

/// The first message: a name or a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The name of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The token of an earlier session, which the server restores.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "reveal")]
    pub token: Option<SecretText>,
    /// The rooms to join. Default: the lobby.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<String>,
    /// The last line that the client has received, for each room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub after: BTreeMap<String, LastSeen>,
}

/// The last line of a room that a client has received.
///
/// A server without a history counts from 1 again after a restart. The time shows whether the
/// number still means the same line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LastSeen {
    /// The number of the line.
    Number(u64),
    /// The number and the time of the line, in milliseconds since 1970.
    Line(u64, u64),
}

/// The subject of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// The members of the room.
    People,
    /// The rooms of the chat.
    Rooms,
    /// Earlier lines.
    History,
    /// The commands.
    Commands,
    /// One user: whether they are in the chat, and their name.
    Person,
}
