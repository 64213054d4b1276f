//! The dialogue with programs and pages: JSON lines in both directions, without a greeting and a
//! prompt.
//!
//! [`protocol`](echoline_chat_core::protocol) defines the messages.

use std::collections::BTreeMap;

use super::chat::Chat;
use super::command_cost::LineClass;
use super::commands::Flow;
use super::login::{LoggedInUser, LoginError, REFUSALS_MAX, Visitor, log_in, resume};
use super::position;
use super::session::Session;
use super::telnet::{ByteStream, Telnet};
use super::view::{Medium, print_json};
use echoline::sources::SourceRefusal;
use echoline::{Closed, Connection};
use echoline_chat_core::command::Command;
use echoline_chat_core::name::Name;
use echoline_chat_core::protocol::{
    ClientMessage, ErrorTopic, Hello, LastSeen, Query, ServerMessage, Thread,
};
use echoline_chat_core::state::tokens::{Position, SavedSession, SessionState};
use echoline_chat_core::text::character;
use echoline_chat_core::text::clean;
use echoline_chat_core::text::separators::lines;
use echoline_chat_store::LineKind;

/// The maximum number of rooms that a program may name at login.
const ROOMS_MAX: usize = 100;

/// Waits for a first message that logs a user in. Returns `None` if the peer has gone.
pub(super) async fn ask<S: ByteStream>(
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
                // The message may contain text of the peer.
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

/// Returns the error for a first message that is refused.
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

/// Logs in a program or a page with a token. The client's own positions, if it sends any, replace
/// those of the token.
async fn log_in_with_token(
    chat: &Chat,
    token: &str,
    after: &BTreeMap<String, LastSeen>,
    visitor: Visitor,
    medium: Medium,
) -> Result<LoggedInUser, LoginError> {
    let after = position::by_room(after)?;
    let mut login = resume(chat, token, visitor).await?;
    if medium == Medium::Page {
        // A page whose connection ends before it gets a new token needs a token that works.
        login.user.token_or(|| token.trim().to_ascii_lowercase().into());
    }
    for position in login.saved.iter_mut().flat_map(|saved| &mut saved.rooms) {
        let seen = after.get(position.room.key()).copied();
        position.next = match seen.map(|seen| position::next(seen, chat, &position.room)) {
            None => position.next,
            Some(Ok(next)) => next,
            Some(Err(next)) => {
                login.renewed.push(position.room.clone());
                next
            }
        };
    }
    Ok(login)
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

/// Returns the session that a first message asks for, and those of its rooms that were reset since.
fn requested_session(hello: &Hello, chat: &Chat) -> Result<(SavedSession, Vec<Name>), String> {
    let name = hello.name.as_deref().unwrap_or_default();
    let name = Name::parse(name).map_err(|error| error.to_string())?;
    let after = position::by_room(&hello.after)?;
    let mut renewed = Vec::new();
    let lobby = [chat.settings.lobby.to_string()];
    let rooms = if hello.rooms.is_empty() { &lobby[..] } else { &hello.rooms[..] };
    if rooms.len() > ROOMS_MAX {
        return Err(format!("A program can join at most {ROOMS_MAX} rooms"));
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

/// The sentence for an invalid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Parses a message that is not the first one.
pub(super) fn parse(line: &[u8]) -> Result<ClientMessage, Malformed> {
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
            match character::kind(c) {
                character::CharacterKind::Space if c == '\t' => escaped.push_str("\\t"),
                character::CharacterKind::Break if c.is_ascii() => escaped.push_str("\\n"),
                character::CharacterKind::Unwanted => {}
                _ => escaped.push(c),
            }
        }
        serde_json::from_str(&escaped)
    })
}

/// Returns the class of a message for the flood limit.
pub(super) fn class(message: &ClientMessage) -> LineClass {
    match message {
        ClientMessage::Say { .. } => LineClass::Speech,
        ClientMessage::Do { line, .. } => LineClass::of(said(line).trim_start()),
        ClientMessage::Ask { .. } | ClientMessage::Ping { .. } => LineClass::Question,
        ClientMessage::Hello(_) => LineClass::Command,
    }
}

/// Says a line in a room if this needs neither a reply nor a wait. Otherwise it changes nothing and
/// returns `false`.
pub(super) fn say_at_once<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
) -> bool {
    let ClientMessage::Say { say, room, to: None } = message else { return false };
    let mut lines = lines(say).map(said);
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    choose_thread(session, room.as_deref(), None).is_ok() && session.say_at_once(&line)
}

/// Carries a message out.
///
/// # Errors
/// The end of the connection, or of the session by the chat.
pub(super) async fn obey<S: ByteStream>(
    session: &mut Session<S>,
    message: &ClientMessage,
) -> Result<Flow, Closed> {
    match message {
        ClientMessage::Say { say, room, to } => {
            let lines: Vec<String> = lines(say).map(said).collect();
            // A program is not slowed down. For a page each line counts against the flood limit.
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
                    session.answer_query(*ask, range, after.unwrap_or(0)).await?;
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

/// Tells the author of a message for other users that a mute refuses it.
pub(super) fn refuse<S: ByteStream>(
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
    // If the room is gone, the line is shown in the current one.
    let _ = choose_thread(session, room.as_deref(), to.as_deref());
    session.refuse_line(kind, &said(&words), reason);
}

/// Makes `room` the current one, if it is given. With `to`, answers belong to the private thread
/// with that user.
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

/// Says several lines in turn, to the room or to one user.
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

/// Returns a line in the form in which it is said: cleaned, but with its indentation.
fn said(line: &str) -> String {
    // `clean` refuses only bytes that are not UTF-8, and JSON strings are UTF-8.
    clean(line.as_bytes()).unwrap_or_default().trim_end().to_owned()
}

/// Returns the line to a page, with the reason. Sends a program only the reason.
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
pub(super) fn explain<S: ByteStream>(session: &mut Session<S>, reason: &str) {
    // Only a page shows the error in a room. For a program every line of a room has a number.
    let error = ServerMessage::error(reason, session.feed.thread());
    print_json(&error, &mut session.replies);
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
        /// Issue 12: any line of a program is accepted or refused, and its texts are clean when
        /// others see them.
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
