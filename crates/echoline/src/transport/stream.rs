//! The byte stream that a server accepts or a client opens: a socket, or layers over one.

use std::any::Any;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::credentials::PeerCredentials;
use super::socket_io;
use crate::connection::limits::Closed;
use crate::listener::address::canonical;
use echoline_base::backoff::Backoff;

/// The first and the longest pause before a retry if the queue of a Unix socket is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);
const QUEUE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// A byte stream to one peer: a socket, or layers over one.
///
/// For a plain socket each call costs one branch more than the socket itself. Each layer (TLS,
/// WebSocket, planned faults) costs one indirect call.
#[derive(Debug)]
pub struct Stream(StreamKind);

enum StreamKind {
    Tcp(TcpStream),
    Unix(UnixStream),
    Layered(Box<dyn InnerStream>),
}

/// A stream that is not a plain socket: a layer over another one, or a stream in memory.
pub(crate) trait InnerStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Passes a notice on to the socket below, if there is one.
    fn signal(&mut self, signal: CloseSignal);
}

impl<L: Layer<Below = Stream>> InnerStream for L {
    fn signal(&mut self, signal: CloseSignal) {
        match signal {
            CloseSignal::Ends(closed) => self.note_end(closed),
            CloseSignal::Reset => self.below().reset_on_close(),
            CloseSignal::Cork => self.below().cork(),
        }
    }
}

