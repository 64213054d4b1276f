//! What lies between an accepted socket and its handler: the steps that make a stream of it.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::address::Scheme;
use super::limits::Closed;
use super::sources::{Source, SourceRefusal};
use super::stream::Stream;

/// What one step makes of a stream.
pub type OpenFuture<'a> = Pin<Box<dyn Future<Output = Result<Stream, Closed>> + Send + 'a>>;

/// One step: reads a header, holds a handshake, lays a layer over the stream.
///
/// It runs in the connection's own task, under
/// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout): a client that is slow here
/// holds nobody up. Dropping the future closes the connection.
pub trait Step: fmt::Debug + Send + Sync {
    /// The stream for the next step, or the reason for which the connection ends here.
    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a>;

    /// What somebody hears, before this step is taken, for whom there is no place.
    fn refusal(&self, closed: Closed) -> Refusal {
        let _ = closed;
        Refusal::Silence
    }

    /// Whether who comes from `origin` is a proxy that will say who the client is, so that the
    /// client's address is what [`Limits::max_per_ip`](crate::Limits::max_per_ip) counts.
    fn speaks_for_others(&self, origin: &Origin) -> bool {
        let _ = origin;
        false
    }

    /// The protocol that this step adds; `None` if it adds none, as one that reads a PROXY header.
    /// A step of your own that serves a `tls://` or `ws://` address has to name its protocol here:
    /// a listener refuses to serve a scheme that no step of its transport speaks.
    fn protocol(&self) -> Option<Protocol> {
        None
    }
}

/// A protocol between a socket and its handler that the scheme of an address can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// TLS: `tls://` and `wss://`.
    Tls,
    /// WebSocket: `ws://` and `wss://`.
    WebSocket,
}

impl Protocol {
    /// The protocols that an address of this scheme asks for, the lowest first.
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

/// What a step has to say to somebody for whom there is no place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing that would be understood: the connection just ends.
    Silence,
    /// These bytes, and then the connection ends.
    Words(String),
    /// What the next step has to say, or the server itself: this step changes no byte it sends.
    Next,
}

/// The steps of one listener, in their order; none for plain TCP and Unix sockets.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    steps: Vec<Arc<dyn Step>>,
}

/// Where a connection comes from, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Counts the connections of its server, from 1; 0 where there is no server.
    pub number: u64,
    /// The listener that accepted it: its place among those of the server.
    pub listener: usize,
    /// The other end of the socket; `None` if it has no address (a Unix socket).
    pub peer: Option<SocketAddr>,
    /// The id of the user who runs the process at the other end of a Unix socket.
    pub uid: Option<u32>,
    /// The address of the client, as a trusted proxy names it.
    pub source: Option<SocketAddr>,
    /// A trusted proxy says that it speaks for itself, as in a health check.
    pub is_proxy_itself: bool,
    /// What TLS was agreed on; `None` where there is none.
    pub tls: Option<TlsFacts>,
    /// Why a step failed, in words for a log or a user, where it knows more than its
    /// [`Closed`] says.
    pub failure: Option<String>,
}

/// What two ends of a TLS connection agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFacts {
    /// For example `TLSv1.3`.
    pub version: String,
    /// For example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The subject of the client's certificate, where it showed one.
    pub subject: Option<String>,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
}

impl Transport {
    /// The bare socket.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Adds a step after those there are.
    #[must_use]
    pub fn then(mut self, step: Arc<dyn Step>) -> Self {
        self.steps.push(step);
        self
    }

    /// Whether bytes of the handler are the bytes of the socket.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    /// The answer of the first step that has one; [`Refusal::Next`] where bytes are just bytes.
    pub(super) fn refusal(&self, closed: Closed) -> Refusal {
        first_refusal(&self.steps, closed)
    }

    /// The first protocol that an address of `scheme` asks for and no step speaks: without this
    /// check the bytes would travel in the clear.
    pub fn missing(&self, scheme: Scheme) -> Option<Protocol> {
        let has = |wanted| self.steps.iter().any(|step| step.protocol() == Some(wanted));
        Protocol::of(scheme).find(|wanted| !has(*wanted))
    }

    pub(super) fn speaks_for_others(&self, origin: &Origin) -> bool {
        self.steps.iter().any(|step| step.speaks_for_others(origin))
    }

    /// The answer of the steps that follow the PROXY header to a refused client; without a PROXY
    /// header, of all steps.
    pub(super) fn refusal_after_proxy(&self, origin: &Origin, closed: Closed) -> Refusal {
        let is_proxy = |step: &Arc<dyn Step>| step.speaks_for_others(origin);
        let after = self.steps.iter().position(is_proxy).map_or(0, |proxy| proxy + 1);
        first_refusal(&self.steps[after..], closed)
    }

    /// Takes all steps as [`open`](Self::open) does, and asks `admit` as soon as a trusted proxy
    /// has named the client.
    pub(super) async fn open_admitted(
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

    /// Takes all steps, on the side of a server or of a client.
    ///
    /// # Errors
    /// What the first step that fails says. Dropping the future closes the connection.
    pub async fn open(&self, mut stream: Stream, origin: &mut Origin) -> Result<Stream, Closed> {
        for step in &self.steps {
            stream = step.open(stream, origin).await?;
        }
        Ok(stream)
    }
}

/// Why a stream did not get through all steps.
#[derive(Debug)]
pub(super) enum OpenError {
    /// A step failed.
    Step(Closed),
    /// The client that a proxy named may not connect; the stream as it was then.
    Admission(SourceRefusal, Stream),
}

fn first_refusal(steps: &[Arc<dyn Step>], closed: Closed) -> Refusal {
    let mut refusals = steps.iter().map(|step| step.refusal(closed));
    refusals.find(|refusal| *refusal != Refusal::Next).unwrap_or(Refusal::Next)
}

impl Origin {
    /// The origin of a connection that a listener has just accepted.
    pub(super) fn accepted(listener: usize, peer: Option<SocketAddr>, stream: &Stream) -> Self {
        let uid = peer.is_none().then(|| stream.peer_uid()).flatten();
        Self { listener, peer, uid, ..Self::default() }
    }

    /// The client: whom a trusted proxy names, else the other end of the socket.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.source.or(self.peer)
    }

    /// The source whose limits apply to this connection: the address of the client, or the user at
    /// the other end of a Unix socket.
    #[must_use]
    pub fn source(&self) -> Source {
        match (self.client(), self.uid) {
            (Some(client), _) => Source::from(client.ip()),
            (None, Some(uid)) => Source::User(uid),
            (None, None) => Source::Unknown,
        }
    }
}
