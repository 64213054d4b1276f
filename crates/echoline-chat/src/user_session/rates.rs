//! The rates of a user's source: asked for before an operation is proposed, so that applying it
//! gives the same result on every node.

use super::UserSession;
use crate::protocol::{ErrorTopic, ServerMessage};
use crate::view::print_json;
use echoline::{SourceAction, SourceRefusal};

impl UserSession {
    /// Takes a token of `action` from the user's source. If there is none, tells the user how long
    /// to wait.
    pub(super) fn may(&mut self, action: SourceAction) -> bool {
        self.may_many(action, 1)
    }

    /// The same for an action that costs as much as `count` usual ones.
    pub(super) fn may_many(&mut self, action: SourceAction, count: u32) -> bool {
        let taken = self.take(action, count);
        if let Err(refusal) = &taken {
            self.tell_refusal(refusal);
        }
        taken.is_ok()
    }

    /// Whether the user may have a token. If not, says so, unless the user has one already.
    pub(super) fn may_have_token(&mut self) -> bool {
        self.user.token().is_some() || self.may(SourceAction::Token)
    }

    /// The same, without a word.
    pub(super) fn may_have_token_quietly(&self) -> bool {
        self.user.token().is_some() || self.take(SourceAction::Token, 1).is_ok()
    }

    /// Gives back a token that was taken before a password was checked: it was right.
    pub(super) fn give_back(&self, action: SourceAction) {
        self.chat.settings.sources.give_back(self.source, action);
    }

    fn take(&self, action: SourceAction, count: u32) -> Result<(), SourceRefusal> {
        // An operator of the chat works against floods.
        let is_trusted = matches!(action, SourceAction::Moderation | SourceAction::Expensive);
        if is_trusted && self.user.is_operator() {
            return Ok(());
        }
        self.chat.settings.sources.take_many(self.source, action, count)
    }

    fn tell_refusal(&mut self, refusal: &SourceRefusal) {
        if !self.feed.view.is_json() {
            return self.notice(&refusal.to_string());
        }
        let error = ServerMessage::Error {
            text: refusal.to_string().into(),
            about: Some(ErrorTopic::Rate),
            action: Some(refusal.action.label().into()),
            wait_ms: Some(refusal.wait_ms()),
            thread: self.feed.thread(),
        };
        print_json(&error, &mut self.replies);
    }
}
