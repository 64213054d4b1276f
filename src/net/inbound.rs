//! The reading side of a connection: bytes from the stream into [`Lines`].

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::buffers;
use super::limits::Closed;
use super::lines::{Line, Lines};

/// What one connection may do before it lets the worker's others have a turn, so that a client
/// that never stops sending cannot hold them up. A line costs 1, a read 16: 128 lines, or
/// half a megabyte.
const TURN_BUDGET: u16 = 128;
const READ_COST: u16 = 16;

/// What came in and was not handed out yet.
#[derive(Debug)]
pub(super) struct Inbound {
    lines: Lines,
    /// `lines` sits in a buffer of the worker's, to be given back before the connection waits.
    borrowed: bool,
    at_end: bool,
    spent: u16,
}

impl Inbound {
    pub(super) fn new(max_line: usize) -> Self {
        Self { lines: Lines::new(max_line), borrowed: false, at_end: false, spent: 0 }
    }

    /// Whether the peer has ended its stream.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// Whether bytes are waiting that are no whole answer to what was asked for.
    pub(super) fn has_partial(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Ready unless the connection has had its turn; then it is woken again after the others.
    pub(super) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.spent < TURN_BUDGET {
            return Poll::Ready(());
        }
        self.spent = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn next_line(&mut self) -> Result<Option<Option<Line>>, Closed> {
        if let Some(line) = self.lines.next_line()? {
            self.spent += 1;
            return Ok(Some(Some(line)));
        }
        Ok(self.at_end.then(|| self.lines.finish()))
    }

    pub(super) fn next_chunk(&mut self, most: usize) -> Result<Option<Option<Bytes>>, Closed> {
        if self.has_partial() {
            return Ok(Some(Some(self.lines.take(most))));
        }
        Ok(self.at_end.then_some(None))
    }

    pub(super) fn next_exact(&mut self, length: usize) -> Result<Option<Bytes>, Closed> {
        if self.lines.len() >= length {
            self.spent += 1;
            return Ok(Some(self.lines.take(length)));
        }
        self.unfinished()
    }

    pub(super) fn next_until(&mut self, separator: &[u8]) -> Result<Option<Option<Bytes>>, Closed> {
        if let Some(found) = self.lines.next_until(separator)? {
            self.spent += 1;
            return Ok(Some(Some(found)));
        }
        if self.at_end && !self.has_partial() {
            return Ok(Some(None));
        }
        self.unfinished()
    }

    /// "Not yet", or [`Closed::Incomplete`] where no more can come. What came stays readable.
    fn unfinished<T>(&self) -> Result<Option<T>, Closed> {
        if self.at_end { Err(Closed::Incomplete) } else { Ok(None) }
    }

    /// Reads once. Ready with what has changed: more bytes, or the end. While nothing comes, no
    /// buffer is kept but one of the size of an unfinished line.
    pub(super) fn poll_fill<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        if !self.borrowed && self.has_partial() {
            return self.poll_extend(stream, cx);
        }
        if self.borrowed {
            buffers::make_room(self.lines.buffer_mut());
        } else {
            self.lines.replace_buffer(buffers::take_read());
            self.borrowed = true;
        }
        let polled = pin!(stream.read_buf(self.lines.buffer_mut())).poll(cx);
        if !matches!(polled, Poll::Ready(Ok(1..))) {
            self.give_back();
        }
        polled.map_ok(|length| self.note(length))
    }

    /// Reads on to an unfinished line, which lies in a small buffer of its own.
    fn poll_extend<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
    {
        let mut buffer = buffers::take_read();
        let polled = pin!(stream.read_buf(&mut buffer)).poll(cx);
        self.lines.push(&buffer);
        buffers::give_read(buffer);
        if polled.is_pending() {
            self.spent = 0;
        }
        polled.map_ok(|length| self.note(length))
    }

    fn note(&mut self, length: usize) {
        self.at_end |= length == 0;
        self.spent += READ_COST;
        buffers::note_activity();
    }

    /// Gives the worker its buffer back; an unfinished line moves to a small one of its own.
    fn give_back(&mut self) {
        self.spent = 0;
        self.borrowed = false;
        buffers::give_read(if self.has_partial() {
            self.lines.shrink()
        } else {
            self.lines.replace_buffer(BytesMut::new())
        });
    }
}

/// Reads and throws away, for a connection that is being closed. Ready with the number of bytes;
/// 0 is the end.
pub(super) fn poll_discard<S>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = buffers::take_read();
    let polled = pin!(stream.read_buf(&mut buffer)).poll(cx);
    buffers::give_read(buffer);
    polled
}