impl Stream {
    /// Connects to a Unix socket. A path that begins with `@` is a name in the abstract namespace.
    /// While the server's queue is full, it waits without a time-out. Cancel safe.
    ///
    /// # Errors
    /// The error of connect(2).
    pub async fn connect_unix(path: &str) -> io::Result<Self> {
        // tokio and std expect a name in the abstract namespace to begin with NUL.
        let name = path.strip_prefix('@').map(|name| format!("\0{name}"));
        let mut backoff = Backoff::new(QUEUE_PAUSE, QUEUE_PAUSE_MAX);
        loop {
            match UnixStream::connect(name.as_deref().unwrap_or(path)).await {
                // Polling is the only way to wait, because connect(2) of a Unix socket fails at
                // once if the queue is full (unix(7)).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sleep(backoff.next_delay()).await;
                }
                socket => return socket.map(Self::from),
            }
        }
    }

    /// Returns a stream that consists of `layer`, which wraps another stream.
    #[must_use]
    pub fn layered(layer: impl Layer<Below = Self>) -> Self {
        Self(StreamKind::Layered(Box::new(layer)))
    }

    /// Returns a stream without a socket.
    pub(crate) fn in_memory(stream: impl InnerStream) -> Self {
        Self(StreamKind::Layered(Box::new(stream)))
    }

    /// Returns the TCP socket; `None` for a layered stream and for another kind of socket.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            StreamKind::Tcp(socket) => Some(socket),
            StreamKind::Unix(_) | StreamKind::Layered(_) => None,
        }
    }

    /// Returns the address of the peer's TCP socket; `None` for all other streams. The peer of a
    /// dual-stack socket has its IPv4 address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok().map(canonical)
    }

    /// Returns the address of this end's TCP socket; `None` for all other streams.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok().map(canonical)
    }

    /// Returns the process at the other end of a Unix socket; `None` for all other streams.
    #[must_use]
    #[doc(alias = "peer_cred")]
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.0 {
            StreamKind::Unix(socket) => socket.peer_cred().ok().map(PeerCredentials::from),
            StreamKind::Tcp(_) | StreamKind::Layered(_) => None,
        }
    }

    /// Sends as much of `words` as the socket takes at once, and closes the socket. This is the
    /// cheapest refusal. If the peer has sent input that was not read, it may not receive the
    /// words.
    pub(crate) fn end_at_once(self, words: &str) {
        // The result does not matter. The rest of the words is lost, which keeps the refusal cheap.
        let _ = match &self.0 {
            StreamKind::Tcp(socket) => socket.try_write(words.as_bytes()),
            StreamKind::Unix(socket) => socket.try_write(words.as_bytes()),
            StreamKind::Layered(_) => Ok(0),
        };
    }

    /// Makes the socket below all layers reset its connection on close. Otherwise the system would
    /// keep unsent bytes for minutes if the peer reads nothing. A Unix socket keeps no bytes, so it
    /// needs no reset.
    pub fn reset_on_close(&mut self) {
        match &mut self.0 {
            // The call fails only on a closed socket, which needs no reset.
            StreamKind::Tcp(socket) => drop(socket.set_zero_linger()),
            StreamKind::Unix(_) => {}
            StreamKind::Layered(layer) => layer.signal(CloseSignal::Reset),
        }
    }

    /// Makes the TCP socket below all layers hold its output until the stream ends, for 200 ms at
    /// most (tcp(7), `TCP_CORK`). The output and the end of the stream are then sent in one
    /// segment.
    pub(crate) fn cork(&mut self) {
        match &mut self.0 {
            // The call fails only on a closed socket, which has nothing to send.
            StreamKind::Tcp(socket) => drop(SockRef::from(&*socket).set_tcp_cork(true)),
            StreamKind::Unix(_) => {}
            StreamKind::Layered(layer) => layer.signal(CloseSignal::Cork),
        }
    }

    /// Tells the layers the close reason of the connection.
    pub fn note_end(&mut self, closed: Closed) {
        if let StreamKind::Layered(layer) = &mut self.0 {
            layer.signal(CloseSignal::Ends(closed));
        }
    }

    /// Ends the stream of a layered protocol (TLS, WebSocket), if the system takes the bytes at
    /// once. Then closes the socket.
    pub fn shutdown_now(mut self) {
        if let StreamKind::Layered(layer) = &mut self.0 {
            // The result does not matter, because the connection ends here.
            let cx = &mut Context::from_waker(std::task::Waker::noop());
            let _ = Pin::new(layer).poll_shutdown(cx);
        }
    }

    /// Registers a plain socket with the current runtime.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        Ok(Self(match self.0 {
            StreamKind::Tcp(socket) => StreamKind::Tcp(TcpStream::from_std(socket.into_std()?)?),
            StreamKind::Unix(socket) => StreamKind::Unix(UnixStream::from_std(socket.into_std()?)?),
            // Layers are added later, on the runtime that serves the connection.
            layered @ StreamKind::Layered(_) => layered,
        }))
    }

    /// Returns whether the stream is a socket without layers.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !matches!(self.0, StreamKind::Layered(_))
    }

    /// Returns the plain socket for use without the runtime. It is non-blocking.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for a layered stream, or an error of the runtime.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.into_socket().map(OwnedFd::from)
    }

    /// Returns the plain socket for use without a runtime. It is non-blocking.
    pub(crate) fn into_socket(self) -> io::Result<socket2::Socket> {
        match self.0 {
            StreamKind::Tcp(socket) => Ok(socket.into_std()?.into()),
            StreamKind::Unix(socket) => Ok(OwnedFd::from(socket.into_std()?).into()),
            StreamKind::Layered(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self(StreamKind::Tcp(socket))
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self(StreamKind::Unix(socket))
    }
}

impl std::fmt::Debug for StreamKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(socket) => socket.fmt(f),
            Self::Unix(socket) => socket.fmt(f),
            Self::Layered(_) => f.write_str("Layered"),
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            StreamKind::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            StreamKind::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            StreamKind::Layered(layer) => Pin::new(layer).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            StreamKind::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            StreamKind::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            StreamKind::Layered(layer) => Pin::new(layer).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            StreamKind::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            StreamKind::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            StreamKind::Layered(layer) => Pin::new(layer).poll_write_vectored(cx, slices),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            StreamKind::Tcp(_) | StreamKind::Unix(_) => true,
            StreamKind::Layered(layer) => layer.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            StreamKind::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            StreamKind::Unix(socket) => Pin::new(socket).poll_flush(cx),
            StreamKind::Layered(layer) => Pin::new(layer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            StreamKind::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            StreamKind::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            StreamKind::Layered(layer) => Pin::new(layer).poll_shutdown(cx),
        }
    }
}

