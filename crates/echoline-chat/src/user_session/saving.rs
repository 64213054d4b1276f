//! The session as a token restores it: saved after each change, shown, and gone on with.

use std::sync::Arc;

use super::{IN_NO_ROOM, Step, UserSession};
use crate::operation::Operation;
use crate::resume;
use crate::tokens::SessionState;

impl UserSession {
    /// Goes on as the session was saved: the user speaks where they spoke.
    pub(super) fn restore(&mut self, saved: SessionState, is_back: bool) {
        let SessionState { current, preferences, operator, .. } = saved;
        let current = current.and_then(|room| self.feed.position(&room));
        self.feed.turn_to(current.unwrap_or(0));
        let choices = self.feed.view.restore(preferences);
        let was_operator = operator.is_some();
        if was_operator && self.user.is_operator() {
            self.user.set_operator_proof(operator.map(Arc::from));
        } else if was_operator {
            let words = "You are no operator of the chat any more: its password has changed";
            self.notice(words);
        }
        if !is_back || self.feed.view.is_page() {
            return;
        }
        self.tell_current();
        if !choices.is_empty() {
            self.notice(&format!("As before: {choices}"));
        }
        if let Some(words) = self.user.away() {
            self.notice(&format!("Who writes to you hears that you are away: {words}"));
        }
        if self.user.is_operator() {
            self.notice("You are an operator of the chat, as before");
            self.audit("came back as an operator");
        }
    }

    fn tell_current(&mut self) {
        match self.feed.current().map(|membership| membership.room.clone()) {
            Some(room) => self.notice(&format!("You speak in {room} now")),
            None => self.notice(IN_NO_ROOM),
        }
    }

    /// Saves the session again after a change, if a token restores it: a user
    /// who loses the connection comes back to this state.
    pub(super) fn save_session(&self) {
        let keep = resume::keep_if_token(&self.chat, &self.user, &self.feed);
        if let Some(keep) = keep.filter(|_| !self.user.is_retired()) {
            self.chat.announce(self.user.session, Operation::SaveSession(keep));
        }
    }

    pub(super) fn show_token(&mut self) -> Step {
        if !self.may_have_token() {
            return Step::Done;
        }
        let keep = resume::keep(&self.chat, &self.user, &self.feed);
        let token = self.user.token_or(resume::new_token);
        self.apply_operation(Operation::SaveSession(keep), move |user, outcome| {
            if outcome.refusal().is_some() {
                return user.refuse(&outcome);
            }
            let token = token.reveal();
            user.notice(&format!("/resume {token} brings you back here, from any connection"));
            Step::Done
        })
    }

    /// Tells the user, who has just made a room, how they come back to it.
    pub(super) fn tell_token(&mut self) {
        if !self.may_have_token() {
            return;
        }
        let token = resume::token_of(&self.chat, &self.user, &self.feed);
        let token = token.reveal();
        self.notice(&format!("/resume {token} brings you back here, as an operator of this room"));
    }
}
