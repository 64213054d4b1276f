//! Charges the rates of a user's source. This happens before an operation is proposed, so that
//! applying it has the same result on every node.

use super::Session;
use crate::command_cost::RateCost;
use crate::telnet::ByteStream;
use crate::view::print_json;
use echoline::sources::{SourceAction, SourceRefusal};
use echoline_chat_core::protocol::{ErrorTopic, ServerMessage};

impl<S: ByteStream> Session<S> {
    /// Charges the user's source. If it has reached the rate, tells the user how long to wait, and
    /// returns `false`.
    pub(crate) fn charge(&mut self, cost: impl Into<RateCost>) -> bool {
        let charged = self.try_charge(cost.into());
        if let Err(refusal) = &charged {
            self.explain_rate(refusal);
        }
        charged.is_ok()
    }

    /// Charges for a resume token, unless the user already has one.
    pub(crate) fn charge_token(&mut self) -> bool {
        self.user.token().is_some() || self.charge(SourceAction::Token)
    }

    /// Does the same as [`charge_token`](Self::charge_token), without a message to the user.
    pub(super) fn charge_token_quietly(&self) -> bool {
        self.user.token().is_some() || self.try_charge(SourceAction::Token.into()).is_ok()
    }

    /// Refunds the charge for a password that was right.
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
