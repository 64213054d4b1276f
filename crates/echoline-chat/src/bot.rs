//! The end for programs: JSON in lines, both ways. No greeting, no prompt.
//!
//! The messages are those of [`protocol`](super::protocol).

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncWrite};

use super::character;
use super::command::Command;
use super::history::Kind;
use super::login::{Arrival, LoginError, REFUSALS_MAX, Visitor, enter, resume};
use super::name::Name;
use super::position;
use super::protocol::{ClientMessage, ErrorTopic, Hello, LastSeen, Query, ServerMessage, Thread};
use super::separators::lines;
use super::session::Class;
use super::state::Chat;
use super::telnet_stream::Telnet;
use super::text::clean;
use super::tokens::{Position, SavedSession, SessionState};
use super::user_session::{Rest, Step, UserSession};
use super::view::{Medium, print_json};
use echoline::{Closed, Connection, SourceRefusal};

/// Rooms that a program may name when it comes.
const ROOMS_MAX: usize = 100;

/// Waits for a first line that says who it is; `None` where the peer went away.
pub(super) async fn ask<S>(
    client: &mut Connection<Telnet<S>>,
    chat: &Chat,
    medium: Medium,
) -> Result<Option<Arrival>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let visitor = Visitor::of(&client.origin());
    let mut refusals = 0;
    while let Some(line) = client.read_line().await? {
        let (about, arrived) = match serde_json::from_slice::<Hello>(line.trimmed()) {
            Ok(Hello { token: Some(token), after, .. }) => {
                (ErrorTopic::Token, come_back(chat, token.reveal(), &after, visitor, medium).await)
            }
            Ok(hello) => (ErrorTopic::Name, come_in(&hello, chat, visitor).await),
            Err(error) => {
                let sentence = format!("The first line is to be {{\"name\": \"…\"}}: {error}");
                (ErrorTopic::Hello, Err(sentence.into()))
            }
        };
        match arrived {
            Ok(arrival) => return Ok(Some(arrival)),
            Err(error) => {
                let sentence = error.to_string();
                // It may hold what came from outside.
                let text = clean(sentence.as_bytes()).unwrap_or_default();
                client.write_line(refused(about, &text, &error)).await?;
                client.flush().await?;
                refusals += u32::from(error.rate().is_some());
                if refusals == REFUSALS_MAX {
                    return client.write_line(ServerMessage::end(&sentence)).await.map(|()| None);
                }
            }
        }
    }
    Ok(None)
}

/// The error for a first message that is refused.
fn refused<'a>(about: ErrorTopic, text: &'a str, error: &LoginError) -> ServerMessage<'a> {
    let rate = error.rate();
    ServerMessage::Error {
        text: text.into(),
        about: Some(rate.map_or(about, |_| ErrorTopic::Wait)),
        action: rate.map(|refusal| refusal.action.label().into()),
        wait_ms: rate.map(SourceRefusal::wait_ms),
        thread: Thread::default(),
    }
}

/// Somebody with a token, who may know better than we what they have seen.
async fn come_back(
    chat: &Chat,
    token: &str,
    after: &BTreeMap<String, LastSeen>,
    visitor: Visitor,
    medium: Medium,
) -> Result<Arrival, LoginError> {
    let after = position::by_room(after)?;
    let mut arrival = resume(chat, token, visitor).await?;
    if medium == Medium::Page {
        // A page whose connection ends before it gets a new token needs a token that works.
        arrival.user.token_or(|| token.trim().to_ascii_lowercase().into());
    }
    for position in arrival.place.iter_mut().flat_map(|place| &mut place.rooms) {
        let seen = after.get(position.room.key()).copied();
        position.next = match seen.map(|seen| position::next(seen, chat, &position.room)) {
            None => position.next,
            Some(Ok(next)) => next,
            Some(Err(next)) => {
                arrival.renewed.push(position.room.clone());
                next
            }
        };
    }
    Ok(arrival)
}

/// Enters the chat with the name and the rooms of a first message.
async fn come_in(hello: &Hello, chat: &Chat, visitor: Visitor) -> Result<Arrival, LoginError> {
    let (place, renewed) = place(hello, chat)?;
    visitor.try_login(chat)?;
    let user = enter(chat, place.name.clone(), visitor.address, None).await;
    let user = user.map_err(|taken| taken.sentence())?;
    Ok(Arrival { place: Some(place), renewed, ..Arrival::new(user) })
}

