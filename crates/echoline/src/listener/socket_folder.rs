//! The directory of a socket file, opened once, so that its path cannot be redirected.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::Instant;

use echoline_base::file_access::{Sticky, exposed_folder, if_there};

const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The folder of a socket file, and the name of the file in it.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    folder: File,
    name: OsString,
}

impl SocketFolder {
    /// Opens the folder of the file at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY);
        let folder = options.open(folder.unwrap_or(Path::new(".")))?;
        Ok(Self { folder, name })
    }

    /// Returns a handle of the file. If a symbolic link has its name, the handle is that of the
    /// link itself.
    pub(crate) fn file(&self) -> io::Result<File> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.folder, self.name.as_os_str(), flags, Mode::empty())?.into())
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Returns an error if a user other than root can replace files in the folder.
    pub(crate) fn refuse_exposed(&self) -> io::Result<()> {
        let Some(exposed) = exposed_folder(&self.folder, 0, Sticky::Safe)? else { return Ok(()) };
        let text = format!(
            "{exposed}: listen in a folder that only root can write, or start the server as a user \
             that can write this one (--user)"
        );
        Err(io::Error::other(text))
    }

    /// Removes a socket file whose server has ended.
    pub(crate) fn remove_stale(&self) -> io::Result<()> {
        let Some(file) = if_there(self.file())? else { return Ok(()) };
        if !file.metadata()?.file_type().is_socket() {
            let text = "a file of that name exists, and it is not a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        // connect(2) does not wait here: if the server's queue is full, it fails with EAGAIN.
        let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        let itself = SockAddr::unix(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        match probe.connect(&itself) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.remove(),
            // Any other result means that a server is running, even if this process may not connect
            // to it.
            _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        }
    }

    /// Locks the folder. Blocks for at most `patience`.
    pub(crate) fn lock(&self, patience: Duration) -> io::Result<FolderLock> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(folder) = openat(&self.folder, ".", flags, Mode::empty()).map(File::from) else {
            return Ok(FolderLock { _folder: None });
        };
        let end = Instant::now() + patience;
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(FolderLock { _folder: Some(folder) }),
                Err(TryLockError::Error(_)) => return Ok(FolderLock { _folder: None }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let text = format!("another program has locked its folder for {patience:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
        }
    }
}

/// A lock on the folder of a socket file, held while the file is created, replaced or removed.
#[derive(Debug)]
pub(crate) struct FolderLock {
    /// `None` if the folder cannot be locked: it is not readable, or its file system has no locks.
    _folder: Option<File>,
}
