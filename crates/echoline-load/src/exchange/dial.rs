//! Opens connections: resolves names, chooses the addresses and sets socket options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::target::{IpFamily, ResolvePolicy, Targets};
use echoline::Address;
use echoline::listener::Scheme;
use echoline::transport::{Origin, Protocol, Stream, Transport};

/// An open socket of a client.
#[derive(Debug)]
pub(crate) enum ClientSocket {
    Stream(Stream),
    Datagrams(UdpSocket),
}

/// The targets with their resolved names.
#[derive(Debug)]
pub(crate) struct Dialer {
    targets: Targets,
    resolved: Vec<Vec<SocketAddr>>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct DialedConnection {
    pub(crate) socket: ClientSocket,
    /// The time until the socket was open.
    pub(crate) connect: Duration,
    /// The duration of the handshakes on the open socket; `None` without handshakes.
    pub(crate) handshake: Option<Duration>,
}

impl Dialer {
    /// Resolves the names of `targets`. Fails for the first name that cannot be resolved.
    pub(crate) async fn new(targets: &Targets) -> io::Result<Self> {
        if targets.addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to load is given"));
        }
        let mut resolved = Vec::new();
        for (place, address) in targets.addresses.iter().enumerate() {
            check_transport(address, targets.transports.get(place))?;
            if address.unix_path().is_some() {
                resolved.push(Vec::new());
                continue;
            }
            let found = resolve(address, targets.family).await;
            resolved.push(found.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot connect to {address}: {error}"))
            })?);
        }
        Ok(Self { targets: targets.clone(), resolved })
    }

    /// Opens connection `number` of `client`.
    pub(crate) async fn connect(&self, client: u32, number: u64) -> io::Result<DialedConnection> {
        let started = Instant::now();
        let target = client as usize % self.targets.addresses.len();
        let address = &self.targets.addresses[target];
        if address.scheme() == Scheme::Udp {
            let socket = self.open_datagrams(target, client, number).await?;
            let socket = ClientSocket::Datagrams(socket);
            return Ok(DialedConnection { socket, connect: started.elapsed(), handshake: None });
        }
        let mut stream = match address.unix_path() {
            Some(path) => Stream::connect_unix(path).await?,
            None => self.connect_tcp(target, client, number).await?.into(),
        };
        let connect = started.elapsed();
        let mut handshake = None;
        if let Some(transport) = self.targets.transports.get(target).filter(|t| !t.is_plain()) {
            stream = shake_hands(transport, stream).await?;
            handshake = Some(started.elapsed().saturating_sub(connect));
        }
        Ok(DialedConnection { socket: ClientSocket::Stream(stream), connect, handshake })
    }

    /// Connects to the first address that accepts.
    async fn connect_tcp(&self, target: usize, client: u32, number: u64) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.candidates(target, client, number).await? {
            match self.connect_from_any(address, u64::from(client) + number).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Opens a socket that is connected to the first address. Only a reply shows whether a server
    /// is there.
    async fn open_datagrams(
        &self,
        target: usize,
        client: u32,
        number: u64,
    ) -> io::Result<UdpSocket> {
        let candidates = self.candidates(target, client, number).await?;
        let to = *candidates.first().ok_or(io::ErrorKind::NotFound)?;
        let same = |source: &&IpAddr| source.is_ipv4() == to.is_ipv4();
        let sources: Vec<_> = self.targets.sources.iter().filter(same).collect();
        let from = match sources.len() {
            0 if !self.targets.sources.is_empty() => return Err(no_source(to)),
            0 if to.is_ipv4() => Ipv4Addr::UNSPECIFIED.into(),
            0 => Ipv6Addr::UNSPECIFIED.into(),
            count => *sources[index(u64::from(client) + number, count)],
        };
        let socket = UdpSocket::bind((from, 0)).await.map_err(|error| cannot_bind(from, &error))?;
        self.set_buffers(SockRef::from(&socket))?;
        socket.connect(to).await?;
        Ok(socket)
    }

    /// Returns the addresses of a target in the order in which they are tried.
    async fn candidates(
        &self,
        target: usize,
        client: u32,
        number: u64,
    ) -> io::Result<Vec<SocketAddr>> {
        let address = &self.targets.addresses[target];
        let mut found = match self.targets.resolve {
            ResolvePolicy::Each => resolve(address, self.targets.family).await?,
            ResolvePolicy::Once | ResolvePolicy::Rotate => self.resolved[target].clone(),
        };
        if self.targets.resolve == ResolvePolicy::Rotate {
            // Clients with consecutive turns at the same target have numbers that differ by the
            // number of targets.
            let turn = u64::from(client) / self.targets.addresses.len() as u64 + number;
            let first = index(turn, found.len());
            found.rotate_left(first);
        }
        Ok(found)
    }

    /// Connects from the local address with the index `turn`. If all of its ports are in use, tries
    /// the next address.
    async fn connect_from_any(&self, to: SocketAddr, turn: u64) -> io::Result<TcpStream> {
        let same = |source: &&IpAddr| source.is_ipv4() == to.is_ipv4();
        let count = self.targets.sources.iter().filter(same).count();
        if self.targets.sources.is_empty() {
            return self.connect_from(to, None).await;
        }
        let mut last = no_source(to);
        let sources = self.targets.sources.iter().filter(same).cycle();
        for source in sources.skip(index(turn, count.max(1))).take(count) {
            match self.connect_from(to, Some(*source)).await {
                Err(error) if ports_used_up(&error) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    fn set_buffers(&self, socket: SockRef<'_>) -> io::Result<()> {
        let options = self.targets.socket;
        options.send_buffer.map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes as usize))?;
        options.receive_buffer.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes as usize))
    }

    async fn connect_from(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
        let options = self.targets.socket;
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(options.nodelay)?;
        self.set_buffers(SockRef::from(&socket))?;
        if let Some(from) = from {
            // Without this option, the system chooses the local port before it knows the
            // destination. Each local port could then be used for only one connection, instead of
            // one connection to each server.
            #[cfg(target_os = "linux")]
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(SocketAddr::new(from, 0)).map_err(|error| cannot_bind(from, &error))?;
        }
        if options.reset {
            socket.set_zero_linger()?;
        }
        socket.connect(to).await
    }
}

