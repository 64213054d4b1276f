//! Opens connections: to which address, from which, and with which socket options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::Instant;

use echoline::Address;
use echoline::listener::Scheme;
use echoline::transport::{Origin, Protocol, Stream, Transport};

/// Which addresses of a name are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// What is done with the addresses of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolve {
    /// Names are resolved once; each connection tries the addresses in the resolver's order.
    #[default]
    Once,
    /// Names are resolved once; each connection begins with the next address, so that all get
    /// their share.
    Rotate,
    /// A name is resolved anew for each connection.
    Each,
}

/// The servers and the way to them.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Clients take them in turn.
    pub addresses: Vec<Address>,
    /// The transport of each of `addresses`; plain if there are fewer. A scheme
    /// that a transport does not speak is an error.
    pub transports: Vec<Transport>,
    /// Which addresses of a name are taken.
    pub family: Family,
    /// What is done with the addresses of a name.
    pub resolve: Resolve,
    /// Local addresses, taken in turn; empty for what the system chooses. Each has its own ports,
    /// so that more of them allow more connections.
    pub sources: Vec<IpAddr>,
    /// Options of each socket.
    pub socket: SocketOptions,
}

/// Options of a socket that change what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `TCP_NODELAY`: else a message of two packets waits for the acknowledgement of the first.
    pub nodelay: bool,
    /// `SO_SNDBUF` in bytes; `None` for the system's.
    pub send_buffer: Option<u32>,
    /// `SO_RCVBUF` in bytes; `None` for the system's.
    pub receive_buffer: Option<u32>,
    /// Ends connections by reset, which leaves nothing behind, instead of by FIN, after which the
    /// local port is in use for another minute.
    pub reset: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, send_buffer: None, receive_buffer: None, reset: false }
    }
}

/// What messages travel over.
#[derive(Debug)]
pub(super) enum Wire {
    Stream(Stream),
    Datagrams(UdpSocket),
}

/// Targets whose names are resolved.
#[derive(Debug)]
pub(super) struct Dialer {
    targets: Targets,
    resolved: Vec<Vec<SocketAddr>>,
}

/// A connection that can be used.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) wire: Wire,
    /// How long it took until the socket was open.
    pub(super) connect: Duration,
    /// How long what was to be done then has taken; `None` where there was nothing.
    pub(super) handshake: Option<Duration>,
}

impl Dialer {
    /// Fails for the first name that cannot be resolved, and says which.
    pub(super) async fn new(targets: &Targets) -> io::Result<Self> {
        if targets.addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no address to load"));
        }
        let mut resolved = Vec::new();
        for (place, address) in targets.addresses.iter().enumerate() {
            check_transport(address, targets.transports.get(place))?;
            if address.unix_path().is_some() {
                resolved.push(Vec::new());
                continue;
            }
            let found = resolve(address, targets.family).await.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot resolve {address}: {error}"))
            })?;
            resolved.push(found);
        }
        Ok(Self { targets: targets.clone(), resolved })
    }

    /// The connection `number` of `client`, or its socket.
    pub(super) async fn connect(&self, client: u32, number: u64) -> io::Result<Dialled> {
        let begun = Instant::now();
        let target = client as usize % self.targets.addresses.len();
        if self.targets.addresses[target].scheme() == Scheme::Udp {
            let socket = self.open_datagrams(target, client, number).await?;
            let wire = Wire::Datagrams(socket);
            return Ok(Dialled { wire, connect: begun.elapsed(), handshake: None });
        }
        let stream = match self.targets.addresses[target].unix_path() {
            Some(path) => Stream::connect_unix(path).await?,
            None => self.connect_tcp(target, client, number).await?.into(),
        };
        let connect = begun.elapsed();
        let transport = self.targets.transports.get(target);
        let Some(transport) = transport.filter(|transport| !transport.is_plain()) else {
            return Ok(Dialled { wire: Wire::Stream(stream), connect, handshake: None });
        };
        let wire = Wire::Stream(shake_hands(transport, stream).await?);
        Ok(Dialled { wire, connect, handshake: Some(begun.elapsed().saturating_sub(connect)) })
    }

    /// From the first address that takes us.
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

    /// A socket that sends to the first address and hears it alone: whether anybody is there, only
    /// an answer tells.
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
        let socket = UdpSocket::bind((from, 0)).await.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot send from --source {from}: {error}"))
        })?;
        let options = SockRef::from(&socket);
        if let Some(bytes) = self.targets.socket.send_buffer {
            options.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.targets.socket.receive_buffer {
            options.set_recv_buffer_size(bytes as usize)?;
        }
        socket.connect(to).await?;
        Ok(socket)
    }

    /// The addresses of a target, the one whose turn it is first.
    async fn candidates(
        &self,
        target: usize,
        client: u32,
        number: u64,
    ) -> io::Result<Vec<SocketAddr>> {
        let address = &self.targets.addresses[target];
        let mut found = match self.targets.resolve {
            Resolve::Each => resolve(address, self.targets.family).await?,
            Resolve::Once | Resolve::Rotate => self.resolved[target].clone(),
        };
        if self.targets.resolve == Resolve::Rotate {
            // Clients of the same target have numbers that are the number of targets apart.
            let turn = u64::from(client) / self.targets.addresses.len() as u64 + number;
            let first = index(turn, found.len());
            found.rotate_left(first);
        }
        Ok(found)
    }

    /// Tries the local addresses, beginning with the one whose turn it is, as long as their ports
    /// are used up.
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

    async fn connect_from(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
        let options = self.targets.socket;
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_nodelay(options.nodelay)?;
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(from) = from {
            // Else the system chooses the port before it knows where the connection goes, and
            // one port serves one connection instead of one to each server.
            #[cfg(target_os = "linux")]
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(SocketAddr::new(from, 0)).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot send from --source {from}: {error}"))
            })?;
        }
        if options.reset {
            socket.set_zero_linger()?;
        }
        socket.connect(to).await
    }
}

