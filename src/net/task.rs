//! The task of one connection: its handler, watched.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use super::limits::Closed;
use super::place::Place;
use super::shutdown::{Phase, Shutdown};

pin_project! {
    /// Runs a handler, ends it when the server aborts, and counts how it ended, once.
    pub(super) struct Supervised<F> {
        #[pin]
        handler: F,
        #[pin]
        phase_change: OwnedNotified,
        // The phase that `phase_change` waits to see the end of, once it was polled.
        listening_in: Option<Phase>,
        shutdown: Shutdown,
        // `None` once the end is counted.
        place: Option<Arc<Place>>,
    }

    impl<F> PinnedDrop for Supervised<F> {
        fn drop(this: Pin<&mut Self>) {
            let panicked = std::thread::panicking();
            let closed = if panicked { Closed::Panicked } else { Closed::Aborted };
            count(this.project().place, Err(closed));
        }
    }
}

impl<F> Supervised<F> {
    pub(super) fn new(handler: F, shutdown: Shutdown, place: Arc<Place>) -> Self {
        let phase_change = shutdown.changed();
        Self { handler, phase_change, listening_in: None, shutdown, place: Some(place) }
    }
}

impl<F: Future<Output = Result<(), Closed>>> Future for Supervised<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let phase = this.shutdown.phase();
            if phase == Phase::Aborting {
                count(this.place, Err(Closed::Aborted));
                return Poll::Ready(());
            }
            if *this.listening_in == Some(phase) {
                break;
            }
            if this.phase_change.as_mut().poll(cx).is_pending() {
                *this.listening_in = Some(phase);
                if let Some(place) = this.place {
                    place.note_task(cx.waker());
                }
            } else {
                this.phase_change.set(this.shutdown.changed());
            }
        }
        this.handler.poll(cx).map(|result| count(this.place, result))
    }
}

fn count(place: &mut Option<Arc<Place>>, result: Result<(), Closed>) {
    if let Some(place) = place.take() {
        let closed = place.count(result);
        tracing::debug!(place = place.number(), reason = closed.label(), "closed");
    }
}
