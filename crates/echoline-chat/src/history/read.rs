//! The queries of the tables.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row, params};
use tracing::warn;

use super::checksum::Checksum;
use super::record::{Ban, Kind, RestoredRoom, Stored, Token};
use super::words::{Folded, Words};

/// Lines of one answer, at most.
pub(super) const LINES_MAX: usize = 10_000;
/// Lines, and bytes of them, that a search looks at before others have their turn: about 0.1 ms.
const SEARCH_STEP_LINES: usize = 256;
const SEARCH_STEP_BYTES: usize = 64 * 1024;

/// The columns that `line` reads.
const COLUMNS: &str = "line.room, number, time_ms, kind, line.name, text, line.checksum";

/// Lines of a room by number, the oldest `most` of them, oldest first.
pub(super) fn lines(
    connection: &Connection,
    room: &str,
    from: u64,
    to: u64,
    most: usize,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number BETWEEN ?2 AND ?3 ORDER BY number LIMIT ?4"
    );
    collect(connection, &sql, params![room, number(from), number(to), most.min(LINES_MAX) as i64])
}

/// The newest `count` lines of a room that come before a number, oldest first.
pub(super) fn last(
    connection: &Connection,
    room: &str,
    before: u64,
    count: usize,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number < ?2 ORDER BY number DESC LIMIT ?3"
    );
    let bounds = params![room, number(before), count.min(LINES_MAX) as i64];
    let mut lines = collect(connection, &sql, bounds)?;
    lines.reverse();
    Ok(lines)
}

/// The newest `count` lines that users said in a room before a number, oldest first.
fn last_said(
    connection: &Connection,
    room: &str,
    before: u64,
    count: usize,
) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number < ?2 AND kind < 2 ORDER BY number DESC LIMIT ?3"
    );
    let bounds = params![room, number(before), count.min(LINES_MAX) as i64];
    let mut lines = collect(connection, &sql, bounds)?;
    lines.reverse();
    Ok(lines)
}

/// The number up to which only lines that users said are kept in a room.
pub(super) fn trimmed(connection: &Connection, room: &str) -> Result<u64> {
    let sql = "SELECT trimmed FROM room WHERE name = ?1";
    let trimmed = connection.query_row(sql, [room], |row| unsigned(row, 0)).optional()?;
    Ok(trimmed.unwrap_or_default())
}

/// The part of a search that one step looks at: lines of one room, newest first.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) room: &'a str,
    pub(super) words: &'a Words,
    /// The lines below this number are looked at.
    pub(super) before: u64,
    /// The most lines that are still to be found.
    pub(super) most: usize,
}

/// The state of a search after a step.
#[derive(Debug)]
pub(super) struct Looked {
    /// The lines below this number were not looked at; `None` if there are none.
    pub(super) before: Option<u64>,
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

/// Looks at the next lines of a room and adds the lines that match to `found`.
pub(super) fn search_step(
    connection: &Connection,
    step: &Step<'_>,
    found: &mut Vec<Stored>,
) -> Result<Looked> {
    let sql = format!(
        "SELECT {COLUMNS} FROM line WHERE room = (SELECT id FROM room WHERE name = ?1)
         AND number < ?2 ORDER BY number DESC LIMIT ?3"
    );
    let mut statement = connection.prepare(&sql)?;
    let bounds = params![step.room, number(step.before), SEARCH_STEP_LINES as i64];
    let mut rows = statement.query(bounds)?;
    let mut looked = Looked { before: None, lines: 0, bytes: 0 };
    let (enough, mut folded) = (found.len() + step.most, Folded::default());
    while let Some(row) = rows.next()? {
        // A damaged line may be no text.
        let text_of = |column| row.get_ref(column).map(|it| it.as_str().unwrap_or_default());
        let (name, text) = (text_of(4)?, text_of(5)?);
        looked.before = Some(unsigned(row, 1)?);
        looked.lines += 1;
        looked.bytes += name.len() + text.len();
        if step.words.match_line(name, text, &mut folded) {
            // Only a line that is shown needs its checksum.
            found.extend(line(row)?);
        }
        if found.len() >= enough || looked.bytes >= SEARCH_STEP_BYTES {
            return Ok(looked);
        }
    }
    if looked.lines < SEARCH_STEP_LINES {
        looked.before = None;
    }
    Ok(looked)
}

pub(super) fn room_names(connection: &Connection) -> Result<Vec<String>> {
    let mut rooms = connection.prepare("SELECT name FROM room ORDER BY name")?;
    rooms.query_map((), |row| row.get(0))?.collect()
}

/// All rooms with their newest lines; and what is wrong with them, a sentence each.
pub(super) fn rooms(
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
        let mut lines = last_said(connection, &name, from, recent.saturating_sub(said))?;
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

/// Number and time of a room's last line.
fn newest(connection: &Connection, room: i64) -> Result<Option<(u64, u64)>> {
    let sql = "SELECT number, time_ms FROM line WHERE room = ?1 ORDER BY number DESC LIMIT 1";
    let mut newest = connection.prepare(sql)?;
    let mut rows = newest.query([room])?;
    rows.next()?.map(|row| Ok((unsigned(row, 0)?, unsigned(row, 1)?))).transpose()
}

/// All bans; and which of them are damaged.
pub(super) fn bans(connection: &Connection, notices: &mut Vec<String>) -> Result<Vec<Ban>> {
    let mut bans = connection.prepare(
        "SELECT subject, shown, by, reason, until_ms, checksum, more FROM ban ORDER BY subject",
    )?;
    let ban = |row: &Row<'_>| {
        let until_ms = row.get::<_, Option<i64>>(4)?.map(|until| until as u64);
        let (subject, shown) = (row.get(0)?, row.get(1)?);
        let (by, reason, more) = (row.get(2)?, row.get(3)?, row.get(6)?);
        let ban = Ban { subject, shown, by, reason, until_ms, more };
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

pub(super) fn tokens(connection: &Connection) -> Result<Vec<Token>> {
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
        Ok(Token { token, name, rooms, until_ms: unsigned(row, 2)?, more })
    })?;
    all.collect()
}

/// Reads every line of every room: how many are damaged.
pub(super) fn check_lines(connection: &Connection) -> Result<u64> {
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM line"))?;
    let mut rows = all.query(())?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        damaged += u64::from(line(row)?.is_none());
    }
    Ok(damaged)
}

