//! The file of a Unix socket: made with its mode, by one server at a time, removed at the end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use super::address::Address;

/// The time that a start waits for another one in the same folder, which takes about a millisecond.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// The time that the end of a server waits for it before it leaves its file behind.
const REMOVE_PATIENCE: Duration = Duration::from_millis(20);

const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The permissions and the group of the file of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRights {
    /// Permission bits, at most 0o777. Connecting needs the bit to write.
    pub(super) mode: u32,
    /// The group of the file; `None` leaves the process's own.
    pub(super) group: Option<u32>,
}

/// The name that a Unix socket was bound to; a file of it is removed with this value.
#[derive(Debug)]
pub(super) struct SocketFile {
    /// As it was typed: `@` begins a name that is no file.
    path: String,
    /// Device and inode of the file; `None` if there is no file to remove.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// A name without a file of ours.
    pub(super) fn foreign(path: &str) -> Self {
        Self { path: path.to_owned(), identity: None }
    }

    /// The file that is at `path` now, which is ours.
    pub(super) fn ours(path: &str) -> Self {
        Self { path: path.to_owned(), identity: identity(Path::new(path)) }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.identity.is_some()
    }

    /// Leaves the file to another process.
    pub(super) fn leave(&mut self) {
        self.identity = None;
    }

    pub(super) fn address(&self) -> Address {
        let text = format!("unix:{}", self.path);
        text.parse().expect("the path was that of an address")
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_none() {
            return;
        }
        let path = Path::new(&self.path);
        // Another server could otherwise make its file between the comparison and the removal.
        // A file that stays is found to be stale by the next server.
        let Ok(_lock) = FolderLock::take(path, REMOVE_PATIENCE) else { return };
        if identity(path) == self.identity {
            let _ = fs::remove_file(path);
        }
    }
}

/// Binds a socket to a file and has it listen, all under the lock of the folder: two servers that
/// start at once on one path cannot take each other's new socket for a stale one. A stale file (its
/// server was killed) is replaced; a socket that is served, and any other file, is left alone.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if the path is served, or an error of the system.
pub(super) fn bind(
    path: &str,
    rights: FileRights,
    backlog: i32,
) -> io::Result<(Socket, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let _lock = FolderLock::take(Path::new(path), BIND_PATIENCE)?;
    remove_stale(Path::new(path), &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux makes the file with the mode of the socket less the umask, so the umask of the process,
    // which all of its threads share, stays as it is. A group comes first, then its rights.
    let first = if rights.group.is_some() { rights.mode & 0o700 } else { rights.mode };
    fchmod(&socket, Mode::from_bits_truncate(first))?;
    socket.bind(&address)?;
    let file = SocketFile::ours(path);
    rights.give(&file)?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

impl FileRights {
    /// Gives the new file its group and the bits that the umask took away.
    fn give(self, file: &SocketFile) -> io::Result<()> {
        let mut options = File::options();
        // A handle of the very file: a path could be another file by the next call.
        options.read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW);
        let handle = options.open(&file.path)?;
        let found = handle.metadata()?;
        if !found.file_type().is_socket() || file.identity != Some((found.dev(), found.ino())) {
            let text = "another program replaced the new socket file";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
        if let Some(group) = self.group {
            chown(&itself, None, Some(group)).map_err(|error| {
                let text = format!(
                    "cannot give the socket file to group {group}: {error}; only root may name a \
                     group that the user of this process is not in"
                );
                io::Error::new(error.kind(), text)
            })?;
        }
        if found.mode() & 0o7777 != self.mode {
            fs::set_permissions(&itself, fs::Permissions::from_mode(self.mode))?;
        }
        Ok(())
    }
}

/// A lock on the folder of a socket file, held while the file is made, replaced or removed.
#[derive(Debug)]
struct FolderLock {
    /// `None` if the folder cannot be locked: it may not be read, or its file system has no locks.
    _folder: Option<File>,
}

impl FolderLock {
    /// Blocks for at most `patience`.
    fn take(path: &Path, patience: Duration) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) else {
            return Ok(Self { _folder: None });
        };
        let end = Instant::now() + patience;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { _folder: Some(folder) }),
                Err(TryLockError::Error(_)) => return Ok(Self { _folder: None }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let text = format!("another program has locked its folder for {patience:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
        }
    }
}

