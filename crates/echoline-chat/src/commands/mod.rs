//! The commands of a session, as methods of [`Session`]. Each method follows the dialogue with the
//! user.
//!
//! A command proposes operations, waits for their outcomes, and adds replies. The session sends the
//! replies when the command waits and when it ends.

mod bans;
mod history;
mod moderation;
mod queries;
mod rooms;
mod search;
mod users;

use std::ops::ControlFlow;

use super::session::{CommandResult, Session};
use super::telnet::ByteStream;
use crate::session::command_cost::command_cost;
use crate::session::outbound_feed::RoomQuestion;
use crate::session::view::print_json;
use echoline::Closed;
use echoline_chat_core::LineKind;
use echoline_chat_core::command::{Command, Rank, Switch, help};
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::state::Preferences;

/// Whether the session continues after a line, or the user leaves with this reason.
pub(super) type Flow = ControlFlow<String>;

impl<S: ByteStream> Session<S> {
    /// Carries out a line that is already cleaned and trimmed: a command, or text for the room.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(super) async fn obey(&mut self, line: &str) -> Result<Flow, Closed> {
        if line.starts_with('/') {
            self.settle().await?;
        }
        if self.is_ended() {
            return Ok(Flow::Continue(()));
        }
        match Command::parse(line) {
            Ok(Command::Say(words)) => self.say(LineKind::Said, words).await?,
            Ok(command) => return self.run_command(command).await,
            Err(error) => self.notice(&error.to_string()),
        }
        Ok(Flow::Continue(()))
    }

    /// Carries out a line that was typed in the private thread with the user of this id.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(super) async fn obey_in_thread(&mut self, id: &str, line: &str) -> Result<Flow, Closed> {
        match Command::parse(line) {
            Ok(Command::Say(words) | Command::Reply(words)) => {
                self.say_to(id, LineKind::Said, words).await?;
            }
            Ok(Command::Me(words)) => self.say_to(id, LineKind::Action, words).await?,
            Ok(command) if command.concerns_current_room() => {
                self.notice("That command works only in a room: open the room, and type it there");
            }
            _ => return self.obey(line).await,
        }
        Ok(Flow::Continue(()))
    }

    /// Runs a command, if the user's rank allows it and no rate limit is reached.
    async fn run_command(&mut self, command: Command<'_>) -> Result<Flow, Closed> {
        // Wakes the readers of the user's earlier lines first, so that the command sees those
        // lines.
        self.feed.announce();
        self.knows_more |= !matches!(command, Command::Users(None) | Command::Quit(None));
        if let Command::Quit(words) = command {
            return Ok(Flow::Break(words.unwrap_or_default().to_owned()));
        }
        let done = self.run_allowed(command).await;
        self.finish(done)?;
        Ok(Flow::Continue(()))
    }

    async fn run_allowed(&mut self, command: Command<'_>) -> CommandResult {
        if command.needs_operator() && self.rank() != Rank::Operator {
            return Err("Only an operator can do that".into());
        }
        if let Some(cost) = command_cost(&command) {
            self.charge(cost)?;
        }
        match command.needs_operator() {
            true => self.run_operator_command(command).await,
            false => self.run_member_command(command).await,
        }
    }

    async fn run_member_command(&mut self, command: Command<'_>) -> CommandResult {
        match command {
            Command::Me(words) => self.say(LineKind::Action, words).await?,
            Command::Message { to, words } => self.message(to, words).await?,
            Command::Reply(words) => self.answer(words).await?,
            Command::Users(None) => self.ask(RoomQuestion::Users).await?,
            Command::Lag => self.ask(RoomQuestion::Lag).await?,
            Command::Join { room, password } => self.join(room, password).await?,
            Command::Leave(room) => self.leave_room(room).await?,
            Command::Topic(words) => self.topic(words).await?,
            Command::History(passage) => self.history(passage).await?,
            Command::Search(words) => self.search(words).await?,
            Command::Quote(number) => self.quote(number).await?,
            Command::Delete(number) => self.delete(number).await?,
            Command::Nick(name) => self.rename(name).await?,
            Command::Away(words) => self.away(words).await?,
            Command::Token => self.show_token().await?,
            Command::Oper(password) => self.become_operator(password).await?,
            Command::Users(Some(room)) => self.users_of(room)?,
            Command::Whois(name) => self.whois(name)?,
            Command::Ignore(name) => self.ignore(name)?,
            Command::Unignore(name) => self.unignore(name)?,
            Command::Rooms => self.rooms(),
            Command::Numbers(switch) => self.set(|choices| &mut choices.numbers, "numbers", switch),
            Command::Times(switch) => self.set(|choices| &mut choices.times, "times", switch),
            Command::Quiet(switch) => self.set(|choices| &mut choices.quiet, "quiet", switch),
            Command::Status => {
                for sentence in self.chat.status_words() {
                    self.notice(&sentence);
                }
            }
            Command::Resume(_) => {
                self.notice(
                    "/resume works only at the start of a connection: type it instead of your name",
                );
            }
            Command::Help(topic) => {
                for line in help(topic, self.rank()) {
                    self.reply(&line);
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn run_operator_command(&mut self, command: Command<'_>) -> CommandResult {
        match command {
            Command::Op(name) => self.set_operator(name, true).await,
            Command::Deop(name) => self.set_operator(name, false).await,
            Command::Kick { name, words } => self.kick(name, words.unwrap_or_default()).await,
            Command::Ban { target, length, words } => self.ban(target, length, words).await,
            Command::Unban(target) => self.unban(target).await,
            Command::Mute { name, length } => self.mute(name, Some(length)).await,
            Command::Unmute(name) => self.mute(name, None).await,
            Command::Invite(name) => self.invite(name).await,
            Command::Private(switch) => self.set_private(switch).await,
            Command::Password(password) => self.set_password(password).await,
            Command::Forget { room, is_sure } => self.forget(room, is_sure).await,
            Command::Audit(count) => self.show_audit(count).await,
            Command::Bans(from) => self.bans(from.unwrap_or(1)),
            Command::Penalties(pardoned) => self.penalties(pardoned),
            _ => Ok(()),
        }
    }

    /// Changes a display setting, and confirms it.
    fn set(&mut self, choice: fn(&mut Preferences) -> &mut bool, what: &str, switch: Switch) {
        *choice(&mut self.feed.view.preferences) = switch.is_on();
        let now = if switch.is_on() { "on" } else { "off" };
        if self.feed.view.is_page() {
            let view = ServerMessage::View { view: self.feed.view.choices() };
            print_json(&view, &mut self.replies);
        }
        self.save_session();
        self.notice(&format!("{what} {now}"));
    }
}
