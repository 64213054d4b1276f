//! The queries of the tables.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};
use tracing::warn;

use super::super::record::{RestoredRoom, StoredBan, StoredToken};
use super::checksum::{ban_sum, line_sum, room_sum};
use super::schema::{saturating, unsigned};
use echoline_chat_core::{CaseFoldBuffer, LineKind, SearchTerms, StoredLine};

/// The maximum number of lines in one result.
pub(crate) const LINES_MAX: usize = 10_000;
/// The maximum number of lines and bytes that one step of a search scans. A step takes about 0.1
/// ms.
const SEARCH_STEP_LINES: usize = 256;
const SEARCH_STEP_BYTES: usize = 64 * 1024;

/// The columns that [`line()`] reads.
const COLUMNS: &str = "line.room, number, time_ms, kind, line.name, text, line.checksum";

/// Returns the lines of a room with the numbers `from` to `to`, the oldest first. If there are more
/// than `most`, returns the oldest ones.
pub(crate) fn lines(
    connection: &Connection,
    room: &str,
    from: u64,
    to: u64,
    most: usize,
) -> Result<Vec<StoredLine>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number BETWEEN ?2 AND ?3 ORDER BY number LIMIT ?4"
    );
    collect(
        connection,
        &sql,
        params![room, saturating(from), saturating(to), most.min(LINES_MAX) as i64],
    )
}

/// Returns the newest `count` lines of a room with numbers below `before`, the oldest first.
pub(crate) fn last(
    connection: &Connection,
    room: &str,
    before: u64,
    count: usize,
) -> Result<Vec<StoredLine>> {
    last_of(connection, (room, ""), before, count)
}

/// Returns the newest lines of a room that meet `condition`. The condition is SQL that begins with
/// `AND`.
fn last_of(
    connection: &Connection,
    (room, condition): (&str, &str),
    before: u64,
    count: usize,
) -> Result<Vec<StoredLine>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number < ?2 {condition} ORDER BY number DESC LIMIT ?3"
    );
    let bounds = params![room, saturating(before), count.min(LINES_MAX) as i64];
    let mut lines = collect(connection, &sql, bounds)?;
    lines.reverse();
    Ok(lines)
}

/// Returns the number up to which a room has only lines that users said.
pub(crate) fn trimmed(connection: &Connection, room: &str) -> Result<u64> {
    let sql = "SELECT trimmed FROM room WHERE name = ?1";
    let trimmed = connection.query_row(sql, [room], |row| unsigned(row, 0)).optional()?;
    Ok(trimmed.unwrap_or_default())
}

/// The part of a room that one step of a search scans, the newest lines first.
#[derive(Debug)]
pub(crate) struct SearchRange<'a> {
    pub(crate) room: &'a str,
    pub(crate) terms: &'a SearchTerms,
    /// The step scans lines with numbers below `before`.
    pub(crate) before: u64,
    /// The maximum number of lines that the step finds.
    pub(crate) most: usize,
}

/// The result of one step of a search.
#[derive(Debug)]
pub(crate) struct ScanProgress {
    /// Lines with numbers below this were not scanned; `None` if all lines were scanned.
    pub(crate) before: Option<u64>,
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

/// Scans the next lines of a room, and adds the matching ones to `found`.
pub(crate) fn search_step(
    connection: &Connection,
    range: &SearchRange<'_>,
    found: &mut Vec<StoredLine>,
) -> Result<ScanProgress> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number < ?2 ORDER BY number DESC LIMIT ?3"
    );
    let mut statement = connection.prepare(&sql)?;
    let limits = params![range.room, saturating(range.before), SEARCH_STEP_LINES as i64];
    let mut rows = statement.query(limits)?;
    let mut progress = ScanProgress { before: None, lines: 0, bytes: 0 };
    let (enough, mut buffer) = (found.len() + range.most, CaseFoldBuffer::default());
    while let Some(row) = rows.next()? {
        // In a damaged row, these columns may not be text.
        let text_of = |column| row.get_ref(column).map(|it| it.as_str().unwrap_or_default());
        let (name, text) = (text_of(4)?, text_of(5)?);
        progress.before = Some(unsigned(row, 1)?);
        progress.lines += 1;
        progress.bytes += name.len() + text.len();
        if range.terms.matches_line(name, text, &mut buffer) {
            // The checksum is verified only for matching lines.
            found.extend(line(row)?);
        }
        if found.len() >= enough || progress.bytes >= SEARCH_STEP_BYTES {
            return Ok(progress);
        }
    }
    if progress.lines < SEARCH_STEP_LINES {
        progress.before = None;
    }
    Ok(progress)
}

/// Returns the names of all rooms.
pub(crate) fn room_names(connection: &Connection) -> Result<Vec<String>> {
    let mut rooms = connection.prepare("SELECT name FROM room ORDER BY name")?;
    rooms.query_map((), |row| row.get(0))?.collect()
}

