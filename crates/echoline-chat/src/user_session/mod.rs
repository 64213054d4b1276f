//! The words and commands of one user, applied to the chat and its rooms. No connection here.

mod deletion;
mod history_commands;
mod moderation;
mod penalties;
mod people;
mod queries;
mod rates;
mod rooms;
mod saving;
mod search;
mod whois;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::arguments::Switch;
use super::bans::ending;
use super::cluster::{Backpressure, Proposed};
use super::command::Command;
use super::command_table::Rank;
use super::help::help;
use super::history::Kind;
use super::name::Name;
use super::operation::{Operation, ResumeToken, SaidLine};
use super::outbound_feed::{OutboundFeed, Question};
use super::outcome::{OperationError, Outcome};
use super::protocol::ServerMessage;
use super::resume;
use super::room::ReplayFrom;
use super::session_handle::SessionHandle;
use super::state::{Chat, Credential, JoinError, Leaving, Membership};
use super::tokens::{Position, SavedSession};
use super::view::{Medium, View, print_json};
use echoline::{Source, SourceAction};

pub(super) use people::lags_in_words;

/// What somebody hears who was sent out of all rooms.
const IN_NO_ROOM: &str = "You are in no room: /join ROOM, or /rooms for a list";

/// One user, who is in the chat.
#[derive(Debug)]
pub(super) struct UserSession {
    pub(super) chat: Arc<Chat>,
    pub(super) user: Arc<SessionHandle>,
    /// The source whose rates apply to the actions of the user.
    source: Source,
    pub(super) feed: OutboundFeed,
    /// The bytes to write to the user.
    pub(super) replies: String,
    /// The last search, if it did not come to the first line.
    last_search: Option<Box<search::Search>>,
    /// They know that there is more than the lesson's commands.
    knows_more: bool,
    has_left: bool,
}

/// What follows from a command.
pub(super) enum Step {
    /// It is done; the replies say what there is to say.
    Done,
    /// The answer is to be given at the user's place in the order of the room.
    Ask(Question),
    /// It takes a while, and other people's lines are to come meanwhile.
    Wait(Job),
    /// The user leaves, with these words.
    Quit(String),
}

/// Something that takes a while; then the rest of the command.
pub(super) type Job = Pin<Box<dyn Future<Output = Rest> + Send>>;

/// The rest of a command whose first part took a while.
pub(super) type Rest = Box<dyn FnOnce(&mut UserSession) -> Step + Send>;

impl UserSession {
    /// Somebody who has just given their name and is in no room yet.
    pub(super) fn new(chat: Arc<Chat>, user: Arc<SessionHandle>, source: Source) -> Self {
        let feed = OutboundFeed::new(Arc::clone(&chat), Arc::clone(&user));
        let (knows_more, has_left) = (false, false);
        let (replies, last_search) = (String::new(), None);
        Self { chat, user, source, feed, replies, last_search, knows_more, has_left }
    }

    /// What they are called now.
    fn name(&self) -> Name {
        self.user.name()
    }

    /// Does something that others see; then follows what `then` makes of what came of it.
    fn apply_operation(
        &mut self,
        act: Operation,
        then: impl FnOnce(&mut Self, Outcome) -> Step + Send + 'static,
    ) -> Step {
        match self.chat.propose(self.user.session, act) {
            Proposed::Done(outcome) => then(self, outcome),
            Proposed::Later(wait) => Step::Wait(Box::pin(async move {
                let outcome = wait.await;
                Box::new(move |user: &mut Self| then(user, outcome)) as Rest
            })),
        }
    }

    /// Tells the user why something came to nothing.
    fn refuse(&mut self, outcome: &Outcome) -> Step {
        if let Some(refusal) = outcome.refusal() {
            let reason = refusal.reason(self.chat.settings.moment);
            self.notice(&format!("That was not done: {reason}"));
        }
        Step::Done
    }