/// Returns an error if the scheme of the address needs a protocol that its transport does not have.
fn check_transport(address: &Address, transport: Option<&Transport>) -> io::Result<()> {
    let plain = Transport::plain();
    let Some(missing) = transport.unwrap_or(&plain).missing(address.scheme()) else {
        return Ok(());
    };
    let step = match missing {
        Protocol::Tls => "TlsClient::step (feature 'tls')",
        Protocol::WebSocket => "OpenWebSocket (feature 'websocket')",
        _ => "the step of that protocol",
    };
    let text = format!(
        "cannot connect to {address}: its transport has no {missing}: put {step} into \
         Targets::transports"
    );
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

fn cannot_bind(from: IpAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot send from --source {from}: {error}"))
}

fn no_source(to: SocketAddr) -> io::Error {
    let text = format!("no --source has the address family of {}", to.ip());
    io::Error::new(io::ErrorKind::AddrNotAvailable, text)
}

async fn shake_hands(transport: &Transport, stream: Stream) -> io::Result<Stream> {
    let mut origin = Origin::default();
    let opened = transport.open(stream, &mut origin).await;
    opened.map_err(|closed| match origin.failure {
        Some(trouble) => io::Error::other(trouble),
        None => closed.into(),
    })
}

async fn resolve(address: &Address, family: IpFamily) -> io::Result<Vec<SocketAddr>> {
    let mut found = address.resolve().await?;
    found.retain(|address| match family {
        IpFamily::Any => true,
        IpFamily::Ipv4 => address.is_ipv4(),
        IpFamily::Ipv6 => address.is_ipv6(),
    });
    if found.is_empty() {
        let family = if family == IpFamily::Ipv4 { "IPv4 (-4)" } else { "IPv6 (-6)" };
        let text = format!("'{}' has no address of the requested family, {family}", address.host());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(found)
}

fn index(turn: u64, length: usize) -> usize {
    // The remainder is less than `length`, so it fits a `usize`.
    (turn % length as u64) as usize
}

/// Returns whether all local ports towards the server are in use.
pub(crate) fn ports_used_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// Describes an error, with a remedy unless it is obvious.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.kind() {
        _ if ports_used_up(error) => {
            "no local port is free, because each stays in use for a minute after its connection \
             ends: use --source with more addresses, --rst, or fewer --clients"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            "too many open files: raise the limit with 'ulimit -n' or use fewer --clients"
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => {
            "the socket does not exist: is the server running?".to_owned()
        }
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 1: a run against `tls://` without a TLS step sends nothing in the clear.
    #[tokio::test]
    async fn regression_rejects_a_target_whose_scheme_needs_a_missing_protocol() {
        for (address, wanted) in
            [("tls://127.0.0.1:1", "TlsClient"), ("ws://127.0.0.1:1", "OpenWebSocket")]
        {
            let targets =
                Targets { addresses: vec![address.parse().unwrap()], ..Targets::default() };
            let error = Dialer::new(&targets).await.unwrap_err().to_string();
            assert!(error.contains(address) && error.contains(wanted), "{error}");
        }
    }

    /// For an error of the tester's machine, the text names the remedy.
    #[test]
    fn describes_exhausted_resources_with_a_remedy() {
        for (code, wanted) in [
            (libc::EADDRNOTAVAIL, "no local port is free"),
            (libc::EMFILE, "ulimit -n"),
            (libc::ECONNREFUSED, "connection refused"),
            (libc::ECONNRESET, "connection reset"),
            (libc::ENETUNREACH, "unreachable"),
        ] {
            let sentence = describe(&io::Error::from_raw_os_error(code));
            assert!(sentence.contains(wanted), "{sentence}");
        }
    }

    #[tokio::test]
    async fn sources_and_targets_are_taken_in_turn() {
        let listeners = [
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let targets = Targets {
            addresses: listeners.iter().map(|l| l.local_addr().unwrap().into()).collect(),
            sources: ["127.0.0.2", "127.0.0.3", "::1"].map(|ip| ip.parse().unwrap()).into(),
            ..Targets::default()
        };
        let dialer = Dialer::new(&targets).await.unwrap();
        for (client, number, source) in [(0, 0, 2), (1, 0, 3), (2, 0, 2), (2, 1, 3)] {
            let ClientSocket::Stream(stream) = dialer.connect(client, number).await.unwrap().socket
            else {
                panic!("TCP makes streams");
            };
            let expected = listeners[client as usize % 2].local_addr().unwrap();
            assert_eq!(stream.peer_addr(), Some(expected));
            let local = stream.local_addr().unwrap().ip();
            assert_eq!(local.to_string(), format!("127.0.0.{source}"));
        }
    }

    #[tokio::test]
    async fn rejects_a_family_without_an_address() {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let targets = Targets { addresses, family: IpFamily::Ipv6, ..Targets::default() };
        let error = Dialer::new(&targets).await.unwrap_err().to_string();
        assert!(
            error.contains("cannot connect to 127.0.0.1:1") && error.contains("family, IPv6 (-6)"),
            "{error}"
        );
    }
}
