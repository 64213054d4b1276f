//! The futures and guards that borrow a connection.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::limits::Closed;

/// The future of [`Connection::write`](crate::Connection::write) and of the similar methods.
///
/// The bytes of a small write are already in the buffer when this value is created, like those of
/// asyncio's `write`. Awaiting the value corresponds to asyncio's `drain`. A large write, or one
/// that has to wait for the peer, begins when it is awaited. The type is small, because it is a
/// part of every handler's future. It allocates only if it has to wait for the peer.
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

/// A guard for a message in progress; see
/// [`Connection::begin_message`](crate::Connection::begin_message). The message ends when the guard
/// is dropped. The guard dereferences to the [`Connection`](crate::Connection) or
/// [`Reader`](crate::connection::Reader) that it borrows.
pub struct MessageGuard<'a, C> {
    connection: &'a mut C,
    /// Sets whether a message is in progress. Returns the previous value.
    set: fn(&mut C, bool) -> bool,
    /// Whether a message was already in progress. That outer message continues after this one.
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
