//! The session of one user: the connection, its outbound feed, and the methods with which commands
//! reply and wait.
//!
//! `dialogue` reads the user's lines. The commands are methods of [`Session`], in
//! [`commands`](super::commands). While a command waits, the feed continues to send lines of other
//! users.

mod arrival;
pub(crate) mod bot;
pub(crate) mod command_cost;
mod dialogue;
pub(crate) mod login;
pub(crate) mod outbound_feed;
mod rates;
mod saved;
mod speech;
mod stop;
pub(crate) mod view;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use self::outbound_feed::{OutboundFeed, RoomQuestion};
use self::view::print_json;
use crate::chat::live_state::SessionHandle;
use crate::chat::shared_room::SharedRoom;
use crate::chat::{Chat, Membership};
use crate::cluster::Proposed;
use crate::telnet::{ByteStream, Telnet};
use echoline::sources::Source;
use echoline::{Closed, Connection};
use echoline_chat_core::command::Rank;
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::{Flood, LineKind, Name, Operation, OperationError, Outcome, ResumeToken};

pub use dialogue::{Role, serve};
pub(super) use stop::{CommandResult, Stop};

/// The reply to a command that needs a room, if the user was expelled from all rooms.
pub(super) const IN_NO_ROOM: &str =
    "You are not in a room: /join ROOM joins one, /rooms lists them";

/// The session of one connection. When it is dropped, the user leaves the chat.
pub(super) struct Session<S: ByteStream> {
    client: Connection<Telnet<S>>,
    pub(super) chat: Arc<Chat>,
    pub(super) user: Arc<SessionHandle>,
    /// The source to which the user's actions are charged.
    pub(super) source: Source,
    /// The lines and notifications that were not yet sent to the user.
    pub(super) feed: OutboundFeed,
    /// The rate limit of the user's lines.
    flood: Flood,
    /// The replies to send before the next wait. Empty while the user is idle.
    pub(super) replies: String,
    /// The last search, if it has not reached the first line of the room.
    pub(super) last_search: Option<Box<UnfinishedSearch>>,
    /// Whether the session was restored, or the user has used a command other than plain `/users`
    /// or `/quit`. Such a user is told about the token when leaving.
    pub(super) knows_more: bool,
    has_left: bool,
}

/// A search that `/search` without words can continue.
#[derive(Clone, Debug)]
pub(super) struct UnfinishedSearch {
    pub(super) room: Name,
    pub(super) words: Arc<str>,
    /// The number of the earliest line that was already searched.
    pub(super) before: u64,
}

impl<S: ByteStream> Session<S> {
    /// Creates the session of a user who has just logged in and is in no room yet.
    fn new(
        client: Connection<Telnet<S>>,
        chat: Arc<Chat>,
        user: Arc<SessionHandle>,
        source: Source,
        flood: Flood,
    ) -> Self {
        let feed = OutboundFeed::new(Arc::clone(&chat), Arc::clone(&user));
        let (knows_more, has_left) = (false, false);
        let (replies, last_search) = (String::new(), None);
        Self { client, chat, user, source, feed, flood, replies, last_search, knows_more, has_left }
    }

    /// Returns the current name of the user.
    pub(super) fn name(&self) -> Name {
        self.user.name()
    }

    /// Returns the user's rank in their current room.
    pub(super) fn rank(&self) -> Rank {
        let in_room = self.feed.current().is_some_and(Membership::is_operator);
        if in_room || self.user.is_operator() { Rank::Operator } else { Rank::Member }
    }

    /// Returns whether the chat has ended this session. The user is told after the replies to all
    /// earlier lines.
    pub(super) fn is_ended(&self) -> bool {
        self.user.mailbox.ending().is_some()
    }

    /// Adds a line to the replies.
    pub(super) fn reply(&mut self, text: &str) {
        self.feed.print_reply(text, &mut self.replies);
    }

    /// Adds a sentence of the server to the replies.
    pub(super) fn notice(&mut self, words: &str) {
        self.reply(&format!("*** {words} ***"));
    }

    /// Returns the outcome, or a message for the user if the operation was refused.
    pub(super) fn accept(&self, outcome: Outcome) -> CommandResult<Outcome> {
        let Some(refusal) = outcome.refusal() else { return Ok(outcome) };
        let reason = refusal.reason(self.chat.settings.moment);
        Err(format!("Not done: {reason}").into())
    }

    /// If a command failed, tells the user why.
    ///
    /// # Errors
    /// The reason why the connection has ended, or why the chat has ended the session.
    pub(super) fn finish(&mut self, done: CommandResult) -> Result<(), Closed> {
        match done {
            Ok(()) | Err(Stop::Explained) => {}
            Err(Stop::Notice(sentence)) => self.notice(&sentence),
            Err(Stop::Closed(closed)) => return Err(closed),
        }
        Ok(())
    }

    /// Returns the user's current room.
    pub(super) fn current_room(&self) -> CommandResult<(SharedRoom, Name)> {
        let membership = self.feed.current().ok_or(IN_NO_ROOM)?;
        Ok((membership.shared_room.clone(), membership.room.clone()))
    }

