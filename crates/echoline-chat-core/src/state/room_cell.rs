//! The trait by which the chat's state accesses its rooms. Pure.

use std::cell::RefCell;
use std::rc::Rc;

use crate::room::{MemberId, Room};

/// A room that the chat's state shares with its readers.
///
/// The state never accesses two rooms at once. A server implements this with a lock and wakers; a
/// simulation in one thread needs neither.
pub trait RoomCell: Clone {
    /// Creates a cell that holds a room.
    fn new(room: Room) -> Self;

    /// Reads the room, or changes it without new lines.
    fn with<T>(&self, look: impl FnOnce(&mut Room) -> T) -> T;

    /// Changes the room, then wakes the members that wait for new lines.
    fn change<T>(&self, change: impl FnOnce(&mut Room) -> T) -> T {
        self.with(change)
    }

    /// Like [`change`](Self::change), if `leave` removes a member. The member's task is not woken
    /// again.
    fn leave<T>(&self, member_id: MemberId, leave: impl FnOnce(&mut Room) -> T) -> T {
        let _ = member_id;
        self.change(leave)
    }

    /// Returns whether both are the same room, not only rooms of the same name.
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
