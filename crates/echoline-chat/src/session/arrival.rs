//! The beginning of a session: the user joins the rooms that a token or a program names.

use super::Session;
use crate::chat::live_state::SessionHandle;
use crate::chat::{Credential, JoinError, Membership};
use crate::session::outbound_feed::OutboundFeed;
use crate::session::view::{Medium, print_json};
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::room::ReplayFrom;
use echoline_chat_core::state::{Position, SavedSession};
use echoline_chat_core::{Name, Operation};

impl<S: ByteStream> Session<S> {
    /// Joins the user's rooms, or the lobby if there are none. A returning user needs no password.
    pub(super) async fn arrive(&mut self, saved: Option<SavedSession>, is_back: bool) {
        let SessionHandle { session, address, .. } = &*self.user;
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(session, name = %self.name(), address, "joined");
        self.knows_more = saved.is_some();
        let (rooms, more) = saved.map(|saved| (saved.rooms, saved.more)).unwrap_or_default();
        for position in rooms {
            self.enter_position(position, is_back).await;
        }
        if self.feed.memberships.is_empty() {
            self.enter_lobby().await;
        }
        self.restore(more, is_back);
        self.welcome();
    }

    /// Sends the welcome message to a program or a page, before everything else. It contains the
    /// user's name. For a page, and for the operator of a room, it also contains the token.
    fn welcome(&mut self) {
        let medium = self.feed.view.medium;
        let token = match medium {
            Medium::Terminal => return,
            // A program that is an operator of a room needs a token to become its operator again.
            Medium::Program if !self.feed.memberships.iter().any(Membership::is_operator) => None,
            Medium::Program | Medium::Page if self.charge_token().is_err() => None,
            Medium::Program | Medium::Page => Some(self.issue_token()),
        };
        let name = self.name();
        let is_page = self.feed.view.is_page();
        let welcome = ServerMessage::Welcome {
            name: name.as_str().into(),
            token,
            max_line: is_page.then_some(self.client.limits().max_line),
            view: is_page.then(|| self.feed.view.choices()),
        };
        let mut first = String::new();
        print_json(&welcome, &mut first);
        if is_page {
            print_json(&self.feed.rooms(), &mut first);
        }
        self.replies.insert_str(0, &first);
    }

    /// Tells a program or a page about the rooms whose line numbers start again.
    pub(super) fn tell_renewed(&mut self, rooms: &[Name]) {
        if self.feed.view.is_json() {
            for room in rooms {
                let renewed = ServerMessage::Renewed { room: room.as_str().into() };
                print_json(&renewed, &mut self.replies);
            }
        }
    }

    async fn enter_position(&mut self, position: Position, is_back: bool) {
        if self.chat.room(&position.room).is_none() && self.charge(SourceAction::Room).is_err() {
            return;
        }
        let Position { room, next, operator, password, born } = position;
        let back = Credential::Return { operator, password, born };
        let credential = if is_back { back } else { Credential::Nothing };
        let is_full = self.feed.memberships.len() >= self.chat.settings.max_rooms_each;
        let joined = match is_full {
            true => Err(JoinError::TooManyOfYours),
            false => self.join_unfed(&room, ReplayFrom::From(next), credential).await,
        };
        match joined {
            Ok(membership) => {
                if is_back && !self.feed.view.is_json() {
                    self.notice(&format!("Back in {room}, from line {next} on"));
                }
                self.feed.enter(membership);
            }
            Err(error) => self.notice(&error.sentence(&room)),
        }
    }

    async fn enter_lobby(&mut self) {
        let lobby = self.chat.settings.lobby.clone();
        let replay_from = ReplayFrom::Last(self.chat.rules().replay);
        match self.join_unfed(&lobby, replay_from, Credential::Nothing).await {
            Ok(membership) => {
                let earlier = self.lines_before(&membership);
                self.feed.enter(membership);
                self.separate(earlier);
            }
            Err(error) => self.notice(&error.sentence(&lobby)),
        }
    }

    /// Joins a room before the welcome message. Nothing is sent to the user meanwhile.
    async fn join_unfed(
        &mut self,
        room: &Name,
        replay_from: ReplayFrom,
        credential: Credential,
    ) -> Result<Membership, JoinError> {
        let join = Operation::Join { room: room.clone(), replay_from, credential };
        self.chat.joined(self.chat.propose(self.user.session, join).outcome().await)
    }

    /// Sends the replies. For a terminal, also sends the earlier lines that they announce, because
    /// the next command may be `/quit`.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn show_earlier_lines(&mut self) -> Result<(), Closed> {
        self.write_replies().await?;
        if self.feed.view.is_json() || self.feed.has_shown_earlier_lines() {
            return Ok(());
        }
        self.feed_until(OutboundFeed::has_shown_earlier_lines).await
    }
}
