//! The connection as its handler sees it: reads and writes that respect limits, deadlines and the
//! shutdown.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::borrows::MessageGuard;
use super::closing::Closing;
use super::config::{ConnectionConfig, Eol, Farewell};
use super::core::Core;
use super::feed::Outlet;
use super::input::InputBuffer;
use super::limits::{Closed, Limits};
use super::line::Line;
use crate::server::registry::ConnectionSlot;
use crate::server::shutdown::{Phase, Shutdown};
use crate::transport::origin::Origin;
use crate::transport::stream::Stream;

/// A connection to one peer over any byte stream.
///
/// **Corked.** Output is sent when the handler next waits for input, on [`flush`](Self::flush), on
/// [`close`](Self::close) or drop, or when it exceeds [`Limits::write_high`]. So a client that
/// sends 32 lines in one packet gets 32 replies in one packet.
///
/// **Limited.** Every wait has the deadlines of [`Limits`]; when one passes, the call returns the
/// [`Closed`] that names it. A handler passes that on with `?`.
///
/// **Closed in order.** When a connection is closed or dropped, the peer receives all pending
/// output, then the [`Farewell`] if the server ended the connection, then the end of the stream.
/// The connection continues to read for a short time, so that a reset does not discard the last
/// line.
///
/// **Identified.** [`peer`](Self::peer) and [`credentials`](Self::credentials) tell the other end
/// of the socket. With their features, `tls`, `websocket` and `proxy` tell the certificate of the
/// peer, the request that opened the WebSocket, and the header of a proxy. Read them before you
/// split the connection.
///
/// All reads are cancel safe: a read that is dropped half-way, for example in `select!`, loses no
/// bytes.
///
/// ```
/// use echoline::testing::TestServer;
/// use echoline::{Closed, Connection};
///
/// /// `PUT LENGTH`, then that many bytes.
/// async fn put(mut client: Connection) -> Result<(), Closed> {
///     while let Some(line) = client.read_line().await? {
///         let length = line.strip_prefix("PUT ");
///         match length.and_then(|length| length.as_str().ok()?.parse().ok()) {
///             Some(length @ 0..=1024) => {
///                 let bytes = client.read_exact(length).await?;
///                 client.write_line(format!("OK {} bytes", bytes.len())).await?;
///             }
///             _ => client.write_line("ERROR expected PUT and a length up to 1024").await?,
///         }
///     }
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut client = TestServer::new(put).connect();
/// client.send("PUT 5\nhelloPUT\n").await;
/// client.expect("OK 5 bytes\nERROR expected PUT and a length up to 1024\n").await;
/// # }
/// ```
pub struct Connection<S = Stream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// The core is boxed to keep handlers small. A handler is a chain of futures, and each of them
    /// may hold the connection. These futures use most of an idle connection's memory. `None` after
    /// closing begins.
    core: Option<Box<Core<S>>>,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Creates a connection of a client over `stream`. It writes `\n` as line end and sends no
    /// farewell.
    ///
    /// ```
    /// use echoline::{Connection, Limits};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), echoline::Closed> {
    /// let (here, there) = tokio::io::duplex(8);
    /// let mut client = Connection::new(here, Limits::default());
    /// let mut server = Connection::new(there, Limits::default());
    /// client.write_line("hello").await?;
    /// client.flush().await?;
    /// assert_eq!(server.read_line().await?.unwrap(), *b"hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(stream: S, limits: Limits) -> Self {
        Self::accepted(stream, limits, Eol::Lf, Farewell::Silent, Shutdown::new())
    }

    /// Creates a connection over any stream, as a server does for an accepted one. Tests use it to
    /// run a handler over [`tokio::io::duplex`]. `shutdown` drains or aborts the connection, like
    /// the handle of a server.
    ///
    /// ```
    /// use echoline::{Closed, Connection, Eol, Farewell, Limits, Shutdown};
    ///
    /// async fn echo<S>(mut client: Connection<S>) -> Result<(), Closed>
    /// where
    ///     S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    /// {
    ///     while let Some(line) = client.read_line().await? {
    ///         client.write_line(line).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let (here, _there) = tokio::io::duplex(8);
    /// let shutdown = Shutdown::new();
    /// let (limits, farewell) = (Limits::default(), Farewell::default());
    /// let client = Connection::accepted(here, limits, Eol::Lf, farewell, shutdown.clone());
    /// let serving = tokio::spawn(echo(client));
    /// shutdown.drain();
    /// assert_eq!(serving.await.unwrap(), Err(Closed::Drained));
    /// # }
    /// ```
    pub fn accepted(
        stream: S,
        limits: Limits,
        eol: Eol,
        farewell: Farewell,
        shutdown: Shutdown,
    ) -> Self {
        let config = ConnectionConfig::new(limits, shutdown, eol, farewell);
        Self::with_config(stream, Arc::new(config), None)
    }

    pub(crate) fn with_config(
        stream: S,
        config: Arc<ConnectionConfig>,
        slot: Option<Arc<ConnectionSlot>>,
    ) -> Self {
        Self::from_core(Box::new(Core::new(stream, config, slot)))
    }

    pub(super) fn from_core(core: Box<Core<S>>) -> Self {
        Self { core: Some(core) }
    }

    /// Takes the state out of a connection that becomes something else.
    pub(super) fn into_core(mut self) -> Box<Core<S>> {
        self.core.take().expect("the core leaves only when self ends")
    }

    /// Returns the next line without its line end; `None` at the end of the stream. If the stream
    /// ends without `\n`, the rest is the last line. This is asyncio's `readline`.
    ///
    /// # Errors
    /// [`Closed::LineTooLong`], [`Closed::IdleTimeout`], [`Closed::LineTimeout`],
    /// [`Closed::StallTimeout`], [`Closed::Drained`], or the error of the stream. After a time-out
    /// the connection can still be used.
    ///
    /// Cancel safe.
    #[doc(alias = "readline")]
    #[doc(alias = "next_line")]
    pub fn read_line(&mut self) -> impl Future<Output = Result<Option<Line>, Closed>> + use<'_, S> {
        // An `async fn` would take about 50 instructions more for each line.
        let core = self.core_mut();
        poll_fn(|cx| core.poll_line(cx))
    }

    /// Works like [`read_line`](Self::read_line), but sends the output of `feed` while no line
    /// arrives: the messages of a chat, the ticks of a clock.
    ///
    /// `feed` is called when the peer has taken all pending output. It writes to the [`Outlet`] and
    /// returns Ready to be called again. When it has nothing to send, it returns Pending, and must
    /// wake the task when it has more. An error from `feed` ends the wait. While the peer reads
    /// nothing, `feed` is not called, and the connection ends as [`Closed::StallTimeout`].
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    /// use std::task::{Poll, ready};
    /// use tokio::sync::mpsc::Receiver;
    ///
    /// async fn news(mut client: Connection, mut news: Receiver<String>) -> Result<(), Closed> {
    ///     let line = client.read_line_feeding(|outlet, cx| match ready!(news.poll_recv(cx)) {
    ///         Some(text) => Poll::Ready(Ok(outlet.write_line(text))),
    ///         None => Poll::Pending,
    ///     });
    ///     line.await.map(|_stop| ())
    /// }
    /// # let _ = news;
    /// ```
    ///
    /// # Errors
    /// Like [`read_line`](Self::read_line), or the error of `feed`. Cancel safe.
    pub async fn read_line_feeding<F>(&mut self, mut feed: F) -> Result<Option<Line>, Closed>
    where
        F: FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
    {
        let core = self.core_mut();
        let line =
            poll_fn(|cx| core.poll_read_feeding(cx, InputBuffer::next_line, &mut feed)).await;
        core.show(line)
    }

    /// Works like [`read`](Self::read), but sends the output of `feed` while no input arrives (see
    /// [`read_line_feeding`](Self::read_line_feeding)).
    ///
    /// # Errors
    /// Like [`read`](Self::read), or the error of `feed`. Cancel safe.
    pub async fn read_feeding<F>(
        &mut self,
        most: usize,
        mut feed: F,
    ) -> Result<Option<Bytes>, Closed>
    where
        F: FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
    {
        let core = self.core_mut();
        poll_fn(|cx| core.poll_read_feeding(cx, |input| input.next_chunk(most), &mut feed)).await
    }

    /// Sends the output of `feed` (see [`read_line_feeding`](Self::read_line_feeding)) until
    /// `until` completes. It reads nothing during this time, so the peer has to wait.
    ///
    /// # Errors
    /// [`Closed::StallTimeout`], the error of the stream, or the error of `feed`. As cancel safe as
    /// `until`.
    pub async fn feed_until<F, T>(
        &mut self,
        mut feed: F,
        until: impl Future<Output = T>,
    ) -> Result<T, Closed>
    where
        F: FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
    {
        let mut until = pin!(until);
        let core = self.core_mut();
        poll_fn(|cx| {
            let polled = core.poll_feed_until(cx, &mut feed, until.as_mut());
            core.note_end(polled)
        })
        .await
    }

    /// Returns the unread input, at least one byte, without consuming it; `None` at the end of the
    /// stream.
    ///
    /// # Errors
    /// Like [`read`](Self::read). Cancel safe.
    #[doc(alias = "fill_buf")]
    pub async fn peek(&mut self) -> Result<Option<&[u8]>, Closed> {
        let core = self.core_mut();
        let has_some = poll_fn(|cx| core.poll_read(cx, InputBuffer::next_peek)).await?;
        Ok(has_some.then(|| core.input.unread()))
    }

    /// Discards a line that was too long, including the bytes that have not arrived yet, without
    /// buffering it. After [`Closed::LineTooLong`] the connection can then continue with the next
    /// line.
    pub fn skip_line(&mut self) {
        self.core_mut().input.skip_line();
    }

    /// Reads the next bytes, at most `most` and at least one; returns `None` at the end of the
    /// stream. If `most` is 0, returns an empty result at once, even at the end of the stream. This
    /// is asyncio's `read(n)`.
    ///
    /// # Errors
    /// Like [`read_line`](Self::read_line), but not `LineTooLong` and `LineTimeout`. Cancel safe.
    pub async fn read(&mut self, most: usize) -> Result<Option<Bytes>, Closed> {
        let core = self.core_mut();
        poll_fn(|cx| core.poll_read(cx, |input| input.next_chunk(most))).await
    }

    /// Reads exactly `length` bytes, like asyncio's `readexactly(n)`. Returns at once for a length
    /// of zero. There is no upper limit, so check a length that the peer has sent.
    ///
    /// # Errors
    /// [`Closed::Incomplete`] if the stream ends before `length` bytes have arrived. The received
    /// bytes can still be [`read`](Self::read). Other errors as in [`read_line`](Self::read_line).
    /// Cancel safe.
    #[doc(alias = "readexactly")]
    pub async fn read_exact(&mut self, length: usize) -> Result<Bytes, Closed> {
        let core = self.core_mut();
        poll_fn(|cx| core.poll_read(cx, |input| input.next_exact(length))).await
    }

    /// Reads up to and including `separator`, which may have several bytes, like asyncio's
    /// `readuntil(separator)`. Returns `None` if the stream ends before any byte. With an empty
    /// separator, returns an empty result at once, even at the end of the stream.
    ///
    /// # Errors
    /// [`Closed::LineTooLong`] if more than [`Limits::max_line`] bytes precede the separator,
    /// [`Closed::Incomplete`] if the stream ends first. Other errors as in
    /// [`read_line`](Self::read_line). Cancel safe.
    #[doc(alias = "readuntil")]
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Option<Bytes>, Closed> {
        let core = self.core_mut();
        poll_fn(|cx| core.poll_read(cx, |input| input.next_until(separator))).await
    }

    /// Sends all input back until the stream ends (RFC 862). This is the same as reading and
    /// writing in a loop, but does not copy the bytes.
    ///
    /// # Errors
    /// Like [`read`](Self::read) and [`write`](Self::write). Cancel safe.
    pub async fn echo(&mut self) -> Result<(), Closed> {
        let core = self.core_mut();
        poll_fn(|cx| {
            let polled = core.poll_echo(cx);
            core.note_end(polled)
        })
        .await
    }

    /// Turns off the server's [`Farewell`] for this connection, so that the handler can send its
    /// own.
    pub fn keep_silent(&mut self) {
        self.core_mut().is_silent = true;
    }

    /// Returns the client's address: the one that a trusted proxy names, otherwise the peer address
    /// of the socket. `None` over a stream without addresses.
    #[must_use]
    #[doc(alias = "peer_addr")]
    #[doc(alias = "get_extra_info")]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self.handshake_origin() {
            Some(origin) => origin.client(),
            None => self.origin().client(),
        }
    }

    /// Begins a message that takes several reads, such as a header and its body, or the lines of a
    /// mail. A draining server waits until the returned guard is dropped, for at most
    /// [`Limits::drain_timeout`]. The guard is used like the connection itself.
    ///
    /// Without the guard, a drain ends a connection between two reads as [`Closed::Drained`]. It
    /// waits only for a single read (a line, the bytes of `read_exact`) that has received some
    /// bytes. The time-outs of [`Limits`] also apply during a message, so that a silent peer does
    /// not delay a drain.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// // The DATA of SMTP: lines up to one that is a dot.
    /// async fn mail(mut client: Connection) -> Result<(), Closed> {
    ///     while let Some(line) = client.read_line().await? {
    ///         if line != *b"DATA" {
    ///             client.write_line("500 unrecognized").await?;
    ///             continue;
    ///         }
    ///         let mut message = client.begin_message();
    ///         message.write_line("354 end with a line that is a dot").await?;
    ///         while message.read_line().await?.is_some_and(|line| line != *b".") {}
    ///         message.write_line("250 OK").await?;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = mail;
    /// ```
    pub fn begin_message(&mut self) -> MessageGuard<'_, Self> {
        MessageGuard::begin(self, |client, begun| client.core_mut().deadlines.set_in_message(begun))
    }

    /// Returns the phase of the server. If no server has accepted the connection, returns the phase
    /// of the [`Shutdown`] that was passed to [`accepted`](Self::accepted).
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.core().deadlines.config.shutdown.phase()
    }

    /// Waits until the server has reached `phase` or a later one, and returns the current phase.
    /// Use it in a handler or task that writes without reading, and that must end with the server.
    /// The future does not borrow the connection. Cancel safe.
    ///
    /// ```
    /// use echoline::{Closed, Connection, Phase};
    /// use std::time::Duration;
    ///
    /// async fn tick(mut client: Connection) -> Result<(), Closed> {
    ///     let draining = client.phase_reached(Phase::Draining);
    ///     tokio::pin!(draining);
    ///     loop {
    ///         tokio::select! {
    ///             _ = &mut draining => return client.write_line("goodbye").await,
    ///             () = tokio::time::sleep(Duration::from_secs(1)) => {}
    ///         }
    ///         client.write_line("tick").await?;
    ///         client.flush().await?;
    ///     }
    /// }
    /// # let _ = tick;
    /// ```
    pub fn phase_reached(&self, phase: Phase) -> impl Future<Output = Phase> + Send + use<S> {
        let shutdown = self.core().deadlines.config.shutdown.clone();
        async move {
            shutdown.reached(phase).await;
            shutdown.phase()
        }
    }

    /// Returns a copy of everything that is known about the origin of the connection.
    /// [`peer`](Self::peer), [`credentials`](Self::credentials), `tls`, `websocket` and `proxy`
    /// return its parts without a copy.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let core = self.core();
        if let Some(slot) = &core.deadlines.slot {
            return slot.origin();
        }
        if let Some(origin) = self.handshake_origin() {
            return origin.clone();
        }
        let stream: &dyn Any = &core.stream;
        let stream_ref = stream.downcast_ref::<Stream>();
        let peer = match stream.downcast_ref::<TcpStream>() {
            Some(socket) => socket.peer_addr().ok(),
            None => stream_ref.and_then(Stream::peer_addr),
        };
        let credentials = stream_ref.and_then(Stream::peer_credentials);
        Origin { peer, credentials, ..Origin::default() }
    }

    /// Returns the stream below. It no longer contains the bytes that this connection has read.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.core().stream
    }

    /// Returns the limits of this connection.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.core().limits()
    }

    /// Ends a connection that gets no handler, with the message for `closed`.
    pub(crate) fn refuse(mut self, closed: Closed) -> Closed {
        self.core_mut().ended = Some(closed);
        closed
    }

    /// Ends a connection that gets no handler, with `words` as its only message.
    pub(crate) fn close_with(mut self, words: &str) {
        self.keep_silent();
        self.core_mut().output.push(words.as_bytes());
    }

    pub(super) fn core(&self) -> &Core<S> {
        self.core.as_deref().expect("the core leaves only when self ends")
    }

    pub(super) fn core_mut(&mut self) -> &mut Core<S> {
        self.core.as_deref_mut().expect("the core leaves only when self ends")
    }
}

impl<S> Drop for Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            Closing::begin(core).run_in_background();
        }
    }
}

impl<S> fmt::Debug for Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("unsent", &self.core().output.len())
            .field("ended", &self.core().ended)
            .finish_non_exhaustive()
    }
}
