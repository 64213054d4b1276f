//! Opens the database of a folder: looks for damage, and sets aside what cannot be used.

use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Result as SqlResult};

use super::error::{Fault, StoreError};
use super::folder::{self, Folder, is_absent};
use super::queue::now;
use super::read;
use super::record::{MISSING, Restored};
use super::schema;
use super::tables::recount;
use super::write_ahead_log::{self, Tail};

/// How long looking for damage may hold up the start. A million lines take about a second.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// SQLite's steps between two looks at the clock.
const CHECK_STEPS: i32 = 100_000;
/// No SQLite database is smaller than its smallest page.
const PAGE_MIN: u64 = 512;

/// Opens the database. Makes one if there is none. A damaged one is renamed first, which the
/// notices say.
///
/// An error of the disk is neither absence nor damage: it refuses the start, and nothing is renamed
/// or replaced.
pub(super) fn open(folder: &Folder, recent: usize) -> Result<(Connection, Restored), StoreError> {
    let mut notices = Vec::new();
    match look_at_files(folder)? {
        Files::None => begin(folder)?,
        Files::Damaged(reason) => begin_anew(folder, &reason, &mut notices)?,
        Files::There => look_at_log(folder, &mut notices)?,
    }
    let opened = match restore(&folder.database(), recent) {
        Err(StoreError::Damaged { .. }) => look_again(folder, recent, &mut notices),
        other => other,
    };
    opened.map(|(connection, mut restored)| {
        notices.append(&mut restored.notices);
        (connection, Restored { notices, ..restored })
    })
}

/// Damage has to be found twice, over a new connection, and every byte has to be readable: a read
/// that failed for a moment must not cost the history.
fn look_again(
    folder: &Folder,
    recent: usize,
    notices: &mut Vec<String>,
) -> Result<(Connection, Restored), StoreError> {
    folder.read_through()?;
    match restore(&folder.database(), recent) {
        Err(StoreError::Damaged { reason, .. }) => {
            begin_anew(folder, &reason, notices)?;
            restore(&folder.database(), recent)
        }
        other => other,
    }
}

/// The state of the files before SQLite opens them: SQLite would treat an empty file as a new
/// database and delete its log.
#[derive(Debug, PartialEq, Eq)]
enum Files {
    /// Proven absent, both of them.
    None,
    /// There is a database of a possible size.
    There,
    /// They cannot be right: why.
    Damaged(String),
}

fn look_at_files(folder: &Folder) -> Result<Files, StoreError> {
    let path = folder.database();
    if is_absent(&path)? {
        return Ok(match is_absent(&folder.log())? {
            true => Files::None,
            false => Files::Damaged("it is gone, and its log is there".to_owned()),
        });
    }
    let file = folder::open(&path).and_then(|file| file.metadata());
    match file.map_err(|error| StoreError::file(&path, error))?.len() {
        length @ 0..PAGE_MIN => Ok(Files::Damaged(format!("it was cut to {length} bytes"))),
        _ => Ok(Files::There),
    }
}

fn begin(folder: &Folder) -> Result<(), StoreError> {
    let prepared = folder.prepare()?;
    schema::create(&prepared)?;
    folder.install(&prepared)
}

fn begin_anew(folder: &Folder, reason: &str, notices: &mut Vec<String>) -> Result<(), StoreError> {
    let path = folder.database();
    let name = folder.set_aside()?;
    notices.push(format!(
        "{} is damaged ({reason}): it was set aside as {name}, and a new history was begun",
        path.display()
    ));
    begin(folder)
}

/// SQLite is going to drop what is not right in the log: said here, and kept.
fn look_at_log(folder: &Folder, notices: &mut Vec<String>) -> Result<(), StoreError> {
    let path = folder.log();
    let tail = match folder::open(&path) {
        Ok(log) => write_ahead_log::inspect(BufReader::with_capacity(1 << 16, log)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    let log = path.display();
    match tail.map_err(|error| StoreError::file(&path, error))? {
        Tail::Whole => {}
        Tail::Unfinished(bytes) => notices.push(format!(
            "{log} ended in an unfinished write: its last {bytes} bytes were left out"
        )),
        Tail::Damaged(bytes) => {
            // Without a copy the start is refused: SQLite would delete these lines for good.
            let copy = folder.copy_aside()?;
            notices.push(format!(
                "{log} is damaged: its last {bytes} bytes, and the lines in them, were left out; \
                 a copy was kept as {copy}"
            ));
        }
    }
    Ok(())
}

fn restore(path: &Path, recent: usize) -> Result<(Connection, Restored), StoreError> {
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
) -> SqlResult<Restored> {
    let rooms = read::rooms(connection, recent, &mut notices)?;
    let bans = read::bans(connection, &mut notices)?;
    Ok(Restored { rooms, bans, tokens: read::tokens(connection)?, notices })
}

/// Reads everything once, for [`CHECK_MAX`] at most.
fn check(
    connection: &mut Connection,
    path: &Path,
    notices: &mut Vec<String>,
) -> Result<(), StoreError> {
    let until = now() + CHECK_MAX;
    let checked = connection
        .progress_handler(CHECK_STEPS, Some(move || now() > until))
        .and_then(|()| look(connection));
    let handler = connection.progress_handler(0, None::<fn() -> bool>);
    handler.map_err(|error| StoreError::database(path, &error))?;
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    match checked {
        Ok(Findings { structure: Some(what), .. }) if is_unread(&what) => {
            return Err(StoreError::unreadable(path, what));
        }
        Ok(Findings { structure: Some(what), .. }) => return Err(damaged(what)),
        Ok(findings) => {
            findings.tell(path, notices);
            if !findings.miscounted.is_empty() {
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

/// What a look at everything found.
#[derive(Debug)]
struct Findings {
    structure: Option<String>,
    damaged: u64,
    /// Rooms from which another program has removed lines, or to which it has added some: the
    /// name, the lines that the room should have, and those that it has.
    miscounted: Vec<(String, i64, i64)>,
}

impl Findings {
    /// Notices about lines. None of them is a reason to give up the others.
    fn tell(&self, path: &Path, notices: &mut Vec<String>) {
        let path = path.display();
        match self.damaged {
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

fn look(connection: &Connection) -> SqlResult<Findings> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        let first = verdict.lines().last().unwrap_or_default().to_owned();
        return Ok(Findings { structure: Some(first), damaged: 0, miscounted: Vec::new() });
    }
    let damaged = read::check_lines(connection)?;
    Ok(Findings { structure: None, damaged, miscounted: read::miscounted(connection)? })
}

/// Whether a verdict of `quick_check` is about a page that could not be read, which SQLite reports
/// in the same list as pages that are wrong: `… unable to get the page. error code=8458`.
fn is_unread(verdict: &str) -> bool {
    let code = verdict.rsplit_once("error code=").and_then(|(_, code)| code.trim().parse().ok());
    code.is_some_and(|code: i32| Fault::of_code(code) != Fault::Damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item B: `quick_check` lists failed reads among the damage.
    #[test]
    fn regression_a_page_that_cannot_be_read_is_not_damaged() {
        // SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ, SQLITE_CORRUPT.
        assert!(is_unread("Tree 4 page 7: unable to get the page. error code=8458"));
        assert!(is_unread("Tree 4 page 7: unable to get the page. error code=266"));
        assert!(!is_unread("Tree 4 page 7: unable to get the page. error code=11"));
        assert!(!is_unread("Tree 4 page 7 cell 2: Rowid 9 out of order"));
    }
}
