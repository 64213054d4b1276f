//! Deleting what was said: a line keeps its number, its time and its author's name, and reads
//! `[deleted]` from then on, in memory, in the store and on every machine of a cluster.

use super::apply_operation::OperationContext;
use super::history::LineKind;
use super::name::Name;
use super::operation::{OperationError, Outcome};
use super::state::Chat;

/// The words with which the server tells a room that a line was deleted.
fn announcement(number: u64, by: &Name) -> String {
    format!("Line {number} was deleted by {by}")
}

/// The line that a notice of the server says was deleted. Users cannot write notices.
pub(super) fn deleted_by(notice: &str) -> Option<u64> {
    let (number, by) = notice.strip_prefix("Line ")?.split_once(" was deleted by ")?;
    (!by.is_empty()).then(|| number.parse().ok())?
}

impl Chat {
    /// Deletes the words of a line. That a line is `own` was checked by the machine that serves its
    /// author; the rights of an operator are part of the common state.
    pub(super) fn delete_line(
        &self,
        context: OperationContext,
        room: &Name,
        number: u64,
        is_own: bool,
    ) -> Outcome {
        let Some((user, shared_room)) = self.member(context, room) else {
            return Outcome::Refused(OperationError::Outside);
        };
        if !is_own && !self.keeps_order_in(context, room) {
            return Outcome::Refused(OperationError::NotOperator);
        }
        let words = announcement(number, &user.name());
        shared_room.change(|room| {
            if !(1..room.log.next()).contains(&number) {
                return Outcome::Refused(OperationError::Absent);
            }
            room.log.delete(number);
            self.archive.deleted(room, number);
            let appended = room.announce(context.now_ms, &words);
            self.archive.line_of(room, appended, LineKind::Notice, "", &words);
            Outcome::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_which_line_was_deleted() {
        let name = Name::parse("ann").unwrap();
        assert_eq!(deleted_by(&announcement(12, &name)), Some(12));
        for other in ["Line 12 was deleted by ", "Line x was deleted by ann", "Line 12", "tea"] {
            assert_eq!(deleted_by(other), None, "{other}");
        }
    }
}
