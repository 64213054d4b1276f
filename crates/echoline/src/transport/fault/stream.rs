//! A stream with planned faults. Its two pipes apply the faults, and the stream does the I/O.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::wake;
use crate::connection::limits::Closed;
use crate::transport::stream::{CloseSignal, Layer, Stream, signal_close};
use echoline_faults::{ConnectionFaults, Direction, FaultPipe, Faults, MessageCarrier, NextAction};

/// The number of bytes per read.
const READ_BYTES: usize = 4 * 1024;

/// The maximum interval between two checks for a changed plan.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// The duration of a stall after one side of the connection has ended: long enough for the peer to
/// reach its own time-out.
const STALL_PATIENCE: Duration = Duration::from_secs(60);

/// The delay between the last bytes and a reset. An earlier reset would overtake bytes that the
/// system has not sent yet, and the peer would receive a random part of them.
const RESET_AFTER: Duration = Duration::from_millis(50);

/// The maximum wait for a peer that reads nothing while the stream is shut down.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// A stream with planned faults; see [`FaultPlan`](super::FaultPlan).
///
/// A write succeeds as soon as the bytes are queued. At most 256 KiB are queued (4 KiB if a rule
/// slows the stream), and then the writer waits. Queued bytes are sent while the stream is read,
/// written, flushed or shut down. Flushing does not wait for bytes that the plan delays, but
/// shutting down does. After a planned reset the stream fails with
/// [`io::ErrorKind::ConnectionReset`]. The caller must then close the socket below with a real
/// reset, as [`Connection`](crate::Connection) does.
///
/// While no rule applies to the stream, it passes all bytes on unchanged.
#[derive(Debug)]
pub struct FaultStream<S> {
    stream: S,
    state: Box<State>,
    /// Makes the socket below reset its connection on close.
    reset_on_close: Option<fn(&mut S)>,
}

#[derive(Debug)]
struct State {
    carrier: MessageCarrier,
    incoming: FaultPipe,
    outgoing: FaultPipe,
    began: Instant,
    /// Wakes the reader when delayed bytes are due.
    read_timer: DueTimer,
    /// Wakes the task that sends when delayed bytes are due.
    write_timer: DueTimer,
    /// Fires when a fault is due that does not depend on reads or writes.
    fault_timer: DueTimer,
    /// The task that waits for room in the queue.
    writer: Option<Waker>,
    /// The time at which the stream below last took bytes.
    sent_at: Option<Duration>,
    /// The time since which the peer has read nothing while the stream shuts down.
    blocked_since: Option<Instant>,
    /// Whether the peer's stream has ended.
    at_end: bool,
    /// Whether the stream below was shut down.
    is_shut: bool,
    /// Whether the server drains. Shutting down then does not wait for a stalled direction.
    is_draining: bool,
}

/// The progress of sending queued bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendProgress {
    /// The queue is empty.
    All,
    /// The rest is not due yet.
    Due,
    /// The peer reads nothing now.
    Blocked,
    /// The stream has been shut down.
    Ended,
    /// The stream will be reset in a moment.
    Resetting,
}

/// Wraps `stream` in the planned faults, if there are any. Faults are the outermost layer, so they
/// change the handler's bytes, before encryption.
pub(crate) fn wrap_stream(stream: Stream, planned: Option<ConnectionFaults>) -> Stream {
    match planned {
        Some(faults) => {
            Stream::layered(FaultStream::with_faults(stream, faults, MessageCarrier::Stream))
        }
        None => stream,
    }
}

/// Returns the stream for the first step of a transport. If the plan has faults of the socket, the
/// stream applies them.
pub(crate) fn wrap_socket(stream: Stream, planned: Option<&ConnectionFaults>) -> Stream {
    match planned.filter(|faults| faults.has_socket_rules()) {
        Some(faults) => {
            let mut stream =
                FaultStream::with_faults(stream, faults.clone(), MessageCarrier::Socket);
            // A `Connection` would reset the socket, but during the handshake none exists yet.
            stream.reset_on_close = Some(Stream::reset_on_close);
            Stream::layered(stream)
        }
        None => stream,
    }
}

impl<S> FaultStream<S> {
    /// Wraps `stream` as the next connection of `faults`.
    pub fn new(stream: S, faults: &Faults) -> Self {
        Self::with_faults(stream, faults.next_connection(), MessageCarrier::Stream)
    }

