//! A WebSocket as a byte stream, which handlers read and write.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::close;
use super::encode::write_header;
use super::frame::{Boundaries, Decoder, EndpointRole, FrameEvent, HEADER_MAX, Opcode};
use super::frame_writer::FrameWriter;
use crate::connection::limits::Closed;
use crate::transport::stream::{Layer, Stream};

/// The number of unsent bytes beyond which a writer waits. It is small, because the stall time-out
/// measures progress by the bytes that this stream accepts from the writer.
const OUTGOING_HIGH: usize = 16 * 1024;

/// The room that is reserved in front of the input, because decoding may lengthen the input. A line
/// end or header that decoding adds may be longer than the received part of the frame's header that
/// it replaces.
const SLACK: usize = HEADER_MAX + 2;

/// The number of pings that a peer may send at once, and the interval after which it may send one
/// more.
const PINGS_AT_ONCE: u32 = 64;
const PING_EVERY: Duration = Duration::from_millis(100);

/// The number of reads without data before the task yields to other tasks.
const EMPTY_READS_MAX: usize = 16;

/// The mapping between WebSocket messages and the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A received message is one line, or several if it contains line ends. A written line is sent
    /// as a message without its line end: a text message if it is valid UTF-8, otherwise a binary
    /// one.
    Lines,
    /// The stream consists of unmasked frames as a server sends them. Writing the input back
    /// unchanged returns the same messages, which suits an echo.
    Messages,
}

/// A WebSocket over a stream, after the handshake.
#[derive(Debug)]
pub struct WebSocket {
    stream: Stream,
    role: EndpointRole,
    framing: Framing,
    decoder: Decoder,
    /// The bytes that were received with the handshake and are not decoded yet.
    early: VecDeque<u8>,
    /// The decoded bytes that did not fit into the reader's buffer.
    ready: VecDeque<u8>,
    /// Whether the last byte of the current message was a line end.
    ends_in_lf: bool,
    writer: FrameWriter,
    /// The frame boundaries in the output, with [`Framing::Messages`].
    boundaries: Boundaries,
    pong: Option<Vec<u8>>,
    pings: PingBudget,
    keep_alive: Option<Box<KeepAlive>>,
    /// Whether a writer waits for the stream. A read must not write then, because the stream would
    /// wake the reader instead of the writer.
    writer_waits: bool,
    end: CloseState,
}

/// The progress of the closing handshake.
#[derive(Debug, Default)]
struct CloseState {
    /// This is set when the Close of the peer has arrived, with its code, or when the stream below
    /// has ended.
    heard: Option<Option<u16>>,
    /// The close code for the peer's violation.
    broken: Option<u16>,
    /// The reason for which this end closes the connection.
    reason: Option<Closed>,
    /// Whether this end has written its Close.
    said: bool,
}

impl WebSocket {
    /// Creates the server's end. `early` contains the bytes that were received after the request.
    #[must_use]
    pub fn server(stream: Stream, early: Vec<u8>, framing: Framing) -> Self {
        Self::new(stream, early, framing, EndpointRole::Server)
    }

    /// Creates a client's end, whose messages are lines.
    #[must_use]
    pub fn client(stream: Stream, early: Vec<u8>) -> Self {
        Self::new(stream, early, Framing::Lines, EndpointRole::Client)
    }

    /// Sends a ping after `silence` without input. If no input follows within the same time,
    /// reading fails with [`io::ErrorKind::TimedOut`].
    #[must_use]
    pub fn keep_alive(mut self, silence: Duration) -> Self {
        let timer = Box::pin(sleep(silence));
        self.keep_alive = Some(Box::new(KeepAlive { silence, timer, heard: false, asked: false }));
        self
    }

    fn new(stream: Stream, early: Vec<u8>, framing: Framing, role: EndpointRole) -> Self {
        let peer =
            if role == EndpointRole::Server { EndpointRole::Client } else { EndpointRole::Server };
        Self {
            stream,
            role,
            framing,
            decoder: Decoder::new(peer),
            early: early.into(),
            ready: VecDeque::new(),
            ends_in_lf: false,
            writer: FrameWriter::new(role),
            boundaries: Boundaries::new(),
            pong: None,
            pings: PingBudget { left: PINGS_AT_ONCE, since: None },
            keep_alive: None,
            writer_waits: false,
            end: CloseState::default(),
        }
    }

