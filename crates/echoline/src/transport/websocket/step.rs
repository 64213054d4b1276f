//! The handshake as a step of a transport, on either side.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::facts::{InvalidSubprotocol, Subprotocols};
use super::origin_policy::{OriginPolicy, RequestSecurity};
use super::stream::{Framing, WebSocket};
use super::upgrade::{self, Denial, HEAD_MAX, UpgradeRules};
use crate::connection::limits::Closed;
use crate::listener::address::Address;
use crate::transport::origin::Origin;
use crate::transport::steps::{OpenFuture, Protocol, Refusal, Step};
use crate::transport::stream::Stream;

/// The maximum wait for a refused client to read the refusal.
const DENIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The server's side. It turns an HTTP request into a WebSocket, or answers with the reason for the
/// refusal.
///
/// [`Connection::websocket`](crate::Connection::websocket) gives the handler the request.
///
/// ```
/// use echoline::transport::Transport;
/// use echoline::websocket::{AcceptWebSocket, Framing, OriginPolicy};
/// use echoline::{Closed, Connection, Listener, ListenerOptions, Server};
/// use std::sync::Arc;
///
/// async fn serve(mut client: Connection) -> Result<(), Closed> {
///     match client.websocket().and_then(|request| request.subprotocol()) {
///         Some("numbers.v2") => client.write_line("two").await,
///         _ => client.write_line("one").await,
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address = "ws://127.0.0.1:0/numbers".parse()?;
/// let step = AcceptWebSocket::new(&address, Framing::Lines, OriginPolicy::default())
///     .subprotocols(["numbers.v1", "numbers.v2"])?;
/// let transport = Transport::plain().then(Arc::new(step));
/// let listeners = Listener::bind(&address, &ListenerOptions::default()).await?;
/// let listeners = listeners.into_iter().map(|one| one.transport(transport.clone())).collect();
/// let server = Server::new(listeners);
/// # let _ = (server, serve);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AcceptWebSocket {
    framing: Framing,
    rules: UpgradeRules,
}

impl AcceptWebSocket {
    /// Accepts WebSockets at the path of `listen`, or at every path if that is `/`.
    #[must_use]
    pub fn new(listen: &Address, framing: Framing, policy: OriginPolicy) -> Self {
        let path = Some(listen.resource()).filter(|path| *path != "/").map(str::to_owned);
        Self { framing, rules: UpgradeRules { path, policy, ..UpgradeRules::default() } }
    }

    /// Sets the subprotocols that the server supports. It chooses the first one that the client
    /// offers and the server supports (RFC 6455 section 4.2.2). A client that offers only others is
    /// served without a subprotocol; a browser then closes the WebSocket. Default: none.
    ///
    /// # Errors
    /// The first name that is not a token (RFC 9110 section 5.6.2).
    pub fn subprotocols<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidSubprotocol> {
        self.rules.subprotocols = Subprotocols::new(names)?;
        Ok(self)
    }

    /// Does not keep the headers of the request for the handler, which saves about 500 bytes for
    /// each connection from a browser, and at most 16 KiB.
    #[must_use]
    pub fn discard_headers(mut self) -> Self {
        self.rules.discards_headers = true;
        self
    }

    async fn shake_hands(&self, mut stream: Stream, origin: &mut Origin) -> Result<Stream, Closed> {
        let mut head = Vec::new();
        let security = RequestSecurity::of(origin.tls.is_some());
        let upgrade = loop {
            match upgrade::read_request(&head, &self.rules, security) {
                Ok(None) => read_more(&mut stream, &mut head).await?,
                Ok(Some(upgrade)) => break upgrade,
                Err(denial) => {
                    origin.failure = Some(denial.sentence.clone());
                    // The connection ends in any case, so the result does not matter.
                    let _ = timeout(DENIAL_TIMEOUT, refuse(stream, &denial)).await;
                    return Err(Closed::HandshakeFailed);
                }
            }
        };
        stream.write_all(upgrade::accept(&upgrade).as_bytes()).await?;
        stream.flush().await?;
        let early = head.split_off(upgrade.length);
        origin.websocket = Some(Box::new(upgrade.facts));
        Ok(Stream::layered(WebSocket::server(stream, early, self.framing)))
    }
}

impl Step for AcceptWebSocket {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::WebSocket)
    }

    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(self.shake_hands(stream, origin))
    }

    fn refusal(&self, closed: Closed) -> Refusal {
        Refusal::Words(Denial::busy(&closed.refusal()).answer())
    }
}

/// The client's side. It requests a WebSocket.
#[derive(Debug)]
pub struct OpenWebSocket {
    host: String,
    resource: String,
    offered: Subprotocols,
}

impl OpenWebSocket {
    /// Creates a step that requests the resource of `address`.
    #[must_use]
    pub fn new(address: &Address) -> Self {
        let (name, port) = (address.host(), address.port());
        let host =
            if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
        let resource = address.resource().to_owned();
        Self { host, resource, offered: Subprotocols::default() }
    }

    /// Sets the subprotocols that the client offers, the preferred one first. The handshake fails
    /// if the server chooses another one. Default: none.
    ///
    /// # Errors
    /// The first name that is not a token (RFC 9110 section 5.6.2).
    pub fn subprotocols<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidSubprotocol> {
        self.offered = Subprotocols::new(names)?;
        Ok(self)
    }

    async fn shake_hands(&self, mut stream: Stream, origin: &mut Origin) -> Result<Stream, Closed> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let request = upgrade::request(&self.host, &self.resource, &self.offered, nonce);
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        let answer = loop {
            match upgrade::read_answer(&head, &self.resource, &self.offered, nonce) {
                Ok(Some(answer)) => break answer,
                Ok(None) => {
                    if let Err(closed) = read_more(&mut stream, &mut head).await {
                        let text = "the server ended the connection before a WebSocket was open";
                        origin.failure = Some(text.to_owned());
                        return Err(closed);
                    }
                }
                Err(trouble) => {
                    origin.failure = Some(trouble);
                    return Err(Closed::HandshakeFailed);
                }
            }
        };
        let early = head.split_off(answer.length);
        origin.websocket = Some(Box::new(answer.facts));
        Ok(Stream::layered(WebSocket::client(stream, early)))
    }
}

impl Step for OpenWebSocket {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::WebSocket)
    }

    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(self.shake_hands(stream, origin))
    }
}

/// Reads more of the request head, at most one byte more than `HEAD_MAX`. The parser refuses a head
/// that is longer than `HEAD_MAX`.
async fn read_more(stream: &mut Stream, head: &mut Vec<u8>) -> Result<(), Closed> {
    let mut chunk = [0; 1024];
    let most = chunk.len().min(HEAD_MAX + 1 - head.len().min(HEAD_MAX));
    match stream.read(&mut chunk[..most]).await? {
        0 => Err(Closed::HandshakeFailed),
        count => {
            head.extend_from_slice(&chunk[..count]);
            Ok(())
        }
    }
}

/// Sends the refusal, and reads the remaining input, so that no reset discards the refusal.
async fn refuse(mut stream: Stream, denial: &Denial) -> io::Result<()> {
    stream.write_all(denial.answer().as_bytes()).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    let mut chunk = [0; 1024];
    for _ in 0..64 {
        if stream.read(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(())
}
