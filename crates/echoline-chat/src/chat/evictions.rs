//! Ends idle sessions on a server that is nearly full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::Chat;
use crate::chat::live_state::ChatUser;
use crate::chat::live_state::SessionHandle;
use echoline_chat_core::state::network_of;
use echoline_chat_core::{Presence, choose};

impl Chat {
    /// Ends the sessions of silent users on a server that has more than nine tenths of its
    /// connection slots in use. Chooses the users who have been silent for longest, from the
    /// addresses with the most users. Each has been silent for at least
    /// [`idle_when_full`](crate::ChatSettings::idle_when_full). Operators of the chat stay.
    /// `excess` is the number of connections above nine tenths.
    ///
    /// Call it from [`Server::on_nearly_full`](echoline::Server::on_nearly_full). Returns the
    /// number of ended sessions.
    pub fn end_idle_users(&self, excess: usize) -> usize {
        let Some(least) = self.rules().idle_when_full else { return 0 };
        let now_ms = self.now_ms();
        let users: Vec<(ChatUser, Arc<SessionHandle>)> = {
            let live = self.lock();
            let here = live.users.values().filter(|user| user.is_here);
            let session = |user: &ChatUser| live.session(user.session).cloned();
            here.filter_map(|user| Some(((**user).clone(), session(user)?))).collect()
        };
        let (leaving, users): (Vec<_>, Vec<_>) = users
            .into_iter()
            .partition(|(user, session)| user.is_retired() || session.mailbox.ending().is_some());
        let presence = |(user, session): &(ChatUser, Arc<SessionHandle>)| Presence {
            session: user.session,
            source: user.address.map(network_of),
            silent: silence(session, now_ms),
            is_protected: user.is_operator(),
        };
        let presences: Vec<Presence> = users.iter().map(presence).collect();
        // Sessions that an earlier call ended will release their slots soon, so they are
        // subtracted.
        let chosen = choose(&presences, excess.saturating_sub(leaving.len()), least);
        let by_session: BTreeMap<u64, &SessionHandle> =
            users.iter().map(|(user, session)| (user.session, &**session)).collect();
        for session in chosen.iter().filter_map(|session| by_session.get(session)) {
            end(session, now_ms);
        }
        if !chosen.is_empty() {
            tracing::warn!(users = chosen.len(), "the server is nearly full: ended idle users");
        }
        chosen.len()
    }
}

fn silence(session: &SessionHandle, now_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(session.spoke_ms()))
}

fn end(session: &SessionHandle, now_ms: u64) {
    let minutes = silence(session, now_ms).as_secs() / 60;
    let silent = match minutes {
        0 => "for less than a minute".to_owned(),
        1 => "for 1 minute".to_owned(),
        minutes => format!("for {minutes} minutes"),
    };
    let words = format!("The server is nearly full, and you have been silent {silent}. Goodbye!");
    session.end(&words);
}
