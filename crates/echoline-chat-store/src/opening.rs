//! Opens the database of a folder. Checks it for damage, and renames it if it is damaged.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Result as SqlResult};

use super::data_folder::{self, DataFolder, is_absent};
use super::error::{ErrorAction, StoreError};
use super::record::RestoredHistory;
use super::sql::{miscounted, read, recount, schema};
use super::worker::now;
use echoline_chat_core::MISSING;

/// The maximum time for the check at a start. Checking a million lines takes about a second.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// The number of steps of SQLite's virtual machine between two looks at the clock.
const CHECK_STEPS: i32 = 100_000;
/// The size of SQLite's smallest page in bytes, which is also the size of the smallest database.
const PAGE_MIN: u64 = 512;

/// Opens the database, or creates it if it does not exist. A damaged database is renamed first, and
/// the notices report this.
///
/// An error of the disk counts neither as absence nor as damage. The start then fails, and nothing
/// is renamed or replaced.
pub(crate) fn open(
    folder: &DataFolder,
    recent: usize,
) -> Result<(Connection, RestoredHistory), StoreError> {
    let mut notices = Vec::new();
    match inspect_files(folder)? {
        FileState::Absent => create_database(folder)?,
        FileState::Damaged(reason) => replace_damaged(folder, &reason, &mut notices)?,
        FileState::Present => {}
    }
    let opened = match restore(&folder.database(), recent) {
        Err(StoreError::Damaged { .. }) => verify_damage(folder, recent, &mut notices),
        other => other,
    };
    opened.map(|(connection, mut restored)| {
        notices.append(&mut restored.notices);
        (connection, RestoredHistory { notices, ..restored })
    })
}

/// Opens the database again, because the first attempt found damage. If the damage is found again,
/// renames the database. Fails if a byte cannot be read, because a transient read error must not
/// cost the history.
fn verify_damage(
    folder: &DataFolder,
    recent: usize,
    notices: &mut Vec<String>,
) -> Result<(Connection, RestoredHistory), StoreError> {
    folder.read_through()?;
    match restore(&folder.database(), recent) {
        Err(StoreError::Damaged { reason, .. }) => {
            replace_damaged(folder, &reason, notices)?;
            restore(&folder.database(), recent)
        }
        other => other,
    }
}

/// The state of the files before SQLite opens them. This must be checked first: SQLite would treat
/// an empty file as a new database and delete its log.
#[derive(Debug, PartialEq, Eq)]
enum FileState {
    /// Neither a database nor a log exists.
    Absent,
    /// A database with a valid size exists.
    Present,
    /// The files are damaged. Contains the reason.
    Damaged(String),
}

fn inspect_files(folder: &DataFolder) -> Result<FileState, StoreError> {
    let path = folder.database();
    if is_absent(&path)? {
        return Ok(match is_absent(&folder.wal())? {
            true => FileState::Absent,
            false => FileState::Damaged("it is gone, and its log is there".to_owned()),
        });
    }
    let file = data_folder::open(&path).and_then(|file| file.metadata());
    match file.map_err(|error| StoreError::file(&path, error))?.len() {
        length @ 0..PAGE_MIN => Ok(FileState::Damaged(format!("it was cut to {length} bytes"))),
        _ => Ok(FileState::Present),
    }
}

fn create_database(folder: &DataFolder) -> Result<(), StoreError> {
    let prepared = folder.prepare()?;
    schema::create(&prepared)?;
    folder.install(&prepared)
}

fn replace_damaged(
    folder: &DataFolder,
    reason: &str,
    notices: &mut Vec<String>,
) -> Result<(), StoreError> {
    let path = folder.database();
    let name = folder.rename_damaged()?;
    notices.push(format!(
        "{} is damaged ({reason}): it was set aside as {name}, and a new history was begun",
        path.display()
    ));
    create_database(folder)
}

fn restore(path: &Path, recent: usize) -> Result<(Connection, RestoredHistory), StoreError> {
    let mut connection = schema::open(path)?;
    let mut notices = Vec::new();
    check(&mut connection, path, &mut notices)?;
    let restored = read_all(&connection, recent, notices);
    let restored = restored.map_err(|error| StoreError::database(path, &error))?;
    Ok((connection, restored))
}

