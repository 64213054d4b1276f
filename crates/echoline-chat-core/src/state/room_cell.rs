//! The trait through which the chat's state accesses its rooms.

use std::cell::RefCell;
use std::rc::Rc;

use crate::room::{MemberId, Room};

/// A handle to a room, shared between the chat's state and the sessions.
///
/// The state never accesses two rooms at once. A server implements this trait with a lock and
/// wakers; a simulation in one thread needs neither.
pub trait RoomCell: Clone {
    /// Creates a handle to a new room.
    fn new(room: Room) -> Self;

    /// Runs `look` on the room. It may change the room, but must not add lines.
    fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T;

    /// Runs `change` on the room, then wakes the members that wait for new lines.
    fn change<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        self.with(change)
    }

    /// Like [`change`](Self::change), for a `leave` that removes a member. The removed member's
    /// task is not woken.
    fn leave<T>(&self, member_id: MemberId, leave: impl FnOnce(&mut Room) -> T) -> T {
        let _ = member_id;
        self.change(leave)
    }

    /// Returns whether both are the same room, not only rooms with the same name.
    fn is_same(&self, other: &Self) -> bool;
}

impl RoomCell for Rc<RefCell<Room>> {
    fn new(room: Room) -> Self {
        Self::new(RefCell::new(room))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T {
        look(&mut self.borrow_mut())
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}
