//! The folder of a store: its lock, its files, and the names of damaged files.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use echoline_base::file_access::{exposed_data_folder, if_there};

use super::error::StoreError;
use super::options::SharedFolder;

/// A folder that only this process uses, locked with flock(2). The system releases the lock when
/// the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    lock: File,
}

/// The lock file.
const LOCK: &str = "chat.lock";

/// The maximum length of the lock file in bytes. It contains a process id and a line end.
const LOCK_BYTES_MAX: u64 = 32;

/// The database file.
pub(crate) const DATABASE: &str = "chat.sqlite3";
/// The maximum number of renamed damaged files. If there are more, a start fails until an operator
/// removes some.
const DAMAGED_MAX: u32 = 100;

impl DataFolder {
    /// Creates the folder with mode 0700 if it does not exist, and locks it.
    pub(crate) fn lock(path: &Path, shared: SharedFolder) -> Result<Self, StoreError> {
        create_folder(path).map_err(|error| StoreError::file(path, error))?;
        // The canonical path contains no symbolic link that could change later.
        let path = &canonical(path)?;
        if shared == SharedFolder::Refuse {
            refuse_exposed(path)?;
        }
        let name = path.join(LOCK);
        let mut lock = open_lock(&name).map_err(|error| StoreError::file(&name, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = lock.read_to_string(&mut text);
                let process = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { folder: path.to_owned(), process });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::file(&name, error)),
        }
        // The process id is used only in the error message of another process. If the disk is full,
        // the file stays empty.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Returns the path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Returns the path of SQLite's write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join(format!("{DATABASE}-wal"))
    }

    /// Creates an empty file (mode 0600) for a new database, and removes an unfinished one. When
    /// the database is complete, [`install`](Self::install) gives it its final name.
    pub(crate) fn prepare(&self) -> Result<PathBuf, StoreError> {
        self.discard()?;
        let path = self.path.join(format!("{DATABASE}.new"));
        let made = private(OpenOptions::new().write(true).create_new(true)).open(&path);
        made.map_err(|error| StoreError::file(&path, error))?;
        Ok(path)
    }

    /// Removes an unfinished new database.
    pub(crate) fn discard(&self) -> Result<(), StoreError> {
        let path = self.path.join(format!("{DATABASE}.new"));
        ["", "-wal", "-shm", "-journal"].iter().try_for_each(|end| remove(&with_ending(&path, end)))
    }

    /// Returns the names of the renamed damaged files.
    pub(crate) fn damaged_files(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error| StoreError::file(&self.path, error);
        let mut names = Vec::new();
        for file in fs::read_dir(&self.path).map_err(failed)? {
            let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
            names.extend(name.starts_with(&format!("{DATABASE}.damaged-")).then_some(name));
        }
        names.sort();
        Ok(names)
    }

    /// Gives a prepared database its final name, and makes this durable. Fails if a file with that
    /// name exists.
    pub(crate) fn install(&self, prepared: &Path) -> Result<(), StoreError> {
        rename_new(prepared, &self.database())
            .and_then(|()| self.sync())
            .map_err(|error| StoreError::file(&self.database(), error))
    }

    /// Makes the entries of the directory durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Reads the database and its log completely, to detect errors of the disk.
    pub(crate) fn read_through(&self) -> Result<(), StoreError> {
        for path in [self.database(), self.wal()] {
            let read = open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
            if_there(read).map_err(|error| StoreError::file(&path, error))?;
        }
        Ok(())
    }

    /// Renames a damaged database together with its log, so that SQLite can still open them.
    /// Returns the new name. If the log cannot be renamed, the database gets its old name back.
    pub(crate) fn rename_damaged(&self) -> Result<String, StoreError> {
        let name = self.free_name()?;
        let (from, to) = (self.database(), self.path.join(&name));
        let moved =
            rename_if_present(&from, &to).map_err(|error| StoreError::file(&from, error))?;
        if let Err(error) = rename_if_present(&self.wal(), &with_ending(&to, "-wal")) {
            if moved {
                rename_new(&to, &from).map_err(|error| StoreError::file(&to, error))?;
            }
            return Err(StoreError::file(&self.wal(), error));
        }
        // This is the index of the log. SQLite rebuilds it when needed.
        remove(&with_ending(&self.database(), "-shm"))?;
        self.sync().map_err(|error| StoreError::file(&self.path, error))?;
        Ok(name)
    }

    fn free_name(&self) -> Result<String, StoreError> {
        for number in 1..=DAMAGED_MAX {
            let name = format!("{DATABASE}.damaged-{number}");
            let path = self.path.join(&name);
            if is_absent(&path)? && is_absent(&with_ending(&path, "-wal"))? {
                return Ok(name);
            }
        }
        let full = "a hundred damaged files lie there: move them away";
        Err(StoreError::file(&self.path, io::Error::other(full)))
    }
}