/// Removes a socket file whose server is gone.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let text = "there is a file of that name, which is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    // Without waiting: a server whose queue is full answers EAGAIN.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // It is served, even if we may not connect.
        _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const OWNER: FileRights = FileRights { mode: 0o600, group: None };

    fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock").to_str().unwrap().to_owned();
        (folder, path)
    }

    /// Issue 11, item 5: of many servers that start at once on one path, where a stale file lies,
    /// exactly one serves; clients reach it, and the others fail with a sentence.
    #[test]
    fn regression_of_servers_that_start_at_once_exactly_one_serves() {
        const SERVERS: usize = 8;
        for _ in 0..50 {
            let (_folder, path) = folder();
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let start = Barrier::new(SERVERS);
            let bound = thread::scope(|scope| {
                let one = || {
                    start.wait();
                    bind(&path, OWNER, 8)
                };
                let all = [(); SERVERS].map(|()| scope.spawn(one));
                all.map(|thread| thread.join().unwrap())
            });
            let (served, refused): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!((served.len(), refused.len()), (1, SERVERS - 1));
            for error in refused.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
            let file = identity(Path::new(&path));
            assert!(file.is_some() && served[0].as_ref().unwrap().1.identity == file);
        }
    }

    /// Issue 11, item 5: the file has its mode whatever the umask, and the umask stays as it is
    /// while other threads make files.
    #[test]
    fn regression_the_umask_of_the_process_stays_as_it_is() {
        let umask = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            status.lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned()
        };
        let before = umask();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let watching = thread::spawn(move || {
            let mut seen = std::collections::BTreeSet::new();
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                seen.insert(umask());
            }
            seen
        });
        for mode in [0o600, 0o660, 0o666, 0o777].repeat(200) {
            let (_folder, path) = folder();
            let bound = bind(&path, FileRights { mode, group: None }, 8).unwrap();
            let made = fs::symlink_metadata(&path).unwrap();
            assert_eq!(made.mode() & 0o7777, mode);
            drop(bound);
            assert!(!fs::exists(&path).unwrap());
        }
        drop(done);
        assert_eq!(watching.join().unwrap().into_iter().collect::<Vec<_>>(), [before]);
    }

    /// Issue 11, item 5: no symbolic link is followed, and the file it names keeps its mode.
    #[test]
    fn regression_a_symbolic_link_is_not_followed() {
        let (folder, path) = folder();
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        let before = fs::metadata(&target).unwrap().mode();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = bind(&path, FileRights { mode: 0o666, group: None }, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        assert_eq!(fs::metadata(&target).unwrap().mode(), before);
    }

    /// Issue 11, item 5: a server with a full queue is served, and is asked without waiting.
    #[test]
    fn regression_a_server_with_a_full_queue_is_left_alone() {
        let (_folder, path) = folder();
        let served = bind(&path, OWNER, 0).unwrap();
        let _queued = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let error = bind(&path, OWNER, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(served);
    }

    /// Issue 11, item 5: the group gets its file, and one that it may not have is named.
    #[test]
    fn regression_the_group_of_the_file_is_the_one_asked_for() {
        let (folder, path) = folder();
        // Its own group is one that every user may give a file to.
        let group = fs::metadata(folder.path()).unwrap().gid();
        let rights = FileRights { mode: 0o660, group: Some(group) };
        let bound = bind(&path, rights, 8).unwrap();
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!((made.gid(), made.mode() & 0o7777), (group, 0o660));
        drop(bound);
        let other = FileRights { mode: 0o660, group: Some(54_321) };
        match bind(&path, other, 8) {
            // Root may give it to every group.
            Ok(_) => assert_eq!(fs::symlink_metadata(folder.path()).unwrap().uid(), 0),
            Err(error) => {
                assert!(error.to_string().contains("group 54321"), "{error}");
                assert!(!fs::exists(&path).unwrap(), "a file is left behind");
            }
        }
    }
}
