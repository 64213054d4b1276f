//! The position of a client in a room, as the client states it when it resumes.

use std::collections::BTreeMap;

use super::chat::Chat;
use echoline_chat_core::name::Name;
use echoline_chat_core::name::key::Key;
use echoline_chat_core::protocol::LastSeen;

/// The number of lines that a returning client gets from a room that was reset.
const RENEWED_SHOWN: u64 = 50;

/// Returns the positions by the keys of their rooms.
pub(super) fn by_room(
    seen: &BTreeMap<String, LastSeen>,
) -> Result<BTreeMap<Key, LastSeen>, String> {
    let keyed = seen.iter().map(|(room, seen)| {
        let room = Name::parse_room(room).map_err(|error| error.to_string())?;
        Ok((room.key().clone(), *seen))
    });
    keyed.collect()
}

/// Returns the number of the next line in `room` after the line `seen`.
///
/// # Errors
/// The number of another line at which to start, if the room does not have the line as the client
/// saw it.
pub(super) fn next(seen: LastSeen, chat: &Chat, room: &Name) -> Result<u64, u64> {
    let (number, time_ms) = match seen {
        LastSeen::Number(number) => return Ok(number.saturating_add(1)),
        LastSeen::Line(number, time_ms) => (number, time_ms),
    };
    // The room does not exist yet, so the first line is the user's own join.
    let Some(shared_room) = chat.room(room) else { return Err(u64::MAX) };
    shared_room.with(|room| {
        let (first, end) = (room.log.first(), room.log.next());
        let is_same = match room.log.line(number) {
            Some(line) => line.time_ms == time_ms,
            // The same room has probably dropped the line, so the lines in between count as missed.
            None => number < first && room.log.line(first).is_none_or(|l| l.time_ms > time_ms),
        };
        match is_same {
            true => Ok(number + 1),
            false => Err(end.saturating_sub(RENEWED_SHOWN).max(first)),
        }
    })
}
