//! Charges the rates of a user's source. This is done before an operation is proposed, so that
//! applying the operation has the same result on every node.

use super::{CommandResult, Session, Stop};
use crate::session::command_cost::RateCost;
use crate::session::view::print_json;
use crate::telnet::ByteStream;
use echoline::sources::{SourceAction, SourceRefusal};
use echoline_chat_core::protocol::{ErrorTopic, ServerMessage};

impl<S: ByteStream> Session<S> {
    /// Charges the user's source. If it has reached a rate limit, tells the user how long to wait.
    ///
    /// # Errors
    /// [`Stop::Explained`] if the source has reached a rate limit.
    pub(crate) fn charge(&mut self, cost: impl Into<RateCost>) -> CommandResult {
        self.try_charge(cost.into()).map_err(|refusal| {
            self.explain_rate(&refusal);
            Stop::Explained
        })
    }

    /// Charges for a resume token, unless the user already has one.
    pub(crate) fn charge_token(&mut self) -> CommandResult {
        match self.user.token() {
            Some(_) => Ok(()),
            None => self.charge(SourceAction::Token),
        }
    }

    /// Like [`charge_token`](Self::charge_token), without a message to the user. Returns whether
    /// the charge succeeded.
    pub(super) fn charge_token_quietly(&self) -> bool {
        self.user.token().is_some() || self.try_charge(SourceAction::Token.into()).is_ok()
    }

    /// Refunds a charge, because the password was right.
    pub(crate) fn refund(&self, action: SourceAction) {
        self.chat.settings.sources.give_back(self.source, action);
    }

    fn try_charge(&self, cost: RateCost) -> Result<(), SourceRefusal> {
        let RateCost { action, count } = cost;
        // Operators of the chat must be able to act during a flood.
        let is_exempt = matches!(action, SourceAction::Moderation | SourceAction::Expensive);
        if is_exempt && self.user.is_operator() {
            return Ok(());
        }
        self.chat.settings.sources.take_many(self.source, action, count)
    }

    fn explain_rate(&mut self, refusal: &SourceRefusal) {
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
