//! The dialogue with programs and pages: JSON lines in both directions, without a greeting or a
//! prompt.
//!
//! [`protocol`](echoline_chat_core::protocol) defines the messages.

use std::collections::BTreeMap;

use crate::chat::Chat;
use crate::commands::Flow;
use crate::session::Session;
use crate::session::command_cost::LineClass;
use crate::session::login::{LoggedInUser, LoginError, REFUSALS_MAX, Visitor, log_in, resume};
use crate::session::view::{Medium, print_json};
use crate::telnet::{ByteStream, Telnet};
use echoline::sources::SourceRefusal;
use echoline::{Closed, Connection};
use echoline_chat_core::command::Command;
use echoline_chat_core::protocol::{
    ClientMessage, ErrorTopic, Hello, LastSeen, Query, ServerMessage, Thread,
};
use echoline_chat_core::state::{Position, SavedSession, SessionState};
use echoline_chat_core::text::{self, CharacterKind, clean, lines};
use echoline_chat_core::{Key, LineKind, Name, NameError};

/// The maximum number of rooms that a program may name at login.
const ROOMS_MAX: usize = 100;

/// Waits for a first message that logs a user in. Returns `None` if the peer has disconnected.
pub(crate) async fn ask<S: ByteStream>(
    client: &mut Connection<Telnet<S>>,
    chat: &Chat,
    medium: Medium,
) -> Result<Option<LoggedInUser>, Closed> {
    let visitor = Visitor::of(&client.origin());
    let mut refusals = 0;
    while let Some(line) = client.read_line().await? {
        let (about, arrived) = match serde_json::from_slice::<Hello>(line.trimmed()) {
            Ok(Hello { token: Some(token), after, .. }) => (
                ErrorTopic::Token,
                log_in_with_token(chat, token.reveal(), &after, visitor, medium).await,
            ),
            Ok(hello) => (ErrorTopic::Name, log_in_with_name(&hello, chat, visitor).await),
            Err(error) => {
                let sentence = format!("The first message must be {{\"name\": \"…\"}}: {error}");
                (ErrorTopic::Hello, Err(sentence.into()))
            }
        };
        match arrived {
            Ok(login) => return Ok(Some(login)),
            Err(error) => {
                let sentence = error.to_string();
                // The error may quote text of the peer.
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

/// Returns the error message for a first message that is refused.
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

/// Logs in a program or a page with a token. If the client sends its own positions, they replace
/// those of the saved session.
async fn log_in_with_token(
    chat: &Chat,
    token: &str,
    after: &BTreeMap<String, LastSeen>,
    visitor: Visitor,
    medium: Medium,
) -> Result<LoggedInUser, LoginError> {
    let mut seen = SeenLines::read(after)?;
    let mut login = resume(chat, token, visitor).await?;
    if medium == Medium::Page {
        // The page keeps its token. With a new token it would have none if the connection ended
        // before that token arrived.
        login.user.token_or(|| token.trim().to_ascii_lowercase().into());
    }
    for position in login.saved.iter_mut().flat_map(|saved| &mut saved.rooms) {
        position.next = seen.next(chat, &position.room, position.next);
    }
    Ok(LoggedInUser { renewed: seen.renewed, ..login })
}

/// Logs in a program or a page under a new name.
async fn log_in_with_name(
    hello: &Hello,
    chat: &Chat,
    visitor: Visitor,
) -> Result<LoggedInUser, LoginError> {
    let (requested, renewed) = requested_session(hello, chat)?;
    let user = log_in(chat, requested.name.clone(), visitor).await?;
    Ok(LoggedInUser { saved: Some(requested), renewed, ..LoggedInUser::new(user) })
}

/// Returns the session that a first message asks for, and those of its rooms whose line numbers
/// have started again.
fn requested_session(hello: &Hello, chat: &Chat) -> Result<(SavedSession, Vec<Name>), LoginError> {
    let name = Name::parse(hello.name.as_deref().unwrap_or_default())?;
    let mut seen = SeenLines::read(&hello.after)?;
    let lobby = [chat.settings.lobby.to_string()];
    let rooms = if hello.rooms.is_empty() { &lobby[..] } else { &hello.rooms[..] };
    if rooms.len() > ROOMS_MAX {
        return Err(format!("A program can join at most {ROOMS_MAX} rooms").into());
    }
    let mut position = |room: &String| {
        let room = Name::parse_room(room)?;
        let next = seen.next(chat, &room, u64::MAX);
        Ok(Position { room, next, operator: false, password: None, born: 0 })
    };
    let rooms = rooms.iter().map(&mut position).collect::<Result<_, NameError>>()?;
    let more = SessionState::default();
    Ok((SavedSession { name, rooms, until_ms: u64::MAX, session: None, more }, seen.renewed))
}

/// The message about an invalid message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Parses a message that is not the first one.
pub(crate) fn parse(line: &[u8]) -> Result<ClientMessage, Malformed> {
    let text = str::from_utf8(line);
    let text = text.map_err(|_| Malformed("That line is not UTF-8 and was not sent"))?;
    match parse_json(text) {
        Ok(ClientMessage::Hello(_)) | Err(_) => Err(Malformed(
            "A message is {\"say\": \"…\"}, {\"do\": \"/…\"} or {\"ask\": \"people\"}, \
             with a \"room\"",
        )),
        Ok(message) => Ok(message),
    }
}

/// Parses JSON that may contain unescaped control characters, because scripts paste text into it.
/// Tabs and separators count as escaped, and all other control characters are removed.
fn parse_json(line: &str) -> serde_json::Result<ClientMessage> {
    serde_json::from_str(line).or_else(|_| {
        let mut escaped = String::with_capacity(line.len());
        for c in line.chars() {
            match text::kind(c) {
                CharacterKind::Space if c == '\t' => escaped.push_str("\\t"),
                CharacterKind::Break if c.is_ascii() => escaped.push_str("\\n"),
                CharacterKind::Unwanted => {}
                _ => escaped.push(c),
            }
        }
        serde_json::from_str(&escaped)
    })
}

/// Returns the class of a message for the flood limit.
pub(crate) fn class(message: &ClientMessage) -> LineClass {
    match message {
        ClientMessage::Say { .. } => LineClass::Speech,
        ClientMessage::Do { line, .. } => LineClass::of(said(line).trim_start()),
        ClientMessage::Ask { .. } | ClientMessage::Ping { .. } => LineClass::Question,
        ClientMessage::Hello(_) => LineClass::Command,
    }
}

/// Says a line in a room, if that needs neither a reply nor a wait. Otherwise changes nothing and
/// returns `false`.
pub(crate) fn say_at_once<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
) -> bool {
    let ClientMessage::Say { say, room, to: None } = message else { return false };
    let mut lines = lines(say).map(said);
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    choose_thread(session, room.as_deref(), None).is_ok() && session.say_at_once(&line)
}

/// Carries out a message.
///
/// # Errors
/// The reason why the connection has ended, or why the chat has ended the session.
pub(crate) async fn obey<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
) -> Result<Flow, Closed> {
    match message {
        ClientMessage::Say { say, room, to } => {
            let lines: Vec<String> = lines(say).map(said).collect();
            // A program may send several lines at once. On a page, each line counts for the flood
            // limit, so it needs its own message.
            if lines.len() > 1 && session.feed.view.is_page() {
                refuse_or_explain(session, message, "send each line in its own message");
                return Ok(Flow::Continue(()));
            }
            match choose_thread(session, room.as_deref(), to.as_deref()) {
                Ok(()) => say_all(session, to.as_deref(), &lines).await?,
                Err(reason) => refuse_or_explain(session, message, reason),
            }
        }
        ClientMessage::Do { line, room, to } => {
            let mut lines = lines(line).map(said);
            let (line, None) = (lines.next().unwrap_or_default(), lines.next()) else {
                explain(session, "A \"do\" has one line: use \"say\" for several lines");
                return Ok(Flow::Continue(()));
            };
            let command = line.trim_start();
            let line = if command.starts_with('/') { command } else { &line };
            match (choose_thread(session, room.as_deref(), to.as_deref()), to) {
                (Ok(()), Some(id)) => return session.obey_in_thread(id, line).await,
                (Ok(()), None) => return session.obey(line).await,
                (Err(reason), _) => refuse_or_explain(session, message, reason),
            }
        }
        ClientMessage::Ask { ask: Query::Person, person, name, .. } => {
            session.answer_about_user(person.as_deref(), name.as_deref());
        }
        ClientMessage::Ask { ask, room, before, count, after, .. } => {
            match choose_thread(session, room.as_deref(), None) {
                Ok(()) => {
                    let range = (*before, *count);
                    let answered = session.answer_query(*ask, range, after.unwrap_or(0)).await;
                    session.finish(answered)?;
                }
                Err(reason) => explain(session, reason),
            }
        }
        ClientMessage::Ping { ping } => {
            let pong = ServerMessage::Pong { ping: *ping, held: session.has_unsettled() };
            print_json(&pong, &mut session.replies);
        }
        ClientMessage::Hello(_) => {}
    }
    Ok(Flow::Continue(()))
}

/// Tells a muted author that their message for other users is refused.
pub(crate) fn refuse<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
    reason: &str,
) {
    let (kind, words, room, to) = match message {
        ClientMessage::Say { say, room, to } => (LineKind::Said, say.clone(), room, to),
        ClientMessage::Do { line, room, to } => match Command::parse(said(line).trim_start()) {
            Ok(Command::Me(words)) => (LineKind::Action, words.to_owned(), room, to),
            _ => return session.notice(reason),
        },
        _ => return,
    };
    // If the room no longer exists, the refused line is shown in the current room.
    let _ = choose_thread(session, room.as_deref(), to.as_deref());
    session.refuse_line(kind, &said(&words), reason);
}

/// Makes `room` the current one, if it is given. If `to` is given, answers belong to the private
/// thread with that user.
fn choose_thread<S: ByteStream>(
    session: &mut Session<S>,
    room: Option<&str>,
    to: Option<&str>,
) -> Result<(), &'static str> {
    session.feed.private = to.map(Box::from);
    let Some(room) = room else { return Ok(()) };
    let room = Name::parse_room(room).ok();
    let index = room.and_then(|room| session.feed.position(&room));
    session.feed.set_current(index.ok_or("You are not in that room")?);
    Ok(())
}

