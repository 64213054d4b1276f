//! One peer, as its handler sees it: reads and writes, with limits, deadlines and shutdown inside.

use std::fmt;
use std::future::poll_fn;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::closing::Closing;
use super::inbound::Inbound;
use super::limits::{Closed, Limits};
use super::lines::Line;
use super::outbound::{Outbound, poll_write};
use super::place::Place;
use super::shutdown::{Phase, Shutdown};
use super::split::{Reader, Writer};
use super::terms::{Eol, Farewell, Terms};
use super::watch::{Waiting, Watch};

/// A connection to one peer over any byte stream.
///
/// **Corked.** What is written goes out when the handler next waits for input, on
/// [`flush`](Self::flush), on [`close`](Self::close) or drop, or past [`Limits::write_high`]: a
/// client that sends 32 lines in one packet gets 32 replies in one packet.
///
/// **Limited.** Every wait has the deadlines of [`Limits`]; when one passes, the call returns the
/// [`Closed`] that names it. A handler passes that on with `?`.
///
/// **Closed in order.** When a connection is closed or dropped, the peer gets all that was
/// written, then (where the server ended it) the words of [`Farewell`], then the end of the
/// stream; what it still sends is taken for a moment, so that no reset swallows the last line.
///
/// All reads are cancel safe: dropped half-way, in `select!` say, they lose nothing.
pub struct Connection<S = TcpStream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `None` only between the start of closing and the end of this value.
    stream: Option<S>,
    input: Inbound,
    output: Outbound,
    watch: Watch,
    terms: Arc<Terms>,
    peer: Option<SocketAddr>,
    /// Why the last call failed, if it did.
    ended: Option<Closed>,
    place: Option<Arc<Place>>,
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// A connection over `stream` that no server keeps account of: for tests over
    /// [`tokio::io::duplex`], and for clients.
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
        let terms = Terms::new(limits, Shutdown::new(), Eol::default(), Farewell::default());
        Self::with_terms(stream, None, Arc::new(terms), None)
    }

    pub(super) fn with_terms(
        stream: S,
        peer: Option<SocketAddr>,
        terms: Arc<Terms>,
        place: Option<Arc<Place>>,
    ) -> Self {
        let input = Inbound::new(terms.limits.max_line);
        let (output, watch) = (Outbound::default(), Watch::default());
        Self { stream: Some(stream), input, output, watch, terms, peer, ended: None, place }
    }

    /// The next line without its end; `None` at the end of the stream. A last line that the
    /// stream ends instead of a `\n` is a line too. asyncio's `readline`.
    ///
    /// # Errors
    /// [`Closed::LineTooLong`], [`Closed::IdleTimeout`], [`Closed::LineTimeout`],
    /// [`Closed::StallTimeout`], [`Closed::Drained`], or what the stream reports. After a
    /// time-out the connection can still be used.
    ///
    /// Cancel safe.
    pub async fn read_line(&mut self) -> Result<Option<Line>, Closed> {
        poll_fn(|cx| self.poll_read(cx, Inbound::next_line)).await
    }

    /// What comes next, at most `most` bytes and at least one; `None` at the end of the stream.
    /// asyncio's `read(n)`. The bytes are a slice of the read buffer: no copy.
    ///
    /// # Errors
    /// As [`read_line`](Self::read_line), without the two about lines. Cancel safe.
    pub async fn read(&mut self, most: usize) -> Result<Option<Bytes>, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_chunk(most))).await
    }

    /// Exactly `length` bytes. asyncio's `readexactly(n)`. The caller's `length` is the only
    /// limit here, so take care where it comes from.
    ///
    /// # Errors
    /// [`Closed::Incomplete`] where the stream ends before; what had come can still be
    /// [`read`](Self::read). Else as [`read_line`](Self::read_line). Cancel safe.
    pub async fn read_exact(&mut self, length: usize) -> Result<Bytes, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_exact(length))).await
    }

    /// Everything up to and with `separator`, which may be several bytes; `None` where the stream
    /// ends right here. asyncio's `readuntil(separator)`.
    ///
    /// # Errors
    /// [`Closed::LineTooLong`] where more than [`Limits::max_line`] bytes come before the
    /// separator, [`Closed::Incomplete`] where the stream ends first. Else as
    /// [`read_line`](Self::read_line). Cancel safe.
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Option<Bytes>, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_until(separator))).await
    }

    /// Writes bytes: into the buffer, or past [`Limits::write_high`] to the peer, waiting for it.
    /// asyncio's `write` and `drain` in one.
    ///
    /// # Errors
    /// [`Closed::StallTimeout`] where the peer takes nothing, or what the stream reports.
    ///
    /// Not cancel safe: dropped half-way, some of the bytes may have been written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        if self.output.is_direct(bytes) {
            return self.write_direct(bytes).await;
        }
        if self.output.len() + bytes.len() > self.terms.limits.write_high {
            self.flush().await?;
            if self.output.is_direct(bytes) {
                return self.write_direct(bytes).await;
            }
        }
        self.output.push(bytes);
        Ok(())
    }

    /// Writes all `parts` as one piece. Like [`write`](Self::write) of their concatenation,
    /// without making it; use it for lines of bytes that are no text.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_parts(&mut self, parts: &[&[u8]]) -> Result<(), Closed> {
        for part in parts {
            self.write(part).await?;
        }
        Ok(())
    }

    /// Writes `text` and the server's line end (`\n` unless [`Server::eol`](crate::Server::eol)
    /// says otherwise). Waits as [`write`](Self::write) does.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_line(&mut self, text: impl fmt::Display) -> Result<(), Closed> {
        let eol = self.terms.eol.as_str();
        write!(self.output.buffer(), "{text}{eol}").map_err(Closed::from)?;
        if self.output.len() > self.terms.limits.write_high {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends all that was written and waits until the stream has taken it. asyncio's `drain`,
    /// but down to nothing. Cancel safe.
    ///
    /// # Errors
    /// [`Closed::StallTimeout`], or what the stream reports.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| {
            let polled = self.poll_flush(cx);
            self.note_end(polled)
        })
        .await
    }

    /// Sends all that was written, ends the stream (FIN) and takes what the peer still sends
    /// for at most [`Limits::linger_timeout`] and [`Limits::linger_bytes`], so that the last line
    /// is not lost to a reset. asyncio's `close` and `wait_closed`. Dropping the connection does
    /// the same in the background; there is no way to forget it.
    pub async fn close(mut self) {
        if let Some(closing) = self.begin_closing() {
            closing.run().await;
        }
    }

    /// Reader and writer as a pair, like asyncio's `StreamReader` and `StreamWriter`: for a
    /// handler that does both at once (`tokio::join!`, `select!`). The writer does not send by
    /// itself while the reader waits: [`Writer::flush`] does.
    pub fn split(&mut self) -> (Reader<'_, S>, Writer<'_, S>) {
        let stream = self.stream.as_mut().expect("the stream leaves only when self ends");
        let parts = (&mut self.input, &mut self.output, &mut self.watch);
        super::split::split(stream, parts, &self.terms)
    }

    /// The peer's address; `None` over a stream that has none.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The stream below. Bytes that this connection has read already are not in it any more.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.stream.as_ref().expect("the stream leaves only when self ends")
    }

    /// The limits that hold for this connection.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.terms.limits
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Inbound) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        ready!(self.input.poll_turn(cx));
        loop {
            let polled = match next(&mut self.input) {
                Ok(None) => match ready!(self.poll_more(cx)) {
                    Ok(()) => continue,
                    Err(closed) => Err(closed),
                },
                Ok(Some(found)) => {
                    self.watch.note_input();
                    Ok(found)
                }
                Err(closed) => Err(closed),
            };
            return self.note_end(Poll::Ready(polled));
        }
    }

    /// Sends what is written, then reads once; Pending only where the peer has to do something.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let stream = self.stream.as_mut().expect("the stream leaves only when self ends");
        let mut progress = false;
        let unsent = self.output.poll_flush(stream, cx, &mut progress)?.is_pending();
        if progress {
            self.watch.note_progress();
        }
        poll_input(stream, &mut self.input, &mut self.watch, unsent, &self.terms, cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let stream = self.stream.as_mut().expect("the stream leaves only when self ends");
        poll_output(stream, &mut self.output, &mut self.watch, &self.terms, cx)
    }

    async fn write_direct(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        poll_fn(|cx| {
            let polled = self.poll_write(&mut bytes, cx);
            self.note_end(polled)
        })
        .await
    }

    fn poll_write(&mut self, bytes: &mut &[u8], cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let stream = self.stream.as_mut().expect("the stream leaves only when self ends");
        while !bytes.is_empty() {
            match poll_write(stream, bytes, cx)? {
                Poll::Ready(sent) => {
                    self.watch.note_progress();
                    *bytes = &bytes[sent..];
                }
                Poll::Pending => {
                    return self.watch.poll(Waiting::Room, &self.terms, cx).map(Err);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the reason of a failure for the last words.
    fn note_end<T>(&mut self, polled: Poll<Result<T, Closed>>) -> Poll<Result<T, Closed>> {
        if let Poll::Ready(result) = &polled {
            self.ended = result.as_ref().err().copied();
        }
        polled
    }

    /// Ends a connection that gets no handler, with the words for `closed`.
    pub(super) fn refuse(mut self, closed: Closed) {
        self.ended = Some(closed);
    }

    /// Takes out all that closing needs; `None` where it was taken already.
    fn begin_closing(&mut self) -> Option<Closing<S>> {
        let stream = self.stream.take()?;
        if std::thread::panicking() {
            self.ended = Some(Closed::Panicked);
        }
        if self.terms.shutdown.phase() == Phase::Aborting {
            self.ended = Some(Closed::Aborted);
        }
        let ended = self.ended.unwrap_or(Closed::Finished);
        if let Some(words) = self.terms.farewell(ended) {
            self.output.push(words.as_bytes());
        }
        if let Some(place) = &self.place {
            place.note_end(self.input.at_end());
        }
        Some(Closing {
            stream,
            output: std::mem::take(&mut self.output),
            at_end: self.input.at_end(),
            broken: ended.is_broken(),
            terms: Arc::clone(&self.terms),
            _place: self.place.take(),
        })
    }
}

/// Reads once; Pending only where the peer has to do something and no deadline has passed.
pub(super) fn poll_input<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut Inbound,
    watch: &mut Watch,
    unsent: bool,
    terms: &Terms,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    watch.check(input.has_partial(), terms)?;
    if input.poll_fill(stream, cx)?.is_ready() {
        return Poll::Ready(Ok(()));
    }
    let waiting = Waiting::Input { partial: input.has_partial(), unsent };
    watch.poll(waiting, terms, cx).map(Err)
}

/// Sends all that waits; Pending only while the peer takes nothing and no deadline has passed.
pub(super) fn poll_output<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut Outbound,
    watch: &mut Watch,
    terms: &Terms,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    let mut progress = false;
    let flushed = output.poll_flush(stream, cx, &mut progress)?;
    if progress {
        watch.note_progress();
    }
    match flushed {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => watch.poll(Waiting::Room, terms, cx).map(Err),
    }
}

impl<S> Drop for Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(closing) = self.begin_closing() {
            closing.run_in_background();
        }
    }
}

impl<S> fmt::Debug for Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("unsent", &self.output.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