impl Drop for DataFolder {
    /// Releases the lock at once. Closing the file would not be enough: if another thread has just
    /// forked a child process, the child has a copy of the descriptor until it calls execve(2).
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Returns whether a file name belongs to the store: the database, the files that SQLite keeps
/// beside it, renamed damaged files, and the lock.
pub(crate) fn is_store_file(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name == LOCK.as_bytes() || name.starts_with(DATABASE.as_bytes())
}

/// Returns whether nothing exists at this path, not even a dangling symbolic link. Fails if this
/// cannot be determined.
pub(crate) fn is_absent(path: &Path) -> Result<bool, StoreError> {
    let found = if_there(fs::symlink_metadata(path));
    found.map(|found| found.is_none()).map_err(|error| StoreError::file(path, error))
}

/// Renames a file, but never replaces one. Fails with `AlreadyExists` if `to` exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        // The file system has no hard links (FAT and some network file systems).
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EPERM | libc::EOPNOTSUPP | libc::ENOSYS | libc::EMLINK)
            ) =>
        {
            rename_over_new(from, to)
        }
        Err(error) => Err(error),
    }
}

/// Like [`rename_new`], without hard links. The only file that it replaces is an empty one that it
/// has just created itself.
fn rename_over_new(from: &Path, to: &Path) -> io::Result<()> {
    private(OpenOptions::new().write(true).create_new(true)).open(to)?;
    fs::rename(from, to)
}

/// Renames a file if it exists. Returns whether it existed.
fn rename_if_present(from: &Path, to: &Path) -> io::Result<bool> {
    Ok(if_there(rename_new(from, to))?.is_some())
}

/// Copies a file to a new name, and makes the copy durable. Fails if `to` exists.
pub(crate) fn copy_new(mut source: File, to: &Path) -> io::Result<()> {
    let mut copy = private(OpenOptions::new().write(true).create_new(true)).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

/// Creates a folder, and all missing folders above it.
fn create_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        // This error also occurs if the path is a file, or a folder without access.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::metadata(path)?.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        made => made,
    }
}

/// Returns the path of a folder with all symbolic links resolved.
pub(crate) fn canonical(folder: &Path) -> Result<PathBuf, StoreError> {
    fs::canonicalize(folder).map_err(|error| StoreError::file(folder, error))
}

/// Fails if another user can replace files in the folder.
fn refuse_exposed(path: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    let exposed = opened.and_then(|folder| exposed_data_folder(&folder));
    match exposed.map_err(|error| StoreError::file(path, error))? {
        Some(exposed) => {
            Err(StoreError::Exposed { folder: path.to_owned(), reason: exposed.to_string() })
        }
        None => Ok(()),
    }
}

/// Opens a file of the store for reading. Fails if it is a symbolic link or a pipe.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_regular_file()) }
}

/// Opens or creates the lock file. Fails if the file has different content, because the caller will
/// empty it.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    private(options.read(true).write(true).create(true).truncate(false));
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(no_regular_file());
    }
    if found.len() > LOCK_BYTES_MAX {
        let text = "it is not the lock of a chat but another file: move it away";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(file)
}