/// Says several lines, one after the other, in the room or to one user.
async fn say_all<S: ByteStream>(
    session: &mut Session<S>,
    to: Option<&str>,
    lines: &[String],
) -> Result<(), Closed> {
    for line in lines {
        match to {
            Some(id) => session.say_to(id, LineKind::Said, line).await?,
            None => session.say(LineKind::Said, line).await?,
        }
    }
    Ok(())
}

/// Returns the text of a line as it is said: cleaned, but with its indentation.
fn said(line: &str) -> String {
    // Cleaning fails only for invalid UTF-8, which a JSON string cannot have.
    clean(line.as_bytes()).unwrap_or_default().trim_end().to_owned()
}

/// Sends a page the refused line and the reason. Sends a program only the reason.
fn refuse_or_explain<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
    reason: &str,
) {
    match session.feed.view.is_page() {
        true => refuse(session, message, reason),
        false => explain(session, reason),
    }
}

/// Tells a program or a page why a message was not carried out.
pub(crate) fn explain<S: ByteStream>(session: &mut Session<S>, reason: &str) {
    // Only a page is told the room or the private thread. In the protocol of programs, every
    // message that names a room has a line number.
    let error = ServerMessage::error(reason, session.feed.thread());
    print_json(&error, &mut session.replies);
}

