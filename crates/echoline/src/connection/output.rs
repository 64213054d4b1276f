//! The writing side of a connection: a bounded buffer that is sent in as few pieces as possible.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::buffers;
use super::config::Eol;
use crate::metrics::summary::Amount;
use crate::transport::stream::write_at_once;

/// Pieces of at least this size are sent directly instead of being copied first.
const DIRECT_BYTES: usize = 8 * 1024;

/// Output that was written and not sent yet.
#[derive(Debug, Default)]
pub(super) struct OutputBuffer {
    buffer: Vec<u8>,
    /// The number of bytes at the front of `buffer` that were already sent.
    sent: usize,
    /// Whether the stream may hold bytes that it has accepted but not sent yet, as TLS does.
    unflushed: bool,
    /// Whether the stream takes no more bytes, because it failed or the peer stalled for too long.
    pub(super) failed: bool,
    /// Whether this end has shut down its sending side.
    pub(super) ended: bool,
}

impl OutputBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.buffer.len()
    }

    /// Returns whether no output is pending, neither here nor in the stream, and no buffer is in
    /// use.
    pub(super) fn is_unused(&self) -> bool {
        self.buffer.capacity() == 0 && !self.unflushed
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Records that bytes were written to the stream directly, without the buffer.
    pub(super) fn note_direct(&mut self) {
        self.unflushed = true;
    }

    /// Returns whether a piece of `length` bytes should be written directly to the stream.
    #[inline]
    pub(super) fn is_direct(&self, length: usize) -> bool {
        self.is_empty() && length >= DIRECT_BYTES
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// Appends `parts` and the line end.
    #[inline]
    pub(super) fn push_line(&mut self, parts: &[&[u8]], eol: Eol) {
        let buffer = self.buffer();
        for part in parts {
            buffer.extend_from_slice(part);
        }
        match eol {
            Eol::Lf => buffer.push(b'\n'),
            Eol::CrLf => buffer.extend_from_slice(b"\r\n"),
        }
    }

    /// Returns the buffer to append to.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::take_write();
        }
        &mut self.buffer
    }

    /// Sends the bytes that a plain socket takes at once, and adds them to `sent`. Returns whether
    /// no output is pending. The caller must read between two calls; see [`write_at_once`].
    #[inline]
    pub(super) fn send_at_once<S: 'static>(
        &mut self,
        stream: &mut S,
        sent: &mut Amount,
    ) -> io::Result<bool> {
        if !self.is_empty() {
            let rest = &self.buffer[self.sent..];
            match write_at_once(stream, rest) {
                Ok(taken) => {
                    sent.add(&rest[..taken]);
                    self.sent += taken;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !self.is_empty() || self.unflushed {
            return Ok(false);
        }
        self.release();
        Ok(true)
    }

    /// Sends until no output is pending, neither here nor in the stream, or until the stream takes
    /// no more. Adds the sent bytes to `sent`.
    pub(super) fn poll_flush<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        sent: &mut Amount,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        ready!(self.poll_drain(stream, cx, sent))?;
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all output to the stream. The stream may still hold some of it, because more of the
    /// same line will follow. An emptied buffer is returned to the worker.
    pub(super) fn poll_drain<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        sent: &mut Amount,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while !self.is_empty() {
            let rest = &self.buffer[self.sent..];
            let taken = ready!(poll_write(stream, rest, cx))?;
            sent.add(&rest[..taken]);
            self.sent += taken;
            self.unflushed = true;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Returns the buffer to the worker after all its bytes were sent.
    #[inline]
    fn release(&mut self) {
        if self.buffer.capacity() > 0 {
            buffers::give_write(std::mem::take(&mut self.buffer));
            self.sent = 0;
        }
    }
}

/// Writes once. A stream that accepts no bytes counts as closed.
pub(super) fn poll_write<S>(
    stream: &mut S,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    match ready!(Pin::new(stream).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        other => Poll::Ready(other),
    }
}

/// Returns the number of bytes of all `parts`.
#[inline]
pub(super) fn length_of(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}