/// Returns the session that a first message asks for, and its rooms that were renewed since.
fn place(hello: &Hello, chat: &Chat) -> Result<(SavedSession, Vec<Name>), String> {
    let name = hello.name.as_deref().unwrap_or_default();
    let name = Name::parse(name).map_err(|error| error.to_string())?;
    let after = position::by_room(&hello.after)?;
    let mut renewed = Vec::new();
    let lobby = [chat.settings.lobby.to_string()];
    let rooms = if hello.rooms.is_empty() { &lobby[..] } else { &hello.rooms[..] };
    if rooms.len() > ROOMS_MAX {
        return Err(format!("A program may join {ROOMS_MAX} rooms at most"));
    }
    let mut position = |room: &String| {
        let room = Name::parse_room(room).map_err(|error| error.to_string())?;
        let next = match after.get(room.key()).map(|seen| position::next(*seen, chat, &room)) {
            None => u64::MAX,
            Some(Ok(next)) => next,
            Some(Err(next)) => {
                renewed.push(room.clone());
                next
            }
        };
        Ok(Position { room, next, operator: false, password: None, born: 0 })
    };
    let rooms = rooms.iter().map(&mut position).collect::<Result<_, String>>()?;
    let more = SessionState::default();
    Ok((SavedSession { name, rooms, until_ms: u64::MAX, session: None, more }, renewed))
}

/// Does what a line says.
pub(super) fn act(user: &mut UserSession, input: &[u8]) -> Step {
    let Ok(input) = str::from_utf8(input) else {
        return wrong(user, "That line was not UTF-8 and was not sent");
    };
    match parse(input) {
        Ok(ClientMessage::Say { say, room, to }) => {
            let lines: Vec<String> = lines(&say).map(said).collect();
            // A program is not slowed down. For a page each line counts against the flood limit.
            if lines.len() > 1 && user.feed.view.is_page() {
                return wrong_thread(user, input, "send each line by itself");
            }
            match turn_to(user, room.as_deref(), to.as_deref()) {
                Ok(()) => say_all(user, to, lines.into_iter()),
                Err(reason) => wrong_thread(user, input, reason),
            }
        }
        Ok(ClientMessage::Do { line, room, to }) => {
            let mut lines = lines(&line).map(said);
            let (line, None) = (lines.next().unwrap_or_default(), lines.next()) else {
                return wrong(user, "A \"do\" is one line: use \"say\" for several");
            };
            let command = line.trim_start();
            let line = if command.starts_with('/') { command } else { &line };
            match (turn_to(user, room.as_deref(), to.as_deref()), &to) {
                (Ok(()), Some(id)) => user.act_in_private(id, line),
                (Ok(()), None) => user.act(line),
                (Err(reason), _) => wrong_thread(user, input, reason),
            }
        }
        Ok(ClientMessage::Ask { ask: Query::Person, person, name, .. }) => {
            user.answer_about_user(person.as_deref(), name.as_deref())
        }
        Ok(ClientMessage::Ask { ask, room, before, count, after, .. }) => {
            match turn_to(user, room.as_deref(), None) {
                Ok(()) => user.answer_about(ask, (before, count), after.unwrap_or(0)),
                Err(words) => wrong(user, words),
            }
        }
        Ok(ClientMessage::Ping { ping }) => {
            let pong = ServerMessage::Pong { ping, held: user.is_held() };
            print_json(&pong, &mut user.replies);
            Step::Done
        }
        Ok(ClientMessage::Hello(_)) | Err(_) => wrong(
            user,
            "A line is {\"say\": \"…\"}, {\"do\": \"/…\"} or {\"ask\": \"people\"}, \
             with a \"room\"",
        ),
    }
}

/// Returns the class of a line for the flood limit.
pub(super) fn class(input: &[u8]) -> Class {
    match str::from_utf8(input).map(parse) {
        Ok(Ok(ClientMessage::Say { .. })) => Class::Speech,
        Ok(Ok(ClientMessage::Do { line, .. })) => Class::of(said(&line).trim_start()),
        Ok(Ok(ClientMessage::Ask { .. } | ClientMessage::Ping { .. })) => Class::Question,
        Ok(Ok(ClientMessage::Hello(_)) | Err(_)) | Err(_) => Class::Command,
    }
}

