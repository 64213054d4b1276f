//! The task of one connection, which runs its handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::handler_error::{BoxError, close_reason};
use super::registry::ConnectionSlot;
use super::shutdown::Phase;
use crate::connection::limits::Closed;

/// Runs a handler, ends it when the server aborts, and counts its close reason once. Returns this
/// reason.
pub(crate) struct HandlerTask<F> {
    /// The handler, or `None` once it has ended. It is boxed to save memory: the runtime rounds the
    /// size of a task up to pairs of cache lines, but not the size of a boxed handler.
    handler: Option<Pin<Box<F>>>,
    /// `None` once the end is counted.
    slot: Option<Arc<ConnectionSlot>>,
}

impl<F> HandlerTask<F> {
    pub(crate) fn new(handler: F, slot: Arc<ConnectionSlot>) -> Self {
        Self { handler: Some(Box::pin(handler)), slot: Some(slot) }
    }

    /// Counts the end, drops the handler, and then releases the slot. So once the last slot is
    /// released, every handler has been dropped.
    fn end(&mut self, result: Result<(), Closed>) -> Closed {
        let slot = self.slot.take();
        let closed = match &slot {
            Some(slot) => slot.count(result),
            None => result.err().unwrap_or(Closed::Finished),
        };
        if let Some(slot) = &slot {
            // A slot with counters logs a longer message when the connection is closed.
            if slot.connection_counters().is_none() {
                tracing::debug!(slot = slot.number(), reason = closed.label(), "closed");
            }
        }
        self.handler = None;
        closed
    }
}

impl<F, E> Future for HandlerTask<F>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        if let Some(slot) = &self.slot {
            // The waker is registered before the phase is read, so that no change is missed.
            slot.set_task(cx.waker());
            if slot.phase() == Phase::Aborting {
                return Poll::Ready(self.end(Err(Closed::Aborted)));
            }
        }
        let Self { handler: Some(handler), slot } = &mut *self else {
            return Poll::Ready(Closed::Finished);
        };
        let mut turn = || handler.as_mut().poll(cx);
        let polled = match slot {
            Some(slot) => slot.stats().time(turn),
            None => turn(),
        };
        polled.map(|result| {
            let slot = self.slot.as_ref();
            let (number, failure) = slot.map_or((0, None), |slot| (slot.number(), slot.failure()));
            self.end(result.map_err(|error| close_reason(error, failure, number)))
        })
    }
}

impl<F> Drop for HandlerTask<F> {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        self.end(Err(if panicked { Closed::Panicked } else { Closed::Aborted }));
    }
}
