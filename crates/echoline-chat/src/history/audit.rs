//! The audit log: acts of the chat's operators, acts of rooms' operators, and guesses at the
//! operators' password. Each has bounded places of its own, so that none of them evicts another.

use rusqlite::{Connection, Result, Row, params};

use super::read::{LINES_MAX, number};

/// Acts that are kept, of the chat's operators and of rooms' operators.
const ACTS_MAX: i64 = 10_000;

/// Sources of guesses that are kept.
const SOURCES_MAX: i64 = 1000;

/// Guesses at the operators' password from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guesses {
    /// The address or network.
    pub source: String,
    /// Their number.
    pub count: u64,
    /// The time of the first one, in milliseconds since 1970, UTC.
    pub first_ms: u64,
    /// The time of the last one.
    pub last_ms: u64,
    /// The name of the user who made the last one.
    pub by: String,
}

/// An operator of the chat, or of rooms only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Chat,
    Room,
}

/// Writes an act down. Both tables have their ids from one sequence.
pub(super) fn put(
    connection: &Connection,
    scope: Scope,
    id: i64,
    (time_ms, by, what): (u64, &str, &str),
) -> Result<()> {
    let (insert, trim) = match scope {
        Scope::Chat => (
            "INSERT OR IGNORE INTO audit VALUES (?1, ?2, ?3, ?4)",
            "DELETE FROM audit WHERE id <= (SELECT id FROM audit ORDER BY id DESC
             LIMIT 1 OFFSET ?1)",
        ),
        Scope::Room => (
            "INSERT OR IGNORE INTO room_audit VALUES (?1, ?2, ?3, ?4)",
            "DELETE FROM room_audit WHERE id <= (SELECT id FROM room_audit ORDER BY id DESC
             LIMIT 1 OFFSET ?1)",
        ),
    };
    connection.execute(insert, params![id, number(time_ms), by, what])?;
    // Looks at as many entries as are kept, so not for each of them.
    if id % 64 == 0 { connection.execute(trim, [ACTS_MAX]).map(drop) } else { Ok(()) }
}

/// Counts a guess, in one entry for each source. The source that has been quiet for longest gives
/// way.
pub(super) fn put_guess(
    connection: &Connection,
    time_ms: u64,
    by: &str,
    source: &str,
) -> Result<()> {
    let sql = "UPDATE guess SET count = count + 1, last_ms = ?2, by = ?3 WHERE source = ?1";
    if connection.execute(sql, params![source, number(time_ms), by])? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO guess VALUES (?1, 1, ?2, ?2, ?3)";
    connection.execute(sql, params![source, number(time_ms), by])?;
    let sql = "DELETE FROM guess WHERE source IN (SELECT source FROM guess
               ORDER BY last_ms DESC, source LIMIT -1 OFFSET ?1)";
    connection.execute(sql, [SOURCES_MAX]).map(drop)
}

/// The id of the newest act; 0 if there is none.
pub(super) fn last_id(connection: &Connection) -> Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM audit), 0),
                          coalesce((SELECT max(id) FROM room_audit), 0))";
    connection.query_row(sql, (), |row| row.get(0))
}

/// The newest acts, newest first: when, who, what.
pub(super) fn acts(connection: &Connection, most: usize) -> Result<Vec<(u64, String, String)>> {
    let sql = "SELECT * FROM (SELECT * FROM audit ORDER BY id DESC LIMIT ?1) UNION ALL
               SELECT * FROM (SELECT * FROM room_audit ORDER BY id DESC LIMIT ?1)
               ORDER BY 1 DESC LIMIT ?1";
    let mut acts = connection.prepare(sql)?;
    let act = |row: &Row<'_>| Ok((unsigned(row, 1)?, row.get(2)?, row.get(3)?));
    acts.query_map([most.min(LINES_MAX) as i64], act)?.collect()
}

/// The sources of the newest guesses, newest first.
pub(super) fn guesses(connection: &Connection, most: usize) -> Result<Vec<Guesses>> {
    let sql = "SELECT source, count, first_ms, last_ms, by FROM guess
               ORDER BY last_ms DESC, source LIMIT ?1";
    let mut guesses = connection.prepare(sql)?;
    let entry = |row: &Row<'_>| {
        let (source, by) = (row.get(0)?, row.get(4)?);
        let (count, first_ms, last_ms) = (unsigned(row, 1)?, unsigned(row, 2)?, unsigned(row, 3)?);
        Ok(Guesses { source, count, first_ms, last_ms, by })
    };
    guesses.query_map([most.min(LINES_MAX) as i64], entry)?.collect()
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or_default())
}