/// Returns all rooms with their newest lines. Adds a notice for each damaged room.
pub(crate) fn rooms(
    connection: &Connection,
    recent: usize,
    notices: &mut Vec<String>,
) -> Result<Vec<RestoredRoom>> {
    let sql = "SELECT name, topic, private, password, checksum, id, trimmed, more FROM room
               ORDER BY name";
    let mut rooms = connection.prepare(sql)?;
    let mut rows = rooms.query(())?;
    let mut restored = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (topic, private, password): (Option<String>, bool, Option<String>) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let more: String = row.get(7)?;
        let sum = room_sum(&name, topic.as_deref(), private, password.as_deref(), &more);
        if row.get::<_, i64>(4)? != sum {
            notices.push(format!(
                "the entry of room {name:?} is damaged: check its topic, password and privacy"
            ));
        }
        let newest = newest(connection, row.get(5)?)?;
        let newer = last(connection, &name, u64::MAX, recent)?;
        let said = newer.iter().filter(|line| line.kind.is_said()).count();
        let from = newer.first().map_or(0, |line| line.number);
        let count = recent.saturating_sub(said);
        let mut lines = last_of(connection, (&name, "AND kind < 2"), from, count)?;
        lines.extend(newer);
        let (last_number, last_time_ms) = newest.unwrap_or_default();
        let next_number = last_number + 1;
        restored.push(RestoredRoom {
            name,
            topic,
            private,
            password,
            more,
            next_number,
            last_time_ms,
            trimmed: unsigned(row, 6)?,
            lines,
        });
    }
    Ok(restored)
}

/// Returns the number and the time of a room's last line.
fn newest(connection: &Connection, room: i64) -> Result<Option<(u64, u64)>> {
    let sql = "SELECT number, time_ms FROM line WHERE room = ?1 ORDER BY number DESC LIMIT 1";
    let mut newest = connection.prepare(sql)?;
    let mut rows = newest.query([room])?;
    rows.next()?.map(|row| Ok((unsigned(row, 0)?, unsigned(row, 1)?))).transpose()
}

/// Returns all bans. Adds a notice for each damaged ban.
pub(crate) fn bans(connection: &Connection, notices: &mut Vec<String>) -> Result<Vec<StoredBan>> {
    let mut bans = connection.prepare(
        "SELECT subject, shown, by, reason, until_ms, checksum, more FROM ban ORDER BY subject",
    )?;
    let ban = |row: &Row<'_>| {
        let until_ms = row.get::<_, Option<i64>>(4)?.map(|until| until as u64);
        let (subject, shown) = (row.get(0)?, row.get(1)?);
        let (by, reason, more) = (row.get(2)?, row.get(3)?, row.get(6)?);
        let ban = StoredBan { subject, shown, by, reason, until_ms, more };
        Ok((row.get::<_, i64>(5)? == ban_sum(&ban), ban))
    };
    let mut all = Vec::new();
    for entry in bans.query_map((), ban)? {
        let (right, ban) = entry?;
        if !right {
            notices.push(format!("the ban of {:?} is damaged: check it", ban.shown));
        }
        all.push(ban);
    }
    Ok(all)
}

/// Returns all tokens.
pub(crate) fn tokens(connection: &Connection) -> Result<Vec<StoredToken>> {
    let mut tokens =
        connection.prepare("SELECT token, name, until_ms, more FROM token ORDER BY token")?;
    let mut rooms = connection
        .prepare("SELECT room, seen, operator FROM token_room WHERE token = ?1 ORDER BY room")?;
    let all = tokens.query_map((), |row| {
        let token: String = row.get(0)?;
        let rooms = rooms
            .query_map([&token], |row| Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?)))?
            .collect::<Result<_>>()?;
        let (name, more) = (row.get(1)?, row.get(3)?);
        Ok(StoredToken { token, name, rooms, until_ms: unsigned(row, 2)?, more })
    })?;
    all.collect()
}

/// Reads every line of every room. Returns the number of damaged lines.
pub(crate) fn check_lines(connection: &Connection) -> Result<u64> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM line"))?;
    let mut rows = all.query(())?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        damaged += u64::from(line(row)?.is_none());
    }
    Ok(damaged)
}

/// Returns the lines of a query, without damaged ones. [`Store::open`] has already reported those.
///
/// [`Store::open`]: super::super::Store::open
fn collect(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Vec<StoredLine>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        match line(row)? {
            Some(line) => lines.push(line),
            None => warn!("a damaged line of the history is left out"),
        }
    }
    Ok(lines)
}

/// Reads a line. Returns `None` if its checksum is wrong, or if a column has the wrong type.
fn line(row: &Row<'_>) -> Result<Option<StoredLine>> {
    let read = || {
        let room = row.get_ref(0)?.as_i64()?;
        let (number, time_ms) = (row.get_ref(1)?.as_i64()?, row.get_ref(2)?.as_i64()?);
        let kind = row.get_ref(3)?.as_i64()?;
        let (name, text) = (row.get_ref(4)?.as_str()?, row.get_ref(5)?.as_str()?);
        let kind = u8::try_from(kind).ok().and_then(LineKind::from_code);
        let line = kind.map(|kind| StoredLine {
            number: number as u64,
            time_ms: time_ms as u64,
            kind,
            name: name.into(),
            text: text.into(),
        });
        let sum = row.get_ref(6)?.as_i64()?;
        Ok::<_, rusqlite::Error>(line.filter(|line| line_sum(room, line) == sum))
    };
    Ok(read().unwrap_or(None))
}