    /// Returns a stream with the faults that the plan has already chosen for its connection.
    fn with_faults(stream: S, faults: ConnectionFaults, carrier: MessageCarrier) -> Self {
        let state = State {
            carrier,
            incoming: FaultPipe::new(faults.clone(), Direction::In, carrier),
            outgoing: FaultPipe::new(faults, Direction::Out, carrier),
            began: Instant::now(),
            read_timer: DueTimer::default(),
            write_timer: DueTimer::default(),
            fault_timer: DueTimer::default(),
            writer: None,
            sent_at: None,
            blocked_since: None,
            at_end: false,
            is_shut: false,
            is_draining: false,
        };
        Self { stream, state: Box::new(state), reset_on_close: None }
    }
}

impl State {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the earliest time at which a reset loses no sent bytes.
    fn reset_at(&self) -> Option<Duration> {
        self.sent_at.map(|at| at + RESET_AFTER)
    }

    /// Switches to the current plan, if it has changed.
    #[inline]
    fn apply_plan(&mut self) {
        if self.incoming.faults().is_outdated() {
            let (old, now) = (self.incoming.faults(), self.now());
            let faults = match self.carrier {
                MessageCarrier::Socket => old.without_rules(),
                MessageCarrier::Stream | MessageCarrier::Datagrams => old.renewed(),
            };
            self.incoming.apply_plan(faults.clone(), now);
            self.outgoing.apply_plan(faults, now);
        }
        if self.timed_at().is_some() {
            let now = self.now();
            self.incoming.fire_timed(now);
            self.outgoing.fire_timed(now);
        }
    }

    /// Returns the time of the next fault that does not depend on reads or writes.
    #[inline]
    fn timed_at(&self) -> Option<Duration> {
        [self.incoming.timed_at(), self.outgoing.timed_at()].into_iter().flatten().min()
    }

    /// Wakes the task at the time of the fault that [`timed_at`](Self::timed_at) returns.
    fn poll_timed(&mut self, cx: &mut Context<'_>) {
        if let Some(at) = self.timed_at()
            && self.fault_timer.poll(self.began, self.now(), at, cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
    }
}

impl<S: AsyncWrite + Unpin> FaultStream<S> {
    /// Sends the bytes that are due, and registers the task for the next due time.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<SendProgress> {
        let Self { stream, state, reset_on_close } = self;
        loop {
            let now = state.now();
            match state.outgoing.next(now) {
                NextAction::Bytes(bytes) => match Pin::new(&mut *stream).poll_write(cx, bytes)? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(count) => {
                        state.outgoing.consume(count);
                        state.sent_at = Some(now);
                        state.blocked_since = None;
                    }
                    Poll::Pending => return Ok(SendProgress::Blocked),
                },
                NextAction::Wait(at) => {
                    // A layer below may buffer bytes until it is flushed.
                    let _ = Pin::new(&mut *stream).poll_flush(cx)?;
                    if state.write_timer.poll(state.began, now, at, cx).is_pending() {
                        return Ok(SendProgress::Due);
                    }
                    state.apply_plan();
                }
                NextAction::Nothing => return Ok(SendProgress::All),
                NextAction::End if state.is_shut => return Ok(SendProgress::Ended),
                NextAction::End => match Pin::new(&mut *stream).poll_shutdown(cx)? {
                    Poll::Ready(()) => state.is_shut = true,
                    Poll::Pending => return Ok(SendProgress::Blocked),
                },
                NextAction::Reset => match state.reset_at().filter(|at| *at > now) {
                    Some(at) if state.write_timer.poll(state.began, now, at, cx).is_pending() => {
                        return Ok(SendProgress::Resetting);
                    }
                    Some(_) => {}
                    None => {
                        reset_on_close.iter().for_each(|reset_on_close| reset_on_close(stream));
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                },
            }
        }
    }

    /// Sends due bytes during a read, and wakes the writer that waits for room.
    fn send_aside(&mut self, cx: &mut Context<'_>) -> io::Result<SendProgress> {
        if self.state.outgoing.is_idle() {
            return Ok(SendProgress::All);
        }
        let sent = self.send(cx)?;
        if sent == SendProgress::All {
            let _ = Pin::new(&mut self.stream).poll_flush(cx)?;
        }
        if self.state.outgoing.room() > 0
            && let Some(writer) = self.state.writer.take()
        {
            writer.wake();
        }
        Ok(sent)
    }

