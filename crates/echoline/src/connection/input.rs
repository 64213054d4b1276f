//! The reading side of a connection: reads bytes from the stream into [`Lines`].

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::buffers;
use super::limits::Closed;
use super::line::Line;
use super::lines::Lines;
use crate::metrics::summary::Amount;
use crate::transport::stream::{poll_read, poll_readable};

/// The work that one connection may do before it yields to the worker's other connections. Without
/// this limit, a client that never stops sending would delay them. A line costs 1 and a read costs
/// 16. So the budget allows 128 lines, or 8 reads, which are half a megabyte.
const TURN_BUDGET: u16 = 128;
const READ_COST: u16 = 16;

/// The received bytes that the handler has not consumed.
#[derive(Debug)]
pub(super) struct InputBuffer {
    lines: Lines,
    /// The close reason for the end of the peer's stream, [`Closed::EndOfStream`] or
    /// [`Closed::Truncated`]; `None` while the stream is open.
    end: Option<Closed>,
    /// Whether the last read took all input of the socket.
    drained: bool,
    spent: u16,
    /// Messages returned to the handler and not added to the counters yet. They are counted in
    /// batches, because one packet may hold hundreds of lines.
    messages: u32,
}

impl InputBuffer {
    pub(super) fn new(max_line: usize) -> Self {
        Self { lines: Lines::new(max_line), end: None, drained: false, spent: 0, messages: 0 }
    }

    /// Returns whether the peer has ended its stream.
    pub(super) fn at_end(&self) -> bool {
        self.end.is_some()
    }

    /// Returns the close reason for the end of the peer's stream; `None` while it is open.
    pub(super) fn end(&self) -> Option<Closed> {
        self.end
    }

