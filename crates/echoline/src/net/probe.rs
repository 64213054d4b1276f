//! Whether an address could be listened on, without listening.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::address::{Address, Scheme};
use super::bind_error::say;
use super::file_user::FileUser;
use super::listener::Listener;
use super::socket_folder::SocketFolder;

impl Listener {
    /// Tries whether `address` could be bound, and never listens there: nobody can connect, and a
    /// server that is being started is not in the way. A port of UDP is not tried, because who has
    /// it gets its datagrams at once; nor is a Unix socket, which would leave a file.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn probe(address: &Address) -> io::Result<Vec<SocketAddr>> {
        if address.scheme() == Scheme::Unix {
            return Ok(Vec::new());
        }
        let resolved = address.resolve().await.map_err(|error| say(address, &error))?;
        for &candidate in &resolved {
            let is_udp = address.scheme() == Scheme::Udp;
            let kind = if is_udp { Type::DGRAM } else { Type::STREAM };
            let socket = Socket::new(Domain::for_address(candidate), kind, None);
            let bound = socket.and_then(|socket| {
                // Two sockets of datagrams would share the port then.
                socket.set_reuse_address(!is_udp)?;
                socket.bind(&candidate.into())
            });
            bound.map_err(|error| say(address, &error))?;
        }
        Ok(resolved)
    }

    /// Checks whether a server of root's would listen on the Unix socket at `path`.
    ///
    /// # Errors
    /// When another user can replace files in its folder.
    pub fn probe_folder(path: &Path) -> io::Result<()> {
        if FileUser::present() != 0 {
            return Ok(());
        }
        // A folder that is missing is told by the next check.
        SocketFolder::open(path).map_or(Ok(()), |folder| folder.refuse_exposed())
    }
}
