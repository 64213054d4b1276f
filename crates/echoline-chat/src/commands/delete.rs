//! `/delete`: the lines that a user may delete.

use std::sync::Arc;

use crate::session::{CommandResult, Session};
use crate::shared_room::SharedRoom;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline_chat_core::command::Rank;
use echoline_chat_core::{DELETED, LineKind, Name, Operation};

/// A line that `/delete` has found.
struct FoundLine {
    has_words: bool,
    is_deleted: bool,
    /// Whether this user wrote it. The store does not know that of a line.
    is_own: bool,
    /// Whether it set the topic that the room still has.
    is_topic: bool,
}

impl<S: ByteStream> Session<S> {
    /// Deletes a line of this user, or any line if they are an operator here.
    pub(super) async fn delete(&mut self, number: u64) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let is_operator = self.rank() == Rank::Operator;
        let mut found = self.find_in_memory(&shared_room, number);
        if found.is_none() {
            found = self.find_in_store(&shared_room, &room, number).await?;
        }
        let line = found.ok_or_else(|| format!("There is no line {number}"))?;
        let objection = match () {
            () if line.is_deleted => "is deleted already",
            () if !line.has_words => "has no words that could be deleted",
            () if !line.is_own && !is_operator => "is not yours: only an operator can delete it",
            () => return self.delete_found(room, number, &line).await,
        };
        Err(format!("Line {number} {objection}").into())
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

    async fn delete_found(&mut self, room: Name, number: u64, line: &FoundLine) -> CommandResult {
        let own = line.is_own;
        let delete = Operation::Delete { room: room.clone(), number, own };
        self.carry_out_or(delete, || format!("There is no line {number}")).await?;
        if !own {
            self.audit(&format!("deleted line {number} of {room}"));
        }
        if line.is_topic {
            // The topic of the room has the same words.
            return self.topic(Some("-")).await;
        }
        Ok(())
    }
}
