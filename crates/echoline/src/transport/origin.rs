//! The origin of a connection: its peer, the client that a proxy names, and its TLS parameters.

use std::net::SocketAddr;

use super::stream::Stream;
use crate::sources::Source;

/// The origin of a connection, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The connection's number in its server, counted from 1; 0 without a server.
    pub number: u64,
    /// The index, among the server's listeners, of the one that accepted the connection.
    pub listener: usize,
    /// The other end of the socket; `None` if it has no address (a Unix socket).
    pub peer: Option<SocketAddr>,
    /// The user id of the process at the other end of a Unix socket.
    pub uid: Option<u32>,
    /// The address of the client, as a trusted proxy names it.
    pub source: Option<SocketAddr>,
    /// Whether a trusted proxy has connected on its own behalf, for example for a health check.
    pub is_proxy_itself: bool,
    /// The negotiated TLS parameters; `None` without TLS.
    pub tls: Option<TlsFacts>,
    /// The text for a log or a user that explains why a step failed, if it says more than
    /// [`Closed`](crate::Closed).
    pub failure: Option<String>,
}

/// The negotiated parameters of a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The version, for example `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its IANA name, for example `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The subject of the client's certificate, if the client showed one.
    pub subject: Option<String>,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
}

impl Origin {
    /// Returns the origin of a connection that a listener has just accepted.
    pub(crate) fn accepted(listener: usize, peer: Option<SocketAddr>, stream: &Stream) -> Self {
        let uid = peer.is_none().then(|| stream.peer_uid()).flatten();
        Self { listener, peer, uid, ..Self::default() }
    }

    /// Returns the client's address: the one that a trusted proxy names, otherwise the peer address
    /// of the socket.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.source.or(self.peer)
    }

    /// Returns the source whose limits apply to this connection: the address of the client, or the
    /// user at the other end of a Unix socket.
    #[must_use]
    pub fn source(&self) -> Source {
        match (self.client(), self.uid) {
            (Some(client), _) => Source::from(client.ip()),
            (None, Some(uid)) => Source::User(uid),
            (None, None) => Source::Unknown,
        }
    }
}

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerId {
    Address(SocketAddr),
    /// A process of this user, at a Unix socket.
    User(u32),
    Unknown,
}

impl PeerId {
    pub(crate) fn of(origin: &Origin) -> Self {
        match (origin.peer, origin.uid) {
            (Some(address), _) => Self::Address(address),
            (None, Some(uid)) => Self::User(uid),
            (None, None) => Self::Unknown,
        }
    }

    pub(crate) fn address(self) -> Option<SocketAddr> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }

    pub(crate) fn uid(self) -> Option<u32> {
        if let Self::User(uid) = self { Some(uid) } else { None }
    }
}
