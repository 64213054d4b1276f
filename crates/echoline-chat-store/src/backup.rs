//! Reads a history while a chat may be using it, for backups and exports. Also restores a backup.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::data_folder::{DATABASE, DataFolder, canonical, copy_new, is_absent, is_store_file};
use super::error::StoreError;
use super::options::SharedFolder;
use super::sql::{read, schema};
use echoline_chat_core::StoredLine;

/// A read-only connection to a history. It does not disturb a running chat: with a write-ahead log,
/// readers and the writer do not wait for each other.
#[derive(Debug)]
pub struct HistoryReader {
    path: PathBuf,
    connection: Connection,
}

impl HistoryReader {
    /// Opens the history in a folder.
    ///
    /// # Errors
    /// If there is no history, if it is from a newer version or another program, or if it cannot be
    /// read.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        if is_absent(folder)? {
            return Err(StoreError::Absent { folder: folder.to_owned() });
        }
        let path = canonical(folder)?.join(DATABASE);
        if is_absent(&path)? {
            return Err(StoreError::Absent { folder: folder.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | schema::OPEN_FLAGS;
        let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
            connection.busy_timeout(schema::BUSY_TIMEOUT)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            Ok(connection)
        });
        let connection = opened.map_err(|error| StoreError::database(&path, &error))?;
        schema::check_version(&connection, &path)?;
        Ok(Self { path, connection })
    }

    /// Copies a snapshot of the whole history into the empty file `to`, and checks the copy. The
    /// copy contains all committed transactions, including those in the write-ahead log.
    ///
    /// # Errors
    /// If the history cannot be read, or if the copy cannot be written or is damaged.
    pub fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        let written = |error: &rusqlite::Error| StoreError::database(to, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | schema::OPEN_FLAGS;
        // The folder may be a symbolic link, which SQLite would not follow.
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = canonical(folder.unwrap_or(Path::new(".")))?;
        let file = folder.join(to.file_name().unwrap_or_default());
        let mut copy = Connection::open_with_flags(file, flags).map_err(|error| written(&error))?;
        let backup = Backup::new(&self.connection, &mut copy).map_err(|error| written(&error))?;
        // All pages are copied in one step. SQLite would restart the backup if the chat wrote
        // between two steps.
        let step = backup.step(-1).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::database(&self.path, &error)
            }
            _ => written(&error),
        })?;
        if step != StepResult::Done {
            let reason = "another program is writing to the file".to_owned();
            return Err(StoreError::Database { path: self.path.clone(), reason });
        }
        drop(backup);
        let verdict = copy.query_row("PRAGMA quick_check(1)", (), |row| row.get::<_, String>(0));
        match verdict.map_err(|error| written(&error))?.as_str() {
            "ok" => {}
            reason => {
                let reason = reason.to_owned();
                return Err(StoreError::Damaged { path: self.path.clone(), reason });
            }
        }
        copy.close().map_err(|(_, error)| written(&error))?;
        let synced = fs::File::open(to).and_then(|file| file.sync_all());
        synced.map_err(|error| StoreError::file(to, error))
    }

    /// Returns the names of all rooms.
    ///
    /// # Errors
    /// If the history cannot be read.
    pub fn rooms(&self) -> Result<Vec<String>, StoreError> {
        read::room_names(&self.connection).map_err(|error| self.failed(&error))
    }

    /// Passes every line of a room to `each`, the oldest first, until `each` fails. Reads from one
    /// snapshot. Returns the number of damaged or missing lines between the first and the last
    /// line.
    ///
    /// # Errors
    /// The error of `each`, or an error if the history cannot be read.
    pub fn lines<E: From<StoreError>>(
        &self,
        room: &str,
        mut each: impl FnMut(StoredLine) -> Result<(), E>,
    ) -> Result<u64, E> {
        let failed = |error: rusqlite::Error| E::from(self.failed(&error));
        // The transaction still contains the lines that the chat trims meanwhile.
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let (mut from, mut missing, mut is_first) = (0, 0, true);
        loop {
            let lines = read::lines(&transaction, room, from, u64::MAX, read::LINES_MAX);
            let lines = lines.map_err(failed)?;
            let Some(last) = lines.last().map(|line| line.number) else { return Ok(missing) };
            for line in lines {
                missing += if is_first { 0 } else { line.number - from };
                (is_first, from) = (false, line.number + 1);
                each(line)?;
            }
            from = last.saturating_add(1);
        }
    }

    /// Returns whether a path names a file of this history, even if that file does not exist. A
    /// backup must not replace such a file.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        let folder = |path: &Path| path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = parent.unwrap_or(Path::new(".")).join(path.file_name().unwrap_or_default());
        folder(&path) == folder(&self.path) && path.file_name().is_some_and(is_store_file)
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::database(&self.path, error)
    }
}

/// Installs a backup in a folder that has no history. Never replaces a file.
///
/// # Errors
/// If the folder is in use, has a history or cannot be used, or if the file is not a backup.
pub fn restore(folder: &Path, shared: SharedFolder, backup: &Path) -> Result<(), StoreError> {
    let folder = DataFolder::lock(folder, shared)?;
    for path in [folder.database(), folder.wal()] {
        if !is_absent(&path)? {
            return Err(StoreError::Present { path });
        }
    }
    let prepared = folder.prepare()?;
    let copied = fs::remove_file(&prepared)
        .and_then(|()| fs::File::open(backup))
        .and_then(|backup| copy_new(backup, &prepared));
    copied.map_err(|error| StoreError::file(backup, error))?;
    let checked = schema::open(&prepared).map(drop).map_err(|error| error.about(backup));
    let installed = checked.and_then(|()| folder.install(&prepared));
    installed.inspect_err(|_| drop(folder.discard()))
}
