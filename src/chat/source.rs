//! The source for which rooms, tokens and memories of users are counted, so that no source can use
//! up what there is for all. Pure.

// Addresses are values; only `std::net` has the sockets that a pure file may not name.
use core::net::IpAddr;
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::bans::network_of;

/// Where a user comes from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    /// Over a stream without addresses: a Unix socket, say. All of these users count together.
    Local,
    /// An IPv4 address, or an IPv6 network of 64 bits.
    Network(IpNet),
}

impl Source {
    /// The source of a user with this address.
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Local, |address| Self::Network(network_of(address)))
    }
}

/// The source that occurs most often. Of several it is the first in their order, so that all nodes
/// of a cluster choose the same one.
pub(super) fn most_frequent<T: Copy + Ord>(sources: impl Iterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::<T, usize>::new();
    sources.for_each(|source| *counts.entry(source).or_default() += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(source, _)| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_network_of_64_bits() {
        let of = |text: &str| Source::of(Some(text.parse().unwrap()));
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert!(of("2001:db8::1") != of("2001:db8:0:1::1") && of("192.0.2.7") != of("192.0.2.8"));
        assert_eq!(Source::of(None), Source::Local);
    }

    #[test]
    fn the_most_frequent_is_the_same_in_any_order() {
        assert_eq!(most_frequent([3, 1, 2, 3, 1].into_iter()), Some(1));
        assert_eq!(most_frequent([1, 3, 2, 1, 3, 3].into_iter()), Some(3));
        assert_eq!(most_frequent(std::iter::empty::<u8>()), None);
    }
}
