//! The address at which a server listens or to which a client connects: `host:port`,
//! `tls://host:port`, `unix:path` …

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::{fmt, io};

use tokio::sync::oneshot;

mod conversions;

/// The protocol of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Scheme {
    /// A TCP connection: `tcp://HOST:PORT`, or just `HOST:PORT`.
    #[default]
    Tcp,
    /// Datagrams: `udp://HOST:PORT`.
    Udp,
    /// A Unix stream socket: `unix:PATH`, or `unix:@NAME` in Linux's abstract namespace.
    Unix,
    /// TLS over TCP: `tls://HOST:PORT`.
    Tls,
    /// WebSocket: `ws://HOST:PORT/PATH`.
    Ws,
    /// WebSocket over TLS: `wss://HOST:PORT/PATH`.
    Wss,
    /// A listening socket that the service manager passes: `fd://NAME`, by the name that its unit
    /// gives it (`FileDescriptorName=`, see sd_listen_fds(3)).
    Fd,
}

impl Scheme {
    const ALL: [(&'static str, Self); 5] = [
        ("tcp", Self::Tcp),
        ("udp", Self::Udp),
        ("tls", Self::Tls),
        ("ws", Self::Ws),
        ("wss", Self::Wss),
    ];

    /// Returns the scheme as it is written, for example `tls`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Fd => "fd",
        }
    }

    /// Returns whether the scheme uses TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Returns whether the scheme uses WebSocket.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// An address as users type it: a scheme, a host (name, IPv4, or IPv6 in brackets) and a port; or
/// the path of a Unix socket.
///
/// ```
/// use echoline::Address;
/// use echoline::listener::Scheme;
///
/// let address: Address = "[::1]:8080".parse()?;
/// assert_eq!((address.scheme(), address.host(), address.port()), (Scheme::Tcp, "::1", 8080));
/// assert_eq!(address.to_string(), "[::1]:8080");
/// assert_eq!("tcp://localhost:7".parse::<Address>()?.to_string(), "localhost:7");
/// assert_eq!("unix:/run/echo".parse::<Address>()?.scheme(), Scheme::Unix);
/// # Ok::<(), echoline::listener::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    scheme: Scheme,
    /// For a Unix socket, its path as it was typed. For a passed socket, its name.
    host: String,
    /// The port; 0 for a Unix socket.
    port: u16,
    /// The path that a WebSocket client requests, including its slash; empty for all other schemes.
    resource: String,
}

/// The error in the text of an [`Address`]. Its message names the correct form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No `:PORT` at the end.
    #[error("'{0}' has no port: write HOST:PORT, for example 127.0.0.1:8080")]
    NoPort(String),
    /// The text after the last colon is not a number from 0 to 65535.
    #[error("'{port}' in '{text}' is not a port: write a number from 0 to 65535")]
    BadPort {
        /// The whole address as it was typed.
        text: String,
        /// The part that should be a port.
        port: String,
    },
    /// An IPv6 address without brackets, or with invalid ones.
    #[error("'{0}' is ambiguous: write an IPv6 address in brackets, for example [::1]:8080")]
    BadIpv6(String),
    /// The host is empty.
    #[error(
        "'{0}' has no host: write 127.0.0.1 for this host only, 0.0.0.0 or [::] for all addresses"
    )]
    NoHost(String),
    /// The host of a pair of host and port has a scheme or a path.
    #[error("'{0}' is not a host: write a name or an IP address, or one text SCHEME://HOST:PORT")]
    NotAHost(String),
    /// The path of a Unix socket is empty, or longer than the system allows.
    #[error(
        "'{0}' is not a Unix socket path: write unix:PATH with 1 to {UNIX_PATH_MAX} bytes of \
         path, for example unix:/run/echoline/echo.sock"
    )]
    BadPath(String),
    /// The name of an `fd://` address is invalid.
    #[error("'{0}' has no socket name: write fd://NAME with the FileDescriptorName= of its unit")]
    BadName(String),
    /// A scheme that echoline does not speak.
    #[error(
        "'{0}://' is not a transport of echoline: write HOST:PORT, with or without tcp:// udp:// \
         tls:// ws:// wss:// before it, or unix:PATH"
    )]
    UnknownScheme(String),
}

/// The maximum length of a path in `sockaddr_un`, without the NUL at its end (unix(7)).
const UNIX_PATH_MAX: usize = 107;

impl Address {
    /// Returns the protocol.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host without brackets; empty for a socket that has none.
    #[must_use]
    pub fn host(&self) -> &str {
        if matches!(self.scheme, Scheme::Unix | Scheme::Fd) { "" } else { &self.host }
    }

