//! The folder of a store: its lock, its files, and damaged files set aside.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// A folder that nobody else uses while this lives: an flock(2), which the system takes back
/// however the process ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

const DATABASE: &str = "chat.sqlite3";
/// How many damaged files may lie there before somebody has to clear them away.
const SET_ASIDE_MAX: u32 = 100;

impl Folder {
    /// Makes the folder where it is missing (mode 0700) and takes it.
    pub(super) fn enter(path: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| StoreError::file(path, error))?;
        let name = path.join("chat.lock");
        let mut lock =
            private(OpenOptions::new().read(true).write(true).create(true).truncate(false))
                .open(&name)
                .map_err(|error| StoreError::file(&name, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&name).ok().and_then(|id| id.trim().parse().ok());
                return Err(StoreError::InUse { folder: path.to_owned(), process });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::file(&name, error)),
        }
        // For the sentence that another process gets; on a full disk it gets one without a number.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// SQLite's write-ahead log.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }

    /// Where a new database is prepared, so that one under its right name is always complete.
    /// An empty file is there (mode 0600), and nothing of an earlier attempt.
    pub(super) fn prepare(&self) -> Result<PathBuf, StoreError> {
        let path = self.path.join(format!("{DATABASE}.new"));
        for ending in ["", "-wal", "-shm", "-journal"] {
            remove(&with_ending(&path, ending))?;
        }
        let made = private(OpenOptions::new().write(true).create_new(true)).open(&path);
        made.map_err(|error| StoreError::file(&path, error))?;
        Ok(path)
    }

    /// Gives the prepared database its name, and makes sure that it keeps it.
    pub(super) fn install(&self, prepared: &Path) -> Result<(), StoreError> {
        fs::rename(prepared, self.database())
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(|error| StoreError::file(&self.database(), error))
    }

    /// Gives the database and its log another name, under which SQLite can still open them; returns
    /// that name.
    pub(super) fn set_aside(&self) -> Result<String, StoreError> {
        let name = self.free_name()?;
        for ending in ["", "-wal"] {
            let from = with_ending(&self.database(), ending);
            match fs::rename(&from, with_ending(&self.path.join(&name), ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::file(&from, error));
                }
                _ => {}
            }
        }
        // An index of the log, made anew from it at any time.
        remove(&with_ending(&self.database(), "-shm"))?;
        Ok(name)
    }

    /// Keeps a copy of the log, and of the database that it belongs to; returns the copy's name.
    pub(super) fn copy_aside(&self) -> Result<String, StoreError> {
        let name = self.free_name()?;
        for ending in ["", "-wal"] {
            let from = with_ending(&self.database(), ending);
            let copied = fs::copy(&from, with_ending(&self.path.join(&name), ending));
            copied.map_err(|error| StoreError::file(&from, error))?;
        }
        Ok(name)
    }

    fn free_name(&self) -> Result<String, StoreError> {
        let mut names = (1..=SET_ASIDE_MAX).map(|number| format!("{DATABASE}.damaged-{number}"));
        let free = |name: &String| {
            let path = self.path.join(name);
            !path.exists() && !with_ending(&path, "-wal").exists()
        };
        let full = "a hundred damaged files lie there: move them away";
        names.find(free).ok_or_else(|| StoreError::file(&self.path, io::Error::other(full)))
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::file(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_taken_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::enter(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = Folder::enter(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(folder);
        Folder::enter(&path).unwrap();
    }

    #[test]
    fn damaged_files_get_names_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::enter(parent.path()).unwrap();
        for number in 1..=3 {
            fs::write(folder.database(), b"no database").unwrap();
            fs::write(folder.log(), b"no log").unwrap();
            let name = folder.set_aside().unwrap();
            assert_eq!(name, format!("chat.sqlite3.damaged-{number}"));
            assert_eq!(fs::read(parent.path().join(name + "-wal")).unwrap(), b"no log");
            assert!(!folder.database().exists() && !folder.log().exists());
        }
    }
}
