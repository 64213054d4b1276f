//! The state of a connection, shared by its handle, its halves and its closing.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::config::ConnectionConfig;
use super::deadlines::{Deadlines, OutputState, WaitFor};
use super::feed::{Outlet, poll_feed, poll_send_before_read};
use super::input::InputBuffer;
use super::limits::{Closed, Limits};
use super::line::Line;
use super::output::{OutputBuffer, length_of, poll_write};
use crate::metrics::summary::Amount;
use crate::server::registry::ConnectionSlot;
use crate::transport::stream::{CloseSignal, Layer, signal_close};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Core<S> {
    pub(super) stream: S,
    pub(super) input: InputBuffer,
    pub(super) output: OutputBuffer,
    pub(super) deadlines: Deadlines,
    /// The close reason if the last call failed.
    pub(super) ended: Option<Closed>,
    /// Whether the handler sends its own farewell.
    pub(super) is_silent: bool,
    /// The function that notifies the streams below of the close.
    pub(super) signal: fn(&mut S, CloseSignal),
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Core<S> {
    pub(super) fn new(
        stream: S,
        config: Arc<ConnectionConfig>,
        slot: Option<Arc<ConnectionSlot>>,
    ) -> Self {
        let input = InputBuffer::new(config.limits.max_line);
        let (output, deadlines) = (OutputBuffer::default(), Deadlines::new(config, slot));
        Self {
            stream,
            input,
            output,
            deadlines,
            ended: None,
            is_silent: false,
            signal: signal_close,
        }
    }

    /// Moves the connection to a stream that is a layer over the current one.
    pub(super) fn layer<T: Layer<Below = S>>(self, wrap: impl FnOnce(S) -> T) -> Core<T> {
        let Self { stream, input, output, deadlines, ended, is_silent, .. } = self;
        let signal = |layer: &mut T, word| match word {
            CloseSignal::Ends(closed) => layer.note_end(closed),
            CloseSignal::Reset | CloseSignal::Cork => signal_close(layer.below(), word),
        };
        Core { stream: wrap(stream), input, output, deadlines, ended, is_silent, signal }
    }

    /// Returns the core of a connection whose stream was replaced in the middle of its dialogue.
    pub(super) fn with_parts(
        stream: S,
        input: InputBuffer,
        output: OutputBuffer,
        deadlines: Deadlines,
        is_silent: bool,
    ) -> Self {
        Self { stream, input, output, deadlines, ended: None, is_silent, signal: signal_close }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.deadlines.config.limits
    }

    /// Returns whether `more` bytes would exceed the limit of unsent bytes.
    pub(super) fn needs_room(&self, more: usize) -> bool {
        self.output.len().saturating_add(more) > self.limits().write_high
    }

    /// Returns the next line, or `None` at the end of the stream. Works like `poll_read`, but moves
    /// the line only once.
    #[inline]
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Line>, Closed>> {
        loop {
            ready!(self.input.poll_turn(cx));
            match self.input.next_line() {
                Ok(None) => {}
                Ok(Some(line)) => {
                    self.ended = None;
                    self.deadlines.note_input();
                    if let Some(line) = &line {
                        self.deadlines.note_line(line);
                    }
                    return Poll::Ready(Ok(line));
                }
                Err(closed) => {
                    note_failure::<()>(&Err(closed), &mut self.ended, &self.deadlines);
                    return Poll::Ready(Err(closed));
                }
            }
            ready!(self.poll_more(cx))?;
        }
    }

    /// Sends the output and reads once. Returns `Ready` when more input or the end of the stream
    /// has arrived.
    #[inline]
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let Self { stream, input, output, deadlines, .. } = self;
        deadlines.note_messages(input.take_messages());
        let polled = poll_exchange(stream, input, output, deadlines, cx);
        if let Poll::Ready(result @ Err(_)) = &polled {
            note_failure(result, &mut self.ended, &self.deadlines);
        }
        polled
    }

    /// Calls the hook for received lines, if there is one and `line` is a line. Returns `line`.
    pub(super) fn show(&self, line: Result<Option<Line>, Closed>) -> Result<Option<Line>, Closed> {
        if let Ok(Some(line)) = &line {
            self.deadlines.note_line(line);
        }
        line
    }

    pub(super) async fn flush(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| {
            let polled = self.poll_flush(cx);
            self.note_end(polled)
        })
        .await
    }

    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        let Self { stream, input, output, deadlines, ended, .. } = self;
        poll_next(input, deadlines, ended, cx, next, |input, deadlines, cx| {
            poll_exchange(stream, input, output, deadlines, cx)
        })
    }

    /// Works like `poll_read`, but sends the output of `feed` while no input arrives.
    pub(super) fn poll_read_feeding<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
        feed: &mut impl FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
    ) -> Poll<Result<T, Closed>> {
        let Self { stream, input, output, deadlines, ended, .. } = self;
        poll_next(input, deadlines, ended, cx, next, |input, deadlines, cx| {
            let over = deadlines.check(input.has_partial());
            let hold = is_held(&over, output, deadlines);
            let fed = poll_feed(stream, output, deadlines, hold, cx, feed)?;
            let state = if hold { held(output) } else { sent(fed) };
            poll_input(stream, input, deadlines, over?, state, cx)
        })
    }

    /// Sends the output of `feed` until `until` is done. It reads no input.
    pub(super) fn poll_feed_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        feed: &mut impl FnMut(&mut Outlet<'_, S>, &mut Context<'_>) -> Poll<Result<(), Closed>>,
        until: Pin<&mut impl Future<Output = T>>,
    ) -> Poll<Result<T, Closed>> {
        if let Poll::Ready(done) = until.poll(cx) {
            return Poll::Ready(Ok(done));
        }
        match poll_feed(&mut self.stream, &mut self.output, &mut self.deadlines, false, cx, feed)? {
            Poll::Ready(()) => Poll::Pending,
            Poll::Pending => self.deadlines.poll(WaitFor::Output, cx).map(Err),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        poll_output(&mut self.stream, &mut self.output, &mut self.deadlines, cx)
    }

    /// Returns whether `parts` and `more` bytes can be written without waiting for the peer, which
    /// is the usual case.
    #[inline]
    pub(super) fn takes_at_once(&self, parts: &[&[u8]], more: usize) -> bool {
        let length = length_of(parts) + more;
        !self.needs_room(length) && !self.output.is_direct(length)
    }

    /// Writes `parts`, waiting for the peer until no more than [`Limits::write_high`] is unsent.
    pub(super) async fn write_waiting(&mut self, parts: &[&[u8]]) -> Result<(), Closed> {
        for mut part in parts.iter().copied() {
            poll_fn(|cx| {
                let Self { stream, output, deadlines, .. } = &mut *self;
                let polled = poll_write_part(stream, output, deadlines, &mut part, cx);
                self.note_end(polled)
            })
            .await?;
        }
        Ok(())
    }

    /// Stores the close reason of a failure for the farewell.
    pub(super) fn note_end<T>(
        &mut self,
        polled: Poll<Result<T, Closed>>,
    ) -> Poll<Result<T, Closed>> {
        if let Poll::Ready(result) = &polled {
            note_failure(result, &mut self.ended, &self.deadlines);
        }
        polled
    }
}

