//! A connection as a byte stream, for code that works over any stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::borrows::MessageGuard;
use super::closing::Closing;
use super::core::{Core, poll_output, poll_shutdown, poll_write_once};
use super::deadlines::{Deadlines, OutputState};
use super::feed::poll_send_before_read;
use super::limits::Closed;
use crate::transport::stream::Stream;

/// A [`Connection`](crate::Connection) as a byte stream; see
/// [`Connection::into_stream`](crate::Connection::into_stream).
///
/// Reads first return the bytes that the connection has received and not returned yet. Writes are
/// not corked: each write is sent at once, after the output that was written before.
///
/// These limits still apply: [`Limits::idle_timeout`](crate::Limits::idle_timeout) for the next
/// byte, [`Limits::stall_timeout`](crate::Limits::stall_timeout), and the limits of closing. A
/// drain ends a read as it ends [`Connection::read`](crate::Connection::read), except during a
/// message ([`begin_message`](Self::begin_message)). The limits of lines and of unsent bytes do not
/// apply, and no [`Farewell`](crate::Farewell) is sent, because the bytes belong to the protocol of
/// the caller.
///
/// Each error contains the [`Closed`] reason. `Closed::from(error)` returns it, and a server finds
/// it in the error of a handler. Dropping the stream closes the connection in order.
pub struct ConnectionStream<S = Stream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `None` while the connection is closed.
    core: Option<Box<Core<S>>>,
    /// The deadlines of writes. They are separate, because a write may wait in another task than a
    /// read.
    writing: Deadlines,
    /// Whether reads send pending output. After the first write or flush, only writes and flushes
    /// send it, because a stream wakes only one task when it takes more output.
    read_sends: bool,
}

impl<S> ConnectionStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    pub(super) fn new(mut core: Box<Core<S>>) -> Self {
        core.is_silent = true;
        let writing = core.deadlines.for_another_wait();
        Self { core: Some(core), writing, read_sends: true }
    }

    /// Begins a message, as [`Connection::begin_message`](crate::Connection::begin_message): a
    /// draining server waits until the returned guard is dropped, for at most
    /// [`Limits::drain_timeout`](crate::Limits::drain_timeout). A tunnel begins a message that
    /// lasts until the end of the tunnel.
    pub fn begin_message(&mut self) -> MessageGuard<'_, Self> {
        MessageGuard::begin(self, |stream, begun| stream.parts().0.deadlines.set_in_message(begun))
    }

    /// Returns the stream below. It no longer contains the bytes that were read ahead.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.core.as_deref().expect("the core leaves only when self ends").stream
    }

    fn parts(&mut self) -> (&mut Core<S>, &mut Deadlines) {
        let core = self.core.as_deref_mut().expect("the core leaves only when self ends");
        (core, &mut self.writing)
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Closed>> {
        let read_sends = self.read_sends;
        let Core { stream, input, output, deadlines, .. } = self.parts().0;
        ready!(input.poll_turn(cx));
        loop {
            let before = buffer.filled().len();
            if !input.take_into(buffer) && input.end() == Some(Closed::Truncated) {
                return Poll::Ready(Err(Closed::Truncated));
            }
            if buffer.filled().len() > before || buffer.remaining() == 0 || input.at_end() {
                break;
            }
            let over = deadlines.check(false)?;
            let blocked =
                read_sends && poll_send_before_read(stream, output, deadlines, cx)?.is_pending();
            let state = if blocked { OutputState::Blocked } else { OutputState::Sent };
            let mut amount = deadlines.amount();
            if input.poll_into(stream, cx, buffer, &mut amount)?.is_pending() {
                return deadlines.poll_input(over, false, state, cx).map(Err);
            }
            deadlines.note_received(amount);
            deadlines.note_read(over);
            if buffer.filled().len() > before {
                break;
            }
        }
        deadlines.note_input();
        deadlines.note_messages(input.take_messages());
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncRead for ConnectionStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.poll_input(cx, buffer);
        this.parts().0.note_end(polled).map_err(io::Error::from)
    }
}

impl<S> AsyncWrite for ConnectionStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.read_sends = false;
        let (Core { stream, output, .. }, deadlines) = this.parts();
        poll_write_once(stream, output, deadlines, bytes, cx).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.read_sends = false;
        let (Core { stream, output, .. }, deadlines) = this.parts();
        poll_output(stream, output, deadlines, cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.read_sends = false;
        let (Core { stream, output, .. }, deadlines) = this.parts();
        poll_shutdown(stream, output, deadlines, cx).map_err(io::Error::from)
    }
}

impl<S> Drop for ConnectionStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            Closing::begin(core).run_in_background();
        }
    }
}

impl<S> fmt::Debug for ConnectionStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionStream")
            .field("stopped", &self.core.is_none())
            .finish_non_exhaustive()
    }
}
