//! The saved session that a token restores. It is saved after each change, and restored at login.

use std::sync::Arc;

use super::{CommandResult, IN_NO_ROOM, Session};
use crate::chat::Membership;
use crate::telnet::ByteStream;
use echoline::sources::Source;
use echoline_base::SecretText;
use echoline_chat_core::state::{BRIEF_MS, Position, SavedSession, SessionState, digest};
use echoline_chat_core::{Operation, ResumeToken};

impl<S: ByteStream> Session<S> {
    /// Restores the current room, the display settings and the rights from a saved session.
    pub(super) fn restore(&mut self, saved: SessionState, is_back: bool) {
        let SessionState { current, preferences, operator, .. } = saved;
        let current = current.and_then(|room| self.feed.position(&room));
        self.feed.set_current(current.unwrap_or(0));
        let choices = self.feed.view.restore(preferences);
        let was_operator = operator.is_some();
        if was_operator && self.user.is_operator() {
            self.user.set_operator_proof(operator.map(Arc::from));
        } else if was_operator {
            let words = "You are no longer an operator of the chat: its password has changed";
            self.notice(words);
        }
        if !is_back || self.feed.view.is_page() {
            return;
        }
        self.tell_current();
        if !choices.is_empty() {
            self.notice(&format!("Settings restored: {choices}"));
        }
        if let Some(words) = self.user.away() {
            self.notice(&format!("You are marked as away: {words}"));
        }
        if self.user.is_operator() {
            self.notice("You are still an operator of the chat");
            self.audit("came back as an operator");
        }
    }

    fn tell_current(&mut self) {
        match self.feed.current().map(|membership| membership.room.clone()) {
            Some(room) => self.notice(&format!("You are now talking in {room}")),
            None => self.notice(IN_NO_ROOM),
        }
    }

    /// Saves the session again after a change, if it has a token.
    pub(crate) fn save_session(&self) {
        if let Some(saved) = self.resume_token_if_issued().filter(|_| !self.user.is_retired()) {
            self.chat.announce(self.user.session, Operation::SaveSession(saved));
        }
    }

    /// `/token`: saves the session, and shows the token that restores it.
    pub(crate) async fn show_token(&mut self) -> CommandResult {
        self.charge_token()?;
        self.carry_out(Operation::SaveSession(self.resume_token())).await?;
        let token = self.user.token_or_new();
        let token = token.reveal();
        self.notice(&format!("/resume {token} restores this session from any connection"));
        Ok(())
    }

    /// Tells a user who has just become the operator of a new room how to return as its operator.
    pub(crate) fn tell_operator_token(&mut self) {
        if self.charge_token().is_err() {
            return;
        }
        let token = self.issue_token();
        let token = token.reveal();
        self.notice(&format!("/resume {token} restores this session and your operator rights"));
    }

    /// Saves the session, and returns the token that restores it.
    pub(super) fn issue_token(&self) -> SecretText {
        self.chat.announce(self.user.session, Operation::SaveSession(self.resume_token()));
        self.user.token_or_new()
    }

    /// Returns the session to save, and its token. Creates the token if there is none.
    fn resume_token(&self) -> ResumeToken {
        let token = digest(self.user.token_or_new().reveal());
        ResumeToken { token, saved: self.saved_session() }
    }

    /// Returns the session to save, and its token. Returns `None` if it has no token.
    pub(super) fn resume_token_if_issued(&self) -> Option<ResumeToken> {
        let token = digest(self.user.token()?.reveal());
        Some(ResumeToken { token, saved: self.saved_session() })
    }

    fn saved_session(&self) -> SavedSession {
        let Self { chat, user, feed, .. } = self;
        let lifetime = u64::try_from(chat.settings.token_lifetime.as_millis()).unwrap_or(u64::MAX);
        let until_ms = chat.now_ms().saturating_add(lifetime);
        let more = SessionState {
            current: feed.current().map(|membership| membership.room.clone()),
            preferences: feed.view.preferences.clone(),
            lineage: user.lineage,
            away: user.away().map(|words| words.to_string()),
            operator: user.operator_proof().map(|proof| proof.to_string()),
            source: Some(Source::from(user.address)),
            is_brief: chat.now_ms().saturating_sub(user.since_ms) < BRIEF_MS,
        };
        let (name, rooms) = (user.name(), positions(&feed.memberships));
        // The saved session names this session even if it is about to leave, because it still holds
        // the user's name.
        SavedSession { name, rooms, until_ms, session: Some(user.session), more }
    }
}

/// Returns the session's position in each of its rooms, including suspended memberships.
fn positions(memberships: &[Membership]) -> Vec<Position> {
    let position = |membership: &Membership| {
        membership.shared_room.with(|room| {
            let (next, _) = room.standing(membership.member_id);
            let operator = room.is_operator(membership.member_id);
            let is_in = !room.is_expelled(membership.member_id);
            is_in.then(|| Position { next, operator, ..room.position_in() })
        })
    };
    memberships.iter().filter_map(position).collect()
}