    /// Enters the user's rooms, or else the lobby. A user who is back needs no password again.
    ///
    /// A page is told `max_line`, the most bytes that one message may have.
    pub(super) async fn arrive(
        &mut self,
        place: Option<SavedSession>,
        is_back: bool,
        max_line: usize,
    ) {
        let SessionHandle { session, address, .. } = &*self.user;
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(session, name = %self.name(), address, "joined");
        self.knows_more = place.is_some();
        let (rooms, more) = place.map(|place| (place.rooms, place.more)).unwrap_or_default();
        for position in rooms {
            self.take_position(position, is_back).await;
        }
        if self.feed.memberships.is_empty() {
            self.enter_lobby().await;
        }
        self.restore(more, is_back);
        self.welcome(max_line);
    }

    /// Tells a program, before everything else, who it is now; and a page how it can come back.
    fn welcome(&mut self, max_line: usize) {
        let medium = self.feed.view.medium;
        let token = match medium {
            Medium::Terminal => return,
            // A program that made a room needs a token to be its operator again.
            Medium::Program if !self.feed.memberships.iter().any(Membership::is_operator) => None,
            Medium::Program | Medium::Page if !self.may_have_token() => None,
            Medium::Program | Medium::Page => {
                Some(resume::token_of(&self.chat, &self.user, &self.feed))
            }
        };
        let name = self.name();
        let is_page = self.feed.view.is_page();
        let welcome = ServerMessage::Welcome {
            name: name.as_str().into(),
            token,
            max_line: is_page.then_some(max_line),
            view: is_page.then(|| self.feed.view.choices()),
        };
        let mut first = String::new();
        print_json(&welcome, &mut first);
        if is_page {
            print_json(&self.feed.rooms(), &mut first);
        }
        self.replies.insert_str(0, &first);
    }

    /// Tells a page which rooms it is in now.
    pub(super) fn tell_rooms(&mut self) {
        if self.feed.view.is_page() {
            print_json(&self.feed.rooms(), &mut self.replies);
        }
    }

    async fn take_position(&mut self, position: Position, is_back: bool) {
        if self.chat.room(&position.room).is_none() && !self.may(SourceAction::Room) {
            return;
        }
        let Position { room, next, operator, password, born } = position;
        let back = Credential::Return { operator, password, born };
        let pass = if is_back { back } else { Credential::Nothing };
        let is_full = self.feed.memberships.len() >= self.chat.settings.max_rooms_each;
        let joined = match is_full {
            true => Err(JoinError::TooManyOfYours),
            false => self.join_at_once(&room, ReplayFrom::From(next), pass).await,
        };
        match joined {
            Ok(membership) => {
                if is_back && !self.feed.view.is_json() {
                    self.notice(&format!("Back in {room}, from line {next} on"));
                }
                self.feed.enter(membership);
            }
            Err(not_in) => {
                let sentence = not_in.sentence(&room);
                self.notice(&sentence);
            }
        }
    }

    async fn enter_lobby(&mut self) {
        let lobby = self.chat.settings.lobby.clone();
        let replay_from = ReplayFrom::Last(self.chat.rules().replay);
        match self.join_at_once(&lobby, replay_from, Credential::Nothing).await {
            Ok(membership) => {
                let earlier = self.lines_before(&membership);
                self.feed.enter(membership);
                self.separate(earlier);
            }
            Err(not_in) => {
                let sentence = not_in.sentence(&lobby);
                self.notice(&sentence);
            }
        }
    }

    /// Joins a room where nothing is to be told meanwhile.
    async fn join_at_once(
        &self,
        room: &Name,
        replay_from: ReplayFrom,
        pass: Credential,
    ) -> Result<Membership, JoinError> {
        let act = Operation::Join { room: room.clone(), replay_from, credential: pass };
        match self.chat.propose(self.user.session, act).outcome().await {
            Outcome::Joined(joined) => self.chat.membership(joined?).ok_or(JoinError::Gone),
            outcome => Err(JoinError::of(&outcome)),
        }
    }

    /// Does what a line says that is clean and trimmed.
    pub(super) fn act(&mut self, line: &str) -> Step {
        if self.user.mailbox.ending().is_some() {
            // They are out already, and hear of it when all that they sent before is read.
            return Step::Done;
        }
        if let Some(wait) = self.wait_for_own(line) {
            return wait;
        }
        match Command::parse(line) {
            Ok(Command::Say(words)) => self.say(Kind::Said, words),
            Ok(command) => self.run_command(command),
            Err(error) => {
                self.notice(&error.to_string());
                Step::Done
            }
        }
    }