    /// Returns whether there are unread bytes.
    pub(super) fn has_partial(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Returns the number of messages since the last call, and resets it.
    #[inline]
    pub(super) fn take_messages(&mut self) -> u32 {
        std::mem::take(&mut self.messages)
    }

    #[inline]
    fn note_message(&mut self) {
        self.messages = self.messages.saturating_add(1);
    }

    /// Returns `Ready` unless the connection has used up its budget. A connection without budget
    /// yields, and the runtime polls it again after the other connections of the worker.
    #[inline]
    pub(super) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.spent < TURN_BUDGET {
            return Poll::Ready(());
        }
        self.spent = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns the next line, `Some(None)` at the end of the stream, or `None` if the line has not
    /// arrived yet.
    #[inline]
    pub(super) fn next_line(&mut self) -> Result<Option<Option<Line>>, Closed> {
        if !self.lines.is_empty()
            && let Some(line) = self.lines.next_line()?
        {
            self.spent += 1;
            self.note_message();
            return Ok(Some(Some(line)));
        }
        if !self.at_end() {
            return Ok(None);
        }
        self.last_line()
    }

    #[cold]
    fn last_line(&mut self) -> Result<Option<Option<Line>>, Closed> {
        // The last line of a truncated stream is discarded, because it may be incomplete.
        let last = self.lines.finish().filter(|_| self.end != Some(Closed::Truncated));
        self.messages += u32::from(last.is_some());
        Ok(Some(last))
    }

    /// Returns `Some(true)` if there is unread input, `Some(false)` at the end of the stream.
    pub(super) fn next_peek(&mut self) -> Result<Option<bool>, Closed> {
        let has_some = self.has_partial();
        Ok((has_some || self.at_end()).then_some(has_some))
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.lines.unread()
    }

    pub(super) fn skip_line(&mut self) {
        self.lines.skip_line();
    }

    pub(super) fn next_chunk(&mut self, most: usize) -> Result<Option<Option<Bytes>>, Closed> {
        if most == 0 {
            self.spent += 1;
            return Ok(Some(Some(Bytes::new())));
        }
        if self.has_partial() {
            self.spent += 1;
            self.note_message();
            return Ok(Some(Some(self.lines.take(most))));
        }
        Ok(self.at_end().then_some(None))
    }

    /// Moves unread bytes into `buffer`, as many as fit. Returns whether there were any.
    pub(super) fn take_into(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if !self.has_partial() {
            return false;
        }
        self.spent += 1;
        self.note_message();
        buffer.put_slice(&self.lines.take(buffer.remaining()));
        true
    }

    pub(super) fn next_exact(&mut self, length: usize) -> Result<Option<Bytes>, Closed> {
        if self.lines.len() >= length {
            self.spent += 1;
            self.note_message();
            return Ok(Some(self.lines.take(length)));
        }
        self.unfinished()
    }

    pub(super) fn next_until(&mut self, separator: &[u8]) -> Result<Option<Option<Bytes>>, Closed> {
        if let Some(found) = self.lines.next_until(separator)? {
            self.spent += 1;
            self.note_message();
            return Ok(Some(Some(found)));
        }
        if self.at_end() && !self.has_partial() {
            return Ok(Some(None));
        }
        self.unfinished()
    }

    /// Returns `None`, or [`Closed::Incomplete`] if the stream has ended. The received bytes can
    /// still be read.
    fn unfinished<T>(&self) -> Result<Option<T>, Closed> {
        if self.at_end() { Err(Closed::Incomplete) } else { Ok(None) }
    }

    /// Reads once. Returns `Ready` when more bytes or the end have arrived, and adds the bytes to
    /// `amount`. While it waits, it keeps no buffer except one for an unfinished line.
    #[inline(always)]
    pub(super) fn poll_fill<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        amount: &mut Amount,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin + 'static,
    {
        ready!(self.poll_arrival(stream, cx));
        buffers::with_scratch(|scratch| {
            let length = ready!(self.poll_scratch(stream, scratch, cx))?;
            self.lines.push_from(&scratch[..length], buffers::share);
            amount.add(&scratch[..length]);
            Poll::Ready(Ok(()))
        })
    }

    /// Returns `Pending` if the last read took all input and no more has arrived. The task is then
    /// woken when more arrives.
    #[inline(always)]
    pub(super) fn poll_arrival<S: 'static>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if std::mem::take(&mut self.drained) && poll_readable(stream, cx).is_pending() {
            self.spent = 0;
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Reads once into `buffer`, without a copy. Returns `Ready` when bytes or the end have
    /// arrived, and adds the bytes to `amount`.
    pub(super) fn poll_into<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        amount: &mut Amount,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin + 'static,
    {
        if self.lines.is_skipping() {
            // The rest of a skipped line may still arrive. It does not count as input.
            ready!(self.poll_fill(stream, cx, amount))?;
            self.take_into(buffer);
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_arrival(stream, cx));
        let length = ready!(self.poll_scratch(stream, buffer.initialize_unfilled(), cx))?;
        let start = buffer.filled().len();
        buffer.advance(length);
        amount.add(&buffer.filled()[start..]);
        if length > 0 {
            self.note_message();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into `scratch`, without splitting lines. Returns the number of bytes, which is 0
    /// at the end.
    #[inline(always)]
    pub(super) fn poll_scratch<S>(
        &mut self,
        stream: &mut S,
        scratch: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin + 'static,
    {
        let Poll::Ready(result) = poll_read(stream, scratch, cx) else {
            self.spent = 0;
            return Poll::Pending;
        };
        let length = match result {
            // TLS reports a stream that ends without `close_notify`. Its last line may be cut off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.end.get_or_insert(Closed::Truncated);
                0
            }
            other => other?,
        };
        if length == 0 {
            self.end.get_or_insert(Closed::EndOfStream);
        }
        self.drained = length < scratch.len();
        self.spent += READ_COST;
        buffers::note_activity();
        Poll::Ready(Ok(length))
    }
}

/// Reads and discards input, for a connection that is being closed. Returns the number of bytes,
/// which is 0 at the end.
pub(super) fn poll_discard<S>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin + 'static,
{
    buffers::with_scratch(|scratch| poll_read(stream, scratch, cx))
}
