//! Listening sockets: their options, and how they are bound or inherited.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};

use super::acceptor::{Acceptor, AcceptorSocket};
use super::address::{Address, Scheme, canonical, is_loopback};
use super::bind_error::{how_to_serve, remedy_for_no_stream, say, unsupported};
use super::file_user::FileUser;
use super::one_port::bind_all;
use super::socket_file::FileRights;
use super::socket_folder::SocketFolder;
use super::unix::{FileOwner, UnixSocket};
use crate::transport::steps::Transport;

/// The keep-alive settings. A peer whose host or network has failed is detected after two minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(6);

/// The longest `TCP_USER_TIMEOUT`: the system counts milliseconds in an `int`.
const USER_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Options for a listening socket, as in asyncio's `start_server(backlog=…, reuse_address=…,
/// reuse_port=…)`. A later release may add fields, so end a literal with `..Default::default()`.
///
/// ```
/// use echoline::{Listener, ListenerOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// // One socket for IPv6 and IPv4, on every system.
/// let options = ListenerOptions { dual_stack: true, backlog: 4096, ..Default::default() };
/// let listeners = Listener::bind(&"[::]:0".parse()?, &options).await?;
/// assert_eq!(listeners.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The maximum number of connections that the system queues until they are accepted. The system
    /// caps it at `net.core.somaxconn`. Default 1,024, as in memcached.
    pub backlog: u32,
    /// `SO_REUSEADDR`: bind although connections of a former server are in TIME_WAIT. Default
    /// `true`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: several sockets may share the port. When one of them closes, the
    /// connections in its queue are reset, so it is not suitable for restarts. Default `false`.
    pub reuse_port: bool,
    /// Whether the IPv6 address `[::]` accepts IPv4 clients too, whose addresses are then reported
    /// as IPv4 addresses. The port must be free on `0.0.0.0` as well. With `false`, `[::]` and
    /// `0.0.0.0` can be bound at the same time. The setting of the system (`bindv6only`) has no
    /// effect. Default `false`. Has no effect on other addresses, and on datagrams.
    pub dual_stack: bool,
    /// `TCP_USER_TIMEOUT`: the time for which sent bytes may stay unacknowledged before the system
    /// ends the connection. `None` keeps the system's default. Default 30 s.
    pub unacknowledged_timeout: Option<Duration>,
    /// The permissions of a Unix socket's file, independent of the umask. A client needs the write
    /// bit to connect. At most 0o777. Default 0o600: only the user of this process.
    pub unix_mode: u32,
    /// The group id of the file of a Unix socket; `None` keeps the group of the process. Only root
    /// can set a group that the user of the process is not in. Default `None`.
    pub unix_group: Option<u32>,
    /// The owner of the file of a Unix socket, if the process runs as root and changes to this user
    /// after it has bound its addresses. The file is created with the rights of this user. In a
    /// directory that only root may write, root creates it and changes its owner. Set it before
    /// other threads start. Default `None`: the user of the process. A process that runs as root
    /// then refuses a directory in which another user can replace files.
    pub unix_user: Option<FileUser>,
}

impl ListenerOptions {
    fn file_rights(&self) -> FileRights {
        let Self { unix_mode: mode, unix_group: group, .. } = *self;
        FileRights { mode, group, user: self.unix_user.clone() }
    }
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            dual_stack: false,
            unacknowledged_timeout: Some(Duration::from_secs(30)),
            unix_mode: 0o600,
            unix_group: None,
            unix_user: None,
        }
    }
}

