//! Says the lines of a user in their current room.

use super::{IN_NO_ROOM, Session};
use crate::cluster::Backpressure;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline_chat_core::operation::SaidLine;
use echoline_chat_core::outcome::OperationError;
use echoline_chat_core::state::bans::ending;
use echoline_chat_store::LineKind;

impl<S: ByteStream> Session<S> {
    /// Says a line if this needs neither a reply nor a wait. Otherwise it changes nothing and
    /// returns `false`; then call [`say`](Self::say), which says the line or explains the refusal.
    pub(crate) fn say_at_once(&mut self, words: &str) -> bool {
        let is_possible =
            self.chat.cluster.is_none() && self.replies.is_empty() && !self.is_ended();
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

    /// Says a line in the current room. Returns `None` if there is no room. Its readers are woken
    /// when the author has no more input.
    fn try_say(
        &mut self,
        kind: LineKind,
        words: &str,
    ) -> Option<Result<Backpressure, OperationError>> {
        let said = self.chat.say(&self.user, self.feed.current()?, kind, words);
        self.feed.has_said |= said.is_ok();
        Some(said)
    }

    /// Sends the waiting lines to the other nodes, and waits until they have arrived.
    async fn wait_for_nodes(&mut self) -> Result<(), Closed> {
        self.feed.announce();
        match self.chat.cluster.clone() {
            Some(cluster) => self.wait(cluster.settled(self.user.session)).await.map(drop),
            None => Ok(()),
        }
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
        let cluster = self.chat.cluster.as_ref();
        cluster.is_some_and(|cluster| !cluster.is_settled(self.user.session))
    }

    /// Waits until the other nodes have the earlier lines of this user, so that a command finds
    /// them. Does not wait while the nodes cannot be reached.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn settle(&mut self) -> Result<(), Closed> {
        let session = self.user.session;
        while let Some(cluster) = self.chat.cluster.clone()
            && !cluster.is_settled(session)
            && !cluster.is_lost()
            && !self.is_ended()
        {
            self.wait(cluster.settled(session)).await?;
        }
        Ok(())
    }
}