    /// Reads once from the stream below into `area`, and moves the bytes for the reader to its
    /// front. Returns their number, which is 0 if only control frames arrived.
    fn poll_area(&mut self, area: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let came = ready!(self.poll_bytes(&mut area[SLACK..], cx))?;
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard = true;
        }
        if came == 0 {
            if self.end.said || self.decoder.is_between_messages() {
                self.end.heard = Some(None);
                return Poll::Ready(Ok(0));
            }
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(self.decode(area, came)))
    }

    fn poll_bytes(&mut self, room: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.early.is_empty() {
            let mut buffer = ReadBuf::new(room);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            return Poll::Ready(Ok(buffer.filled().len()));
        }
        let count = self.early.len().min(room.len());
        room.iter_mut().zip(self.early.drain(..count)).for_each(|(byte, early)| *byte = early);
        Poll::Ready(Ok(count))
    }

    /// Decodes the `came` bytes after the slack, and moves the bytes for the reader to the front.
    /// Returns their number.
    fn decode(&mut self, area: &mut [u8], came: usize) -> usize {
        let (mut at, mut kept) = (SLACK, 0);
        let end = SLACK + came;
        while !self.is_over() {
            let (taken, event) = match self.decoder.next(&mut area[at..end]) {
                Ok((taken, Some(event))) => (taken, event),
                Ok((_, None)) => break,
                Err(violation) => {
                    self.end.broken = Some(close::violation(violation));
                    break;
                }
            };
            match event {
                FrameEvent::Piece { opcode, range, is_last } => {
                    let range = at + range.start..at + range.end;
                    kept += match self.framing {
                        Framing::Lines => self.keep_line(area, kept, range, is_last),
                        Framing::Messages => keep_frame(area, kept, opcode, range, is_last),
                    };
                }
                FrameEvent::Ping(_) if !self.pings.take(Instant::now()) => {
                    self.end.broken = Some(close::POLICY);
                }
                FrameEvent::Ping(payload) => {
                    self.pong = Some(payload);
                    if self.push_pong().is_err() {
                        self.end.broken = Some(close::ERROR);
                    }
                }
                FrameEvent::Pong => {}
                FrameEvent::Close(code) => self.end.heard = Some(code),
            }
            at += taken;
        }
        kept
    }

    fn keep_line(
        &mut self,
        area: &mut [u8],
        kept: usize,
        range: std::ops::Range<usize>,
        is_last: bool,
    ) -> usize {
        let mut length = range.len();
        if length > 0 {
            self.ends_in_lf = area[range.end - 1] == b'\n';
            area.copy_within(range, kept);
        }
        if is_last && !std::mem::take(&mut self.ends_in_lf) {
            area[kept + length] = b'\n';
            length += 1;
        }
        length
    }

    /// Returns whether all further input is ignored.
    fn is_over(&self) -> bool {
        self.end.heard.is_some() || self.end.broken.is_some()
    }

    /// Handles reads after the last message: returns the end of the stream, or an error after a
    /// violation. After a violation, input is read and discarded without decoding.
    fn poll_over(&mut self, area: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.broken.is_none() {
            return Poll::Ready(Ok(()));
        }
        if !self.end.said {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        for _ in 0..EMPTY_READS_MAX {
            let mut buffer = ReadBuf::new(&mut *area);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into `area`, which is larger than the slack. Returns the number of bytes for the
    /// reader.
    fn poll_data(&mut self, area: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        for _ in 0..EMPTY_READS_MAX {
            if self.is_over() {
                return self.poll_over(area, cx).map_ok(|()| 0);
            }
            self.try_control(cx);
            let Poll::Ready(read) = self.poll_area(area, cx) else {
                ready!(self.poll_keep_alive(cx))?;
                return Poll::Pending;
            };
            let kept = read?;
            self.try_control(cx);
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
        // Only control frames have arrived, so the task yields to others and then polls again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends pings. Returns `Pending` until the peer has missed its keep-alive deadline.
    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(keep_alive) = &mut self.keep_alive {
            ready!(keep_alive.timer.as_mut().poll(cx));
            let silence = keep_alive.silence;
            keep_alive.timer.as_mut().reset(Instant::now() + silence);
            if std::mem::take(&mut keep_alive.heard) {
                keep_alive.asked = false;
            } else if std::mem::replace(&mut keep_alive.asked, true) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            } else if self.boundaries.is_at_boundary() && !self.end.said {
                self.writer.push(Opcode::Ping, b"")?;
                self.try_control(cx);
            }
        }
        Poll::Pending
    }

    /// Sends the answers to pings during a read, as far as the stream takes them now. Errors are
    /// ignored, because the next read or write reports them.
    fn try_control(&mut self, cx: &mut Context<'_>) {
        let waits = self.pong.is_some() || self.writer.len() > 0;
        if !waits || self.writer_waits {
            return;
        }
        if self.push_pong().is_ok()
            && let Poll::Ready(Ok(())) = self.writer.poll_send(&mut self.stream, cx)
        {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    /// Queues the answer to a ping, if there is room. If several pings wait for room, only the
    /// newest is answered (5.5.3).
    fn push_pong(&mut self) -> io::Result<()> {
        let has_room = self.writer.len() < OUTGOING_HIGH;
        if self.boundaries.is_at_boundary()
            && has_room
            && let Some(payload) = self.pong.take()
            && !self.end.said
        {
            self.writer.push(Opcode::Pong, &payload)?;
        }
        Ok(())
    }

    /// Accepts all of `bytes` as soon as there is room.
    fn poll_take(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.end.said {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.writer.len() >= OUTGOING_HIGH {
            ready!(self.writer.poll_send(&mut self.stream, cx))?;
        }
        match self.framing {
            Framing::Lines => self.writer.push_lines(bytes)?,
            Framing::Messages => {
                self.boundaries.pass(bytes);
                self.writer.push_raw(bytes);
            }
        }
        self.push_pong()?;
        Poll::Ready(Ok(bytes.len()))
    }

    /// Queues this end's Close once, with the peer's code, or with this end's reason for closing.
    fn push_close(&mut self) -> io::Result<()> {
        self.writer.end_line()?;
        if std::mem::replace(&mut self.end.said, true) || !self.boundaries.is_at_boundary() {
            return Ok(());
        }
        match (self.end.broken, self.end.heard) {
            (Some(code), _) => self.writer.push(Opcode::Close, &close::payload(code, "")),
            (None, Some(None)) => self.writer.push(Opcode::Close, b""),
            (None, Some(Some(code))) => self.writer.push(Opcode::Close, &close::payload(code, "")),
            (None, None) => {
                let (code, words) = close::reason(self.end.reason.unwrap_or(Closed::Finished));
                self.writer.push(Opcode::Close, &close::payload(code, &words))
            }
        }
    }

    /// Records whether the writer has to wait.
    fn note<T>(&mut self, result: Poll<T>) -> Poll<T> {
        self.writer_waits = result.is_pending();
        result
    }

    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.writer.poll_send(&mut self.stream, cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// Writes an unmasked frame, as a server sends it, to `area` at offset `kept`. Returns its length.
fn keep_frame(
    area: &mut [u8],
    kept: usize,
    opcode: Opcode,
    range: std::ops::Range<usize>,
    is_last: bool,
) -> usize {
    let mut header = [0; HEADER_MAX];
    let length = write_header(&mut header, opcode, is_last, range.len(), None);
    let whole = length + range.len();
    area.copy_within(range, kept + length);
    area[kept..kept + length].copy_from_slice(&header[..length]);
    whole
}

/// The budget of pings that a peer may still send.
#[derive(Debug)]
struct PingBudget {
    left: u32,
    since: Option<Instant>,
}

impl PingBudget {
    /// Returns whether one more ping is allowed, and counts it.
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned = (now - since).as_millis() / PING_EVERY.as_millis();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(PINGS_AT_ONCE);
            self.since = Some(now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// The timer of the keep-alive pings.
#[derive(Debug)]
struct KeepAlive {
    silence: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether input has arrived since the timer was set.
    heard: bool,
    /// Whether a ping was sent and no input has arrived since then.
    asked: bool,
}

impl Layer for WebSocket {
    type Below = Stream;

    fn below(&mut self) -> &mut Stream {
        &mut self.stream
    }

    fn note_end(&mut self, closed: Closed) {
        self.end.reason = Some(closed);
        self.stream.note_end(closed);
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready.is_empty() && buffer.remaining() > 4 * SLACK {
            let kept = ready!(this.poll_data(buffer.initialize_unfilled(), cx))?;
            buffer.advance(kept);
            return Poll::Ready(Ok(()));
        }
        if this.ready.is_empty() {
            let mut area = [0; 16 * SLACK];
            let kept = ready!(this.poll_data(&mut area, cx))?;
            this.ready.extend(&area[..kept]);
        }
        let count = this.ready.len().min(buffer.remaining());
        for byte in this.ready.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = this.poll_take(bytes, cx);
        this.note(taken)
    }

    /// Sends pending output. A server sends an unfinished line, such as a prompt, as a message. A
    /// client keeps an unfinished line, because its rest follows.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.role == EndpointRole::Server {
            this.writer.end_line()?;
        }
        this.push_pong()?;
        let sent = this.poll_send_all(cx);
        this.note(sent)
    }

    /// Sends the Close. A server then also shuts down the stream below. A client waits until the
    /// server does this (RFC 6455, 7.1.1).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.push_close()?;
        let sent = this.poll_send_all(cx);
        ready!(this.note(sent))?;
        match this.role {
            EndpointRole::Server => Pin::new(&mut this.stream).poll_shutdown(cx),
            EndpointRole::Client => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for WebSocket {
    /// Sends a client's Close on drop, if that is possible without waiting.
    fn drop(&mut self) {
        if self.role == EndpointRole::Client && !self.end.said && self.push_close().is_ok() {
            let cx = &mut Context::from_waker(Waker::noop());
            let _ = self.poll_send_all(cx);
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