type PollClosed = Poll<Result<(), Closed>>;

/// Calls `next` to take a value from the input, and `more` to read until `next` succeeds. Stores
/// the close reason of a failure in `ended`, for the farewell.
pub(super) fn poll_next<T>(
    input: &mut InputBuffer,
    deadlines: &mut Deadlines,
    ended: &mut Option<Closed>,
    cx: &mut Context<'_>,
    mut next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    mut more: impl FnMut(&mut InputBuffer, &mut Deadlines, &mut Context<'_>) -> PollClosed,
) -> Poll<Result<T, Closed>> {
    ready!(input.poll_turn(cx));
    let result = loop {
        match next(input) {
            Ok(None) => {
                deadlines.note_messages(input.take_messages());
                match ready!(more(input, deadlines, cx)) {
                    Ok(()) => {}
                    Err(closed) => break Err(closed),
                }
            }
            Ok(Some(found)) => {
                deadlines.note_input();
                break Ok(found);
            }
            Err(closed) => break Err(closed),
        }
    };
    note_failure(&result, ended, deadlines);
    Poll::Ready(result)
}

/// Stores the close reason of a failure: in `ended` for the farewell, and in the slot for a handler
/// that returns an error of its own.
#[inline]
fn note_failure<T>(result: &Result<T, Closed>, ended: &mut Option<Closed>, deadlines: &Deadlines) {
    *ended = result.as_ref().err().copied();
    if let Some(closed) = *ended {
        deadlines.note_failure(closed);
    }
}

/// Records the failure of a write, so that nothing more is written.
#[inline]
fn note_write<T>(
    polled: Poll<Result<T, Closed>>,
    output: &mut OutputBuffer,
    deadlines: &Deadlines,
) -> Poll<Result<T, Closed>> {
    if let Poll::Ready(Err(closed)) = polled {
        output.failed = true;
        deadlines.note_failure(closed);
    }
    polled
}

/// Returns whether the output is held while the connection reads, given the result of
/// [`Deadlines::check`]. If this read may be the last one, the output is held, so that the peer
/// gets the last answer together with the end of the stream. Otherwise the peer could see the
/// answer and send another line, which would get no answer.
#[inline]
pub(super) fn is_held(
    over: &Result<Option<Closed>, Closed>,
    output: &OutputBuffer,
    deadlines: &Deadlines,
) -> bool {
    matches!(over, Ok(Some(_)) | Err(Closed::Drained))
        && output.len() < deadlines.config.limits.write_high
}

pub(super) fn held(output: &OutputBuffer) -> OutputState {
    if output.is_empty() { OutputState::Sent } else { OutputState::Held }
}

fn sent(polled: Poll<()>) -> OutputState {
    if polled.is_pending() { OutputState::Blocked } else { OutputState::Sent }
}

/// Sends the output, unless it is held, and reads once. Returns `Pending` only if the peer has to
/// act and no deadline has passed.
#[inline(always)]
fn poll_exchange<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: &mut S,
    input: &mut InputBuffer,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> PollClosed {
    if deadlines.needs_check(input.has_partial()) {
        return poll_exchange_checked(stream, input, output, deadlines, cx);
    }
    let state = sent(poll_send_before_read(stream, output, deadlines, cx)?);
    poll_input(stream, input, deadlines, None, state, cx)
}

/// Works like [`poll_exchange`], and checks the deadlines of a partial line and of a drain first.
fn poll_exchange_checked<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: &mut S,
    input: &mut InputBuffer,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> PollClosed {
    let over = deadlines.check(input.has_partial());
    let state = if is_held(&over, output, deadlines) {
        held(output)
    } else {
        sent(poll_send_before_read(stream, output, deadlines, cx)?)
    };
    poll_input(stream, input, deadlines, over?, state, cx)
}

/// Reads once. Returns `Pending` only if the peer has to act and no deadline has passed.
#[inline(always)]
pub(super) fn poll_input<S: AsyncRead + Unpin + 'static>(
    stream: &mut S,
    input: &mut InputBuffer,
    deadlines: &mut Deadlines,
    over: Option<Closed>,
    output: OutputState,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    let mut amount = deadlines.amount();
    if input.poll_fill(stream, cx, &mut amount)?.is_ready() {
        deadlines.note_received(amount);
        deadlines.note_read(over);
        return Poll::Ready(Ok(()));
    }
    deadlines.poll_input(over, input.has_partial(), output, cx).map(Err)
}

