//! Checks a snapshot, like any other input.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;

use super::inspect::{
    NUMBER_MAX, TIME_MAX_MS, check_hash, inspect_saved_session, room_name, tidy, tidy_ban,
    tidy_line, user_name,
};
use super::record::Record;
use super::{GONE_MAX, NODE};
use crate::room::{LINES_MAX, LineRecord, RoomRecord};
use crate::text::is_clean;

/// The maximum number of rooms: more than a node lets its users create.
pub const ROOMS_MAX: usize = 100_000;
/// The maximum number of tokens, of nodes, and of users in one list.
const LIST_MAX: usize = 10_000;
/// The maximum number of invitations, and of mutes, in one room.
const ROOM_LIST_MAX: usize = 1000;
/// The maximum length of a name in bytes: 32 characters of 4 bytes.
const NAME_BYTES_MAX: usize = 128;

/// Decodes a snapshot, and checks it like any other input.
///
/// # Errors
/// The reason why the snapshot is invalid, or why no correct node can have written it.
pub fn read_snapshot(state: &[u8]) -> Result<Record, String> {
    let mut record: Record = serde_json::from_slice(state).map_err(|error| error.to_string())?;
    if record.version > Record::VERSION {
        return Err("it is of a newer version of echoline: update this node".to_owned());
    }
    inspect(&mut record)?;
    Ok(record)
}

/// Cleans the texts of a snapshot. A list that exceeds its limit is shortened.
fn inspect(record: &mut Record) -> Result<(), String> {
    let Record { rooms, users, bans, tokens, former_users, flood_mutes, .. } = record;
    number("of a line", record.next_first_line)?;
    if rooms.len() > ROOMS_MAX {
        return Err(format!("it has {} rooms", rooms.len()));
    }
    let mut keys = BTreeSet::new();
    for room in rooms {
        inspect_room(room)?;
        if !keys.insert(room.name.key().clone()) {
            return Err(format!("it has the room {} twice", room.name));
        }
    }
    let mut sessions = BTreeSet::new();
    for user in users {
        user_name(&user.name)?;
        number("of an operation", user.last)?;
        user.away.iter_mut().for_each(tidy);
        if user.session == NODE || !sessions.insert(user.session) {
            return Err(format!("it has the session {} twice", user.session));
        }
    }
    // The number of bans is limited later, when they are added to the state.
    bans.retain(|ban| ban.scope.room().is_none_or(|room| keys.contains(room)));
    bans.iter_mut().for_each(tidy_ban);
    keep_last(tokens, LIST_MAX);
    tokens.iter_mut().try_for_each(|(_, saved)| inspect_saved_session(saved))?;
    former_users.bound();
    flood_mutes.bound();
    if record.nodes.len() > LIST_MAX {
        return Err(format!("it has {} nodes", record.nodes.len()));
    }
    record.nodes.values().try_for_each(|&last| number("of an operation", last))?;
    keep_newest(&mut record.gone_nodes);
    keep_newest(&mut record.gone_sessions);
    keep_newest(&mut record.gone_with);
    bound_map(&mut record.session_floors);
    Ok(())
}

fn inspect_room(room: &mut RoomRecord) -> Result<(), String> {
    room_name(&room.name)?;
    number("of a line", room.next)?;
    time(room.last_time_ms)?;
    tidy(&mut room.topic);
    room.password.iter().try_for_each(|hash| check_hash(hash))?;
    let count = room.lines.len() as u64;
    if count > LINES_MAX || count >= room.next {
        return Err(format!("the room {} has {count} lines", room.name));
    }
    room.lines.iter_mut().try_for_each(inspect_line)?;
    keep_unique(&mut room.members, |(session, _)| *session);
    if room.said.len() as u64 > LINES_MAX {
        return Err(format!("the room {} has {} older lines", room.name, room.said.len()));
    }
    for (said, line) in &mut room.said {
        if *said >= room.next || !line.kind.is_said() {
            return Err(format!("the room {} has an older line #{said} of nobody", room.name));
        }
        inspect_line(line)?;
    }
    number("of a line", room.origin.born)?;
    room.guests.drain(..room.guests.len().saturating_sub(ROOM_LIST_MAX));
    keep_last(&mut room.muted, ROOM_LIST_MAX);
    room.operators.bound();
    let next = room.next;
    room.deleted.retain(|&deleted| deleted < next);
    while room.deleted.len() > ROOM_LIST_MAX {
        room.deleted.pop_first();
    }
    Ok(())
}

fn inspect_line(line: &mut LineRecord) -> Result<(), String> {
    time(line.time_ms)?;
    if line.name.len() > NAME_BYTES_MAX || !is_clean(&line.name) {
        return Err("the author of a line has no name of a user".to_owned());
    }
    tidy_line(&mut line.text);
    Ok(())
}

fn number(what: &str, number: u64) -> Result<(), String> {
    match number <= NUMBER_MAX {
        true => Ok(()),
        false => Err(format!("the number {number} {what} is above {NUMBER_MAX}")),
    }
}

fn time(time_ms: u64) -> Result<(), String> {
    match time_ms <= TIME_MAX_MS {
        true => Ok(()),
        false => Err(format!("the time {time_ms} is after the year 9999")),
    }
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}

fn keep_newest<T>(list: &mut VecDeque<T>) {
    list.drain(..list.len().saturating_sub(GONE_MAX));
}

fn keep_unique<T, K: Ord + Hash>(list: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut seen = BTreeSet::new();
    list.retain(|one| seen.insert(key(one)));
}

fn bound_map<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    while map.len() > GONE_MAX {
        map.pop_first();
    }
}
