//! The last line of a room that a client has seen, as the client states it when it resumes.

use std::collections::BTreeMap;

use super::chat::Chat;
use echoline_chat_core::protocol::LastSeen;
use echoline_chat_core::{Key, Name, NameError};

/// The number of lines that a returning client gets from a room that was created again.
const RENEWED_SHOWN: u64 = 50;

/// The last lines that a client has seen, by the keys of their rooms.
pub(super) struct SeenLines {
    seen: BTreeMap<Key, LastSeen>,
    /// The rooms that do not have the line as it was seen.
    pub(super) renewed: Vec<Name>,
}

impl SeenLines {
    pub(super) fn read(seen: &BTreeMap<String, LastSeen>) -> Result<Self, NameError> {
        let keyed =
            seen.iter().map(|(room, seen)| Ok((Name::parse_room(room)?.key().clone(), *seen)));
        Ok(Self { seen: keyed.collect::<Result<_, _>>()?, renewed: Vec::new() })
    }

    /// Returns the number of the next line in `room`, or `usual` if the client has seen none.
    pub(super) fn next(&mut self, chat: &Chat, room: &Name, usual: u64) -> u64 {
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

/// Returns the number of the next line in `room` after the line `seen`.
///
/// # Errors
/// The number of another line to start at, if the room does not have the line as it was seen.
fn next(seen: LastSeen, chat: &Chat, room: &Name) -> Result<u64, u64> {
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
            // The same room has probably dropped the line: the lines between are missed.
            None => number < first && room.log.line(first).is_none_or(|l| l.time_ms > time_ms),
        };
        match is_same {
            true => Ok(number + 1),
            false => Err(end.saturating_sub(RENEWED_SHOWN).max(first)),
        }
    })
}
