//! The task of one connection: its handler, watched.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::limits::Closed;
use super::place::Place;
use super::shutdown::Phase;

/// Runs a handler, ends it when the server aborts, and counts how it ended, once.
pub(super) struct Supervised<F> {
    /// Boxed: the runtime rounds a task up to whole pairs of cache lines, so a small task and a
    /// handler of its own size take less than one task with the handler inside. `None` once it has
    /// ended.
    handler: Option<Pin<Box<F>>>,
    /// `None` once the end is counted.
    place: Option<Arc<Place>>,
}

impl<F> Supervised<F> {
    pub(super) fn new(handler: F, place: Arc<Place>) -> Self {
        Self { handler: Some(Box::pin(handler)), place: Some(place) }
    }

    /// Counts the end, drops the handler, and gives the place back only then: when the last place
    /// is given back, nothing of any handler is left.
    fn end(&mut self, result: Result<(), Closed>) {
        let place = self.place.take();
        if let Some(place) = &place {
            let closed = place.count(result);
            // A place with an account logs more, when the connection is over.
            if place.account().is_none() {
                tracing::debug!(place = place.number(), reason = closed.label(), "closed");
            }
        }
        self.handler = None;
    }
}

impl<F: Future<Output = Result<(), Closed>>> Future for Supervised<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(place) = &self.place {
            // First to be found, then to look: a change of phase in between is not missed.
            place.note_task(cx.waker());
            if place.phase() == Phase::Aborting {
                self.end(Err(Closed::Aborted));
                return Poll::Ready(());
            }
        }
        let Self { handler: Some(handler), place } = &mut *self else { return Poll::Ready(()) };
        let mut turn = || handler.as_mut().poll(cx);
        let polled = match place {
            Some(place) => place.tally().time(turn),
            None => turn(),
        };
        polled.map(|result| self.end(result))
    }
}

impl<F> Drop for Supervised<F> {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        self.end(Err(if panicked { Closed::Panicked } else { Closed::Aborted }));
    }
}