/// Sends all pending output. Returns `Pending` only while the peer reads nothing and no deadline
/// has passed.
pub(super) fn poll_output<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    poll_room(output, deadlines, cx, |output, cx, sent| output.poll_flush(stream, cx, sent))
}

/// Writes `part` completely: into the buffer, or directly to the stream if it is large. At most
/// [`Limits::write_high`] bytes are unsent afterwards. Returns `Pending` only while more bytes
/// would be unsent, the peer reads nothing, and no deadline has passed.
pub(super) fn poll_write_part<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    part: &mut &[u8],
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    let most = deadlines.config.limits.write_high;
    if !output.is_empty() && output.len().saturating_add(part.len()) > most {
        // The stream is not flushed, because more of the same line may follow.
        ready!(poll_room(output, deadlines, cx, |output, cx, sent| {
            output.poll_drain(stream, cx, sent)
        }))?;
    }
    if output.is_direct(part.len()) || part.len() > most {
        ready!(poll_direct(stream, output, deadlines, part, cx))?;
    }
    if !part.is_empty() {
        output.push(std::mem::take(part));
    }
    Poll::Ready(Ok(()))
}

/// Records that the stream has accepted the first `sent` of `bytes`, and returns the rest.
pub(super) fn note_sent<'a>(deadlines: &mut Deadlines, bytes: &'a [u8], sent: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(sent);
    let mut amount = deadlines.amount();
    amount.add(taken);
    deadlines.note_sent(amount);
    rest
}