    /// Returns the name of a socket that the service manager passes; `None` for everything else.
    #[must_use]
    pub fn fd_name(&self) -> Option<&str> {
        (self.scheme == Scheme::Fd).then_some(self.host.as_str())
    }

    /// Returns the port, or 0 for a Unix socket. To listen at port 0 means to listen at any free
    /// port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the Unix socket, which begins with `@` for a name in the abstract
    /// namespace; `None` for everything else.
    #[must_use]
    pub fn unix_path(&self) -> Option<&str> {
        (self.scheme == Scheme::Unix).then_some(self.host.as_str())
    }

    /// Returns the path that a WebSocket client requests; `/` by default.
    #[must_use]
    pub fn resource(&self) -> &str {
        if self.resource.is_empty() { "/" } else { &self.resource }
    }

    /// Returns an address with the IP address and port of `socket`. `scheme` must have a host and a
    /// port. `resource` is the path of a WebSocket, and is ignored for all other schemes.
    pub(crate) fn at(scheme: Scheme, socket: SocketAddr, resource: &str) -> Self {
        let is_said = scheme.is_websocket() && resource != "/";
        let resource = if is_said { resource.to_owned() } else { String::new() };
        Self { scheme, resource, ..Self::from(socket) }
    }

    /// Resolves the host to its socket addresses, in the resolver's order, without repeats. Cancel
    /// safe.
    ///
    /// # Errors
    /// The resolver's error; [`io::ErrorKind::NotFound`] if the name has no address, and
    /// [`io::ErrorKind::InvalidInput`] for a Unix socket.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if matches!(self.scheme, Scheme::Unix | Scheme::Fd) {
            let text = match self.scheme {
                Scheme::Fd => {
                    format!(
                        "'{self}' is a socket that a service manager passes to a server: write \
                     HOST:PORT or unix:PATH"
                    )
                }
                _ => format!("'{self}' is a path and has no socket address"),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut found: Vec<SocketAddr> = Vec::new();
        let found_by_system = look_up(&self.host, self.port).await;
        for address in found_by_system.map_err(|error| unresolved(&error))? {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        if found.is_empty() {
            let text = format!("'{}' has no address", self.host);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(found)
    }
}

/// Returns the error of the system's resolver as one sentence, with a remedy.
#[must_use]
pub fn unresolved(error: &io::Error) -> io::Error {
    let text = error.to_string();
    // The prefix of the standard library repeats the sentence.
    let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let sentence = format!(
        "the host name cannot be resolved ({reason}): check the name, or use an IP address"
    );
    io::Error::new(error.kind(), sentence)
}

/// Resolves `host` on a separate thread, because the system's resolver blocks. The thread has ended
/// when this returns.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (answer, answered) = oneshot::channel();
    let host = host.to_owned();
    let look_up = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // An error means that the caller has stopped waiting.
        let _ = answer.send(found);
    };
    // This starts its own thread, because the runtime panics if it cannot start one.
    let thread = std::thread::Builder::new().name("resolver".to_owned()).spawn(look_up);
    let no_thread = |error| {
        io::Error::new(
            io::Error::kind(&error),
            format!("cannot start the resolver thread: {error}"),
        )
    };
    let thread = thread.map_err(no_thread)?;
    let found = answered.await.map_err(|_| io::Error::other("the resolver panicked"))?;
    // The thread has sent its result and ends.
    let _ = thread.join();
    found
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(text, path.strip_prefix("//").unwrap_or(path));
        }
        if let Some(name) = text.strip_prefix("fd://") {
            return passed(text, name);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((name, rest)) => {
                let known = Scheme::ALL.iter().find(|(known, _)| *known == name);
                let unknown = || AddressError::UnknownScheme(name.to_owned());
                (known.ok_or_else(unknown)?.1, rest)
            }
            None => (Scheme::Tcp, text),
        };
        let (rest, resource) = match rest.find('/').filter(|_| scheme.is_websocket()) {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(AddressError::NoPort(text.to_owned()));
        };
        let host = bare_host(host).ok_or_else(|| AddressError::BadIpv6(text.to_owned()))?;
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        // `u16::from_str` would accept "+80", which other tools do not.
        let port = Some(port)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| AddressError::BadPort {
                text: text.to_owned(),
                port: port.to_owned(),
            })?;
        Ok(Self { scheme, host: host.to_owned(), port, resource: resource.to_owned() })
    }
}

