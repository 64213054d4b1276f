//! The raw echo, which sends input back directly from the worker's read buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::buffers;
use super::core::{Core, held, is_held, note_sent};
use super::limits::Closed;
use super::output::poll_write;
use crate::transport::stream::write_at_once;

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Core<S> {
    /// Sends all input back until the stream ends.
    pub(super) fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        loop {
            ready!(self.input.poll_turn(cx));
            if self.input.has_partial() {
                self.echo_unread()?;
            }
            let (over, hold) = match self.deadlines.needs_check(false) {
                true => self.check_echo(),
                false => (Ok(None), false),
            };
            if !hold && !self.output.is_unused() {
                ready!(self.poll_flush(cx))?;
            }
            if self.input.at_end() {
                return Poll::Ready(Ok(()));
            }
            let over = over?;
            if self.poll_echo_once(hold, cx)?.is_pending() {
                return self.deadlines.poll_input(over, false, held(&self.output), cx).map(Err);
            }
            self.deadlines.note_read(over);
            self.deadlines.note_input();
        }
    }

    /// Returns the result of [`Deadlines::check`](super::deadlines::Deadlines::check), and whether
    /// the output is held.
    #[cold]
    fn check_echo(&mut self) -> (Result<Option<Closed>, Closed>, bool) {
        let over = self.deadlines.check(false);
        let hold = !self.input.at_end() && is_held(&over, &self.output, &self.deadlines);
        (over, hold)
    }

    /// Sends back the bytes that an earlier call has read ahead.
    #[cold]
    fn echo_unread(&mut self) -> Result<(), Closed> {
        if let Some(Some(bytes)) = self.input.next_chunk(usize::MAX)? {
            self.output.push(&bytes);
        }
        Ok(())
    }

    /// Reads once and writes the bytes back without copying them. Buffers the bytes that the stream
    /// does not take, or all bytes if the output is held.
    #[inline]
    fn poll_echo_once(&mut self, hold: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.input.poll_arrival(&mut self.stream, cx));
        buffers::with_scratch(|scratch| {
            let length = ready!(self.input.poll_scratch(&mut self.stream, scratch, cx))?;
            let bytes = &scratch[..length];
            self.deadlines.note_whole_read(bytes);
            if hold {
                self.output.push(bytes);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(self.write_back(bytes, cx))
        })
    }

    /// Writes as many of `bytes` as the stream takes, and buffers the rest.
    #[inline]
    fn write_back(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match write_at_once(&mut self.stream, bytes) {
            Ok(sent) => bytes = note_sent(&mut self.deadlines, bytes, sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !bytes.is_empty() {
            self.write_back_slowly(bytes, cx)?;
        }
        Ok(())
    }

    /// Works like `write_back`, for a layered stream or a full socket.
    fn write_back_slowly(&mut self, mut bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            match poll_write(&mut self.stream, bytes, cx)? {
                Poll::Ready(sent) => bytes = note_sent(&mut self.deadlines, bytes, sent),
                Poll::Pending => {
                    self.output.push(bytes);
                    break;
                }
            }
        }
        if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
            self.output.note_direct();
        }
        Ok(())
    }
}
