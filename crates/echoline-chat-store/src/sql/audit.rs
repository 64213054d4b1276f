//! The audit log: actions of the chat's operators, actions of rooms' operators, and wrong
//! operators' passwords. Each has its own table with its own limit, so that none of them evicts
//! another.

use rusqlite::{Connection, Result, Row, params};

use super::super::record::PasswordGuesses;
use super::read::LINES_MAX;
use super::schema::{saturating, unsigned};

/// The limit of entries of the chat's operators, and of rooms' operators.
const ENTRIES_MAX: i64 = 10_000;

/// The limit of sources of wrong passwords.
const SOURCES_MAX: i64 = 1000;

/// The table of an entry: of the chat's operators, or of rooms' operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditScope {
    Chat,
    Room,
}

/// Adds an entry. Both tables take their ids from one sequence.
pub(crate) fn put(
    connection: &Connection,
    scope: AuditScope,
    id: i64,
    (time_ms, by, what): (u64, &str, &str),
) -> Result<()> {
    let (insert, trim) = match scope {
        AuditScope::Chat => (
            "INSERT OR IGNORE INTO audit VALUES (?1, ?2, ?3, ?4)",
            "DELETE FROM audit WHERE id <= (SELECT id FROM audit ORDER BY id DESC
             LIMIT 1 OFFSET ?1)",
        ),
        AuditScope::Room => (
            "INSERT OR IGNORE INTO room_audit VALUES (?1, ?2, ?3, ?4)",
            "DELETE FROM room_audit WHERE id <= (SELECT id FROM room_audit ORDER BY id DESC
             LIMIT 1 OFFSET ?1)",
        ),
    };
    connection.execute(insert, params![id, saturating(time_ms), by, what])?;
    // Trimming scans the whole table, so only every 64th entry trims.
    if id % 64 == 0 { connection.execute(trim, [ENTRIES_MAX]).map(drop) } else { Ok(()) }
}

/// Counts a wrong password, with one row for each source. Removes the source with the oldest last
/// guess if there are too many.
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

/// Returns the id of the newest entry; 0 if there is none.
pub(crate) fn last_id(connection: &Connection) -> Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(id) FROM audit), 0),
                          coalesce((SELECT max(id) FROM room_audit), 0))";
    connection.query_row(sql, (), |row| row.get(0))
}

/// Returns the newest entries, newest first: the time, the operator, the action.
pub(crate) fn entries(connection: &Connection, most: usize) -> Result<Vec<(u64, String, String)>> {
    let sql = "SELECT * FROM (SELECT * FROM audit ORDER BY id DESC LIMIT ?1) UNION ALL
               SELECT * FROM (SELECT * FROM room_audit ORDER BY id DESC LIMIT ?1)
               ORDER BY 1 DESC LIMIT ?1";
    let mut entries = connection.prepare(sql)?;
    let entry = |row: &Row<'_>| Ok((unsigned(row, 1)?, row.get(2)?, row.get(3)?));
    entries.query_map([most.min(LINES_MAX) as i64], entry)?.collect()
}

/// Returns the sources of the newest wrong passwords, newest first.
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
