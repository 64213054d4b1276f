//! Lines that this machine shows before the others have them, because it cannot reach them.

use std::sync::Arc;

use crate::history::Kind;
use crate::notification::Notification;
use crate::session_handle::SessionHandle;
use crate::state::{Chat, Membership};

impl Chat {
    /// Shows a line to those in the room whom this machine serves; returns who was shown it. What
    /// would come to nothing, as far as this machine knows, is shown to nobody.
    pub(crate) fn show_here(
        &self,
        author: &SessionHandle,
        membership: &Membership,
        kind: Kind,
        text: &str,
    ) -> Vec<u64> {
        let name = author.name();
        let (text, now_ms): (Arc<str>, u64) = (Arc::from(text), self.now_ms());
        let sessions = membership.shared_room.with(|room| {
            let is_muted = room.muted_until(now_ms, name.key(), author.lineage).is_some();
            let may = room.is_in(membership.member_id) && !is_muted;
            if may { room.served_here() } else { Vec::new() }
        });
        let shown = |&session: &u64| {
            let notification = Notification::Ahead {
                room: membership.room.clone(),
                author: author.lineage,
                kind,
                name: name.clone(),
                text: Arc::clone(&text),
                time_ms: now_ms,
            };
            let session = self.session(session);
            session.is_some_and(|session| session.mailbox.deliver(notification))
        };
        let mut shown: Vec<u64> = sessions.into_iter().filter(shown).collect();
        // What is one's own is not shown again either way.
        shown.retain(|&session| session != author.session);
        shown
    }
}
