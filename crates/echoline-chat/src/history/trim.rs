//! Takes lines away that are beyond the bounds of a room. Lines that users said and all others are
//! bounded apart: no flood of joins and leaves displaces what was said.

use rusqlite::{Connection, Result, params};

use super::options::StoreOptions;
use super::read::number;
use super::tables::{Held, LINE_BYTES, Room};

/// Whether a room holds more than it may.
pub(super) const fn is_over(room: &Room, options: &StoreOptions) -> bool {
    is_beyond(room.said, options) || is_beyond(room.notices, options)
}

/// The newest line is always kept, because its number must not be given again.
const fn is_beyond(held: Held, options: &StoreOptions) -> bool {
    held.lines > 1 && (held.lines > options.keep_lines || held.bytes > options.keep_bytes)
}

/// Takes away the oldest lines of a room while it holds more than it may, `most` at most.
pub(super) fn trim(
    connection: &Connection,
    room: &mut Room,
    most: u64,
    options: &StoreOptions,
) -> Result<()> {
    let mut left = most;
    if is_beyond(room.said, options) {
        left -= trim_said(connection, room, most, options)?;
    }
    if is_beyond(room.notices, options) && left > 0 {
        trim_notices(connection, room, left, options)?;
    }
    Ok(())
}

/// Takes away the oldest said lines, and all other lines before them; returns how many.
fn trim_said(
    connection: &Connection,
    room: &mut Room,
    most: u64,
    options: &StoreOptions,
) -> Result<u64> {
    let sql = "SELECT number, octet_length(name) + octet_length(text), kind < 2 FROM line
               WHERE room = ?1 ORDER BY number LIMIT ?2";
    let mut oldest = connection.prepare(sql)?;
    let mut rows = oldest.query(params![room.id, number(most)])?;
    let (mut last, mut taken) = (-1, 0);
    while is_beyond(room.said, options) {
        let Some(row) = rows.next()? else { break };
        last = row.get(0)?;
        taken += 1;
        take(room.held(row.get(2)?), row.get(1)?);
    }
    drop(rows);
    room.trimmed = room.trimmed.max(u64::try_from(last).unwrap_or_default());
    let trimmed = "DELETE FROM line WHERE room = ?1 AND number <= ?2";
    connection.execute(trimmed, [room.id, last])?;
    Ok(taken)
}

/// Takes away the oldest of the other lines, and notes up to which number none is left.
fn trim_notices(
    connection: &Connection,
    room: &mut Room,
    most: u64,
    options: &StoreOptions,
) -> Result<()> {
    let sql = "SELECT number, octet_length(name) + octet_length(text) FROM line
               WHERE room = ?1 AND number > ?2 AND kind > 1 ORDER BY number LIMIT ?3";
    let before = number(room.trimmed);
    let mut oldest = connection.prepare(sql)?;
    let mut rows = oldest.query(params![room.id, before, number(most)])?;
    let mut last = before;
    while is_beyond(room.notices, options) {
        let Some(row) = rows.next()? else { break };
        last = row.get(0)?;
        take(&mut room.notices, row.get(1)?);
    }
    drop(rows);
    room.trimmed = u64::try_from(last).unwrap_or_default();
    let trimmed = "DELETE FROM line WHERE room = ?1 AND number > ?2 AND number <= ?3 AND kind > 1";
    connection.execute(trimmed, [room.id, before, last]).map(drop)
}

fn take(held: &mut Held, text_bytes: i64) {
    let bytes = u64::try_from(text_bytes).unwrap_or_default() + LINE_BYTES;
    held.lines = held.lines.saturating_sub(1);
    held.bytes = held.bytes.saturating_sub(bytes);
}
