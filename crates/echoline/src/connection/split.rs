//! The reading and the writing half of a connection.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::borrows::MessageGuard;
use super::core::{Core, poll_input, poll_next, poll_output, poll_write_part};
use super::deadlines::{Deadlines, OutputState};
use super::input::InputBuffer;
use super::limits::Closed;
use super::lines::Line;
use super::output::OutputBuffer;
use echoline_base::poison::IgnorePoison;

/// The reading half of a [`Connection`](crate::Connection); see
/// [`Connection::split`](crate::Connection::split).
pub struct Reader<'a, S> {
    stream: Arc<Mutex<&'a mut S>>,
    input: &'a mut InputBuffer,
    deadlines: &'a mut Deadlines,
    /// The close reason of the last failure, on which the farewell may depend.
    ended: &'a mut Option<Closed>,
}

/// The writing half of a [`Connection`](crate::Connection).
pub struct Writer<'a, S> {
    stream: Arc<Mutex<&'a mut S>>,
    output: &'a mut OutputBuffer,
    deadlines: Deadlines,
}

pub(super) fn split<S>(core: &mut Core<S>) -> (Reader<'_, S>, Writer<'_, S>) {
    let stream = Arc::new(Mutex::new(&mut core.stream));
    // The writer may wait in another part of the task than the reader, so it has its own deadlines.
    let deadlines = Deadlines::new(Arc::clone(&core.deadlines.config), core.deadlines.slot.clone());
    let writer = Writer { stream: Arc::clone(&stream), output: &mut core.output, deadlines };
    let (input, deadlines, ended) = (&mut core.input, &mut core.deadlines, &mut core.ended);
    (Reader { stream, input, deadlines, ended }, writer)
}

/// Locks the stream for one poll. After a panic under the lock the connection ends, so the stream
/// is not used again.
fn lock<'g, 'a, S>(stream: &'g Mutex<&'a mut S>) -> MutexGuard<'g, &'a mut S> {
    stream.lock().ignore_poison()
}

impl<S: AsyncRead + Unpin> Reader<'_, S> {
    /// Like [`Connection::read_line`](crate::Connection::read_line). Cancel safe.
    ///
    /// # Errors
    /// Like [`Connection::read_line`](crate::Connection::read_line).
    pub async fn read_line(&mut self) -> Result<Option<Line>, Closed> {
        let line = poll_fn(|cx| self.poll_read(cx, InputBuffer::next_line)).await?;
        if let Some(line) = &line {
            self.deadlines.note_line(line);
        }
        Ok(line)
    }

    /// Like [`Connection::read`](crate::Connection::read). Cancel safe.
    ///
    /// # Errors
    /// Like [`Connection::read`](crate::Connection::read).
    pub async fn read(&mut self, most: usize) -> Result<Option<Bytes>, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_chunk(most))).await
    }

    /// Like [`Connection::read_exact`](crate::Connection::read_exact). Cancel safe.
    ///
    /// # Errors
    /// Like [`Connection::read_exact`](crate::Connection::read_exact).
    pub async fn read_exact(&mut self, length: usize) -> Result<Bytes, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_exact(length))).await
    }

    /// Like [`Connection::read_until`](crate::Connection::read_until). Cancel safe.
    ///
    /// # Errors
    /// Like [`Connection::read_until`](crate::Connection::read_until).
    pub async fn read_until(&mut self, separator: &[u8]) -> Result<Option<Bytes>, Closed> {
        poll_fn(|cx| self.poll_read(cx, |input| input.next_until(separator))).await
    }

    /// Like [`Connection::begin_message`](crate::Connection::begin_message).
    pub fn begin_message(&mut self) -> MessageGuard<'_, Self> {
        MessageGuard::begin(self, |reader, begun| reader.deadlines.set_in_message(begun))
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        poll_next(self.input, self.deadlines, self.ended, cx, next, |input, deadlines, cx| {
            let over = deadlines.check(input.has_partial())?;
            // The writer sends the output itself.
            poll_input(&mut **lock(&self.stream), input, deadlines, over, OutputState::Sent, cx)
        })
    }
}

impl<S: AsyncWrite + Unpin> Writer<'_, S> {
    /// Like [`Connection::write`](crate::Connection::write), but nothing is written before it is
    /// awaited, and the buffer is sent only by [`flush`](Self::flush).
    ///
    /// # Errors
    /// Like [`Connection::write`](crate::Connection::write). Not cancel safe.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Closed> {
        poll_fn(|cx| {
            let stream = &mut **lock(&self.stream);
            poll_write_part(stream, self.output, &mut self.deadlines, &mut bytes, cx)
        })
        .await
    }

    /// Writes `text` and the server's line end. Not cancel safe.
    ///
    /// # Errors
    /// Like [`write`](Self::write).
    pub async fn write_line(&mut self, text: impl fmt::Display) -> Result<(), Closed> {
        let line = format!("{text}{}", self.deadlines.config.eol.as_str());
        self.write(line.as_bytes()).await
    }

    /// Sends all pending output. Like asyncio's `drain`. Cancel safe.
    ///
    /// # Errors
    /// Like [`Connection::flush`](crate::Connection::flush).
    pub async fn flush(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| {
            let stream = &mut **lock(&self.stream);
            poll_output(stream, self.output, &mut self.deadlines, cx)
        })
        .await
    }
}

impl<S> fmt::Debug for Reader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("input", &self.input).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Writer<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("unsent", &self.output.len()).finish_non_exhaustive()
    }
}