    /// Tells the author why a line was not said. A page gets the line back with the reason.
    pub(super) fn refuse_line(&mut self, kind: LineKind, words: &str, reason: &str) {
        if !self.feed.view.is_page() {
            return self.notice(reason);
        }
        let refused = ServerMessage::Refused {
            of: kind,
            text: words.into(),
            reason: reason.into(),
            thread: self.feed.thread(),
        };
        print_json(&refused, &mut self.replies);
    }

    /// Tells a page its current list of rooms.
    pub(super) fn tell_rooms(&mut self) {
        if self.feed.view.is_page() {
            print_json(&self.feed.rooms(), &mut self.replies);
        }
    }

    /// Proposes an operation of this user, and waits for its outcome. Without a cluster, the
    /// outcome is available at once.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(super) async fn propose(&mut self, operation: Operation) -> Result<Outcome, Closed> {
        match self.chat.propose(self.user.session, operation) {
            Proposed::Done(outcome) => Ok(outcome),
            Proposed::Later(outcome) => self.wait(outcome).await,
        }
    }

    /// Like [`propose`](Self::propose), but fails with a message for the user if the operation is
    /// refused.
    pub(super) async fn carry_out(&mut self, operation: Operation) -> CommandResult<Outcome> {
        let outcome = self.propose(operation).await?;
        self.accept(outcome)
    }

    /// Like [`carry_out`](Self::carry_out), but with the message `absent` if the object of the
    /// operation does not exist.
    pub(super) async fn carry_out_or(
        &mut self,
        operation: Operation,
        absent: impl FnOnce() -> String,
    ) -> CommandResult {
        match self.propose(operation).await? {
            Outcome::Refused(OperationError::NotFound) => Err(absent().into()),
            outcome => self.accept(outcome).map(drop),
        }
    }

    /// Sends the replies so far, and waits for `work`. Meanwhile the user gets the lines of other
    /// users.
    ///
    /// # Errors
    /// The reason why the connection has ended, or why the chat has ended the session.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Closed> {
        self.write_replies().await?;
        self.announce_if_unsent();
        let Self { client, feed, .. } = self;
        client.feed_until(|outlet, cx| feed.poll(outlet, cx), work).await
    }

    /// Answers a question about the current room, after every earlier line of the room was sent.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(super) async fn ask(&mut self, question: RoomQuestion) -> CommandResult {
        self.current_room()?;
        self.write_replies().await?;
        self.feed.ask(question);
        Ok(self.feed_until(OutboundFeed::is_answered).await?)
    }

    /// Sends the output of the feed until `is_done` returns true. The condition is tested whenever
    /// the feed has written something.
    async fn feed_until(&mut self, is_done: fn(&OutboundFeed) -> bool) -> Result<(), Closed> {
        let was_done = AtomicBool::new(false);
        let until = poll_fn(|_| match was_done.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let Self { client, feed, .. } = self;
        let fed = client.feed_until(
            |outlet, cx| {
                let polled = feed.poll(outlet, cx);
                if is_done(feed) && !was_done.swap(true, Ordering::Relaxed) {
                    cx.waker().wake_by_ref();
                }
                polled
            },
            until,
        );
        fed.await
    }

    /// Wakes the members who wait for the lines of this user, if this user does not read. Usually
    /// the feed wakes them, but the connection polls the feed only after the user has read
    /// everything.
    fn announce_if_unsent(&mut self) {
        if self.client.unsent() > 0 {
            self.feed.announce();
        }
    }

    async fn write_replies(&mut self) -> Result<(), Closed> {
        if self.replies.is_empty() {
            return Ok(());
        }
        // This write may wait for the user to read, and other users must not wait for that.
        self.feed.announce();
        // Frees the buffer, so that an idle session needs no memory for it.
        let replies = std::mem::take(&mut self.replies);
        self.client.write(replies.as_bytes()).await
    }

    /// Leaves the chat. If `knows_more` is set, tells the user the token first.
    fn leave_chat(&mut self, reason: Option<&str>) {
        let mut saved = None;
        if !self.user.is_retired() {
            let tells = self.knows_more && !self.feed.view.is_json();
            if tells && self.charge_token_quietly() {
                let token = self.user.token_or_new();
                self.notice(&format!("/resume {} restores your session", token.reveal()));
            }
            saved = self.resume_token_if_issued();
        }
        self.exit(reason, saved);
    }

    /// Leaves the chat with a reason for the other users, or silently if the server shuts down.
    fn exit(&mut self, reason: Option<&str>, keep: Option<ResumeToken>) {
        let session = self.user.session;
        tracing::info!(session, name = %self.name(), "left");
        self.has_left = true;
        self.feed.announce();
        self.feed.memberships.clear();
        self.chat.exit(session, reason, keep);
    }
}

impl<S: ByteStream> Drop for Session<S> {
    /// Makes the user leave, if the session is dropped in the middle of a command.
    fn drop(&mut self) {
        if !self.has_left {
            self.exit(Some(""), None);
        }
    }
}