/// Reads once, as [`AsyncRead::poll_read`] does, and returns the number of bytes. It costs less for
/// a plain socket, because it registers the task only if the task has to wait, and does not use the
/// task's budget ([`tokio::task::coop`]). So the caller must limit the reads of one turn.
#[inline]
pub(crate) fn poll_read<S: AsyncRead + Unpin + 'static>(
    stream: &mut S,
    bytes: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    match plain_socket(stream) {
        Some(StreamKind::Tcp(socket)) => socket_io::poll_read(socket, bytes, cx),
        Some(StreamKind::Unix(socket)) => socket_io::poll_read(socket, bytes, cx),
        Some(StreamKind::Layered(_)) | None => {
            let mut buffer = ReadBuf::new(bytes);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        }
    }
}

/// Writes as many of `bytes` as a plain socket takes at once. It does not use the task's budget
/// either, so the caller must read between two calls.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if the socket takes nothing now, and always for a layered stream.
/// The task is not registered.
#[inline]
pub(crate) fn write_at_once<S: 'static>(stream: &mut S, bytes: &[u8]) -> io::Result<usize> {
    match plain_socket(stream) {
        Some(StreamKind::Tcp(socket)) => socket_io::write_at_once(socket, bytes),
        Some(StreamKind::Unix(socket)) => socket_io::write_at_once(socket, bytes),
        Some(StreamKind::Layered(_)) | None => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Returns `Pending` if a plain socket certainly has no input. The task is then woken when input
/// arrives. It costs less than a read that finds no input. A layered stream is always ready.
#[inline]
pub(crate) fn poll_readable<S: 'static>(stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
    // An error is ready too: the read returns it.
    match plain_socket(stream) {
        Some(StreamKind::Tcp(socket)) => socket.poll_read_ready(cx).map(|_| ()),
        Some(StreamKind::Unix(socket)) => socket.poll_read_ready(cx).map(|_| ()),
        Some(StreamKind::Layered(_)) | None => Poll::Ready(()),
    }
}

#[inline]
fn plain_socket<S: 'static>(stream: &mut S) -> Option<&StreamKind> {
    let stream: &mut dyn Any = stream;
    stream.downcast_ref::<Stream>().map(|stream| &stream.0)
}

/// A byte stream over another one; see [`Connection::layer`](crate::Connection::layer).
pub trait Layer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The stream below.
    type Below: 'static;

    /// Returns the stream below, to set its options. Reading or writing it directly would break the
    /// layer.
    fn below(&mut self) -> &mut Self::Below;

    /// Notifies the layer that the connection will be closed for this reason, because some
    /// protocols send the reason to the peer. The default passes the notice on to the stream below.
    fn note_end(&mut self, closed: Closed) {
        signal_close(self.below(), CloseSignal::Ends(closed));
    }
}

/// A notice to the streams below a connection that is about to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseSignal {
    /// The connection will be closed, with this close reason.
    Ends(Closed),
    /// The socket must reset its connection when it is closed.
    Reset,
    /// The socket must hold its output until the stream ends, so that both are sent in one segment.
    Cork,
}

/// Passes the notice to `stream`, if its type accepts one. Without a reset, the system would
/// continue to send the pending bytes after the close. If the peer reads nothing, it would keep the
/// bytes for minutes.
pub(crate) fn signal_close<S: 'static>(stream: &mut S, word: CloseSignal) {
    let stream: &mut dyn Any = stream;
    if let Some(stream) = stream.downcast_mut::<Stream>() {
        match word {
            CloseSignal::Ends(closed) => stream.note_end(closed),
            CloseSignal::Reset => stream.reset_on_close(),
            CloseSignal::Cork => stream.cork(),
        }
    } else if let Some(socket) = stream.downcast_mut::<TcpStream>() {
        // Both fail only on a closed socket, which has nothing to send.
        match word {
            CloseSignal::Ends(_) => {}
            CloseSignal::Reset => drop(socket.set_zero_linger()),
            CloseSignal::Cork => drop(SockRef::from(&*socket).set_tcp_cork(true)),
        }
    }
}
