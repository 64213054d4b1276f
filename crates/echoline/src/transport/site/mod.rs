//! Serves a few files over HTTP, and passes a WebSocket to the handler.

mod answer;

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use self::answer::{SiteResponse, answer, full, sentence, switch};
use crate::connection::limits::Closed;
use crate::transport::origin::Origin;
use crate::transport::steps::{OpenFuture, Protocol, Refusal, Step};
use crate::transport::stream::Stream;
use crate::transport::websocket::origin_policy::{OriginPolicy, RequestSecurity};
use crate::transport::websocket::{
    Fields, Framing, InvalidSubprotocol, Subprotocols, WebSocket, WebSocketFacts, check_request,
};
use echoline_base::checksum::Fnv1a;

/// The maximum time for the headers of one request, and the maximum idle time between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum length of a request's first line and headers together, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Limits of the input that the server reads after its last answer, before it closes the
/// connection. Closing with unread input would make the system discard the answer.
const REST_TIMEOUT: Duration = Duration::from_secs(1);
const REST_BYTES_MAX: usize = 64 * 1024;

/// The silence after which the server pings a client. The client has the same time to answer.
const PING_AFTER: Duration = Duration::from_secs(30);

/// One file of a site.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// The path, such as `/app.js`.
    pub path: &'static str,
    /// The content type, such as `text/javascript; charset=utf-8`.
    pub kind: &'static str,
    /// The file's content.
    pub content: &'static str,
}

/// A site that serves files over HTTP. A WebSocket opened at `/ws` goes to the handler, with one
/// line per text message.
///
/// It is a [`Step`] of a listener's transport. So connection slots, limits, the handshake time-out
/// and draining apply as for every other connection. A connection is kept alive for further
/// requests as long as the handshake time-out allows.
#[derive(Debug)]
pub struct Site {
    files: Vec<SiteFile>,
    policy: OriginPolicy,
    subprotocols: Subprotocols,
    discards_headers: bool,
}

#[derive(Debug)]
struct SiteFile {
    asset: Asset,
    /// The entity tag, which changes with the content.
    tag: HeaderValue,
}

impl Site {
    /// Creates a site of these files.
    #[must_use]
    pub fn new(assets: &[Asset], policy: OriginPolicy) -> Self {
        let files = assets.iter().map(|&asset| SiteFile { asset, tag: tag(asset.content) });
        let (files, subprotocols) = (files.collect(), Subprotocols::default());
        Self { files, policy, subprotocols, discards_headers: false }
    }

    /// Sets the subprotocols of the WebSocket, as [`AcceptWebSocket::subprotocols`] does.
    ///
    /// # Errors
    /// Like [`AcceptWebSocket::subprotocols`].
    ///
    /// [`AcceptWebSocket::subprotocols`]: crate::websocket::AcceptWebSocket::subprotocols
    pub fn subprotocols<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidSubprotocol> {
        self.subprotocols = Subprotocols::new(names)?;
        Ok(self)
    }

    /// Does not keep the headers of the request for the handler, as
    /// [`AcceptWebSocket::discard_headers`] does.
    ///
    /// [`AcceptWebSocket::discard_headers`]: crate::websocket::AcceptWebSocket::discard_headers
    #[must_use]
    pub fn discard_headers(mut self) -> Self {
        self.discards_headers = true;
        self
    }

