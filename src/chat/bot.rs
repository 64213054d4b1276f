//! The end for programs: JSON in lines, both ways. No greeting, no prompt.
//!
//! In: `{"name": "ci", "rooms": ["builds"], "after": {"builds": 120}}` first, or `{"token": "…"}`;
//! then `{"say": "text", "room": "builds"}` and `{"do": "/topic all green"}`. Out: one object a
//! line, whose `kind` says what it is; `docs/chat.md` lists them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::hall::Hall;
use super::login::{Arrival, resume};
use super::name::Name;
use super::telnet_stream::Telnet;
use super::text::clean;
use super::tokens::{Place, Position};
use super::user::{Step, User};
use super::view::print_json;
use crate::net::{Closed, Connection};

/// Rooms that a program may name when it comes.
const ROOMS_MAX: usize = 100;

/// The first line of a program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    name: Option<String>,
    token: Option<String>,
    /// The rooms to join; default the lobby.
    #[serde(default)]
    rooms: Vec<String>,
    /// The last line seen of a room.
    #[serde(default)]
    after: BTreeMap<String, u64>,
}

/// Every other line of a program.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Input {
    Say {
        say: String,
        room: Option<String>,
    },
    Do {
        #[serde(rename = "do")]
        line: String,
        room: Option<String>,
    },
}

/// Waits for a first line that says who it is; `None` where the peer went away.
pub(super) async fn ask<S>(
    client: &mut Connection<Telnet<S>>,
    hall: &Hall,
) -> Result<Option<Arrival>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = client.peer().map(|peer| peer.ip());
    while let Some(line) = client.read_line().await? {
        let arrived = match serde_json::from_slice::<Hello>(line.trimmed()) {
            Ok(Hello { token: Some(token), .. }) => resume(hall, &token, address).await,
            Ok(hello) => hello.place(hall).and_then(|place| {
                let person = hall.enter(&place.name, address).map_err(|taken| taken.sentence())?;
                Ok(Arrival { person, place: Some(place), is_back: false })
            }),
            Err(error) => Err(format!("The first line is to be {{\"name\": \"…\"}}: {error}")),
        };
        match arrived {
            Ok(arrival) => return Ok(Some(arrival)),
            Err(sentence) => {
                // It may hold what came from outside.
                let text = clean(sentence.as_bytes()).unwrap_or_default();
                client.write_line(json!({ "kind": "error", "text": text })).await?;
                client.flush().await?;
            }
        }
    }
    Ok(None)
}

impl Hello {
    /// Where the program wants to be.
    fn place(&self, hall: &Hall) -> Result<Place, String> {
        let name = self.name.as_deref().unwrap_or_default();
        let name = Name::parse(name).map_err(|error| error.to_string())?;
        let mut after = BTreeMap::new();
        for (room, number) in &self.after {
            let room = Name::parse_room(room).map_err(|error| error.to_string())?;
            after.insert(room.key().clone(), number.saturating_add(1));
        }
        let lobby = [hall.settings.lobby.to_string()];
        let rooms = if self.rooms.is_empty() { &lobby[..] } else { &self.rooms[..] };
        if rooms.len() > ROOMS_MAX {
            return Err(format!("A program may join {ROOMS_MAX} rooms at most"));
        }
        let position = |room: &String| {
            let room = Name::parse_room(room).map_err(|error| error.to_string())?;
            let next = after.get(room.key()).copied().unwrap_or(u64::MAX);
            Ok(Position { room, next, operator: false })
        };
        let rooms = rooms.iter().map(position).collect::<Result<_, String>>()?;
        Ok(Place { name, rooms, until_ms: u64::MAX, session: None })
    }
}

/// Why the chat ends the connection, for a program.
pub(super) fn end(text: &str) -> Value {
    json!({ "kind": "end", "text": text })
}

/// Does what a line says.
pub(super) fn act(user: &mut User, line: &str) -> Step {
    let (room, words) = match serde_json::from_str(line) {
        Ok(Input::Say { say, room }) => (room, Ok(say)),
        Ok(Input::Do { line, room }) => (room, Err(line)),
        Err(_) => {
            return wrong(user, "A line is {\"say\": \"…\"} or {\"do\": \"/…\"}, with a \"room\"");
        }
    };
    if let Some(room) = room {
        let index = Name::parse_room(&room).ok().and_then(|room| user.inbox.position(&room));
        match index {
            Some(index) => user.inbox.turn_to(index),
            None => return wrong(user, "You are not in that room"),
        }
    }
    let (Ok(text) | Err(text)) = &words;
    // What JSON escapes stand for was not cleaned yet.
    let Ok(text) = clean(text.as_bytes()) else { return Step::Done };
    if words.is_ok() { user.say_plainly(text.trim()) } else { user.act(text.trim()) }
}

fn wrong(user: &mut User, text: &str) -> Step {
    print_json(&json!({ "kind": "error", "text": text }), &mut user.replies);
    Step::Done
}
