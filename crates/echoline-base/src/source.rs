//! The source of a request: the unit to which limits apply. Pure.

// This code is pure, so it must not use sockets. `core::net` has the types of addresses only.
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
#[cfg(feature = "serde")]
use serde::de::Error as _;
#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The origin of requests that share one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An IPv4 address, or the first address of an IPv6 network of 64 bits, which is the smallest
    /// network that a provider assigns to one customer (RFC 6177). It is created with
    /// [`Source::from`].
    Address(IpAddr),
    /// The user id of the process at the other end of a Unix socket.
    User(u32),
    /// Neither an address nor a user id is known. All such requests share one limit.
    Unknown,
}

impl Source {
    /// Returns whether this is a loopback address. Such a source may be any program on this
    /// machine, or all clients of a local proxy that does not send their addresses.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            // `::1` belongs to the network `::/64`, which no other host can use as its source.
            Self::Address(IpAddr::V6(v6)) => v6.is_unspecified(),
            Self::Address(IpAddr::V4(v4)) => v4.is_loopback(),
            Self::User(_) | Self::Unknown => false,
        }
    }
}

/// Hashes only one number, because this runs for each connection. For an IPv6 address that number
/// is its network.
impl Hash for Source {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(match self {
            Self::Address(IpAddr::V4(v4)) => v4.to_bits().into(),
            Self::Address(IpAddr::V6(v6)) => (v6.to_bits() >> 64) as u64,
            Self::User(uid) => 1 << 32 | u64::from(*uid),
            Self::Unknown => u64::MAX,
        });
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self::Address(network(address))
    }
}

impl From<Option<IpAddr>> for Source {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown, Self::from)
    }
}

impl FromStr for Source {
    type Err = SourceError;

    /// Parses the output of [`Display`](fmt::Display), and also any address and any IPv6 network of
    /// 64 bits.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        match text.parse::<IpNet>() {
            Ok(IpNet::V4(v4)) if v4.prefix_len() == 32 => {
                return Ok(Self::from(IpAddr::V4(v4.addr())));
            }
            Ok(IpNet::V6(v6)) if v6.prefix_len() >= 64 => {
                return Ok(Self::from(IpAddr::V6(v6.addr())));
            }
            _ => {}
        }
        match text.split_once(' ') {
            Some(("uid", uid)) => uid.trim().parse().map(Self::User).map_err(|_| wrong()),
            None if text == "unknown" => Ok(Self::Unknown),
            _ => Err(wrong()),
        }
    }
}

/// The error for a text that is not a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a source: write an address, an IPv6 network /64, or `uid N`")]
pub struct SourceError(String);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Address(IpAddr::V6(v6)) => write!(f, "{v6}/64"),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// Serializes as text: `192.0.2.1`, `2001:db8::/64`, `uid 1000` or `unknown`.
#[cfg(feature = "serde")]
impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Returns the network that a provider assigns to one customer: an IPv4 address, or an IPv6 network
/// of 64 bits (RFC 6177).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn one_network_is_one_source() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::9"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn sources_print_as_operators_type_them() {
        assert_eq!(source("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(source("2001:db8:0:1::1").to_string(), "2001:db8:0:1::/64");
        assert_eq!(Source::User(1000).to_string(), "uid 1000");
        for text in ["192.0.2.1", "2001:db8:0:1::/64", "uid 1000", "unknown"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!("2001:db8:0:1::7".parse(), Ok(source("2001:db8:0:1::")));
        for text in ["", "uid", "uid x", "192.0.2.0/24", "2001:db8::/32", "ann"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.ends_with("an address, an IPv6 network /64, or `uid N`"), "{error}");
        }
    }

    #[test]
    fn recognizes_loopback_addresses_of_both_families() {
        assert!(source("127.0.0.9").is_loopback() && source("::1").is_loopback());
        assert!(!source("192.0.2.1").is_loopback() && !Source::User(0).is_loopback());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_source_is_stored_as_text() {
        for text in ["192.0.2.7", "2001:db8:0:1::/64", "uid 1000", "unknown"] {
            let stored = serde_json::to_string(&text.parse::<Source>().unwrap()).unwrap();
            assert_eq!(stored, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Source>(&stored).unwrap(), text.parse().unwrap());
        }
        for wrong in ["\"192.0.2.0/24\"", "\"\"", "7", "null"] {
            assert!(serde_json::from_str::<Source>(wrong).is_err(), "{wrong}");
        }
    }
}
