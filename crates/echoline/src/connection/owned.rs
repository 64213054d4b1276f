//! The owned halves of a connection, which two tasks can use.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::borrows::MessageGuard;
use super::closing::Closing;
use super::core::{Core, poll_output, poll_shutdown, poll_write_part};
use super::deadlines::Deadlines;
use super::halves::{Reading, reader_methods, write_at_once, writer_methods};
use super::input::InputBuffer;
use super::limits::Closed;
use super::line::Line;
use super::output::OutputBuffer;
use crate::transport::stream::{CloseSignal, Stream};
use echoline_base::poison::IgnorePoison;

/// The owned reading half of a [`Connection`](crate::Connection); see
/// [`Connection::into_split`](crate::Connection::into_split).
pub struct OwnedReader<S = Stream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `None` once the half is dropped.
    half: Option<(Arc<Shared<S>>, ReaderState)>,
}

/// The owned writing half of a [`Connection`](crate::Connection).
///
/// Dropping it sends the pending output and shuts down the sending side, as dropping tokio's
/// `OwnedWriteHalf` does.
pub struct OwnedWriter<S = Stream>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// `None` once the half is dropped.
    half: Option<(Arc<Shared<S>>, WriterState)>,
    /// Whether this half was dropped before, and a task now shuts down its sending side.
    is_ending: bool,
}

struct ReaderState {
    input: InputBuffer,
    deadlines: Deadlines,
    ended: Option<Closed>,
}

struct WriterState {
    output: OutputBuffer,
    deadlines: Deadlines,
}

/// The parts of a connection that belong to both halves.
struct Shared<S> {
    stream: Mutex<S>,
    is_silent: bool,
    signal: fn(&mut S, CloseSignal),
    /// The states of dropped halves. When the second half is dropped, both states are used to close
    /// the connection.
    dropped: Mutex<(Option<ReaderState>, Option<WriterState>)>,
}

const INVARIANT: &str = "the state leaves only when the half is dropped";

pub(super) fn into_split<S>(core: Core<S>) -> (OwnedReader<S>, OwnedWriter<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Core { stream, input, output, deadlines, ended, is_silent, signal } = core;
    let writing = WriterState { output, deadlines: deadlines.for_another_wait() };
    let dropped = Mutex::default();
    let shared = Arc::new(Shared { stream: Mutex::new(stream), is_silent, signal, dropped });
    let reader = (Arc::clone(&shared), ReaderState { input, deadlines, ended });
    (
        OwnedReader { half: Some(reader) },
        OwnedWriter { half: Some((shared, writing)), is_ending: false },
    )
}

impl<S> Shared<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Closes the connection in the background if no other half is left.
    fn release(self: Arc<Self>) {
        let Some(shared) = Arc::into_inner(self) else { return };
        let stream = shared.stream.into_inner().ignore_poison();
        let (Some(reader), Some(writer)) = shared.dropped.into_inner().ignore_poison() else {
            return;
        };
        let (ReaderState { input, deadlines, ended }, output) = (reader, writer.output);
        let (is_silent, signal) = (shared.is_silent, shared.signal);
        let core = Core { stream, input, output, deadlines, ended, is_silent, signal };
        Closing::begin(Box::new(core)).run_in_background();
    }
}

impl<S> OwnedReader<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    reader_methods!();

    fn reading(&mut self) -> Reading<'_> {
        let (_, ReaderState { input, deadlines, ended }) = self.half.as_mut().expect(INVARIANT);
        Reading { input, deadlines, ended }
    }

    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        let (shared, state) = self.half.as_mut().expect(INVARIANT);
        let ReaderState { input, deadlines, ended } = state;
        Reading { input, deadlines, ended }.poll::<S, T>(&shared.stream, cx, next)
    }
}

impl<S> OwnedWriter<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    writer_methods!();

    fn output(&self) -> &OutputBuffer {
        &self.half.as_ref().expect(INVARIANT).1.output
    }

    fn with<T>(&mut self, write: impl FnOnce(&mut S, &mut OutputBuffer, &mut Deadlines) -> T) -> T {
        let (shared, WriterState { output, deadlines }) = self.half.as_mut().expect(INVARIANT);
        // After a panic under the lock the connection ends, so the stream is not used again.
        write(&mut shared.stream.lock().ignore_poison(), output, deadlines)
    }

    /// Shuts down the sending side while the reader continues. If the reader is dropped first,
    /// closing the connection does this, after the farewell.
    async fn end_for_reader(mut self) {
        let is_last = self.half.as_ref().is_none_or(|(shared, _)| Arc::strong_count(shared) == 1);
        if !is_last {
            // If this fails, reading fails too, and the reader reports the error.
            let _ = self.shutdown_write().await;
        }
        self.release();
    }

    fn release(&mut self) {
        if let Some((shared, state)) = self.half.take() {
            shared.dropped.lock().ignore_poison().1 = Some(state);
            shared.release();
        }
    }
}

impl<S> Drop for OwnedReader<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        if let Some((shared, state)) = self.half.take() {
            shared.dropped.lock().ignore_poison().0 = Some(state);
            shared.release();
        }
    }
}

impl<S> Drop for OwnedWriter<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let Some((shared, state)) = &self.half else { return };
        let is_over = self.is_ending || state.output.ended || state.output.failed;
        let is_last = Arc::strong_count(shared) == 1;
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !is_over && !is_last && !std::thread::panicking() => {
                let writer = Self { half: self.half.take(), is_ending: true };
                drop(runtime.spawn(writer.end_for_reader()));
            }
            _ => self.release(),
        }
    }
}

impl<S> fmt::Debug for OwnedReader<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReader").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for OwnedWriter<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriter").field("unsent", &self.unsent()).finish_non_exhaustive()
    }
}