/// The number of lines that a returning client gets from a room whose line numbers have started
/// again.
const RENEWED_SHOWN: u64 = 50;

/// The last lines that a client has seen, by the keys of their rooms.
pub(crate) struct SeenLines {
    seen: BTreeMap<Key, LastSeen>,
    /// The rooms whose line numbers have started again, so that the last seen line is now a
    /// different line.
    pub(crate) renewed: Vec<Name>,
}

impl SeenLines {
    pub(crate) fn read(seen: &BTreeMap<String, LastSeen>) -> Result<Self, NameError> {
        let keyed =
            seen.iter().map(|(room, seen)| Ok((Name::parse_room(room)?.key().clone(), *seen)));
        Ok(Self { seen: keyed.collect::<Result<_, _>>()?, renewed: Vec::new() })
    }

    /// Returns the number of the next line in `room`, or `usual` if the client has seen no line.
    pub(crate) fn next(&mut self, chat: &Chat, room: &Name, usual: u64) -> u64 {
        match self.seen.get(room.key()).map(|seen| next(*seen, chat, room)) {
            None => usual,
            Some(Ok(next)) => next,
            Some(Err(next)) => {
                self.renewed.push(room.clone());
                next
            }
        }
    }
}

/// Returns the number of the line after `seen` in `room`.
///
/// # Errors
/// If the line `seen` is now a different line: the number of the line at which to start.
fn next(seen: LastSeen, chat: &Chat, room: &Name) -> Result<u64, u64> {
    let (number, time_ms) = match seen {
        LastSeen::Number(number) => return Ok(number.saturating_add(1)),
        LastSeen::Line(number, time_ms) => (number, time_ms),
    };
    // The room does not exist yet, so its first line is the user's own join.
    let Some(shared_room) = chat.room(room) else { return Err(u64::MAX) };
    shared_room.with(|room| {
        let (first, end) = (room.log.first(), room.log.next());
        let is_same = match room.log.line(number) {
            Some(line) => line.time_ms == time_ms,
            // The room probably dropped the line. Then the lines in between count as missed.
            None => number < first && room.log.line(first).is_none_or(|l| l.time_ms > time_ms),
        };
        match is_same {
            true => Ok(number + 1),
            false => Err(end.saturating_sub(RENEWED_SHOWN).max(first)),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use echoline_chat_core::text::is_clean;

    const JSON_LINE: &str = concat!(
        r#"\{"(say|do|ask|ping|to|room|before)": ?(".{0,30}"|[0-9eE.+-]{1,30}|null)"#,
        r#"(, ?"(room|to|count)": ?(".{0,9}"|-?[0-9]{1,30}))?\}"#,
    );

    proptest! {
        /// Issue 12: any line of a program is accepted or refused, and other users get only clean
        /// text.
        #[test]
        fn attack_any_line_of_a_program_is_clean_or_refused(
            line in prop_oneof![
                ".{0,80}",
                "[\\[{\":,}\\]a-z0-9 ]{0,40}",
                JSON_LINE,
            ],
        ) {
            let _ = serde_json::from_str::<Hello>(&line);
            let message = parse(line.as_bytes());
            if let Ok(message) = &message {
                class(message);
            }
            if let Ok(ClientMessage::Say { say, .. } | ClientMessage::Do { line: say, .. }) =
                message
            {
                for said in lines(&say).map(said) {
                    prop_assert!(is_clean(&said), "{:?}", said);
                }
            }
        }
    }
}