/// A bound socket that listens. Connections queue up from now on and are served by
/// [`Server::serve`](crate::Server::serve).
///
/// ```no_run
/// use echoline::{Connection, Listener, ListenerOptions, Server};
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// // One server on a port and on a Unix socket that its group may use.
/// let options = ListenerOptions { unix_mode: 0o660, ..ListenerOptions::default() };
/// let mut listeners = Listener::bind(&"localhost:8080".parse()?, &options).await?;
/// listeners.extend(Listener::bind(&"unix:/run/echo/sock".parse()?, &options).await?);
/// Server::new(listeners).serve(async |mut client: Connection| client.echo().await).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: ListenerSocket,
    scheme: Scheme,
    /// The path at which clients request a WebSocket.
    resource: String,
    transport: Transport,
}

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl Listener {
    /// Binds all socket addresses of `address`, or none. A name may have an IPv4 and an IPv6
    /// address. With port 0 all of them get the same free port.
    ///
    /// Before a `tls://`, `ws://` or `wss://` address is served, its listener needs a
    /// [`transport`](Self::transport) for the protocol. Cancel safe.
    ///
    /// # Errors
    /// One sentence with the address and the reason. An address family that the host does not
    /// support is skipped if another one can be bound.
    pub async fn bind(address: &Address, options: &ListenerOptions) -> io::Result<Vec<Self>> {
        if let Some(remedy) = remedy_for_no_stream(address.scheme()) {
            return Err(unsupported(address, remedy));
        }
        if let Some(path) = address.unix_path() {
            let socket = UnixSocket::bind(path, &options.file_rights(), options.backlog);
            let socket = ListenerSocket::Unix(socket.map_err(|error| say(address, &error))?);
            return Ok(vec![Self::new(socket, Scheme::Unix)]);
        }
        let mut resolved = address.resolve().await.map_err(|error| say(address, &error))?;
        // An IPv4-mapped IPv6 address (::ffff:127.0.0.1) is bound as its IPv4 address.
        resolved.iter_mut().for_each(|candidate| *candidate = canonical(*candidate));
        let bound = bind_all(&resolved, |candidate| {
            let socket = Self::bind_one(candidate, options)?;
            let port = socket.local_addr()?.port();
            Ok((Self::new(ListenerSocket::Tcp(socket), address.scheme()), port))
        });
        bound.map_err(|error| say(address, &error))
    }

    /// Binds for a server that adds no protocol. A scheme that requires one is an error.
    pub(crate) async fn bind_plain(address: &Address) -> io::Result<Vec<Self>> {
        if let Some(missing) = Transport::plain().missing(address.scheme()) {
            let text = format!(
                "Server::bind serves plain TCP and Unix sockets, but not {missing}: bind with \
                 Listener::bind, {}, then call Server::new",
                how_to_serve(missing)
            );
            return Err(unsupported(address, &text));
        }
        Self::bind(address, &ListenerOptions::default()).await
    }

    /// Returns an error if the listener's scheme requires a protocol that its transport does not
    /// speak.
    pub(crate) fn check_transport(&self) -> io::Result<()> {
        let Some(missing) = self.transport.missing(self.scheme) else { return Ok(()) };
        let text = format!("its transport has no {missing}: {}", how_to_serve(missing));
        Err(unsupported(&self.address()?, &text))
    }

    /// Takes over a socket that already listens, for example by socket activation.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    pub fn from_std(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::new(ListenerSocket::Tcp(socket), Scheme::Tcp))
    }

    /// Sets the steps that each socket passes before its handler begins. Default: none.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the path that WebSocket clients request, as part of [`address`](Self::address).
    /// Default: `/`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        resource.clone_into(&mut self.resource);
        self
    }

    /// Returns the socket address that was bound, with the actual port if port 0 was requested.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for a Unix socket, which has a path instead: use
    /// [`address`](Self::address).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => socket.local_addr(),
            ListenerSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Returns whether only this host can reach the listener: it is bound to a loopback address, in
    /// any spelling, or it is a Unix socket.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn is_loopback(&self) -> io::Result<bool> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => Ok(is_loopback(socket.local_addr()?.ip())),
            ListenerSocket::Unix(_) => Ok(true),
        }
    }

    /// Returns the address to which clients connect, with the bound port.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn address(&self) -> io::Result<Address> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => {
                Ok(Address::at(self.scheme, socket.local_addr()?, &self.resource))
            }
            ListenerSocket::Unix(socket) => Ok(socket.address()),
        }
    }

    fn new(socket: ListenerSocket, scheme: Scheme) -> Self {
        Self { socket, scheme, resource: String::new(), transport: Transport::plain() }
    }

    fn bind_one(address: SocketAddr, options: &ListenerOptions) -> io::Result<TcpListener> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(socket2::Protocol::TCP))?;
        if address.is_ipv6() {
            // Set in both cases, because the default of the system (`bindv6only`) varies.
            socket.set_only_v6(!options.dual_stack)?;
        }
        socket.set_reuse_address(options.reuse_address)?;
        socket.set_reuse_port(options.reuse_port)?;
        socket.bind(&address.into())?;
        listen(socket, options)
    }

    /// Takes over a listening socket, TCP or Unix, that a service manager or a predecessor has
    /// bound, and sets the options that can still be set. `scheme` is the protocol of a TCP socket;
    /// [`Scheme::Fd`] means plain TCP.
    ///
    /// # Errors
    /// If the socket does not listen, or the system refuses an option.
    pub fn inherit(
        socket: OwnedFd,
        scheme: Scheme,
        owner: FileOwner,
        options: &ListenerOptions,
    ) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if !socket.is_listener()? {
            let text = "it is not a listening socket (a .socket unit needs Accept=no)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let address = socket.local_addr()?;
        if address.is_unix() {
            let socket = UnixSocket::inherit(
                socket,
                &address,
                owner,
                &options.file_rights(),
                options.backlog,
            )?;
            return Ok(Self::new(ListenerSocket::Unix(socket), Scheme::Unix));
        }
        let scheme = if scheme == Scheme::Fd { Scheme::Tcp } else { scheme };
        Ok(Self::new(ListenerSocket::Tcp(listen(socket, options)?), scheme))
    }

    /// Duplicates the socket for another process, which takes it over with
    /// [`inherit`](Self::inherit). Also returns the owner of the socket's file, who removes it.
    /// Call [`retire`] on this server afterwards, so that no queued connection is lost.
    ///
    /// [`retire`]: crate::Shutdown::retire
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn hand_on(&self) -> io::Result<(OwnedFd, FileOwner)> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => Ok((socket.try_clone()?.into(), FileOwner::Somebody)),
            ListenerSocket::Unix(socket) => socket.hand_on(),
        }
    }

    /// Closes the socket. The file of a Unix socket stays, because another process listens on the
    /// same socket.
    pub fn leave(self) {
        if let ListenerSocket::Unix(socket) = self.socket {
            socket.leave();
        }
    }

    pub(crate) fn into_acceptor(self) -> io::Result<Acceptor> {
        let socket = match self.socket {
            ListenerSocket::Tcp(socket) => {
                AcceptorSocket::Tcp(tokio::net::TcpListener::from_std(socket)?)
            }
            ListenerSocket::Unix(socket) => AcceptorSocket::Unix(socket.into_tokio()?),
        };
        Ok(Acceptor { socket, transport: self.transport })
    }
}

