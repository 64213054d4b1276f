//! Listening on a Unix socket, by path or by an abstract name.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::task::{Context, Poll, ready};

use socket2::{SockAddr, Socket};

use super::address::Address;
use super::socket_file::{self, FileRights, SocketFile};

/// A listening Unix socket. Its file is removed on drop, unless another server has replaced it.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    socket: UnixListener,
    file: SocketFile,
}

/// A listening Unix socket in the runtime.
#[derive(Debug)]
pub(crate) struct UnixAcceptor {
    socket: tokio::net::UnixListener,
    file: SocketFile,
}

/// The owner of a Unix socket's file, which removes it at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOwner {
    /// This server removes the file.
    Us,
    /// Another process removes the file, for example the service manager that created it. This
    /// value is also used if there is no file.
    Somebody,
}

impl UnixSocket {
    /// Binds the socket. Replaces a socket file whose server has ended. A socket with a running
    /// server, and any other file, is left unchanged.
    pub(crate) fn bind(path: &str, rights: &FileRights, backlog: u32) -> io::Result<Self> {
        if let Some(name) = path.strip_prefix('@') {
            // A name in the abstract namespace has no file that could be stale, and no mode.
            let address = SocketAddr::from_abstract_name(name)?;
            let listener = UnixListener::bind_addr(&address)?;
            return Self::listen(listener.into(), SocketFile::foreign(path), backlog);
        }
        let (socket, file) = socket_file::bind(path, rights, queue(backlog))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), file })
    }

    fn listen(socket: Socket, file: SocketFile, backlog: u32) -> io::Result<Self> {
        socket.listen(queue(backlog))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: socket.into(), file })
    }

    /// Takes over a socket that listens at `address`.
    pub(crate) fn inherit(
        socket: Socket,
        address: &SockAddr,
        owner: FileOwner,
        rights: &FileRights,
        backlog: u32,
    ) -> io::Result<Self> {
        let path = match (address.as_pathname(), address.as_abstract_namespace()) {
            (Some(path), _) => path.to_str().map(str::to_owned),
            (None, Some(name)) => str::from_utf8(name).ok().map(|name| format!("@{name}")),
            (None, None) => None,
        };
        let text = "it has no name, or its name is not text";
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        let file = match owner {
            FileOwner::Us => SocketFile::take_over(&path, rights)?,
            FileOwner::Somebody => SocketFile::foreign(&path),
        };
        Self::listen(socket, file, backlog)
    }

    pub(crate) fn hand_on(&self) -> io::Result<(OwnedFd, FileOwner)> {
        let owner = if self.file.is_ours() { FileOwner::Us } else { FileOwner::Somebody };
        Ok((self.socket.try_clone()?.into(), owner))
    }

    pub(crate) fn address(&self) -> Address {
        self.file.address()
    }

    /// Closes this socket and keeps its file, because another process uses it too.
    pub(crate) fn leave(mut self) {
        self.file.leave();
    }

    pub(crate) fn into_tokio(self) -> io::Result<UnixAcceptor> {
        let socket = tokio::net::UnixListener::from_std(self.socket)?;
        Ok(UnixAcceptor { socket, file: self.file })
    }

    /// Accepts a connection without waiting for the runtime.
    pub(crate) fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        let (stream, _) = self.socket.accept()?;
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream)
    }
}

impl UnixAcceptor {
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<tokio::net::UnixStream>> {
        let (stream, _) = ready!(self.socket.poll_accept(cx))?;
        Poll::Ready(Ok(stream))
    }

    /// Closes this socket and keeps its file, because another process uses it too.
    pub(crate) fn leave(mut self) {
        self.file.leave();
    }

    pub(crate) fn into_std(self) -> io::Result<UnixSocket> {
        Ok(UnixSocket { socket: self.socket.into_std()?, file: self.file })
    }
}

/// Returns the backlog as a number for listen(2).
fn queue(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::super::socket_file::tests::{OWNER, folder};
    use super::*;

    /// Fault 45: a server replaces the file of a killed server. At its end it removes its own file,
    /// and no other.
    #[test]
    fn replaces_a_stale_file_and_removes_only_its_own() {
        let (_folder, path) = folder();
        drop(UnixListener::bind(&path).unwrap());
        assert!(Path::new(&path).exists(), "std leaves the file behind");
        let first = UnixSocket::bind(&path, &OWNER, 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        assert!(!Path::new(&path).exists());

        let first = UnixSocket::bind(&path, &OWNER, 1).unwrap();
        fs::remove_file(&path).unwrap();
        let second = UnixSocket::bind(&path, &OWNER, 1).unwrap();
        drop(first);
        assert!(Path::new(&path).exists(), "the first removed the file of the second");
        drop(second);
    }

    /// Fault 45: a running server is not replaced, and other files are left unchanged.
    #[test]
    fn leaves_a_live_socket_and_other_files_unchanged() {
        let (_folder, path) = folder();
        let live = UnixSocket::bind(&path, &OWNER, 1).unwrap();
        assert_eq!(UnixSocket::bind(&path, &OWNER, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(live);
        fs::write(&path, "precious").unwrap();
        assert_eq!(
            UnixSocket::bind(&path, &OWNER, 1).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_abstract_name_leaves_no_file() {
        let name = format!("@echoline-test-{}", std::process::id());
        let first = UnixSocket::bind(&name, &OWNER, 1).unwrap();
        assert_eq!(first.address().to_string(), format!("unix:{name}"));
        assert_eq!(UnixSocket::bind(&name, &OWNER, 1).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        UnixSocket::bind(&name, &OWNER, 1).unwrap();
        assert!(!Path::new(&name).exists());
    }
}