/// Returns whether `ip`, the address of a bound socket or of a peer, is reachable only from the
/// same host. Names and other spellings must be resolved before.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Returns an IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) as its IPv4 address, and any other
/// address unchanged.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

fn unix(text: &str, path: &str) -> Result<Address, AddressError> {
    let name = path.strip_prefix('@').unwrap_or(path);
    if name.is_empty() || path.len() > UNIX_PATH_MAX || path.contains('\0') {
        return Err(AddressError::BadPath(text.to_owned()));
    }
    let host = path.to_owned();
    Ok(Address { scheme: Scheme::Unix, host, port: 0, resource: String::new() })
}

/// Parses `fd://NAME`. systemd allows at most 255 bytes in a name, and no colon or control
/// character.
fn passed(text: &str, name: &str) -> Result<Address, AddressError> {
    let is_good = |letter: char| letter.is_ascii_graphic() && letter != ':';
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_good) {
        return Err(AddressError::BadName(text.to_owned()));
    }
    let host = name.to_owned();
    Ok(Address { scheme: Scheme::Fd, host, port: 0, resource: String::new() })
}

/// Returns the host without its brackets; `None` if brackets or colons do not match.
fn bare_host(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            // The resolver handles a zone (`fe80::1%eth0`).
            let address = inner.split('%').next().unwrap_or(inner);
            address.parse::<Ipv6Addr>().is_ok().then_some(inner)
        }
        None if host.contains([':', ']']) => None,
        None => Some(host),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Tcp => {}
            Scheme::Unix => return write!(f, "unix:{}", self.host),
            Scheme::Fd => return write!(f, "fd://{}", self.host),
            other => write!(f, "{}://", other.name())?,
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}{}", self.host, self.port, self.resource)
        } else {
            write!(f, "{}:{}{}", self.host, self.port, self.resource)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_every_valid_form() {
        for (text, host, port) in [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("localhost:0", "localhost", 0),
            ("[::1]:65535", "::1", 65535),
            ("tcp://[::]:7", "::", 7),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
        }
        for (text, scheme, resource) in [
            ("udp://127.0.0.1:7", Scheme::Udp, "/"),
            ("tls://[::1]:7", Scheme::Tls, "/"),
            ("ws://localhost:80/chat?room=a/b", Scheme::Ws, "/chat?room=a/b"),
            ("wss://localhost:443", Scheme::Wss, "/"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.scheme(), address.resource()), (scheme, resource), "{text}");
            assert_eq!((address.to_string().as_str(), address.unix_path()), (text, None));
        }
    }

    #[test]
    fn a_unix_socket_has_a_path_of_its_own() {
        for (text, path) in
            [("unix:/run/a:b", "/run/a:b"), ("unix:///run/a", "/run/a"), ("unix:@a", "@a")]
        {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.unix_path(), address.host()), (Some(path), ""), "{text}");
        }
        let passed: Address = "fd://web".parse().unwrap();
        assert_eq!((passed.fd_name(), passed.host(), passed.unix_path()), (Some("web"), "", None));
        let longest = format!("unix:{}", "a".repeat(UNIX_PATH_MAX));
        assert!(longest.parse::<Address>().is_ok());
        assert!(format!("{longest}a").parse::<Address>().is_err());
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, wanted) in [
            ("localhost", "HOST:PORT"),
            ("localhost:http", "0 to 65535"),
            ("localhost:65536", "0 to 65535"),
            ("localhost:+80", "0 to 65535"),
            ("localhost:", "0 to 65535"),
            ("::1:8080", "brackets"),
            ("[::1:8080", "brackets"),
            ("[nonsense]:8080", "brackets"),
            (":8080", "no host"),
            ("gopher://a:70", "tcp://"),
            ("tls://a", "HOST:PORT"),
            ("tcp://a:7/b", "0 to 65535"),
            ("unix:", "unix:PATH"),
            ("unix:@", "unix:PATH"),
            ("fd://", "fd://NAME"),
            ("fd://a:b", "fd://NAME"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    /// Issue 11, item 2: a loopback address is recognized in all of its forms.
    #[test]
    fn regression_a_loopback_address_is_known_in_every_form() {
        for near in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(near.parse().unwrap()), "{near}");
        }
        for far in ["0.0.0.0", "::", "::ffff:0.0.0.0", "10.0.0.1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(!is_loopback(far.parse().unwrap()), "{far}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printed_addresses_parse(
            text in "((tcp|udp|tls|ws|wss|fd)://|unix:)?.{0,40}(:[0-9]{1,5})?(/.{0,3})?"
        ) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
