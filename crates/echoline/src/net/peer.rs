//! The other end of an accepted socket. Pure.

use std::net::SocketAddr;

use super::transport::Origin;

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerId {
    Address(SocketAddr),
    /// A process of this user, at a Unix socket.
    User(u32),
    Unknown,
}

impl PeerId {
    pub(super) fn of(origin: &Origin) -> Self {
        match (origin.peer, origin.uid) {
            (Some(address), _) => Self::Address(address),
            (None, Some(uid)) => Self::User(uid),
            (None, None) => Self::Unknown,
        }
    }

    pub(super) fn address(self) -> Option<SocketAddr> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }

    pub(super) fn uid(self) -> Option<u32> {
        if let Self::User(uid) = self { Some(uid) } else { None }
    }
}