/// Rooms whose count of lines is not the number of their lines: the name, the count, the number.
pub(super) fn miscounted(connection: &Connection) -> Result<Vec<(String, i64, i64)>> {
    let mut rooms = connection.prepare(
        "SELECT name, lines, (SELECT count(*) FROM line WHERE room = id) AS found FROM room
         WHERE lines <> found ORDER BY name",
    )?;
    rooms.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Damaged lines are left out; that there are some was said when the store was opened.
fn collect(connection: &Connection, sql: &str, parameters: impl Params) -> Result<Vec<Stored>> {
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

/// A line; `None` where its checksum is wrong, or what is there is no line at all.
fn line(row: &Row<'_>) -> Result<Option<Stored>> {
    let whole = || {
        let room = row.get_ref(0)?.as_i64()?;
        let (number, time_ms) = (row.get_ref(1)?.as_i64()?, row.get_ref(2)?.as_i64()?);
        let kind = row.get_ref(3)?.as_i64()?;
        let (name, text) = (row.get_ref(4)?.as_str()?, row.get_ref(5)?.as_str()?);
        let kind = u8::try_from(kind).ok().and_then(Kind::from_code);
        let line = kind.map(|kind| Stored {
            number: number as u64,
            time_ms: time_ms as u64,
            kind,
            name: name.into(),
            text: text.into(),
        });
        let sum = row.get_ref(6)?.as_i64()?;
        Ok::<_, rusqlite::Error>(line.filter(|line| line_sum(room, line) == sum))
    };
    Ok(whole().unwrap_or(None))
}

pub(super) fn line_sum(room: i64, line: &Stored) -> i64 {
    let sum = Checksum::new().number(room as u64).number(line.number).number(line.time_ms);
    sum.number(line.kind.code().into()).text(&line.name).text(&line.text).end().into()
}

pub(super) fn room_sum(
    name: &str,
    topic: Option<&str>,
    private: bool,
    password: Option<&str>,
    more: &str,
) -> i64 {
    let sum = Checksum::new().text(name).optional(topic).number(private.into());
    let sum = sum.optional(password);
    // A room of an earlier version has nothing more, and a checksum without it.
    if more.is_empty() { sum.end().into() } else { sum.text(more).end().into() }
}

pub(super) fn ban_sum(ban: &Ban) -> i64 {
    let sum = Checksum::new().text(&ban.subject).text(&ban.shown).text(&ban.by).text(&ban.reason);
    // As it is stored: a time that no `i64` holds is the last one.
    let sum = sum.number(ban.until_ms.map_or(0, |until| number(until) as u64 + 1));
    // A ban of the first version has nothing more, and a checksum without it.
    if ban.more.is_empty() { sum.end().into() } else { sum.text(&ban.more).end().into() }
}

/// As SQLite holds it; what is above is taken for the highest.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}
