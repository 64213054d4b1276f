//! `/delete`: the lines that a user may delete.

use std::sync::Arc;

use super::{Step, UserSession};
use crate::command_table::Rank;
use crate::history::{DELETED, Kind};
use crate::name::Name;
use crate::operation::Operation;
use crate::outcome::{OperationError, Outcome};
use crate::shared_room::SharedRoom;

/// A line with words.
struct Deletable {
    room: Name,
    number: u64,
    /// The user wrote it.
    own: bool,
    /// It set the topic that the room still has.
    is_topic: bool,
}

impl UserSession {
    /// Deletes a line of this user, or any line if they are an operator here.
    pub(super) fn delete(&mut self, number: u64) -> Step {
        let Some(membership) = self.feed.current() else {
            self.notice(super::IN_NO_ROOM);
            return Step::Done;
        };
        let (shared_room, room) = (Arc::clone(&membership.shared_room), membership.room.clone());
        let is_operator = self.rank() == Rank::Operator;
        let line = shared_room.with(|room| {
            let line = room.log.line(number)?;
            let has_words = line.kind.has_words() && !line.text.is_empty();
            let is_topic = line.kind == Kind::Topic && *line.text == *room.topic;
            Some((has_words, line.author, line.text == DELETED, is_topic))
        });
        match line {
            Some((has_words, _, is_deleted, _)) if !has_words || is_deleted => {
                self.notice(&nothing_to_delete(number, is_deleted));
                Step::Done
            }
            Some((_, author, _, is_topic)) => {
                let own = author == self.user.lineage;
                let line = Deletable { room, number, own, is_topic };
                self.delete_if_allowed(line, is_operator)
            }
            None if !self.chat.archive.is_lasting() => {
                self.notice(&format!("There is no line {number}"));
                Step::Done
            }
            // The store does not know the lineage of an author.
            None => self.delete_stored(&shared_room, room, number, is_operator),
        }
    }

    fn delete_stored(
        &mut self,
        shared_room: &SharedRoom,
        room: Name,
        number: u64,
        is_operator: bool,
    ) -> Step {
        let chat = Arc::clone(&self.chat);
        let topic = shared_room.with(|room| Arc::clone(&room.topic));
        Step::Wait(Box::pin(async move {
            let found = chat.archive.lines(&room, number..=number, 1).await;
            let line = found.ok().and_then(|mut lines| lines.pop());
            Box::new(move |user: &mut Self| match line {
                Some(line)
                    if line.kind.has_words() && !line.text.is_empty() && *line.text != *DELETED =>
                {
                    let is_topic = line.kind == Kind::Topic && line.text == topic;
                    let line = Deletable { room, number, own: false, is_topic };
                    user.delete_if_allowed(line, is_operator)
                }
                Some(line) => {
                    user.notice(&nothing_to_delete(number, *line.text == *DELETED));
                    Step::Done
                }
                None => {
                    user.notice(&format!("There is no line {number}"));
                    Step::Done
                }
            }) as super::Rest
        }))
    }

    fn delete_if_allowed(&mut self, line: Deletable, is_operator: bool) -> Step {
        let Deletable { room, number, own, is_topic } = line;
        if !own && !is_operator {
            let words = format!("Line {number} is not yours: only an operator can delete it");
            self.notice(&words);
            return Step::Done;
        }
        self.apply_operation(
            Operation::Delete { room: room.clone(), number, own },
            move |user, outcome| {
                match outcome {
                    Outcome::Refused(OperationError::Absent) => {
                        user.notice(&format!("There is no line {number}"));
                        Step::Done
                    }
                    outcome if outcome.refusal().is_some() => user.refuse(&outcome),
                    _ => {
                        if !own {
                            user.audit(&format!("deleted line {number} of {room}"));
                        }
                        // The topic that holds has the same words.
                        if is_topic { user.topic(Some("-")) } else { Step::Done }
                    }
                }
            },
        )
    }
}

fn nothing_to_delete(number: u64, is_deleted: bool) -> String {
    match is_deleted {
        true => format!("Line {number} is deleted already"),
        false => format!("Line {number} has no words that could be deleted"),
    }
}