    /// Says words that are no command, whatever they begin with.
    pub(super) fn say_plainly(&mut self, words: &str) -> Step {
        self.say(Kind::Said, words)
    }

    /// A command sees what its author has said before it: where that is still on its way to the
    /// other machines, the command waits, unless they cannot be reached.
    fn wait_for_own(&self, line: &str) -> Option<Step> {
        let cluster = self.chat.cluster.as_ref().filter(|_| line.starts_with('/'))?;
        let session = self.user.session;
        if cluster.is_settled(session) || cluster.is_lost() {
            return None;
        }
        let (settled, line) = (cluster.settled(session), line.to_owned());
        Some(Step::Wait(Box::pin(async move {
            settled.await;
            Box::new(move |user: &mut Self| user.act(&line)) as Rest
        })))
    }

    /// Whether something of theirs is still on its way to the other machines.
    pub(super) fn is_held(&self) -> bool {
        let cluster = self.chat.cluster.as_ref();
        cluster.is_some_and(|cluster| !cluster.is_settled(self.user.session))
    }

    fn say(&mut self, kind: Kind, words: &str) -> Step {
        let Some(membership) = self.feed.current() else {
            return self.refuse_line(kind, words, IN_NO_ROOM);
        };
        match self.chat.say(&self.user, membership, kind, words) {
            Ok(Backpressure::None) => {
                self.feed.has_said = true;
                Step::Done
            }
            Ok(Backpressure::Wait) => self.wait_for_all(),
            Err(error) => self.refuse_said(kind, words, &error),
        }
    }

    /// Waits until the other nodes have all that the user has said.
    fn wait_for_all(&mut self) -> Step {
        self.feed.has_said = true;
        self.feed.announce();
        let Some(cluster) = &self.chat.cluster else { return Step::Done };
        let settled = cluster.settled(self.user.session);
        Step::Wait(Box::pin(async move {
            settled.await;
            Box::new(|_: &mut Self| Step::Done) as Rest
        }))
    }

    /// Tells the author why a line did not come into the room.
    fn refuse_said(&mut self, kind: Kind, words: &str, error: &OperationError) -> Step {
        let moment = self.chat.settings.moment;
        match error {
            OperationError::Muted(until) => {
                let until = ending(Some(*until), moment);
                let reason = format!("You may not speak in this room {until}");
                self.refuse_line(kind, words, &reason)
            }
            OperationError::NotDelivered(reason) => {
                let Some(membership) = self.feed.current() else { return Step::Done };
                let room = membership.room.clone();
                let lines = [SaidLine { kind, text: words.to_owned() }];
                self.feed.give_up(&room, reason, &lines, &mut self.replies);
                Step::Done
            }
            _ => self.refuse_line(kind, words, "You are not in this room any more"),
        }
    }

    /// Tells the author why a line was not said. A page gets the line back with the reason.
    pub(super) fn refuse_line(&mut self, kind: Kind, words: &str, reason: &str) -> Step {
        if self.feed.view.is_page() {
            let refused = ServerMessage::Refused {
                of: kind,
                text: words.into(),
                reason: reason.into(),
                thread: self.feed.thread(),
            };
            print_json(&refused, &mut self.replies);
        } else {
            self.notice(reason);
        }
        Step::Done
    }