    /// Returns an error when the peer has read nothing for too long.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.state;
        let since = *state.blocked_since.get_or_insert_with(Instant::now);
        let until = since.duration_since(state.began) + GIVE_UP_AFTER;
        if state.now() >= until {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if state.write_timer.poll(state.began, state.now(), until, cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> FaultStream<S> {
    /// Reads from the stream below, as many bytes as the queue has room for. Returns `Ready` when
    /// bytes or the end have arrived.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, state, .. } = self;
        let room = state.incoming.room().min(READ_BYTES);
        if state.at_end || room == 0 {
            return Poll::Pending;
        }
        let mut scratch = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut scratch[..room]);
        std::task::ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let now = state.now();
        if buffer.filled().is_empty() {
            state.at_end = true;
            state.incoming.finish(now, STALL_PATIENCE);
        } else {
            state.incoming.push(buffer.filled(), now);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FaultStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.state.apply_plan();
        // Delayed bytes are sent while the writer waits for the peer.
        let sent = this.send_aside(cx)?;
        if sent == SendProgress::Resetting {
            // Input after a reset is ignored.
            return Poll::Pending;
        }
        this.state.poll_timed(cx);
        if this.state.incoming.is_idle() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        loop {
            let now = this.state.now();
            let due_at = match this.state.incoming.next(now) {
                NextAction::Bytes(bytes) => {
                    let count = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..count]);
                    this.state.incoming.consume(count);
                    return Poll::Ready(Ok(()));
                }
                NextAction::End => return Poll::Ready(Ok(())),
                NextAction::Reset => {
                    if sent != SendProgress::All {
                        // If no queued byte was sent yet, the delay of the reset starts now.
                        this.state.sent_at.get_or_insert(now);
                    }
                    match this.state.reset_at().filter(|at| *at > now) {
                        Some(at) => Some(at),
                        None => {
                            let Self { stream, reset_on_close, .. } = this;
                            reset_on_close.iter().for_each(|reset_on_close| reset_on_close(stream));
                            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                        }
                    }
                }
                NextAction::Wait(at) => Some(at),
                NextAction::Nothing => None,
            };
            if this.poll_fill(cx)?.is_ready() {
                continue;
            }
            let state = &mut *this.state;
            let Some(at) = due_at else { return Poll::Pending };
            std::task::ready!(state.read_timer.poll(state.began, now, at, cx));
            state.apply_plan();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FaultStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state.apply_plan();
        if this.state.outgoing.is_idle() {
            if !this.state.incoming.is_idle() {
                this.state.sent_at = Some(this.state.now());
            }
            return Pin::new(&mut this.stream).poll_write(cx, bytes);
        }
        this.send(cx)?;
        let taken = bytes.len().min(this.state.outgoing.room());
        if taken == 0 && !bytes.is_empty() {
            this.state.writer = Some(cx.waker().clone());
            this.state.poll_timed(cx);
            return Poll::Pending;
        }
        let now = this.state.now();
        this.state.outgoing.push(&bytes[..taken], now);
        this.send(cx)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.state.apply_plan();
        if this.state.outgoing.is_idle() {
            return Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        Pin::new(this).poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.state.apply_plan();
        if !this.state.outgoing.is_idle() && this.send(cx)? == SendProgress::Blocked {
            this.state.poll_timed(cx);
            return Poll::Pending;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.state.apply_plan();
        if this.state.outgoing.is_idle() {
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        let now = this.state.now();
        let patience = if this.state.is_draining { Duration::ZERO } else { STALL_PATIENCE };
        this.state.outgoing.finish(now, patience);
        match this.send(cx)? {
            SendProgress::Ended | SendProgress::All => Poll::Ready(Ok(())),
            SendProgress::Due | SendProgress::Resetting => Poll::Pending,
            SendProgress::Blocked => this.poll_blocked(cx),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Layer for FaultStream<S> {
    type Below = S;

    fn below(&mut self) -> &mut S {
        &mut self.stream
    }

    fn note_end(&mut self, closed: Closed) {
        self.state.is_draining = closed == Closed::Drained;
        signal_close(&mut self.stream, CloseSignal::Ends(closed));
    }
}

/// A timer that is created when it is first needed.
#[derive(Debug, Default)]
struct DueTimer {
    timer: Option<Pin<Box<Sleep>>>,
    /// The requested precise wake-up.
    asked: Option<(Instant, Waker)>,
}

impl DueTimer {
    /// Returns `Pending` until `at`, but at most for [`FOLLOW_EVERY`], so that a new plan is
    /// noticed. Times are relative to `began`.
    fn poll(
        &mut self,
        began: Instant,
        now: Duration,
        at: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let until = began + at.min(now + FOLLOW_EVERY);
        let has_asked =
            |(due, waker): &(Instant, Waker)| *due == until && waker.will_wake(cx.waker());
        if at <= now + FOLLOW_EVERY && !self.asked.as_ref().is_some_and(has_asked) {
            self.asked = Some((until, cx.waker().clone()));
            wake::wake_at(until, cx.waker().clone());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}
