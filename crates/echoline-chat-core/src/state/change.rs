//! One change of the chat's state: its author, its time and its effects.

use std::fmt;

use crate::state::{ChatState, RoomCell, User};
use crate::{Effects, Name, OperationContext, OperationError};

/// A change of the state: its author, its time, and the receiver of its effects.
pub struct StateChange<'a, R> {
    /// The state.
    pub state: &'a mut ChatState<R>,
    /// The author and the time.
    pub context: OperationContext,
    /// The receiver of the effects outside of the state.
    pub effects: &'a mut dyn Effects,
}

impl<R: RoomCell> StateChange<'_, R> {
    /// Returns the author, if they are in the chat.
    pub(crate) fn author(&self) -> Result<&User<R>, OperationError> {
        self.state.user(self.context.session).ok_or(OperationError::NotInRoom)
    }

    pub(crate) fn author_mut(&mut self) -> Result<&mut User<R>, OperationError> {
        self.state.users.get_mut(self.context.session).ok_or(OperationError::NotInRoom)
    }

    /// Returns the author and the room with this name.
    pub(crate) fn author_and_room(&self, room: &Name) -> Result<(&User<R>, &R), OperationError> {
        let cell = self.state.rooms.get(room.key()).ok_or(OperationError::NotInRoom)?;
        Ok((self.author()?, cell))
    }

    /// Returns the author and the user of another session.
    pub(crate) fn author_and_other(
        &self,
        session: u64,
    ) -> Result<(&User<R>, &User<R>), OperationError> {
        let other = self.state.user(session).ok_or(OperationError::NotFound);
        Ok((self.author()?, other?))
    }
}

impl<R> fmt::Debug for StateChange<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateChange").field("context", &self.context).finish_non_exhaustive()
    }
}
