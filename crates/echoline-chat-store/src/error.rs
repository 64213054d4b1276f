//! Errors of a store, and the reaction to each error of SQLite.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The reason why a store cannot be opened, or why a query failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, or a file in it, cannot be created, opened or renamed.
    #[error("the chat cannot access {path}: {reason}")]
    File {
        /// The folder or the file.
        path: PathBuf,
        /// The error of the system. It is part of the message, so it is not the `source()`.
        reason: io::Error,
    },
    /// Other users can replace files in the folder.
    #[error(
        "the chat's history does not use {folder}: {reason}; remove the right to write from other \
         users (chmod go-w), use another folder, or accept this one with --allow-shared-files"
    )]
    Exposed {
        /// The folder.
        folder: PathBuf,
        /// The problem: the folder, and the users who may write to it.
        reason: String,
    },
    /// Another process uses the folder.
    #[error(
        "the chat's history in {folder} is in use by {}: stop it, or use another folder",
        .process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The id of the other process, if the lock file contains it.
        process: Option<u32>,
    },
    /// There is no history in the folder.
    #[error("there is no chat history in {folder}")]
    Absent {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder already has a history.
    #[error("{path} already exists: restore into another folder, or move its files away")]
    Present {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "{path} has version {found} but this program knows versions up to {known}: use the newer \
         program, or another folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of the file's tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is an SQLite database of another program.
    #[error("{path} is the database of another program, not a chat history: use another folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        reason: String,
    },
    /// SQLite failed for a different reason, such as an error of the disk.
    #[error("the chat's history in {path} cannot be used: {reason}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The message of SQLite.
        reason: String,
    },
    /// Too many queries are waiting: 1,000, or 100 searches.
    #[error("too many queries of the chat's history are waiting: try again later")]
    Busy,
    /// The store is closed.
    #[error("the chat's history is closed")]
    Closed,
}

impl StoreError {
    /// Returns an error of the system that concerns a file or folder.
    pub(crate) fn file(path: &Path, reason: io::Error) -> Self {
        Self::File { path: path.to_owned(), reason }
    }

    /// Converts an error of SQLite that concerns the file at `path`.
    pub(crate) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let reason = error.to_string();
        match ErrorAction::of(error) {
            ErrorAction::Damage => Self::Damaged { path: path.to_owned(), reason },
            _ if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                Self::unreadable(path, reason)
            }
            _ => Self::Database { path: path.to_owned(), reason },
        }
    }

    /// Replaces the path in the error by that of the file that the user named.
    pub(crate) fn about(mut self, file: &Path) -> Self {
        match &mut self {
            Self::File { path, .. }
            | Self::Newer { path, .. }
            | Self::Foreign { path }
            | Self::Damaged { path, .. }
            | Self::Database { path, .. } => file.clone_into(path),
            _ => {}
        }
        self
    }

    /// Returns an error of the disk or its file system. It does not count as damage of the file.
    pub(crate) fn unreadable(path: &Path, what: impl std::fmt::Display) -> Self {
        let reason = format!("{what}: check the disk and its file system, then start again");
        Self::Database { path: path.to_owned(), reason }
    }
}

/// The reaction to an error of SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorAction {
    /// Retry later: the disk is full, or another program has locked the file.
    Retry,
    /// Open the file again before using it. After a failed fsync(2), the system may treat pages as
    /// written although they are not (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
    Reopen,
    /// Treat the file as damaged.
    Damage,
    /// Drop this change, because it can never be written.
    Reject,
}

impl ErrorAction {
    /// Returns the reaction to an error.
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::ToSqlConversionFailure(_) => Self::Reject,
            // A value has a different type than the one that was written, or is not UTF-8.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::Damage,
            _ => error
                .sqlite_error()
                .map_or(Self::Reopen, |error| Self::of_code(error.extended_code)),
        }
    }

    /// Returns the reaction to an extended result code of SQLite
    /// (<https://www.sqlite.org/rescode.html>).
    pub(crate) fn of_code(code: i32) -> Self {
        match rusqlite::ffi::Error::new(code).code {
            ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Self::Retry
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damage,
            ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
                Self::Reject
            }
            _ => Self::Reopen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn each_sqlite_error_has_a_reaction() {
        let action =
            |code| ErrorAction::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(action(ffi::SQLITE_FULL), ErrorAction::Retry);
        assert_eq!(action(ffi::SQLITE_BUSY), ErrorAction::Retry);
        assert_eq!(action(ffi::SQLITE_IOERR_FSYNC), ErrorAction::Reopen);
        assert_eq!(action(ffi::SQLITE_IOERR_CORRUPTFS), ErrorAction::Reopen);
        assert_eq!(action(ffi::SQLITE_CANTOPEN), ErrorAction::Reopen);
        assert_eq!(action(ffi::SQLITE_NOMEM), ErrorAction::Reopen);
        assert_eq!(action(ffi::SQLITE_READONLY), ErrorAction::Reopen);
        assert_eq!(action(ffi::SQLITE_CORRUPT), ErrorAction::Damage);
        assert_eq!(action(ffi::SQLITE_NOTADB), ErrorAction::Damage);
        assert_eq!(action(ffi::SQLITE_TOOBIG), ErrorAction::Reject);
        assert_eq!(action(ffi::SQLITE_ERROR), ErrorAction::Reopen);
    }
}