/// Tells the author of a line that comes too fast that it is refused, if it is one for others.
pub(super) fn refuse(user: &mut UserSession, line: &[u8], reason: &str) {
    let (kind, words, room, to) = match serde_json::from_slice(line) {
        Ok(ClientMessage::Say { say, room, to }) => (Kind::Said, say, room, to),
        Ok(ClientMessage::Do { line, room, to }) => {
            match Command::parse(said(&line).trim_start()) {
                Ok(Command::Me(words)) => (Kind::Action, words.to_owned(), room, to),
                _ => return user.notice(reason),
            }
        }
        _ => return,
    };
    // If the room is gone, the line is shown in the current one.
    let _ = turn_to(user, room.as_deref(), to.as_deref());
    user.refuse_line(kind, &said(&words), reason);
}

/// Speaks in `room` from now on, if one is named; answers belong to the private thread with `to`.
fn turn_to(
    user: &mut UserSession,
    room: Option<&str>,
    to: Option<&str>,
) -> Result<(), &'static str> {
    user.feed.private = to.map(Box::from);
    let Some(room) = room else { return Ok(()) };
    let room = Name::parse_room(room).ok();
    let index = room.and_then(|room| user.feed.position(&room));
    user.feed.turn_to(index.ok_or("You are not in that room")?);
    Ok(())
}

/// Says several lines, one after the other, to all or to one user.
fn say_all(
    user: &mut UserSession,
    to: Option<String>,
    mut lines: std::vec::IntoIter<String>,
) -> Step {
    while let Some(line) = lines.next() {
        let step = match &to {
            Some(id) => user.say_in_private(id, Kind::Said, &line),
            None => user.say_plainly(&line),
        };
        if let Step::Wait(job) = step {
            return Step::Wait(Box::pin(async move {
                let rest = job.await;
                Box::new(move |user: &mut UserSession| {
                    rest(user);
                    say_all(user, to, lines)
                }) as Rest
            }));
        }
    }
    Step::Done
}

/// Reads a line. Scripts that paste text into JSON leave control characters in it, which JSON does
/// not allow: tabs and separators are taken as if they were escaped, the others are left out.
fn parse(line: &str) -> serde_json::Result<ClientMessage> {
    serde_json::from_str(line).or_else(|_| {
        let mut escaped = String::with_capacity(line.len());
        for c in line.chars() {
            match character::kind(c) {
                character::Kind::Space if c == '\t' => escaped.push_str("\\t"),
                character::Kind::Break if c.is_ascii() => escaped.push_str("\\n"),
                character::Kind::Unwanted => {}
                _ => escaped.push(c),
            }
        }
        serde_json::from_str(&escaped)
    })
}

/// A line as it is said: clean, with its indentation.
fn said(line: &str) -> String {
    // `clean` refuses only bytes that are not UTF-8, and JSON strings are UTF-8.
    clean(line.as_bytes()).unwrap_or_default().trim_end().to_owned()
}

fn wrong_thread(user: &mut UserSession, input: &str, reason: &str) -> Step {
    if user.feed.view.is_page() {
        refuse(user, input.as_bytes(), reason);
        return Step::Done;
    }
    wrong(user, reason)
}

fn wrong(user: &mut UserSession, text: &str) -> Step {
    // Only a page shows it in a room: for a program a line of a room has a number.
    let error = ServerMessage::error(text, user.feed.thread());
    print_json(&error, &mut user.replies);
    Step::Done
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::is_clean;
    use super::*;

    const JSON_LINE: &str = concat!(
        r#"\{"(say|do|ask|ping|to|room|before)": ?(".{0,30}"|[0-9eE.+-]{1,30}|null)"#,
        r#"(, ?"(room|to|count)": ?(".{0,9}"|-?[0-9]{1,30}))?\}"#,
    );

    proptest! {
        /// Issue 12: whatever a program sends, its line is read or refused, and the texts that
        /// others are shown of it are clean.
        #[test]
        fn attack_no_line_of_a_program_gets_past_the_reader(
            line in prop_oneof![
                ".{0,80}",
                "[\\[{\":,}\\]a-z0-9 ]{0,40}",
                JSON_LINE,
            ],
        ) {
            class(line.as_bytes());
            let _ = serde_json::from_str::<Hello>(&line);
            let Ok(message) = parse(&line) else { return Ok(()) };
            if let ClientMessage::Say { say, .. } | ClientMessage::Do { line: say, .. } = message {
                for said in lines(&say).map(said) {
                    prop_assert!(is_clean(&said), "{:?}", said);
                }
            }
        }
    }
}
