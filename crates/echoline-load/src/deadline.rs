//! One timer per connection for all its requests.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that can be put off for the price of a note: the timer looks at the note when it
/// fires, so that a request that is answered in time never touches the timer wheel.
#[derive(Debug)]
pub(super) struct Deadline {
    due: Instant,
    timer: Pin<Box<Sleep>>,
    /// Who is woken when the timer fires.
    waker: Option<Waker>,
}

impl Deadline {
    pub(super) fn new(due: Instant) -> Self {
        Self { due, timer: Box::pin(sleep_until(due)), waker: None }
    }

    /// From now on it is this time. Must not go back.
    pub(super) fn put_off(&mut self, due: Instant) {
        debug_assert!(due >= self.due, "the timer may be armed for later already");
        self.due = due;
    }

    /// Pending until the deadline has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let knows = self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        if knows && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_passes_when_the_last_note_says() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut deadline = Deadline::new(after(5));
        let early = tokio::time::timeout_at(after(3), poll_fn(|cx| deadline.poll(cx))).await;
        assert!(early.is_err());
        deadline.put_off(after(8));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(Instant::now().duration_since(start).as_secs(), 8);
    }
}
