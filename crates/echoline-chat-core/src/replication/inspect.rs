//! Checks the operations that arrive from the stream, like any other input.
//!
//! An operation of a correct node passes unchanged. Long texts are cut and cleaned; an operation
//! that no correct node sends is refused. The bounds are constants, so that all nodes get the same
//! result.

use super::{NODE, SAY_LINES};
use crate::Credential;
use crate::state::{Ban, SavedSession, digest_of_kept};
use crate::text::{clean, is_clean};
use crate::{
    LineKind, Name, Operation, RejoiningUser, RestoredSession, ResumeToken, RoomChange, SaidLine,
};

/// The highest number of an operation, a line or an entry. Larger numbers are not exact in JSON.
pub const NUMBER_MAX: u64 = 1 << 53;
/// The end of the year 9999, in milliseconds since 1970.
pub const TIME_MAX_MS: u64 = 253_402_300_799_999;
/// The maximum length of a topic, a reason or any other text that is not a line, in bytes.
const WORDS_BYTES_MAX: usize = 4096;
/// The maximum length of a line, in bytes: more than a node accepts from a user.
const LINE_BYTES_MAX: usize = 1 << 20;
/// The maximum length of a password hash, or of a part of it, in bytes.
const HASH_BYTES_MAX: usize = 256;
/// The maximum number of users who rejoin in one operation.
pub const REJOINING_MAX: usize = 200;
/// The maximum number of rooms of one user.
const ROOMS_MAX: usize = 1000;
/// The maximum length of the name of a node, in bytes.
const NODE_NAME_BYTES_MAX: usize = 64;

/// Checks an operation with this session as the author and this number. Cleans its texts.
///
/// # Errors
/// The reason why no correct node can have sent it.
pub(crate) fn inspect(session: u64, number: u64, operation: &mut Operation) -> Result<(), String> {
    let is_of_node = session == NODE;
    match operation {
        Operation::NodeDown { name, reason, .. } => {
            if !is_node_name(name) {
                *name = "a node".to_owned();
            }
            tidy(reason);
            return Ok(());
        }
        Operation::Rejoin { .. } if !is_of_node => {
            return Err("a user sent an operation that only a node can send".to_owned());
        }
        Operation::Rejoin { .. } | Operation::SaveSession(_) | Operation::Tell { .. } => {}
        _ if is_of_node => {
            return Err("a node sent an operation that only a user can send".to_owned());
        }
        _ => {}
    }
    if !(1..=NUMBER_MAX).contains(&number) {
        return Err(format!("its number {number} is not between 1 and {NUMBER_MAX}"));
    }
    inspect_operation(operation)
}

fn inspect_operation(operation: &mut Operation) -> Result<(), String> {
    match operation {
        Operation::Enter { name, back, .. } => {
            if let Some(RestoredSession { away, .. }) = back {
                away.iter_mut().for_each(tidy);
            }
            user_name(name)
        }
        Operation::Rename { name } => user_name(name),
        Operation::Redeem { token } => {
            *token = digest_of_kept(std::mem::take(token));
            Ok(())
        }
        Operation::Exit { reason, keep } => {
            reason.iter_mut().for_each(tidy);
            keep.iter_mut().try_for_each(inspect_resume_token)
        }
        Operation::SaveSession(keep) => inspect_resume_token(keep),
        Operation::Join { room, credential: pass, .. } => {
            room_name(room)?;
            match pass {
                Credential::Password(hash) | Credential::Return { password: Some(hash), .. } => {
                    check_hash(hash)
                }
                Credential::Nothing
                | Credential::Token { .. }
                | Credential::Return { password: None, .. } => Ok(()),
            }
        }
        Operation::Say { lines, .. } => inspect_lines(lines),
        Operation::Write { words, kind, .. } => {
            tidy_line(words);
            check_spoken(*kind)
        }
        Operation::Topic { words, .. }
        | Operation::Tell { words, .. }
        | Operation::Kick { words, .. } => {
            tidy(words);
            Ok(())
        }
        Operation::Away { words } => {
            words.iter_mut().for_each(tidy);
            Ok(())
        }
        Operation::Ban(ban) => {
            tidy_ban(ban);
            Ok(())
        }
        Operation::Audit { what } => {
            tidy(what);
            Ok(())
        }
        Operation::Alter { change: RoomChange::Password(Some(hash)), .. } => check_hash(hash),
        Operation::Rejoin { users } => inspect_rejoining(users),
        Operation::FloodMuted { .. }
        | Operation::Part { .. }
        | Operation::Forget { .. }
        | Operation::Delete { .. }
        | Operation::BecomeOperator
        | Operation::Unban { .. }
        | Operation::Alter { .. }
        | Operation::NodeDown { .. } => Ok(()),
    }
}

