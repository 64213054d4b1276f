//! Listening on a Unix socket: the file that it leaves behind, and whom it belongs to.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Address;

/// Only who owns the file may connect, as with every socket that services keep for themselves.
const FORBIDDEN: Mode = Mode::from_bits_truncate(0o177);

/// A Unix socket that listens; its file goes with it, unless another server has taken its place.
#[derive(Debug)]
pub(super) struct UnixSocket {
    socket: UnixListener,
    file: SocketFile,
}

/// A listening Unix socket in the runtime.
#[derive(Debug)]
pub(super) struct UnixAcceptor {
    socket: tokio::net::UnixListener,
    file: SocketFile,
}

/// Who removes the file of a Unix socket at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOwner {
    /// We.
    Us,
    /// Somebody else: the service manager that made it; or there is no file.
    Somebody,
}

/// The name that a socket was bound to.
#[derive(Debug)]
struct SocketFile {
    /// As it was typed: `@` begins a name that is no file.
    path: String,
    /// Which file it was when it was made; `None` where there is none to remove.
    identity: Option<(u64, u64)>,
}

impl UnixSocket {
    /// Binds. A socket file that nobody listens at any more (its server was killed) is replaced;
    /// one that somebody listens at, and any other file, is left alone.
    pub(super) fn bind(path: &str, backlog: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        if let Some(name) = path.strip_prefix('@') {
            // In the abstract namespace there is no file to be stale, and no mode.
            let address = SocketAddr::from_abstract_name(name)?;
            let listener = UnixListener::bind_addr(&address)?;
            return Self::listen(listener.into(), path, None, backlog);
        }
        make_way(Path::new(path))?;
        // The mode that the file is made with: changed later, it would be open for a moment.
        let before = umask(FORBIDDEN);
        let bound = socket.bind(&SockAddr::unix(path)?);
        umask(before);
        bound?;
        let identity = identity(Path::new(path));
        Self::listen(socket, path, identity, backlog)
    }

    fn listen(
        socket: Socket,
        path: &str,
        identity: Option<(u64, u64)>,
        backlog: u32,
    ) -> io::Result<Self> {
        let file = SocketFile { path: path.to_owned(), identity };
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), file })
    }

    /// Takes over a socket that listens at `address`.
    pub(super) fn inherit(
        socket: Socket,
        address: &SockAddr,
        owner: FileOwner,
        backlog: u32,
    ) -> io::Result<Self> {
        let path = match (address.as_pathname(), address.as_abstract_namespace()) {
            (Some(path), _) => path.to_str().map(str::to_owned),
            (None, Some(name)) => str::from_utf8(name).ok().map(|name| format!("@{name}")),
            (None, None) => None,
        };
        let text = "its name is no text, or it has none";
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let ours = (owner == FileOwner::Us).then(|| identity(Path::new(&path)));
        Self::listen(socket, &path, ours.flatten(), backlog)
    }

    pub(super) fn hand_on(&self) -> io::Result<(OwnedFd, FileOwner)> {
        let owner = match self.file.identity {
            Some(_) => FileOwner::Us,
            None => FileOwner::Somebody,
        };
        Ok((self.socket.try_clone()?.into(), owner))
    }

    pub(super) fn address(&self) -> Address {
        self.file.address()
    }

    pub(super) fn into_tokio(self) -> io::Result<UnixAcceptor> {
        let socket = tokio::net::UnixListener::from_std(self.socket)?;
        Ok(UnixAcceptor { socket, file: self.file })
    }

    /// Accepts without the runtime.
    pub(super) fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        let (stream, _) = self.socket.accept()?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    }
}

impl UnixAcceptor {
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<tokio::net::UnixStream>> {
        let (stream, _) = ready!(self.socket.poll_accept(cx))?;
        Poll::Ready(Ok(stream))
    }

    /// Closes this end, and leaves the file to another process that listens there too.
    pub(super) fn leave(mut self) {
        self.file.identity = None;
    }

    pub(super) fn into_std(self) -> io::Result<UnixSocket> {
        Ok(UnixSocket { socket: self.socket.into_std()?, file: self.file })
    }
}

impl SocketFile {
    fn address(&self) -> Address {
        let text = format!("unix:{}", self.path);
        text.parse().expect("the path was that of an address")
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let path = PathBuf::from(&self.path);
        if self.identity.is_some() && identity(&path) == self.identity {
            // What cannot be removed is found to be stale by the next server.
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes a socket file that nobody listens at.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let text = "there is a file of that name, which is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Somebody listens, even if their queue is full or we may not connect.
        _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock").to_str().unwrap().to_owned();
        (folder, path)
    }

    /// Fault 45: the file of a server that was killed is no reason not to start; its own file
    /// goes with a server, and only its own.
    #[test]
    fn a_stale_socket_is_replaced_and_ones_own_removed() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        assert!(Path::new(&path).exists(), "std leaves the file behind");
        let first = UnixSocket::bind(&path, 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        assert!(!Path::new(&path).exists());

        let first = UnixSocket::bind(&path, 1).unwrap();
        fs::remove_file(&path).unwrap();
        let second = UnixSocket::bind(&path, 1).unwrap();
        drop(first);
        assert!(Path::new(&path).exists(), "the first removed the file of the second");
        drop(second);
    }

    /// Fault 45: who listens is not pushed aside, and no other file is touched.
    #[test]
    fn a_live_socket_and_other_files_are_left_alone() {
        let (_folder, path) = folder();
        let live = UnixSocket::bind(&path, 1).unwrap();
        assert_eq!(UnixSocket::bind(&path, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(live);
        fs::write(&path, "precious").unwrap();
        assert_eq!(UnixSocket::bind(&path, 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_abstract_name_leaves_no_file() {
        let name = format!("@echoline-test-{}", std::process::id());
        let first = UnixSocket::bind(&name, 1).unwrap();
        assert_eq!(first.address().to_string(), format!("unix:{name}"));
        assert_eq!(UnixSocket::bind(&name, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        UnixSocket::bind(&name, 1).unwrap();
        assert!(!Path::new(&name).exists());
    }
}
