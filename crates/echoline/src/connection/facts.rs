//! The facts that the transport of a connection has found: the peer's process, TLS, WebSocket, and
//! the header of a proxy.

use tokio::io::{AsyncRead, AsyncWrite};

use super::handle::Connection;
use crate::transport::credentials::PeerCredentials;
use crate::transport::origin::Origin;
#[cfg(feature = "tls")]
use crate::transport::origin::TlsFacts;
#[cfg(feature = "proxy")]
use crate::transport::proxy::facts::ProxyFacts;
#[cfg(feature = "websocket")]
use crate::transport::websocket::facts::WebSocketFacts;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Sets the origin of a connection that no server has accepted: the facts that
    /// [`Transport::open`] has found on a client's side, or invented ones for a test of a handler.
    /// A server's connection keeps the origin that the server has found.
    ///
    /// ```
    /// use echoline::transport::{Origin, PeerCredentials};
    /// use echoline::{Connection, Limits};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut origin = Origin::default();
    /// origin.credentials = Some(PeerCredentials::new(None, 1000, 1000));
    /// let (here, _there) = tokio::io::duplex(64);
    /// let client = Connection::new(here, Limits::default()).with_origin(origin);
    /// assert_eq!(client.credentials().map(|peer| peer.uid), Some(1000));
    /// # }
    /// ```
    ///
    /// [`Transport::open`]: crate::transport::Transport::open
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        let deadlines = &self.core().deadlines;
        if deadlines.slot.is_none() {
            deadlines.config.origins.note(origin);
        }
        self
    }

    /// Returns the origin as the last handshake has determined it; `None` without a handshake.
    pub(super) fn handshake_origin(&self) -> Option<&Origin> {
        let deadlines = &self.core().deadlines;
        match &deadlines.slot {
            Some(slot) => slot.handshake_origin(),
            None => deadlines.config.origins.latest(),
        }
    }

    /// Returns the process at the other end of a Unix socket. `None` over other sockets, and over a
    /// layered stream that was not opened by a server or by [`upgrade`](Self::upgrade).
    #[must_use]
    #[doc(alias = "peer_cred")]
    pub fn credentials(&self) -> Option<PeerCredentials> {
        match self.handshake_origin() {
            Some(origin) => origin.credentials,
            None => self.origin().credentials,
        }
    }

    /// Returns the facts of TLS: version, cipher, server name (SNI), ALPN, and the certificates of
    /// the peer. `None` without TLS.
    ///
    /// ```
    /// use echoline::tls::Fingerprint;
    /// use echoline::{Closed, Connection};
    ///
    /// // Greets a client by the name in its certificate, if that certificate is the expected one.
    /// async fn greet(mut client: Connection, expected: Fingerprint) -> Result<(), Closed> {
    ///     let shown = client.tls().and_then(|tls| tls.peer_certificate());
    ///     let known = shown.filter(|certificate| certificate.fingerprint() == expected);
    ///     let name = known.and_then(|certificate| certificate.subject());
    ///     client.write_line(format!("hello, {}", name.as_deref().unwrap_or("stranger"))).await
    /// }
    /// # let _ = greet;
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.handshake_origin()?.tls.as_deref()
    }

    /// Returns the request that opened the WebSocket: path, query, headers, cookies and the
    /// subprotocol. `None` without WebSocket.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// async fn welcome(mut client: Connection) -> Result<(), Closed> {
    ///     let request = client.websocket();
    ///     let session = request.and_then(|request| request.cookie("session"));
    ///     let answer = match session {
    ///         Some(session) => format!("welcome back, session {session}"),
    ///         None => "log in first".to_owned(),
    ///     };
    ///     client.write_line(answer).await
    /// }
    /// # let _ = welcome;
    /// ```
    #[cfg(feature = "websocket")]
    #[cfg_attr(docsrs, doc(cfg(feature = "websocket")))]
    #[must_use]
    pub fn websocket(&self) -> Option<&WebSocketFacts> {
        self.handshake_origin()?.websocket.as_deref()
    }

    /// Returns the contents of the PROXY header that a trusted proxy has sent: both addresses, and
    /// the TLVs of version 2. `None` without a header. [`peer`](Self::peer) is the client that the
    /// header names.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// // TLS ends at the proxy, which has verified the certificate of the client.
    /// async fn greet(mut client: Connection) -> Result<(), Closed> {
    ///     let tls = client.proxy().and_then(|header| header.tls());
    ///     let verified = tls.filter(|tls| tls.has_certificate() && tls.is_verified());
    ///     let name = verified.and_then(|tls| tls.common_name()).unwrap_or("stranger").to_owned();
    ///     client.write_line(format!("hello, {name}")).await
    /// }
    /// # let _ = greet;
    /// ```
    #[cfg(feature = "proxy")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy")))]
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxyFacts> {
        self.handshake_origin()?.proxy.as_deref()
    }
}
