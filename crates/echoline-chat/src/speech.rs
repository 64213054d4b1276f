//! The only path of a user's line into a room: directly, or through the stream.

use super::chat::{Chat, Membership};
use super::cluster::Backpressure;
use super::live_state::SessionHandle;
use echoline_chat_core::effect::Effect;
use echoline_chat_core::operation::SaidLine;
use echoline_chat_core::outcome::OperationError;
use echoline_chat_core::text::escape;
use echoline_chat_store::LineKind;

impl Chat {
    /// Says a line in a room. Its readers are woken later by [`wake_readers`](Self::wake_readers).
    ///
    /// In one process this applies the rule of [`Operation::Say`] to the room at once, under the
    /// lock of that room only. In a cluster the line waits in the author's outbox for that
    /// operation.
    ///
    /// [`Operation::Say`]: echoline_chat_core::operation::Operation::Say
    pub(super) fn say(
        &self,
        author: &SessionHandle,
        membership: &Membership,
        kind: LineKind,
        words: &str,
    ) -> Result<Backpressure, OperationError> {
        let (now_ms, session) = (self.now_ms(), author.session);
        let pressure = match &self.cluster {
            None => {
                self.say_at_once(now_ms, membership, kind, words)?;
                Backpressure::None
            }
            Some(cluster) => {
                let line = SaidLine { kind, text: words.to_owned() };
                cluster.say(session, &membership.room, line)?
            }
        };
        author.note_speech(now_ms);
        Ok(pressure)
    }

    fn say_at_once(
        &self,
        now_ms: u64,
        membership: &Membership,
        kind: LineKind,
        words: &str,
    ) -> Result<(), OperationError> {
        membership.shared_room.with(|room| {
            let mut effects = |effect: Effect<'_>| self.archive.keep(effect);
            room.say_line(now_ms, membership.member_id, kind, words, &mut effects)?;
            let author = room.member_name(membership.member_id);
            tracing::debug!(room = %room.name, name = %author, "{}", escape(words.as_bytes()));
            Ok(())
        })
    }

    /// Wakes the readers of the author's lines. Called when the author has no more input waiting.
    pub(super) fn wake_readers(&self, author: &SessionHandle, memberships: &[Membership]) {
        match &self.cluster {
            Some(cluster) => cluster.send(author.session),
            None => memberships.iter().for_each(|membership| membership.shared_room.wake()),
        }
    }
}