/// Makes a TCP socket listen, with the configured options.
fn listen(socket: Socket, options: &ListenerOptions) -> io::Result<TcpListener> {
    // On Linux accepted sockets inherit these four options, so they cost nothing per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    let timeout = options.unacknowledged_timeout;
    socket.set_tcp_user_timeout(timeout.map(|timeout| timeout.min(USER_TIMEOUT_MAX)))?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Listener {
    /// Checks whether `address` can be bound, without listening: no client can connect, and a
    /// server that starts meanwhile is not blocked. UDP ports are not checked, because a bound UDP
    /// socket receives datagrams at once. Unix sockets are not checked, because binding creates a
    /// file. Cancel safe.
    ///
    /// # Errors
    /// Like [`bind`](Self::bind).
    #[doc(hidden)]
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
                // With `SO_REUSEADDR` two datagram sockets would share the port.
                socket.set_reuse_address(!is_udp)?;
                if candidate.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                socket.bind(&candidate.into())
            });
            bound.map_err(|error| say(address, &error))?;
        }
        Ok(resolved)
    }

    /// Checks the folder of the Unix socket at `path`, which a server that runs as root may refuse.
    ///
    /// # Errors
    /// If another user can replace files in its directory.
    #[doc(hidden)]
    pub fn probe_folder(path: &Path) -> io::Result<()> {
        if FileUser::present() != 0 {
            return Ok(());
        }
        // A missing directory is no error here, because the next check reports it.
        SocketFolder::open(path).map_or(Ok(()), |folder| folder.refuse_exposed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 44: `--stall-timeout 30d` is longer than the system allows, but the server
    /// listens.
    #[tokio::test]
    async fn regression_a_long_stall_timeout_listens() {
        let month = Some(Duration::from_secs(30 * 24 * 3600));
        let options = ListenerOptions { unacknowledged_timeout: month, ..Default::default() };
        let address = "127.0.0.1:0".parse().unwrap();
        let listeners = Listener::bind(&address, &options).await.unwrap();
        let ListenerSocket::Tcp(socket) = &listeners[0].socket else { panic!("a TCP listener") };
        let timeout = socket2::SockRef::from(socket).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(USER_TIMEOUT_MAX));
    }
}
