//! The types that [`Server::bind`](crate::Server::bind) accepts in place of an [`Address`].

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Address, AddressError, Scheme};

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::from((address.ip(), address.port()))
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from((ip, port): (IpAddr, u16)) -> Self {
        Self { scheme: Scheme::Tcp, host: ip.to_string(), port, resource: String::new() }
    }
}

impl From<(Ipv4Addr, u16)> for Address {
    fn from((ip, port): (Ipv4Addr, u16)) -> Self {
        Self::from((IpAddr::V4(ip), port))
    }
}

impl From<(Ipv6Addr, u16)> for Address {
    fn from((ip, port): (Ipv6Addr, u16)) -> Self {
        Self::from((IpAddr::V6(ip), port))
    }
}

/// Converts a host and a port. The host is a name or an IP address without brackets, as in tokio's
/// `ToSocketAddrs`.
impl TryFrom<(&str, u16)> for Address {
    type Error = AddressError;

    fn try_from((host, port): (&str, u16)) -> Result<Self, AddressError> {
        // The resolver handles a zone (`fe80::1%eth0`).
        let is_ipv6 = host.split('%').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
        let text = if is_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        if host.contains('/') || host.starts_with("unix:") {
            return Err(AddressError::NotAHost(host.to_owned()));
        }
        text.parse()
    }
}

impl TryFrom<(String, u16)> for Address {
    type Error = AddressError;

    fn try_from((host, port): (String, u16)) -> Result<Self, AddressError> {
        (host.as_str(), port).try_into()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

/// Lets `impl TryInto<Address>` accept an [`Address`] itself too.
impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts an argument of `Server::bind`, and returns its text or its error.
    fn shown<A>(address: A) -> String
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        match address.try_into().map_err(AddressError::from) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_has_the_forms_of_tokio() {
        let socket = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(shown(socket), "127.0.0.1:80");
        assert_eq!(shown("tls://a:80"), "tls://a:80");
        let text = "a:80".to_owned();
        assert_eq!((shown(&text), shown(text)), ("a:80".to_owned(), "a:80".to_owned()));
        assert_eq!(shown(("a", 80)), "a:80");
        assert_eq!(shown(("a".to_owned(), 80)), "a:80");
        assert_eq!(shown((Ipv4Addr::LOCALHOST, 80)), "127.0.0.1:80");
        assert_eq!(shown((Ipv6Addr::LOCALHOST, 80)), "[::1]:80");
        assert_eq!(shown((socket.ip(), 80)), "127.0.0.1:80");
        assert_eq!(shown(("::1", 80)), "[::1]:80");
        assert_eq!(shown(("[::1]", 80)), "[::1]:80");
        assert_eq!(shown(("fe80::1%eth0", 80)), "[fe80::1%eth0]:80");
        assert_eq!(shown(Address::from(socket)), "127.0.0.1:80");
    }

    #[test]
    fn the_host_of_a_pair_is_a_host() {
        for host in ["tls://a", "unix:@name", "unix:/run/a", "fd://web", "a/b"] {
            let text = shown((host, 80));
            assert!(text.starts_with(&format!("'{host}' is not a host")), "{text}");
        }
        assert!(shown(("", 80)).contains("has no host"));
        assert!(shown(("a:b", 80)).contains("brackets"));
    }
}
