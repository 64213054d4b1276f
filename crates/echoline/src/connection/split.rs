//! The borrowed halves of a connection, which one task uses.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::borrows::MessageGuard;
use super::core::{Core, poll_output, poll_shutdown, poll_write_part};
use super::deadlines::Deadlines;
use super::halves::{Reading, reader_methods, write_at_once, writer_methods};
use super::input::InputBuffer;
use super::limits::Closed;
use super::line::Line;
use super::output::OutputBuffer;
use echoline_base::poison::IgnorePoison;

/// The reading half of a [`Connection`](crate::Connection); see
/// [`Connection::split`](crate::Connection::split).
pub struct Reader<'a, S> {
    stream: Arc<Mutex<&'a mut S>>,
    input: &'a mut InputBuffer,
    deadlines: &'a mut Deadlines,
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
    let deadlines = core.deadlines.for_another_wait();
    let writer = Writer { stream: Arc::clone(&stream), output: &mut core.output, deadlines };
    let (input, deadlines, ended) = (&mut core.input, &mut core.deadlines, &mut core.ended);
    (Reader { stream, input, deadlines, ended }, writer)
}

impl<S: AsyncRead + Unpin + 'static> Reader<'_, S> {
    reader_methods!();

    fn reading(&mut self) -> Reading<'_> {
        Reading { input: self.input, deadlines: self.deadlines, ended: self.ended }
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        let reading = Reading { input: self.input, deadlines: self.deadlines, ended: self.ended };
        reading.poll::<S, T>(&self.stream, cx, next)
    }
}

impl<S: AsyncWrite + Unpin> Writer<'_, S> {
    writer_methods!();

    fn output(&self) -> &OutputBuffer {
        self.output
    }

    fn with<T>(&mut self, write: impl FnOnce(&mut S, &mut OutputBuffer, &mut Deadlines) -> T) -> T {
        // After a panic under the lock the connection ends, so the stream is not used again.
        write(&mut **self.stream.lock().ignore_poison(), self.output, &mut self.deadlines)
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