/// Writes `bytes` without copying, until the rest of them fits into the buffer.
fn poll_direct<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    bytes: &mut &[u8],
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    while !bytes.is_empty() {
        let polled = match poll_write(stream, bytes, cx) {
            Poll::Ready(Ok(sent)) => {
                *bytes = note_sent(deadlines, bytes, sent);
                output.note_direct();
                continue;
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Closed::from(error))),
            Poll::Pending if bytes.len() <= deadlines.config.limits.write_high => {
                Poll::Ready(Ok(()))
            }
            Poll::Pending => deadlines.poll(WaitFor::Output, cx).map(Err),
        };
        return note_write(polled, output, deadlines);
    }
    Poll::Ready(Ok(()))
}

/// Sends earlier output, then writes once without copying. Returns the number of bytes that the
/// stream has accepted. Returns `Pending` only while the peer reads nothing and no deadline has
/// passed.
pub(super) fn poll_write_once<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<Result<usize, Closed>> {
    if !output.is_empty() {
        ready!(poll_room(output, deadlines, cx, |output, cx, sent| {
            output.poll_drain(stream, cx, sent)
        }))?;
    }
    if bytes.is_empty() {
        return Poll::Ready(Ok(0));
    }
    let polled = match poll_write(stream, bytes, cx) {
        Poll::Ready(Ok(sent)) => {
            note_sent(deadlines, bytes, sent);
            output.note_direct();
            return Poll::Ready(Ok(sent));
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(Closed::from(error))),
        Poll::Pending => deadlines.poll(WaitFor::Output, cx).map(Err),
    };
    note_write(polled, output, deadlines)
}

/// Sends all pending output, then ends the stream towards the peer. Returns `Pending` only while
/// the peer reads nothing and no deadline has passed.
pub(super) fn poll_shutdown<S: AsyncWrite + Unpin>(
    stream: &mut S,
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Closed>> {
    poll_room(output, deadlines, cx, |output, cx, sent| {
        ready!(output.poll_flush(stream, cx, sent))?;
        ready!(Pin::new(stream).poll_shutdown(cx))?;
        output.ended = true;
        Poll::Ready(Ok(()))
    })
    .map_ok(|()| {
        // The end of the stream is progress, even if no byte was sent.
        deadlines.note_sent(Amount::default());
    })
}

/// Calls `send` to send output. Returns `Pending` only while the peer reads nothing and no deadline
/// has passed.
fn poll_room(
    output: &mut OutputBuffer,
    deadlines: &mut Deadlines,
    cx: &mut Context<'_>,
    send: impl FnOnce(&mut OutputBuffer, &mut Context<'_>, &mut Amount) -> Poll<io::Result<()>>,
) -> Poll<Result<(), Closed>> {
    let mut sent = deadlines.amount();
    let result = send(output, cx, &mut sent);
    if sent.bytes > 0 {
        deadlines.note_sent(sent);
    }
    let polled = match result {
        Poll::Pending => deadlines.poll(WaitFor::Output, cx).map(Err),
        Poll::Ready(result) => Poll::Ready(result.map_err(Closed::from)),
    };
    note_write(polled, output, deadlines)
}
