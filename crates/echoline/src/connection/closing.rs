//! Closes a connection: sends the pending output and FIN, and lingers.
//!
//! Closing a socket with unread input resets the connection, and the reset can overtake the last
//! line. So after its FIN this end continues to read for a short time and discards the input. nginx
//! calls this `lingering_close`. RFC 1122, 4.2.2.13, allows the reset.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};

use super::core::Core;
use super::deadlines::Deadlines;
use super::input::poll_discard;
use super::limits::Closed;
use crate::metrics::summary::Amount;
use crate::server::shutdown::Phase;
use crate::transport::stream::CloseSignal;

/// A connection that is being closed.
pub(super) struct Closing<S> {
    core: Box<Core<S>>,
    /// Whether nothing more can be sent.
    broken: bool,
}

impl<S> Closing<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Determines the farewell and starts closing.
    pub(super) fn begin(mut core: Box<Core<S>>) -> Self {
        let ended = if std::thread::panicking() {
            Closed::Panicked
        } else if core.deadlines.config.shutdown.phase() == Phase::Aborting {
            Closed::Aborted
        } else {
            core.ended.unwrap_or(Closed::Finished)
        };
        let is_silent = core.is_silent || core.output.ended;
        if let Some(words) = core.deadlines.config.farewell(ended).filter(|_| !is_silent) {
            core.output.push(words.as_bytes());
        }
        core.deadlines.note_messages(core.input.take_messages());
        if let (Some(slot), Some(end)) = (&core.deadlines.slot, core.input.end()) {
            slot.note_end(end);
        }
        (core.signal)(&mut core.stream, CloseSignal::Ends(ended));
        if ended == Closed::Drained && !core.output.is_unused() {
            (core.signal)(&mut core.stream, CloseSignal::Cork);
        }
        let broken = ended.is_broken() || core.output.failed;
        Self { core, broken }
    }

    /// Ends the connection. Returns when its socket is closed.
    pub(super) async fn run(mut self) {
        let config = Arc::clone(&self.core.deadlines.config);
        if self.broken {
            return self.reset();
        }
        tokio::select! {
            result = self.finish() => if result.is_err() { self.reset() },
            () = config.shutdown.reached(Phase::Aborting) => self.reset(),
        }
    }

    /// Works like `run` for a caller that cannot wait. Most connections end without waiting,
    /// because the peer has closed and the socket takes the rest at once. The others end in a new
    /// task.
    pub(super) fn run_in_background(mut self) {
        if self.broken || self.is_done_at_once() {
            return self.reset_if_broken();
        }
        // If the runtime has already ended, the socket is closed without lingering.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(self.run()));
        }
    }

    fn is_done_at_once(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let core = &mut *self.core;
        let mut sent = core.deadlines.amount();
        let flushed = core.output.poll_flush(&mut core.stream, cx, &mut sent);
        core.deadlines.note_sent(sent);
        if let Poll::Ready(Ok(())) = flushed {
            match Pin::new(&mut core.stream).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => return core.input.at_end(),
                Poll::Ready(Err(_)) => self.broken = true,
                Poll::Pending => {}
            }
        }
        self.broken |= matches!(flushed, Poll::Ready(Err(_)));
        self.broken
    }

    async fn finish(&mut self) -> Result<(), Closed> {
        poll_fn(|cx| self.core.poll_flush(cx)).await?;
        self.shut_down().await?;
        let core = &mut *self.core;
        if !core.input.at_end()
            && let Ok(_permit) = core.deadlines.config.lingering.try_acquire()
        {
            let limit = core.deadlines.config.limits.linger_timeout;
            // The result does not matter. After the time-out, nothing more can be done to deliver
            // the last line.
            let _ = tokio::time::timeout(limit, linger(&mut core.stream, &core.deadlines)).await;
        }
        Ok(())
    }

    /// Ends the output. A drain that begins meanwhile is a new close reason for the layers, because
    /// a planned stall would hold it up.
    async fn shut_down(&mut self) -> io::Result<()> {
        let core = &mut *self.core;
        let config = Arc::clone(&core.deadlines.config);
        let mut draining = pin!(config.shutdown.reached(Phase::Draining));
        let mut is_told = false;
        poll_fn(|cx| {
            loop {
                let ended = Pin::new(&mut core.stream).poll_shutdown(cx);
                if ended.is_ready() || is_told || draining.as_mut().poll(cx).is_pending() {
                    return ended;
                }
                is_told = true;
                (core.signal)(&mut core.stream, CloseSignal::Ends(Closed::Drained));
            }
        })
        .await
    }

    fn reset_if_broken(mut self) {
        if self.broken {
            self.reset();
        }
    }

    fn reset(&mut self) {
        (self.core.signal)(&mut self.core.stream, CloseSignal::Reset);
    }
}

async fn linger<S: AsyncRead + Unpin + 'static>(
    stream: &mut S,
    deadlines: &Deadlines,
) -> io::Result<()> {
    let mut left = deadlines.config.limits.linger_bytes;
    while left > 0 {
        let length = poll_fn(|cx| poll_discard(stream, cx)).await?;
        deadlines.note_received(Amount::of_bytes(length));
        if length == 0 {
            break;
        }
        left = left.saturating_sub(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
