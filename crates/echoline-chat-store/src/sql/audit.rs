//! The audit log: actions of the chat's operators, actions of rooms' operators, and wrong
//! operators' passwords. Each kind has its own table with its own limit, so that none displaces
//! another.

use rusqlite::{Connection, Result, Row, params};

use super::super::record::PasswordGuesses;
use super::read::LINES_MAX;
use super::schema::{saturating, unsigned};

/// The maximum number of entries, separately for the chat's operators and for rooms' operators.
const ENTRIES_MAX: i64 = 10_000;

/// The maximum number of sources of wrong passwords.
const SOURCES_MAX: i64 = 1000;

/// Adds an entry. The ids of both tables come from one sequence.
pub(crate) fn put(
    connection: &Connection,
    is_of_chat: bool,
    id: i64,
    (time_ms, by, what): (u64, &str, &str),
) -> Result<()> {
    let table = if is_of_chat { "audit" } else { "room_audit" };
    let insert = format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2, ?3, ?4)");
    connection.execute(&insert, params![id, saturating(time_ms), by, what])?;
    // Trimming scans the whole table, so it is done only at every 64th entry.
    if id % 64 != 0 {
        return Ok(());
    }
    let trim = format!(
        "DELETE FROM {table} WHERE id <= (SELECT id FROM {table} ORDER BY id DESC
         LIMIT 1 OFFSET ?1)"
    );
    connection.execute(&trim, [ENTRIES_MAX]).map(drop)
}

/// Counts a wrong password. Each source has one row. If there are too many rows, removes the source
/// whose last guess is oldest.
pub(crate) fn put_guess(
    connection: &Connection,
    time_ms: u64,
    by: &str,
    source: &str,
) -> Result<()> {
    let sql = "UPDATE guess SET count = count + 1, last_ms = ?2, by = ?3 WHERE source = ?1";
    if connection.execute(sql, params![source, saturating(time_ms), by])? > 0 {
        return Ok(());
    }
    let sql = "INSERT INTO guess VALUES (?1, 1, ?2, ?2, ?3)";
    connection.execute(sql, params![source, saturating(time_ms), by])?;
    let sql = "DELETE FROM guess WHERE source IN (SELECT source FROM guess
               ORDER BY last_ms DESC, source LIMIT -1 OFFSET ?1)";
    connection.execute(sql, [SOURCES_MAX]).map(drop)
}

/// Returns the id of the newest entry, or 0 if there is none.
pub(crate) fn last_id(connection: &Connection) -> Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM audit), 0),
                          coalesce((SELECT max(id) FROM room_audit), 0))";
    connection.query_row(sql, (), |row| row.get(0))
}

/// Returns the newest entries, the newest first. Each has its time, the operator, and the action.
pub(crate) fn entries(connection: &Connection, most: usize) -> Result<Vec<(u64, String, String)>> {
    let sql = "SELECT * FROM (SELECT * FROM audit ORDER BY id DESC LIMIT ?1) UNION ALL
               SELECT * FROM (SELECT * FROM room_audit ORDER BY id DESC LIMIT ?1)
               ORDER BY 1 DESC LIMIT ?1";
    let mut entries = connection.prepare(sql)?;
    let entry = |row: &Row<'_>| Ok((unsigned(row, 1)?, row.get(2)?, row.get(3)?));
    entries.query_map([most.min(LINES_MAX) as i64], entry)?.collect()
}

/// Returns the sources of the newest wrong passwords, the newest first.
pub(crate) fn guesses(connection: &Connection, most: usize) -> Result<Vec<PasswordGuesses>> {
    let sql = "SELECT source, count, first_ms, last_ms, by FROM guess
               ORDER BY last_ms DESC, source LIMIT ?1";
    let mut guesses = connection.prepare(sql)?;
    let entry = |row: &Row<'_>| {
        let (source, by) = (row.get(0)?, row.get(4)?);
        let (count, first_ms, last_ms) = (unsigned(row, 1)?, unsigned(row, 2)?, unsigned(row, 3)?);
        Ok(PasswordGuesses { source, count, first_ms, last_ms, by })
    };
    guesses.query_map([most.min(LINES_MAX) as i64], entry)?.collect()
}
