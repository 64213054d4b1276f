//! What can go wrong with a store, and what each error of SQLite asks for.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a store cannot be opened, or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, or a file in it, cannot be made, opened or renamed.
    #[error("the chat's history cannot use {path}: {reason}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system. It is part of the message, so it is not the `source()` too.
        reason: io::Error,
    },
    /// Other users can replace files in the folder.
    #[error(
        "the chat's history does not use {folder}: {reason}; take the right to write from other \
         users (chmod go-w), use another folder, or accept this one with --allow-shared-files"
    )]
    Exposed {
        /// The folder.
        folder: PathBuf,
        /// The folder, and the users who may write to it.
        reason: String,
    },
    /// Another process has the folder.
    #[error(
        "the chat's history in {folder} is in use by {}: stop it, or use another folder",
        .process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The id of that process, if it could be read.
        process: Option<u32>,
    },
    /// There is no history in the folder.
    #[error("there is no chat's history in {folder}")]
    Absent {
        /// The folder.
        folder: PathBuf,
    },
    /// There is a history already.
    #[error("{path} is there already: restore into another folder, or move its files away")]
    Present {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error(
        "{path} has version {found} and this program knows versions up to {known}: \
         use the newer program, or another folder"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The file is a good SQLite database of somebody else.
    #[error("{path} is no chat's history, but another program's database: use another folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file holds what cannot be right.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// SQLite could not do it, because of the disk, say.
    #[error("the chat's history in {path} cannot be used: {reason}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// A thousand questions wait for an answer already.
    #[error("too many questions to the chat's history wait already: try again later")]
    Busy,
    /// The store was closed before it could answer.
    #[error("the chat's history is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn file(path: &Path, reason: io::Error) -> Self {
        Self::File { path: path.to_owned(), reason }
    }

    /// From an error of SQLite with the file at `path`.
    pub(super) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let reason = error.to_string();
        match Fault::of(error) {
            Fault::Damage => Self::Damaged { path: path.to_owned(), reason },
            _ if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                Self::unreadable(path, reason)
            }
            _ => Self::Database { path: path.to_owned(), reason },
        }
    }

    /// The same error with the name of the file that the user knows.
    pub(super) fn about(mut self, file: &Path) -> Self {
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

    /// The disk or its file system failed, which says nothing about the file.
    pub(super) fn unreadable(path: &Path, what: impl std::fmt::Display) -> Self {
        let reason = format!("{what}: check the disk and its file system, then start again");
        Self::Database { path: path.to_owned(), reason }
    }
}

/// What an error of SQLite asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Try the same again later: no space, or somebody else has the file.
    Wait,
    /// Nothing may be believed before the file was opened anew. After an fsync that failed, the
    /// system counts pages as written that are not
    /// (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
    Reopen,
    /// The file holds what cannot be right.
    Damage,
    /// This change can never be written.
    Refuse,
}

impl Fault {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::ToSqlConversionFailure(_) => Self::Refuse,
            // What is read has another type than what was written, or is no text.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => Self::Damage,
            _ => error
                .sqlite_error()
                .map_or(Self::Reopen, |error| Self::of_code(error.extended_code)),
        }
    }

    /// From an extended result code of SQLite (<https://www.sqlite.org/rescode.html>).
    pub(super) fn of_code(code: i32) -> Self {
        match rusqlite::ffi::Error::new(code).code {
            ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Wait,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damage,
            ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
                Self::Refuse
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
    fn errors_are_sorted_by_what_they_ask_for() {
        let fault = |code| Fault::of(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(fault(ffi::SQLITE_FULL), Fault::Wait);
        assert_eq!(fault(ffi::SQLITE_BUSY), Fault::Wait);
        assert_eq!(fault(ffi::SQLITE_IOERR_FSYNC), Fault::Reopen);
        assert_eq!(fault(ffi::SQLITE_IOERR_CORRUPTFS), Fault::Reopen);
        assert_eq!(fault(ffi::SQLITE_CANTOPEN), Fault::Reopen);
        assert_eq!(fault(ffi::SQLITE_NOMEM), Fault::Reopen);
        assert_eq!(fault(ffi::SQLITE_READONLY), Fault::Reopen);
        assert_eq!(fault(ffi::SQLITE_CORRUPT), Fault::Damage);
        assert_eq!(fault(ffi::SQLITE_NOTADB), Fault::Damage);
        assert_eq!(fault(ffi::SQLITE_TOOBIG), Fault::Refuse);
        assert_eq!(fault(ffi::SQLITE_ERROR), Fault::Reopen);
    }
}
