//! The origin of a connection: its peer, the client that a proxy names, and its TLS parameters.

use std::net::SocketAddr;
use std::sync::OnceLock;

use super::credentials::PeerCredentials;
#[cfg(feature = "proxy")]
use super::proxy::facts::ProxyFacts;
use super::stream::Stream;
#[cfg(feature = "tls")]
use super::tls::certificate::PeerCertificate;
#[cfg(feature = "websocket")]
use super::websocket::facts::WebSocketFacts;
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
    /// The process at the other end of a Unix socket.
    pub credentials: Option<PeerCredentials>,
    /// The address of the client, as a trusted proxy names it.
    pub source: Option<SocketAddr>,
    /// Whether a trusted proxy has connected on its own behalf, for example for a health check.
    pub is_proxy_itself: bool,
    /// The facts of TLS; `None` without TLS. Boxed, like the two below, because most connections do
    /// not have them.
    pub tls: Option<Box<TlsFacts>>,
    /// The request that opened the WebSocket; `None` without WebSocket.
    #[cfg(feature = "websocket")]
    #[cfg_attr(docsrs, doc(cfg(feature = "websocket")))]
    pub websocket: Option<Box<WebSocketFacts>>,
    /// The contents of the PROXY header; `None` without one.
    #[cfg(feature = "proxy")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy")))]
    pub proxy: Option<Box<ProxyFacts>>,
    /// The text for a log or a user that explains why a step failed, if it says more than
    /// [`Closed`](crate::Closed).
    pub failure: Option<String>,
}

/// The negotiated parameters of a TLS connection, and the identity of its peer.
///
/// With the feature `tls`, `Connection::tls` returns them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// The version, for example `TLSv1.3`.
    pub version: String,
    /// The cipher suite by its IANA name, for example `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The subject of the peer's certificate, if the peer showed one, in the format of RFC 4514.
    pub subject: Option<String>,
    /// The name that the client asked for (SNI, RFC 6066 section 3), in lower case. `None` on a
    /// client's side, and if the client asked for an IP address.
    pub server_name: Option<String>,
    /// The application protocol that both sides agreed on (ALPN, RFC 7301); `None` if one of them
    /// offered none.
    pub alpn: Option<Vec<u8>>,
    /// The certificates that the peer showed, its own first, then those of its issuers; empty if it
    /// showed none. Also those of the first handshake, if this one resumed its session.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub certificates: Vec<PeerCertificate>,
}

#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl TlsFacts {
    /// Returns the peer's own certificate, if the peer showed one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&PeerCertificate> {
        self.certificates.first()
    }
}

impl Origin {
    /// Returns the origin of a connection that a listener has just accepted.
    pub(crate) fn accepted(listener: usize, peer: Option<SocketAddr>, stream: &Stream) -> Self {
        let credentials = peer.is_none().then(|| stream.peer_credentials()).flatten();
        Self { listener, peer, credentials, ..Self::default() }
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
        match (self.client(), self.credentials) {
            (Some(client), _) => Source::from(client.ip()),
            (None, Some(peer)) => Source::User(peer.uid),
            (None, None) => Source::Unknown,
        }
    }
}

/// The origins of one connection, in the order in which its handshakes found them. An upgrade in
/// the middle of a dialogue adds one, and references to the earlier ones stay valid.
#[derive(Debug, Default)]
pub(crate) struct OriginHistory(OnceLock<Box<(Origin, Self)>>);

impl OriginHistory {
    /// Adds the origin that a handshake has found.
    pub(crate) fn note(&self, origin: Origin) {
        let mut later = self;
        while let Some(known) = later.0.get() {
            later = &known.1;
        }
        // The handshakes of a connection run one after the other, so no other one sets it.
        let _ = later.0.set(Box::new((origin, Self::default())));
    }

    /// Returns the origin that the first handshake has found.
    pub(crate) fn first(&self) -> Option<&Origin> {
        self.0.get().map(|known| &known.0)
    }

    /// Returns the origin that the last handshake has found.
    pub(crate) fn latest(&self) -> Option<&Origin> {
        let mut known = self.0.get()?;
        while let Some(later) = known.1.0.get() {
            known = later;
        }
        Some(&known.0)
    }
}

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerId {
    Address(SocketAddr),
    /// A process at a Unix socket.
    Process(PeerCredentials),
    Unknown,
}

impl PeerId {
    pub(crate) fn of(origin: &Origin) -> Self {
        match (origin.peer, origin.credentials) {
            (Some(address), _) => Self::Address(address),
            (None, Some(process)) => Self::Process(process),
            (None, None) => Self::Unknown,
        }
    }

    pub(crate) fn address(self) -> Option<SocketAddr> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }

    pub(crate) fn credentials(self) -> Option<PeerCredentials> {
        if let Self::Process(process) = self { Some(process) } else { None }
    }
}