fn read_all(
    connection: &Connection,
    recent: usize,
    mut notices: Vec<String>,
) -> SqlResult<RestoredHistory> {
    let rooms = read::rooms(connection, recent, &mut notices)?;
    let bans = read::bans(connection, &mut notices)?;
    Ok(RestoredHistory { rooms, bans, tokens: read::tokens(connection)?, notices })
}

/// Reads the whole database once, for at most [`CHECK_MAX`], and reports damage.
fn check(
    connection: &mut Connection,
    path: &Path,
    notices: &mut Vec<String>,
) -> Result<(), StoreError> {
    let until = now() + CHECK_MAX;
    let checked = connection
        .progress_handler(CHECK_STEPS, Some(move || now() > until))
        .and_then(|()| check_integrity(connection));
    let handler = connection.progress_handler(0, None::<fn() -> bool>);
    handler.map_err(|error| StoreError::database(path, &error))?;
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    match checked {
        Ok(IntegrityReport { structure: Some(what), .. }) if is_read_error(&what) => {
            return Err(StoreError::unreadable(path, what));
        }
        Ok(IntegrityReport { structure: Some(what), .. }) => return Err(damaged(what)),
        Ok(report) => {
            report.add_notices(path, notices);
            if !report.miscounted.is_empty() {
                recount(connection).map_err(|error| StoreError::database(path, &error))?;
            }
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            notices.push(format!(
                "{} was not checked to its end, which would take longer than {CHECK_MAX:?}",
                path.display()
            ));
        }
        Err(error) => return Err(StoreError::database(path, &error)),
    }
    Ok(())
}

/// The result of a check of the whole database.
#[derive(Debug)]
struct IntegrityReport {
    /// The first damage that `quick_check` found, if any.
    structure: Option<String>,
    /// The number of lines with a wrong checksum.
    damaged_lines: u64,
    /// The rooms to which another program added lines, or from which it removed lines. Each has its
    /// name, the expected number of lines, and the actual number.
    miscounted: Vec<(String, i64, i64)>,
}

impl IntegrityReport {
    /// Adds notices about damaged and missing lines. All other lines stay usable.
    fn add_notices(&self, path: &Path, notices: &mut Vec<String>) {
        let path = path.display();
        match self.damaged_lines {
            0 => {}
            1 => notices.push(format!("1 line in {path} is damaged and left out")),
            many => notices.push(format!("{many} lines in {path} are damaged and left out")),
        }
        for (room, expected, found) in &self.miscounted {
            notices.push(format!(
                "room {room:?} in {path} has {found} lines instead of {expected}: another program \
                 has changed them; lines that are gone are shown as {MISSING}"
            ));
        }
    }
}

fn check_integrity(connection: &Connection) -> SqlResult<IntegrityReport> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        let first = verdict.lines().last().unwrap_or_default().to_owned();
        let miscounted = Vec::new();
        return Ok(IntegrityReport { structure: Some(first), damaged_lines: 0, miscounted });
    }
    let damaged_lines = read::check_lines(connection)?;
    Ok(IntegrityReport { structure: None, damaged_lines, miscounted: miscounted(connection)? })
}

/// Returns whether a result of `quick_check` is a failed read of a page. SQLite reports failed
/// reads in the same list as damage, for example `… unable to get the page. error code=8458`.
fn is_read_error(verdict: &str) -> bool {
    let code = verdict.rsplit_once("error code=").and_then(|(_, code)| code.trim().parse().ok());
    code.is_some_and(|code: i32| ErrorAction::of_code(code) != ErrorAction::Damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item B: a failed read in the results of `quick_check` does not count as damage.
    #[test]
    fn regression_a_page_that_cannot_be_read_is_not_damaged() {
        // The codes are SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ and SQLITE_CORRUPT.
        assert!(is_read_error("Tree 4 page 7: unable to get the page. error code=8458"));
        assert!(is_read_error("Tree 4 page 7: unable to get the page. error code=266"));
        assert!(!is_read_error("Tree 4 page 7: unable to get the page. error code=11"));
        assert!(!is_read_error("Tree 4 page 7 cell 2: Rowid 9 out of order"));
    }
}