    /// Speaks HTTP until the client disconnects or requests a WebSocket.
    async fn converse(&self, stream: Stream, origin: &mut Origin) -> Result<Stream, Closed> {
        let scheme = if origin.tls.is_some() { Some("https://") } else { None };
        let opened = OnceLock::new();
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(&request, scheme);
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                // HTTP ends with this answer, so no other request sets it.
                opened.get_or_init(|| Box::new(self.facts(&request)));
            }
            ready(Ok::<_, Infallible>(answer))
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        let mut stream = io.into_inner();
        if let (Ok(()), Some(facts)) = (&ended, opened.into_inner()) {
            origin.websocket = Some(facts);
            let early = read_buf.to_vec();
            let socket = WebSocket::server(stream, early, Framing::Lines).keep_alive(PING_AFTER);
            return Ok(Stream::layered(socket));
        }
        // The result does not matter, because the client has its answers.
        let _ = timeout(REST_TIMEOUT, end(&mut stream)).await;
        Err(ended.map_or_else(|error| reason(&error), |()| Closed::Finished))
    }

    /// Returns the facts of a request that opens a WebSocket.
    fn facts(&self, request: &Request<Incoming>) -> WebSocketFacts {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let headers = pairs(request.headers()).filter(|_| !self.discards_headers);
        let subprotocol = fields(request.headers()).subprotocol(&self.subprotocols);
        WebSocketFacts::collect(target, headers, subprotocol)
    }

    /// Returns the response to a request. `scheme` is the prefix that a page's origin must have. If
    /// TLS ends at this server, it is `https://`, because a page that was loaded without TLS may
    /// have been modified in transit. Without TLS it is `None`, because a proxy may have ended TLS.
    fn answer(&self, request: &Request<Incoming>, scheme: Option<&str>) -> SiteResponse {
        let path = request.uri().path();
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "Use GET or HEAD.");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let &[host] = &values(request.headers(), &header::HOST)[..] else {
            return sentence(
                StatusCode::BAD_REQUEST,
                "The request must have exactly one Host header.",
            );
        };
        if path == "/ws" {
            return self.open(request, host, scheme);
        }
        if let Err(denied) = self.policy.admit_host(RequestSecurity::of(scheme.is_some()), host) {
            return sentence(StatusCode::FORBIDDEN, &denied.to_string());
        }
        match self.files.iter().find(|file| file.asset.path == path) {
            Some(file) => file.answer(request.headers()),
            None => sentence(StatusCode::NOT_FOUND, "There is no such page; try /."),
        }
    }

    /// Answers a request to open a WebSocket. RFC 6455 4.2.1.
    fn open(&self, request: &Request<Incoming>, host: &str, scheme: Option<&str>) -> SiteResponse {
        let headers = request.headers();
        let &[page] = &values(headers, &header::ORIGIN)[..] else {
            let words = "A WebSocket needs an Origin header, which a page sends.";
            return sentence(StatusCode::FORBIDDEN, words);
        };
        let security = RequestSecurity::of(scheme.is_some());
        if let Err(denied) = self.policy.admit_over(security, host, Some(page)) {
            return sentence(StatusCode::FORBIDDEN, &denied.to_string());
        }
        if scheme.is_some_and(|scheme| !page.starts_with(scheme)) {
            return sentence(StatusCode::FORBIDDEN, "Open the page over https.");
        }
        let fields = fields(headers);
        let is_1_1 = request.version() == Version::HTTP_11;
        match check_request(request.method().as_str(), is_1_1, &fields) {
            Ok(accept) => switch(&accept, fields.subprotocol(&self.subprotocols)),
            Err(_) => {
                let words = "This path accepts only WebSockets of version 13.";
                let mut answer = sentence(StatusCode::UPGRADE_REQUIRED, words);
                let headers = answer.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                answer
            }
        }
    }
}

impl Step for Site {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::WebSocket)
    }

    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(self.converse(stream, origin))
    }

    fn refusal(&self, closed: Closed) -> Refusal {
        Refusal::Words(full(&closed.refusal()))
    }
}

impl SiteFile {
    fn answer(&self, headers: &HeaderMap) -> SiteResponse {
        let known = values(headers, &header::IF_NONE_MATCH);
        let tag = self.tag.to_str().unwrap_or_default();
        let has_it = known.iter().flat_map(|tags| tags.split(',')).any(|known| {
            let known = known.trim();
            known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
        });
        let mut answer = match has_it {
            true => answer(StatusCode::NOT_MODIFIED, self.asset.kind, Bytes::new()),
            false => answer(StatusCode::OK, self.asset.kind, self.asset.content.into()),
        };
        answer.headers_mut().insert(header::ETAG, self.tag.clone());
        answer
    }
}

/// Ends a connection so that the client gets the last answer.
async fn end(stream: &mut Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    let mut taken = 0;
    while taken < REST_BYTES_MAX {
        match stream.read(&mut rest).await? {
            0 => break,
            length => taken += length,
        }
    }
    Ok(())
}

/// Returns the close reason for an error of HTTP.
fn reason(error: &hyper::Error) -> Closed {
    match () {
        () if error.is_timeout() => Closed::HandshakeTimeout,
        () if error.is_incomplete_message() => Closed::Incomplete,
        () => Closed::HandshakeFailed,
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

fn fields(headers: &HeaderMap) -> Fields<'_> {
    Fields::new(pairs(headers))
}

/// Returns every value of a header. A value that is not valid text becomes empty.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
}

/// Returns the entity tag of a file's content. It only has to distinguish the versions of this
/// program's own files.
fn tag(content: &str) -> HeaderValue {
    let hash = Fnv1a::new().bytes(content.as_bytes()).sum();
    HeaderValue::from_str(&format!("\"{hash:016x}\"")).expect("digits are letters of a header")
}
