//! A write that has been taken over, and may have to wait.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::limits::Closed;

/// The future of [`Connection::write`](crate::Connection::write) and of the similar methods.
///
/// The bytes of a small write are in the buffer already, as with asyncio's `write`, and awaiting is
/// its `drain`; a large one, or one that has to wait for its peer, begins when it is awaited. It
/// is small, because every handler holds one while it waits for input, and only the write that
/// really waits for its peer pays for an allocation.
#[must_use = "a write that is not awaited does not wait for the peer, and may not be begun"]
pub struct Write<'a>(State<'a>);

enum State<'a> {
    Done(Result<(), Closed>),
    Later(Pin<Box<dyn Future<Output = Result<(), Closed>> + Send + 'a>>),
}

impl<'a> Write<'a> {
    pub(super) fn done(result: Result<(), Closed>) -> Self {
        Self(State::Done(result))
    }

    pub(super) fn later(rest: impl Future<Output = Result<(), Closed>> + Send + 'a) -> Self {
        Self(State::Later(Box::pin(rest)))
    }
}

impl Future for Write<'_> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(result) => Poll::Ready(*result),
            State::Later(rest) => rest.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = matches!(self.0, State::Later(_));
        f.debug_struct("Write").field("waiting", &waiting).finish()
    }
}

/// A message in progress, which ends when this value is dropped; see
/// [`Connection::begin_message`](crate::Connection::begin_message). It is used like the
/// [`Connection`](crate::Connection) or [`Reader`](crate::connection::Reader) that it borrows.
pub struct MessageGuard<'a, C> {
    connection: &'a mut C,
    /// Sets whether a message is in progress; returns the value before.
    set: fn(&mut C, bool) -> bool,
    /// An outer message was in progress before, and continues.
    outer: bool,
}

impl<'a, C> MessageGuard<'a, C> {
    pub(super) fn begin(connection: &'a mut C, set: fn(&mut C, bool) -> bool) -> Self {
        let outer = set(connection, true);
        Self { connection, set, outer }
    }
}

impl<C> Deref for MessageGuard<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection
    }
}

impl<C> DerefMut for MessageGuard<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection
    }
}

impl<C> Drop for MessageGuard<'_, C> {
    fn drop(&mut self) {
        (self.set)(self.connection, self.outer);
    }
}

impl<C: fmt::Debug> fmt::Debug for MessageGuard<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("connection", &self.connection).finish_non_exhaustive()
    }
}
