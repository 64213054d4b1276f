//! Says the lines of a user in their current room.

use super::{IN_NO_ROOM, Session};
use crate::cluster::Backpressure;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline_chat_core::state::ending;
use echoline_chat_core::{LineKind, OperationError, SaidLine};

impl<S: ByteStream> Session<S> {
    /// Says a line, if that needs neither a reply nor a wait. Otherwise changes nothing and returns
    /// `false`; the caller then calls [`say`](Self::say), which can wait or explain a refusal.
    pub(crate) fn say_at_once(&mut self, words: &str) -> bool {
        let is_possible = !self.chat.is_replicated() && self.replies.is_empty() && !self.is_ended();
        is_possible && matches!(self.try_say(LineKind::Said, words), Some(Ok(_)))
    }

    /// Says a text in the current room, even if it begins with a slash.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn say(&mut self, kind: LineKind, words: &str) -> Result<(), Closed> {
        match self.try_say(kind, words) {
            Some(Ok(Backpressure::None)) => Ok(()),
            Some(Ok(Backpressure::Wait)) => self.wait_for_nodes().await,
            Some(Err(error)) => {
                self.explain_unsaid(kind, words, &error);
                Ok(())
            }
            None => {
                self.refuse_line(kind, words, IN_NO_ROOM);
                Ok(())
            }
        }
    }

    /// Says a line in the current room. Returns `None` if there is no current room. Readers are
    /// woken when the author has no more input.
    fn try_say(
        &mut self,
        kind: LineKind,
        words: &str,
    ) -> Option<Result<Backpressure, OperationError>> {
        let said = self.chat.say(&self.user, self.feed.current()?, kind, words);
        self.feed.has_said |= said.is_ok();
        Some(said)
    }

    /// Sends the queued lines to the other nodes, and waits until they have arrived.
    async fn wait_for_nodes(&mut self) -> Result<(), Closed> {
        self.feed.announce();
        self.wait(self.chat.settled(self.user.session)).await
    }

    /// Tells the author why a line was not said.
    fn explain_unsaid(&mut self, kind: LineKind, words: &str, error: &OperationError) {
        match (error, self.feed.current()) {
            (OperationError::NotDelivered(reason), Some(membership)) => {
                let room = membership.room.clone();
                let lines = [SaidLine { kind, text: words.to_owned() }];
                self.feed.give_up(&room, reason, &lines, &mut self.replies);
            }
            (OperationError::Muted(until), _) => {
                let until = ending(Some(*until), self.chat.settings.moment);
                let reason = format!("You are muted in this room {until}");
                self.refuse_line(kind, words, &reason);
            }
            _ => self.refuse_line(kind, words, "You are no longer in this room"),
        }
    }

    /// Returns whether an operation of this user is queued or in flight.
    pub(crate) fn has_unsettled(&self) -> bool {
        !self.chat.has_settled(self.user.session)
    }

    /// Waits until the other nodes have the earlier lines of this user, so that a command finds
    /// these lines. Does not wait while the link is lost.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn settle(&mut self) -> Result<(), Closed> {
        let session = self.user.session;
        while !(self.chat.has_settled(session) || self.chat.is_link_lost() || self.is_ended()) {
            self.wait(self.chat.settled(session)).await?;
        }
        Ok(())
    }
}
