//! Where a server listens or a client connects: `host:port`, optionally `tcp://host:port`.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address as it is typed: a host (name, IPv4, or IPv6 in brackets) and a port.
///
/// ```
/// use echoline::Address;
///
/// let address: Address = "[::1]:8080".parse()?;
/// assert_eq!((address.host(), address.port()), ("::1", 8080));
/// assert_eq!(address.to_string(), "[::1]:8080");
/// assert_eq!("tcp://localhost:7".parse::<Address>()?.to_string(), "localhost:7");
/// # Ok::<(), echoline::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no [`Address`]; the message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// No `:PORT` at the end.
    #[error("'{0}' names no port: write HOST:PORT, for example 127.0.0.1:8080")]
    NoPort(String),
    /// What follows the last colon is no number from 0 to 65535.
    #[error("'{port}' in '{text}' is no port: write a number from 0 to 65535")]
    BadPort {
        /// The whole address as it was typed.
        text: String,
        /// The part that should be a port.
        port: String,
    },
    /// An IPv6 address without its brackets, or with bad ones.
    #[error("'{0}' is ambiguous: write an IPv6 address in brackets, for example [::1]:8080")]
    BadIpv6(String),
    /// The host is empty.
    #[error("'{0}' names no host: write 127.0.0.1 for this machine only, 0.0.0.0 or [::] for all")]
    NoHost(String),
    /// A scheme that echoline does not speak.
    #[error("'{0}://' is no transport that echoline speaks: write tcp://HOST:PORT or HOST:PORT")]
    UnknownScheme(String),
}

impl Address {
    /// The host without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 asks the system for a free one when listening.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All socket addresses that the host stands for, in the resolver's order, without repeats.
    ///
    /// # Errors
    /// The resolver's error, or [`io::ErrorKind::NotFound`] where the name has no address.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let mut found: Vec<SocketAddr> = Vec::new();
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
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

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = match text.split_once("://") {
            Some(("tcp", rest)) => rest,
            Some((scheme, _)) => return Err(AddressError::UnknownScheme(scheme.to_owned())),
            None => text,
        };
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(AddressError::NoPort(text.to_owned()));
        };
        let host = bare_host(host).ok_or_else(|| AddressError::BadIpv6(text.to_owned()))?;
        if host.is_empty() {
            return Err(AddressError::NoHost(text.to_owned()));
        }
        // `u16::from_str` would take "+80", which no other tool does.
        let port = Some(port)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| AddressError::BadPort {
                text: text.to_owned(),
                port: port.to_owned(),
            })?;
        Ok(Self { host: host.to_owned(), port })
    }
}

/// The host without its brackets; `None` where brackets or colons do not fit together.
fn bare_host(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            // A zone (`fe80::1%eth0`) is the resolver's business.
            let address = inner.split('%').next().unwrap_or(inner);
            address.parse::<Ipv6Addr>().is_ok().then_some(inner)
        }
        None if host.contains([':', ']']) => None,
        None => Some(host),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl From<(IpAddr, u16)> for Address {
    fn from((ip, port): (IpAddr, u16)) -> Self {
        Self { host: ip.to_string(), port }
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

/// So that `impl TryInto<Address>` takes an [`Address`] itself too.
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_good_form_is_read() {
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
    }

    #[test]
    fn every_bad_form_says_what_to_write() {
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
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_printing_reads_back(text in ".{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
