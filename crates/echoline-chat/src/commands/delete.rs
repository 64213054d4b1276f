//! `/delete`: the lines that a user may delete.

use std::sync::Arc;

use crate::session::{IN_NO_ROOM, Session};
use crate::shared_room::SharedRoom;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline_chat_core::command::command_table::Rank;
use echoline_chat_core::name::Name;
use echoline_chat_core::operation::Operation;
use echoline_chat_core::outcome::{OperationError, Outcome};
use echoline_chat_store::{DELETED, LineKind};

/// A line that `/delete` has found.
struct FoundLine {
    has_words: bool,
    is_deleted: bool,
    /// Whether this user wrote it. The store does not record the author's lineage.
    is_own: bool,
    /// Whether it set the topic that the room still has.
    is_topic: bool,
}

impl<S: ByteStream> Session<S> {
    /// Deletes a line of this user, or any line if they are an operator here.
    pub(super) async fn delete(&mut self, number: u64) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else {
            self.notice(IN_NO_ROOM);
            return Ok(());
        };
        let (shared_room, room) = (membership.shared_room.clone(), membership.room.clone());
        let is_operator = self.rank() == Rank::Operator;
        let mut found = self.find_in_memory(&shared_room, number);
        if found.is_none() && self.chat.archive.is_lasting() {
            found = self.find_in_store(&shared_room, &room, number).await?;
        }
        let Some(line) = found else {
            self.notice(&format!("There is no line {number}"));
            return Ok(());
        };
        if line.is_deleted {
            self.notice(&format!("Line {number} is already deleted"));
        } else if !line.has_words {
            self.notice(&format!("Line {number} has no text to delete"));
        } else if !line.is_own && !is_operator {
            self.notice(&format!("Line {number} is not yours: only an operator can delete it"));
        } else {
            return self.delete_found(room, number, &line).await;
        }
        Ok(())
    }

    fn find_in_memory(&self, shared_room: &SharedRoom, number: u64) -> Option<FoundLine> {
        shared_room.with(|room| {
            let line = room.log.line(number)?;
            Some(FoundLine {
                has_words: line.kind.has_words() && !line.text.is_empty(),
                is_deleted: line.text == DELETED,
                is_own: line.author == self.user.lineage,
                is_topic: line.kind == LineKind::Topic && *line.text == *room.topic,
            })
        })
    }

    async fn find_in_store(
        &mut self,
        shared_room: &SharedRoom,
        room: &Name,
        number: u64,
    ) -> Result<Option<FoundLine>, Closed> {
        let topic = shared_room.with(|room| Arc::clone(&room.topic));
        let stored = self.stored_line(room, number).await?;
        Ok(stored.map(|line| FoundLine {
            has_words: line.kind.has_words() && !line.text.is_empty(),
            is_deleted: *line.text == *DELETED,
            is_own: false,
            is_topic: line.kind == LineKind::Topic && line.text == topic,
        }))
    }

    async fn delete_found(
        &mut self,
        room: Name,
        number: u64,
        line: &FoundLine,
    ) -> Result<(), Closed> {
        let own = line.is_own;
        let delete = Operation::Delete { room: room.clone(), number, own };
        match self.propose(delete).await? {
            Outcome::Refused(OperationError::NotFound) => {
                self.notice(&format!("There is no line {number}"));
            }
            outcome if outcome.refusal().is_some() => self.explain_refusal(&outcome),
            _ => {
                if !own {
                    self.audit(&format!("deleted line {number} of {room}"));
                }
                if line.is_topic {
                    // The line set the current topic, so the topic is removed too.
                    return self.topic(Some("-")).await;
                }
            }
        }
        Ok(())
    }
}