fn inspect_lines(lines: &mut [SaidLine]) -> Result<(), String> {
    if !(1..=SAY_LINES).contains(&lines.len()) {
        return Err(format!("it has {} lines", lines.len()));
    }
    lines.iter_mut().try_for_each(|SaidLine { kind, text }| {
        tidy_line(text);
        check_spoken(*kind)
    })
}

fn inspect_resume_token(ResumeToken { token, saved }: &mut ResumeToken) -> Result<(), String> {
    *token = digest_of_kept(std::mem::take(token));
    inspect_saved_session(saved)
}

/// Checks a saved session.
pub(crate) fn inspect_saved_session(saved: &mut SavedSession) -> Result<(), String> {
    user_name(&saved.name)?;
    if saved.rooms.len() > ROOMS_MAX {
        return Err(format!("a saved session has {} rooms", saved.rooms.len()));
    }
    for position in &saved.rooms {
        room_name(&position.room)?;
        position.password.iter().try_for_each(|hash| check_hash(hash))?;
        if position.born > NUMBER_MAX {
            return Err(format!("a saved session has the line {}", position.born));
        }
    }
    saved.until_ms = saved.until_ms.min(TIME_MAX_MS);
    saved.more.preferences.bound();
    saved.more.away.iter_mut().for_each(tidy);
    saved.more.operator.iter().try_for_each(|hash| check_hash(hash))
}

fn inspect_rejoining(users: &mut [RejoiningUser]) -> Result<(), String> {
    if users.len() > REJOINING_MAX {
        return Err(format!("{} users return with it", users.len()));
    }
    users.iter_mut().try_for_each(|user| {
        user.away.iter_mut().for_each(tidy);
        if user.session == NODE || user.last > NUMBER_MAX {
            return Err(format!("user {} cannot return", user.session));
        }
        if user.rooms.len() > ROOMS_MAX {
            return Err(format!("a user returns to {} rooms", user.rooms.len()));
        }
        user.rooms.iter().try_for_each(|(room, _)| room_name(room))?;
        user_name(&user.name)
    })
}

/// Cleans the texts of a ban.
pub(crate) fn tidy_ban(ban: &mut Ban) {
    tidy(&mut ban.by);
    tidy(&mut ban.reason);
}

/// Checks the name of a user: reserved names are refused.
pub(crate) fn user_name(name: &Name) -> Result<(), String> {
    Name::parse(name.as_str()).map(drop).map_err(|error| error.to_string())
}

/// Checks the name of a room: reserved names are refused.
pub(crate) fn room_name(name: &Name) -> Result<(), String> {
    Name::parse_room(name.as_str()).map(drop).map_err(|error| error.to_string())
}

/// Returns whether the text is a valid name of a node.
pub(crate) fn is_node_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NODE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_fine)
}

/// Checks the form of a password hash, or of a part of it.
pub(crate) fn check_hash(hash: &str) -> Result<(), String> {
    match hash.len() <= HASH_BYTES_MAX && hash.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("the hash of a password has an invalid form".to_owned()),
    }
}

/// Checks that a user can say a line of this kind. Lines of the other kinds are made by other
/// operations.
fn check_spoken(kind: LineKind) -> Result<(), String> {
    match kind {
        LineKind::Said | LineKind::Action => Ok(()),
        LineKind::Joined
        | LineKind::Left
        | LineKind::Renamed
        | LineKind::Topic
        | LineKind::Notice => Err(format!("a user cannot say a line of the kind {}", kind.label())),
    }
}

/// Cleans a text, and cuts it if it is too long.
pub(crate) fn tidy(words: &mut String) {
    cut_and_clean(words, WORDS_BYTES_MAX);
}

/// Cleans a line that a user said.
pub(crate) fn tidy_line(text: &mut String) {
    cut_and_clean(text, LINE_BYTES_MAX);
}

fn cut_and_clean(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
    if !is_clean(text) {
        // Cleaning fails only for invalid UTF-8, which a `String` cannot have.
        *text = clean(text.as_bytes()).unwrap_or_default().into_owned();
    }
}
