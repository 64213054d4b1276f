//! The transport of a listener: the steps that turn an accepted socket into the handler's stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::origin::Origin;
use super::stream::Stream;
use crate::connection::limits::Closed;
use crate::listener::address::Scheme;
use crate::sources::SourceRefusal;

/// The future of one step, with the resulting stream.
pub type OpenFuture<'a> = Pin<Box<dyn Future<Output = Result<Stream, Closed>> + Send + 'a>>;

/// A transport step: it reads a header, performs a handshake, or adds a layer to the stream.
///
/// It runs in the connection's own task, within
/// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout), so a slow client does not delay
/// other connections. Dropping the future closes the connection.
///
/// ```
/// use std::sync::Arc;
///
/// use echoline::testing::TestServer;
/// use echoline::transport::{OpenFuture, Origin, Step, Stream, Transport};
/// use echoline::{Closed, Connection};
/// use tokio::io::AsyncReadExt;
///
/// /// Accepts clients that send four secret bytes first.
/// #[derive(Debug)]
/// struct Knock([u8; 4]);
///
/// impl Step for Knock {
///     fn open<'a>(&'a self, mut stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
///         Box::pin(async move {
///             let mut knock = [0; 4];
///             stream.read_exact(&mut knock).await?;
///             if knock == self.0 {
///                 return Ok(stream);
///             }
///             origin.failure = Some("the client does not know the secret".to_owned());
///             Err(Closed::HandshakeFailed)
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A real listener gets the same steps by `Listener::transport`.
/// let server = TestServer::new(async |mut client: Connection| client.echo().await)
///     .transport(Transport::plain().then(Arc::new(Knock(*b"1234"))));
/// let mut client = server.connect();
/// client.send("1234hello\n").await;
/// client.expect("hello\n").await;
/// let mut stranger = server.connect();
/// stranger.send("letmein\n").await;
/// stranger.expect_end().await;
/// stranger.expect_closed(Closed::HandshakeFailed).await;
/// # }
/// ```
pub trait Step: fmt::Debug + Send + Sync {
    /// Runs the step. Returns the stream for the next step, or the reason why the connection ends
    /// here.
    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a>;

    /// Returns the refusal that a client without a connection slot receives before this step runs.
    fn refusal(&self, closed: Closed) -> Refusal {
        let _ = closed;
        Refusal::Silence
    }

    /// Returns whether `origin` is a proxy that will name its client, so that
    /// [`Limits::max_per_ip`](crate::Limits::max_per_ip) counts the client's address instead of the
    /// proxy's.
    fn speaks_for_others(&self, origin: &Origin) -> bool {
        let _ = origin;
        false
    }

    /// Returns the protocol that this step adds. It is `None` if the step adds none, like the step
    /// that reads a PROXY header. A step for `tls://` or `ws://` addresses must return its
    /// protocol, because a listener does not serve a scheme without a step for its protocol.
    fn protocol(&self) -> Option<Protocol> {
        None
    }
}

/// A protocol between a socket and its handler, which the scheme of an address can require.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// TLS: `tls://` and `wss://`.
    Tls,
    /// WebSocket: `ws://` and `wss://`.
    WebSocket,
}

impl Protocol {
    /// Returns the protocols that an address of this scheme requires, the lowest layer first.
    fn of(scheme: Scheme) -> impl Iterator<Item = Self> {
        let tls = scheme.is_tls().then_some(Self::Tls);
        tls.into_iter().chain(scheme.is_websocket().then_some(Self::WebSocket))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// A step's message to a client without a connection slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The client gets no message, because it could not understand one. The connection only ends.
    Silence,
    /// The client gets this text, and then the connection ends.
    Words(String),
    /// The client gets the message of the next step, or of the server itself, because this step
    /// does not change the bytes that the server sends.
    Next,
}

/// The steps of one listener, in their order; none for plain TCP and Unix sockets.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    steps: Vec<Arc<dyn Step>>,
}

impl Transport {
    /// Returns the bare socket.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Appends a step.
    #[must_use]
    pub fn then(mut self, step: Arc<dyn Step>) -> Self {
        self.steps.push(step);
        self
    }

    /// Returns whether the handler's bytes are the bytes of the socket.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the refusal of the first step whose refusal is not [`Refusal::Next`], or
    /// [`Refusal::Next`] if there is no such step.
    pub(crate) fn refusal(&self, closed: Closed) -> Refusal {
        first_refusal(&self.steps, closed)
    }

    /// Returns the first protocol that an address of `scheme` requires and that no step speaks.
    /// Without this check the bytes would be sent unencrypted.
    pub fn missing(&self, scheme: Scheme) -> Option<Protocol> {
        let has = |wanted| self.steps.iter().any(|step| step.protocol() == Some(wanted));
        Protocol::of(scheme).find(|wanted| !has(*wanted))
    }

    pub(crate) fn speaks_for_others(&self, origin: &Origin) -> bool {
        self.steps.iter().any(|step| step.speaks_for_others(origin))
    }

    /// Returns the refusal for a client that a proxy has named, from the steps after the PROXY
    /// header. Without a step for the PROXY header, all steps count.
    pub(crate) fn refusal_after_proxy(&self, origin: &Origin, closed: Closed) -> Refusal {
        let is_proxy = |step: &Arc<dyn Step>| step.speaks_for_others(origin);
        let after = self.steps.iter().position(is_proxy).map_or(0, |proxy| proxy + 1);
        first_refusal(&self.steps[after..], closed)
    }

    /// Works like [`open`](Self::open), but calls `admit` as soon as a trusted proxy has named the
    /// client.
    pub(crate) async fn open_admitted(
        &self,
        mut stream: Stream,
        origin: &mut Origin,
        admit: impl Fn(&Origin) -> Result<(), SourceRefusal>,
    ) -> Result<Stream, OpenError> {
        for step in &self.steps {
            let names_client = step.speaks_for_others(origin);
            stream = step.open(stream, origin).await.map_err(OpenError::Step)?;
            if names_client && let Err(refusal) = admit(origin) {
                return Err(OpenError::Admission(refusal, stream));
            }
        }
        Ok(stream)
    }

    /// Runs all steps, on the side of a server or of a client.
    ///
    /// # Errors
    /// The error of the first step that fails. Dropping the future closes the connection.
    pub async fn open(&self, mut stream: Stream, origin: &mut Origin) -> Result<Stream, Closed> {
        for step in &self.steps {
            stream = step.open(stream, origin).await?;
        }
        Ok(stream)
    }
}

/// The reason why a stream did not pass all steps.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// A step failed.
    Step(Closed),
    /// The client that a proxy has named may not connect. Contains the stream as it was at that
    /// time.
    Admission(SourceRefusal, Stream),
}

impl OpenError {
    /// Returns the close reason of the connection.
    pub(crate) fn closed(self) -> Closed {
        match self {
            Self::Step(closed) => closed,
            Self::Admission(refusal, _) => refusal.closed(),
        }
    }
}

fn first_refusal(steps: &[Arc<dyn Step>], closed: Closed) -> Refusal {
    let mut refusals = steps.iter().map(|step| step.refusal(closed));
    refusals.find(|refusal| *refusal != Refusal::Next).unwrap_or(Refusal::Next)
}
