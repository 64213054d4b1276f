//! Opens the database of a folder: looks for damage, and sets aside what cannot be used.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Result as SqlResult};

use super::error::StoreError;
use super::folder::Folder;
use super::queue::now;
use super::read;
use super::record::Restored;
use super::schema;
use super::write_ahead_log::{self, Tail};

/// How long looking for damage may hold up the start. A million lines take about a second.
const CHECK_MAX: Duration = Duration::from_secs(10);
/// SQLite's steps between two looks at the clock.
const CHECK_STEPS: i32 = 100_000;
/// No SQLite database is smaller than its smallest page.
const PAGE_MIN: u64 = 512;

/// Opens the database, or begins one: where there is none, and where the one that is there is
/// damaged, which is then set aside and said in the notices.
pub(super) fn open(folder: &Folder, recent: usize) -> Result<(Connection, Restored), StoreError> {
    let mut notices = Vec::new();
    if let Some(reason) = damage(folder)? {
        begin_anew(folder, &reason, &mut notices)?;
    } else if !folder.database().exists() {
        begin(folder)?;
    } else {
        look_at_log(folder, &mut notices)?;
    }
    let opened = match restore(&folder.database(), recent) {
        Err(StoreError::Damaged { reason, .. }) => {
            begin_anew(folder, &reason, &mut notices)?;
            restore(&folder.database(), recent)
        }
        other => other,
    };
    opened.map(|(connection, mut restored)| {
        notices.append(&mut restored.notices);
        (connection, Restored { notices, ..restored })
    })
}

/// What can be seen to be wrong before SQLite takes a look, which takes an empty file for a new
/// database, and then deletes its log.
fn damage(folder: &Folder) -> Result<Option<String>, StoreError> {
    match fs::metadata(folder.database()) {
        Ok(file) if file.len() < PAGE_MIN => {
            Ok(Some(format!("it was cut to {} bytes", file.len())))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::file(&folder.database(), error))
        }
        Err(_) if folder.log().exists() => Ok(Some("it is gone, and its log is there".to_owned())),
        Err(_) => Ok(None),
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
    let tail = match File::open(&path) {
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
            let copy = match folder.copy_aside() {
                Ok(name) => format!("a copy was kept as {name}"),
                Err(error) => format!("no copy could be kept ({error})"),
            };
            notices.push(format!(
                "{log} is damaged: its last {bytes} bytes, and the lines in them, were left out; \
                 {copy}"
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
        Ok(Findings { structure: Some(what), .. }) => return Err(damaged(what)),
        Ok(Findings { missing: true, .. }) => return Err(damaged("lines are missing".to_owned())),
        Ok(Findings { damaged: 0, .. }) => {}
        Ok(Findings { damaged: 1, .. }) => {
            notices.push(format!("1 line in {} is damaged and left out", path.display()));
        }
        Ok(Findings { damaged, .. }) => {
            notices.push(format!("{damaged} lines in {} are damaged and left out", path.display()));
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
    missing: bool,
}

fn look(connection: &Connection) -> SqlResult<Findings> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        let first = verdict.lines().last().unwrap_or_default().to_owned();
        return Ok(Findings { structure: Some(first), damaged: 0, missing: false });
    }
    let (damaged, complete) = read::check_lines(connection)?;
    Ok(Findings { structure: None, damaged, missing: !complete })
}