fn no_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
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
    if_there(fs::remove_file(path)).map(drop).map_err(|error| StoreError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn lock(path: &Path) -> Result<DataFolder, StoreError> {
        DataFolder::lock(path, SharedFolder::Refuse)
    }

    #[test]
    fn a_folder_is_created_for_its_owner_and_locked_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = lock(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = lock(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(folder);
        lock(&path).unwrap();
    }

    /// Issue 11, item H: the lock is released even if another process still has a copy of its
    /// descriptor. A process that another thread has just forked has one until it calls execve(2).
    #[test]
    fn regression_a_copied_descriptor_does_not_keep_the_lock() {
        let parent = tempfile::tempdir().unwrap();
        let folder = lock(parent.path()).unwrap();
        let copy = folder.lock.try_clone().unwrap();
        drop(folder);
        lock(parent.path()).unwrap();
        drop(copy);
    }

    /// Issue 11, item A: installing a database never replaces an existing file with its name.
    #[test]
    fn regression_installing_never_replaces_a_file() {
        let parent = tempfile::tempdir().unwrap();
        let folder = lock(parent.path()).unwrap();
        fs::write(folder.database(), b"300 lines").unwrap();
        let prepared = folder.prepare().unwrap();
        let error = folder.install(&prepared).unwrap_err();
        assert!(matches!(&error, StoreError::File { reason, .. }
            if reason.kind() == io::ErrorKind::AlreadyExists));
        let error = rename_over_new(&prepared, &folder.database()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(folder.database()).unwrap(), b"300 lines");
        fs::remove_file(folder.database()).unwrap();
        rename_over_new(&prepared, &folder.database()).unwrap();
        assert!(is_absent(&prepared).unwrap() && !is_absent(&folder.database()).unwrap());
    }

    /// Issue 11, item A: a path that cannot be examined does not count as absent.
    #[test]
    fn regression_an_error_does_not_count_as_absence() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("file"), b"").unwrap();
        // ENOTDIR is an error that the superuser gets too.
        let error = is_absent(&parent.path().join("file/below")).unwrap_err();
        assert!(matches!(error, StoreError::File { .. }), "{error}");
        assert!(is_absent(&parent.path().join("none")).unwrap());
    }

    #[test]
    fn damaged_files_get_names_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let folder = lock(parent.path()).unwrap();
        for number in 1..=3 {
            fs::write(folder.database(), b"no database").unwrap();
            fs::write(folder.wal(), b"no log").unwrap();
            let name = folder.rename_damaged().unwrap();
            assert_eq!(name, format!("chat.sqlite3.damaged-{number}"));
            assert_eq!(fs::read(parent.path().join(name + "-wal")).unwrap(), b"no log");
            assert!(!folder.database().exists() && !folder.wal().exists());
        }
    }

    /// Issue 12, item 16: if the lock is a symbolic link, it is not followed, and its target is not
    /// emptied. Another file with the name of the lock is not emptied either.
    #[test]
    fn attack_a_symlink_in_place_of_the_lock_empties_no_file() {
        let parent = tempfile::tempdir().unwrap();
        let (data, precious) = (parent.path().join("data"), parent.path().join("precious"));
        fs::create_dir(&data).unwrap();
        fs::write(&precious, "precious words, more than a lock has").unwrap();
        let lock_file = data.join(LOCK);
        symlink(&precious, &lock_file).unwrap();
        for shared in [SharedFolder::Refuse, SharedFolder::Allow] {
            assert!(matches!(DataFolder::lock(&data, shared), Err(StoreError::File { .. })));
        }
        fs::remove_file(&lock_file).unwrap();
        fs::hard_link(&precious, &lock_file).unwrap();
        let error = DataFolder::lock(&data, SharedFolder::Allow).unwrap_err().to_string();
        assert!(error.contains("not the lock of a chat"), "{error}");
        fs::remove_file(&lock_file).unwrap();
        nix::unistd::mkfifo(&lock_file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = DataFolder::lock(&data, SharedFolder::Allow).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let text = fs::read_to_string(&precious).unwrap();
        assert_eq!(text, "precious words, more than a lock has");
    }

    /// Issue 12, item 16: a folder is refused if other users may write to it or to a folder above
    /// it. The folder of another user is refused too, unless root works in it on behalf of that
    /// user.
    #[test]
    fn attack_a_folder_that_others_may_write_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("above/data");
        drop(lock(&data).unwrap());
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let above = parent.path().join("above");
        for (path, mode) in [(&data, 0o777), (&data, 0o1777), (&data, 0o720), (&above, 0o777)] {
            open(path, mode);
            let error = lock(&data).unwrap_err();
            assert!(matches!(error, StoreError::Exposed { .. }), "{mode:o}: {error}");
            drop(DataFolder::lock(&data, SharedFolder::Allow).unwrap());
            open(path, 0o700);
        }
        drop(lock(&data).unwrap());
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("SKIPPED, not passed: the rest of this test needs root");
            return;
        }
        std::os::unix::fs::chown(&data, Some(54_321), Some(54_321)).unwrap();
        drop(lock(&data).unwrap());
        std::os::unix::fs::chown(&above, Some(54_321), None).unwrap();
        let error = lock(&data).unwrap_err().to_string();
        assert!(error.contains("belongs to user 54321, who can replace"), "{error}");
    }

    /// Issue 12, item 16: no file of the store is read through a symbolic link.
    #[test]
    fn attack_a_symlink_in_place_of_the_log_is_not_read() {
        let parent = tempfile::tempdir().unwrap();
        let folder = lock(&parent.path().join("data")).unwrap();
        let secret = parent.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::write(folder.database(), b"no database").unwrap();
        symlink(&secret, folder.wal()).unwrap();
        assert!(folder.read_through().is_err());
    }
}
