//! Says the lines of a user in their current room.

use std::sync::Arc;

use super::{IN_NO_ROOM, Session};
use crate::bans::ending;
use crate::cluster::{Cluster, Room};
use crate::history::LineKind;
use crate::operation::{OperationError, SaidLine};
use crate::telnet_stream::ByteStream;
use crate::text::escape;
use echoline::Closed;

impl<S: ByteStream> Session<S> {
    /// Says words if that needs neither a reply nor a wait. Otherwise changes nothing, and returns
    /// `false`: then [`say`](Self::say) says them or tells the author why not.
    pub(crate) fn say_at_once(&mut self, words: &str) -> bool {
        let is_possible =
            self.chat.cluster.is_none() && self.replies.is_empty() && !self.is_ended();
        is_possible && self.append(LineKind::Said, words).is_ok()
    }

    /// Says words in the current room, whatever they begin with.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) async fn say(&mut self, kind: LineKind, words: &str) -> Result<(), Closed> {
        if self.feed.current().is_none() {
            self.refuse_line(kind, words, IN_NO_ROOM);
            return Ok(());
        }
        if let Some(cluster) = self.chat.cluster.clone() {
            return self.say_to_cluster(&cluster, kind, words).await;
        }
        let reason = match self.append(kind, words) {
            Ok(()) => return Ok(()),
            Err(OperationError::Muted(until)) => {
                let until = ending(Some(until), self.chat.settings.moment);
                format!("You may not speak in this room {until}")
            }
            Err(_) => "You are not in this room any more".to_owned(),
        };
        self.refuse_line(kind, words, &reason);
        Ok(())
    }

    /// Appends a line to the current room. Its members are woken when the author has no more to
    /// say.
    fn append(&mut self, kind: LineKind, words: &str) -> Result<(), OperationError> {
        let (now_ms, lineage) = (self.chat.now_ms(), self.user.lineage);
        let membership = self.feed.current().ok_or(OperationError::Outside)?;
        let name = self.name();
        membership.shared_room.with(|room| {
            if let Some(until) = room.muted_until(now_ms, name.key(), lineage) {
                return Err(OperationError::Muted(until));
            }
            self.chat.elect_if_due(room, now_ms);
            let appended = room.say(now_ms, membership.member_id, kind, words);
            let appended = appended.ok_or(OperationError::Outside)?;
            self.chat.archive.line(room, appended, kind, &name, words);
            tracing::debug!(room = %room.name, %name, "{}", escape(words.as_bytes()));
            Ok(())
        })?;
        self.user.note_speech(now_ms);
        self.feed.has_said = true;
        Ok(())
    }

    /// Queues a line for all nodes. The queue is sent when the author has no more to say; if it is
    /// full, the author waits until it was sent.
    async fn say_to_cluster(
        &mut self,
        cluster: &Arc<Cluster>,
        kind: LineKind,
        words: &str,
    ) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else { return Ok(()) };
        let (session, room) = (self.user.session, membership.room.clone());
        let line = SaidLine { kind, text: words.to_owned() };
        match cluster.say(session, &room, line) {
            Ok(Room::ForMore) => {
                self.user.note_speech(self.chat.now_ms());
                self.feed.has_said = true;
            }
            Ok(Room::Full) => {
                self.feed.announce();
                cluster.send(session);
                self.wait(cluster.settled(session)).await?;
            }
            Err(refusal) => {
                let reason = refusal.reason(self.chat.settings.moment);
                let lines = [SaidLine { kind, text: words.to_owned() }];
                self.feed.give_up(&room, &reason, &lines, &mut self.replies);
            }
        }
        Ok(())
    }

    /// Whether an operation of this user is still on its way to the other nodes.
    pub(crate) fn has_unsettled(&self) -> bool {
        let cluster = self.chat.cluster.as_ref();
        cluster.is_some_and(|cluster| !cluster.is_settled(self.user.session))
    }

    /// Waits until the other nodes have what this user said before, so that a command finds it.
    /// Does not wait while the nodes cannot be reached.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
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
