//! A message that takes several reads, for whose end a drain waits.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A message in progress, which ends when this value is dropped; see
/// [`Connection::begin_message`](crate::Connection::begin_message). It is used like the
/// [`Connection`](crate::Connection) or [`Reader`](crate::Reader) that it borrows.
pub struct MessageGuard<'a, C> {
    connection: &'a mut C,
    /// Sets whether a message is in progress; returns the value before.
    set: fn(&mut C, bool) -> bool,
    /// An outer message was in progress before, and goes on.
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