/// Refuses an address whose scheme asks for a protocol that nothing on the way to it speaks.
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

fn no_source(to: SocketAddr) -> io::Error {
    let text = format!("no --source is of the family of {}", to.ip());
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

async fn resolve(address: &Address, family: Family) -> io::Result<Vec<SocketAddr>> {
    let mut found = address.resolve().await?;
    found.retain(|address| match family {
        Family::Any => true,
        Family::Ipv4 => address.is_ipv4(),
        Family::Ipv6 => address.is_ipv6(),
    });
    if found.is_empty() {
        let text = format!("'{}' has no address of the family asked for", address.host());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(found)
}

fn index(turn: u64, length: usize) -> usize {
    // Less than `length`, which is a `usize`.
    (turn % length as u64) as usize
}

/// Whether all local ports towards that server are in use.
pub(super) fn ports_used_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// What went wrong, and what to do where that is not obvious.
pub(super) fn describe(error: &io::Error) -> String {
    match error.kind() {
        _ if ports_used_up(error) => {
            "local ports used up (each for a minute after its connection ends): use --source with \
             more addresses, --rst, or fewer --clients"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(libc::EMFILE) => {
            "too many open files: raise the limit with 'ulimit -n' or use fewer --clients"
                .to_owned()
        }
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => {
            "there is no such socket: is the server running?".to_owned()
        }
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "the server takes no more".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 1: a run against `tls://` without a TLS step sends nothing in the clear.
    #[tokio::test]
    async fn regression_a_target_whose_scheme_nothing_speaks_is_refused() {
        for (address, wanted) in
            [("tls://127.0.0.1:1", "TlsClient"), ("ws://127.0.0.1:1", "OpenWebSocket")]
        {
            let targets =
                Targets { addresses: vec![address.parse().unwrap()], ..Targets::default() };
            let error = Dialer::new(&targets).await.unwrap_err().to_string();
            assert!(error.contains(address) && error.contains(wanted), "{error}");
        }
    }

    /// Fault of a generator and not of the server: the sentence says what to do.
    #[test]
    fn what_the_system_lacks_is_said_with_what_to_do() {
        for (code, wanted) in [
            (libc::EADDRNOTAVAIL, "local ports used up"),
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
            let Wire::Stream(stream) = dialer.connect(client, number).await.unwrap().wire else {
                panic!("TCP makes streams");
            };
            let expected = listeners[client as usize % 2].local_addr().unwrap();
            assert_eq!(stream.peer_addr(), Some(expected));
            let local = stream.local_addr().unwrap().ip();
            assert_eq!(local.to_string(), format!("127.0.0.{source}"));
        }
    }

    #[tokio::test]
    async fn a_family_without_an_address_is_said() {
        let addresses = vec!["127.0.0.1:1".parse().unwrap()];
        let targets = Targets { addresses, family: Family::Ipv6, ..Targets::default() };
        let error = Dialer::new(&targets).await.unwrap_err().to_string();
        assert!(
            error.contains("cannot resolve 127.0.0.1:1") && error.contains("family"),
            "{error}"
        );
    }
}