    /// Carries out a command. The lesson's two are all that a newcomer knows.
    fn run_command(&mut self, command: Command<'_>) -> Step {
        // What a command finds is to include what was said before it.
        self.feed.announce();
        self.knows_more |= !matches!(command, Command::Users(None) | Command::Quit(None));
        if command.needs_operator() {
            return self.moderate(command);
        }
        let cost = command.cost();
        if cost > 0 && !self.may_many(SourceAction::Expensive, cost) {
            return Step::Done;
        }
        match command {
            Command::Me(words) => return self.say(Kind::Action, words),
            Command::Users(None) => return self.ask(Question::Users),
            Command::Lag => return self.ask(Question::Lag),
            Command::Quit(words) => return Step::Quit(words.unwrap_or_default().to_owned()),
            Command::History(passage) => return self.history(passage),
            Command::Search(words) => return self.search(words),
            Command::Quote(number) => return self.quote(number),
            Command::Delete(number) => return self.delete(number),
            Command::Join { room, password } => return self.join(room, password),
            Command::Oper(password) => return self.become_operator(password),
            Command::Users(Some(room)) => self.users_of(room),
            Command::Whois(name) => return self.whois(name),
            Command::Message { to, words } => return self.message(to, words),
            Command::Reply(words) => return self.answer(words),
            Command::Nick(name) => return self.rename(name),
            Command::Ignore(name) => self.ignore(name),
            Command::Unignore(name) => self.unignore(name),
            Command::Away(words) => return self.away(words),
            Command::Rooms => self.rooms(),
            Command::Leave(room) => return self.leave(room),
            Command::Topic(words) => return self.topic(words),
            Command::Numbers(switch) => self.set(|view| &mut view.numbers, "numbers", switch),
            Command::Times(switch) => self.set(|view| &mut view.times, "times", switch),
            Command::Quiet(switch) => self.set(|view| &mut view.quiet, "quiet", switch),
            Command::Status => {
                for sentence in self.chat.status_words() {
                    self.notice(&sentence);
                }
            }
            Command::Token => return self.show_token(),
            Command::Resume(_) => {
                self.notice("Say that in a new connection, where you are asked for your name");
            }
            Command::Help(topic) => {
                for line in help(topic, self.rank()) {
                    self.reply(&line);
                }
            }
            _ => {}
        }
        Step::Done
    }

    fn set(&mut self, choice: fn(&mut View) -> &mut bool, what: &str, switch: Switch) {
        *choice(&mut self.feed.view) = switch.is_on();
        let now = if switch.is_on() { "on" } else { "off" };
        if self.feed.view.is_page() {
            let view = ServerMessage::View { view: self.feed.view.choices() };
            print_json(&view, &mut self.replies);
        }
        self.save_session();
        self.notice(&format!("{what} {now}"));
    }

    pub(super) fn ask(&mut self, question: Question) -> Step {
        if self.feed.current().is_some() {
            return Step::Ask(question);
        }
        self.notice(IN_NO_ROOM);
        Step::Done
    }

    /// Writes a line to the user.
    pub(super) fn reply(&mut self, text: &str) {
        self.feed.print_reply(text, &mut self.replies);
    }

    /// Writes the server's words to the user.
    pub(super) fn notice(&mut self, words: &str) {
        self.reply(&format!("*** {words} ***"));
    }

    /// Returns the user's rank in their current room.
    fn rank(&self) -> Rank {
        let in_room = self.feed.current().is_some_and(Membership::is_operator);
        if in_room || self.user.is_operator() { Rank::Operator } else { Rank::Member }
    }

    /// Leaves for good. Who knows that there is more is told how to come back.
    pub(super) fn leave_chat(&mut self, leaving: Leaving<'_>) {
        let mut keep = None;
        if !self.user.is_retired() {
            let tells = self.knows_more && !self.feed.view.is_json();
            if tells && self.may_have_token_quietly() {
                let token = self.user.token_or(resume::new_token);
                self.notice(&format!("/resume {} brings you back", token.reveal()));
            }
            keep = resume::keep_if_token(&self.chat, &self.user, &self.feed);
        }
        self.exit(leaving, keep);
    }

    fn exit(&mut self, leaving: Leaving<'_>, keep: Option<ResumeToken>) {
        let session = self.user.session;
        tracing::info!(session, name = %self.name(), "left");
        self.has_left = true;
        self.feed.announce();
        self.feed.memberships.clear();
        match (leaving, &self.chat.cluster, keep) {
            // The machine takes its leave, and all its people with it.
            (Leaving::Silently, Some(_), None) => {}
            (Leaving::Silently, Some(_), Some(keep)) => {
                self.chat.announce(session, Operation::SaveSession(keep));
            }
            (leaving, cluster, keep) => {
                if let Some(cluster) = cluster {
                    cluster.retire_session(session);
                }
                let reason = match leaving {
                    Leaving::Because(reason) => Some(reason.to_owned()),
                    Leaving::Silently => None,
                };
                self.chat.announce(session, Operation::Exit { reason, keep });
            }
        }
    }
}

impl Drop for UserSession {
    /// A session that was broken off in the middle leaves too.
    fn drop(&mut self) {
        if !self.has_left {
            self.exit(Leaving::Because(""), None);
        }
    }
}
