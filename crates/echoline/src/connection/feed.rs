//! Output that a connection sends while its handler waits for the peer: messages of a chat room,
//! the ticks of a clock.

use std::fmt;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::config::Eol;
use super::deadlines::Deadlines;
use super::limits::Closed;
use super::output::OutputBuffer;
use crate::metrics::summary::Amount;

/// The destination to which a feed writes; see
/// [`Connection::read_line_feeding`](crate::Connection::read_line_feeding).
pub struct Outlet<'a, S> {
    stream: &'a mut S,
    output: &'a mut OutputBuffer,
    eol: Eol,
    write_high: usize,
    /// The part of the offered bytes that the stream took.
    took: Amount,
    /// Whether the stream takes no more bytes now. It wakes the task when it takes more.
    full: bool,
    /// Whether the output is held, to be sent together with the end of the stream.
    held: bool,
}

impl<S: AsyncWrite + Unpin> Outlet<'_, S> {
    /// Writes bytes. They are copied into the buffer, and sent after the feed has returned.
    pub fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.output.push(bytes);
        }
    }

    /// Writes `text` and the server's line end.
    pub fn write_line(&mut self, text: impl fmt::Display) {
        let eol = self.eol.as_str();
        // Writing to memory fails only if formatting `text` fails, and then there is nothing to
        // send.
        let _ = write!(self.output.buffer(), "{text}{eol}");
    }

    /// Returns whether enough output is waiting for the peer. A feed should then return, and
    /// continue when it is called again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full || self.output.len() >= self.write_high
    }

    /// Writes `parts` without copying, as much as the stream takes at once, and returns the number
    /// of bytes written. The caller keeps the rest.
    ///
    /// # Errors
    /// The error of the stream.
    pub fn offer(
        &mut self,
        mut parts: &mut [IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> io::Result<usize> {
        if self.held {
            return Ok(self.hold(parts));
        }
        if !self.output.is_unused()
            && self.output.poll_drain(self.stream, cx, &mut self.took)?.is_pending()
        {
            self.full = true;
        }
        let mut sent = 0;
        while !self.full && !parts.is_empty() {
            let stream = Pin::new(&mut *self.stream);
            // A single piece is written without a list, because the system would have to read and
            // check the list first.
            let taken = match parts {
                [only] => stream.poll_write(cx, only)?,
                _ => stream.poll_write_vectored(cx, parts)?,
            };
            match taken {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(length) => {
                    sent += length;
                    add(&mut self.took, parts, length);
                    IoSlice::advance_slices(&mut parts, length);
                }
                Poll::Pending => self.full = true,
            }
        }
        if sent > 0 {
            self.output.note_direct();
        }
        Ok(sent)
    }

    /// Copies `parts` until enough output waits for the peer. Returns the number of copied bytes.
    fn hold(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let mut taken = 0;
        for part in parts {
            if self.is_full() {
                break;
            }
            self.output.push(part);
            taken += part.len();
        }
        taken
    }
}

impl<S> fmt::Debug for Outlet<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("unsent", &self.output.len())
            .field("full", &self.full)
            .finish_non_exhaustive()
    }
}

/// Adds the first `length` bytes of `parts`.
fn add(amount: &mut Amount, parts: &[IoSlice<'_>], mut length: usize) {
    for part in parts {
        let taken = &part[..part.len().min(length)];
        amount.add(taken);
        length -= taken.len();
        if length == 0 {
            break;
        }
    }
}

/// Sends pending output, then the output of `feed`. Returns `Ready` when `feed` has no more output
/// now, and `Pending` while the peer accepts no more. With `held` it sends only the bytes
/// beyond [`Limits::write_high`].
///
/// [`Limits::write_high`]: crate::Limits::write_high
pub(super) fn poll_feed<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    held: bool,
    cx: &mut Context<'_>,
    feed: &mut impl FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
) -> Poll<Result<(), Closed>> {
    loop {
        let held = held && output.len() < deadlines.config.limits.write_high;
        if !held {
            ready!(poll_send(stream, output, deadlines, cx))?;
        }
        let limits = &deadlines.config.limits;
        let (eol, write_high) = (deadlines.config.eol, limits.write_high);
        let took = deadlines.amount();
        let mut outlet = Outlet { stream, output, eol, write_high, took, full: false, held };
        let fed = feed(&mut outlet, cx);
        let (took, full) = (outlet.took, outlet.full);
        if took.bytes > 0 {
            deadlines.note_sent(took);
        }
        match fed {
            Poll::Ready(Err(closed)) => return Poll::Ready(Err(closed)),
            _ if full && output.is_empty() => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            Poll::Pending if held => return Poll::Ready(Ok(())),
            Poll::Pending => return poll_send(stream, output, deadlines, cx),
        }
    }
}

/// Sends the bytes that the stream takes, and records the progress.
#[inline]
fn poll_send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    poll_noting(output, deadlines, |output, sent| output.poll_flush(stream, cx, sent))
}

/// Works like [`poll_send`], at less cost. The caller must read afterwards; see
/// [`write_at_once`](crate::transport::stream::write_at_once).
#[inline(always)]
pub(super) fn poll_send_before_read<S: AsyncWrite + Unpin + 'static>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    poll_noting(output, deadlines, |output, sent| match output.send_at_once(stream, sent) {
        Ok(true) => Poll::Ready(Ok(())),
        Ok(false) => output.poll_flush(stream, cx, sent),
        Err(error) => Poll::Ready(Err(error)),
    })
}

/// Runs `send` if there is output, and records its progress.
#[inline(always)]
fn poll_noting(
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    send: impl FnOnce(&mut OutputBuffer, &mut Amount) -> Poll<io::Result<()>>,
) -> Poll<Result<(), Closed>> {
    if output.is_unused() {
        // This is the usual case. With a feed, as in a chat, this function runs twice for each
        // line.
        return Poll::Ready(Ok(()));
    }
    let mut sent = deadlines.amount();
    let polled = send(output, &mut sent);
    if sent.bytes > 0 {
        deadlines.note_sent(sent);
    }
    polled.map_err(Closed::from)
}
