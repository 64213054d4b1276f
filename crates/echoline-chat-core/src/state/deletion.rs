//! Deletes the text of a line. The line keeps its number, its time and its author's name, and its
//! text becomes `[deleted]` in memory, in the store and on every node of a cluster. Pure.

use crate::LineKind;
use crate::effect::{Effect, Effects};
use crate::name::Name;
use crate::operation::OperationContext;
use crate::outcome::{OperationError, Outcome};
use crate::state::ChatState;
use crate::state::room_cell::RoomCell;

/// Returns the notice to a room that a line was deleted.
fn announcement(number: u64, by: &Name) -> String {
    format!("Line {number} was deleted by {by}")
}

/// Returns the number of the deleted line from a notice of the server. Users cannot write notices.
pub fn deleted_by(notice: &str) -> Option<u64> {
    let (number, by) = notice.strip_prefix("Line ")?.split_once(" was deleted by ")?;
    (!by.is_empty()).then(|| number.parse().ok())?
}

impl<R: RoomCell> ChatState<R> {
    /// Deletes the words of a line. The node that serves the author has checked that a line is
    /// `own`; the rights of an operator are part of the state.
    pub(crate) fn delete_line(
        &self,
        context: OperationContext,
        room: &Name,
        number: u64,
        is_own: bool,
        effects: &mut dyn Effects,
    ) -> Outcome {
        let Some((user, cell)) = self.user(context.session).zip(self.rooms.get(room.key())) else {
            return Outcome::Refused(OperationError::NotInRoom);
        };
        if !is_own && self.authority(context, room).is_err() {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let words = announcement(number, &user.name());
        cell.change(|room| {
            if !(1..room.log.next()).contains(&number) {
                return Outcome::Refused(OperationError::NotFound);
            }
            room.log.delete(number);
            effects.emit(Effect::DeleteLine { room, number });
            let appended = room.announce(context.now_ms, &words);
            effects.keep_line(room, appended, LineKind::Notice, "", &words);
            Outcome::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_contains_the_number_of_the_deleted_line() {
        let name = Name::parse("ann").unwrap();
        assert_eq!(deleted_by(&announcement(12, &name)), Some(12));
        for other in ["Line 12 was deleted by ", "Line x was deleted by ann", "Line 12", "tea"] {
            assert_eq!(deleted_by(other), None, "{other}");
        }
    }
}
