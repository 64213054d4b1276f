//! Moderation: operators, kicks, mutes, invitations, removed rooms, and the audit log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::live_state::ChatUser;
use crate::operator_password::{self, Checked};
use crate::password_checks::WRONG_PASSWORD_PAUSE;
use crate::session::Session;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::answer_limits::{Budget, PAST_BYTES_MAX};
use echoline_chat_core::command::arguments::CommandSecret;
use echoline_chat_core::name::Name;
use echoline_chat_core::operation::{Operation, RoomChange};
use echoline_chat_core::outcome::OperationError;
use echoline_chat_core::state::bans::{ending, network_of};
use echoline_chat_core::text::escape;
use echoline_chat_store::PasswordGuesses;

/// The number of entries that `/audit` shows without a number, and the maximum.
const AUDIT_USUAL: u64 = 20;
const AUDIT_MAX: u64 = 500;

/// The maximum number of sources of wrong operator passwords that `/audit` shows.
const SOURCES_SHOWN: usize = 20;

/// The most characters of an entry of the audit log.
const AUDIT_CHARACTERS_MAX: usize = 400;

/// The sentences about an action of an operator.
struct ModerationReport {
    /// The entry of the audit log.
    audit: String,
    /// The reply to the operator.
    told: String,
}

impl<S: ByteStream> Session<S> {
    /// `/oper`: makes the user an operator of the chat if the password is right.
    pub(super) async fn become_operator(
        &mut self,
        password: CommandSecret<'_>,
    ) -> Result<(), Closed> {
        // Charged before the check, so that guesses over many connections at once count too.
        if !self.charge(SourceAction::WrongOperatorPassword) {
            return Ok(());
        }
        let (chat, given) = (Arc::clone(&self.chat), password.reveal().to_owned());
        let checked = self.wait(async move {
            sleep(WRONG_PASSWORD_PAUSE).await;
            operator_password::check(&chat, given).await
        });
        match checked.await? {
            Ok(Checked::Right(proof)) => {
                self.refund(SourceAction::WrongOperatorPassword);
                return self.be_operator(proof).await;
            }
            Ok(Checked::Wrong) => {
                self.note_guess();
                self.notice("Wrong operator password");
            }
            Err(error) => {
                self.refund(SourceAction::WrongOperatorPassword);
                self.notice(error.sentence());
            }
        }
        Ok(())
    }

    async fn be_operator(&mut self, proof: Option<Arc<str>>) -> Result<(), Closed> {
        let outcome = self.propose(Operation::BecomeOperator).await?;
        if outcome.refusal().is_some() {
            self.explain_refusal(&outcome);
            return Ok(());
        }
        self.user.set_operator_proof(proof);
        self.save_session();
        self.audit("became an operator");
        self.notice("You are now an operator: /help lists your commands");
        Ok(())
    }

    /// Counts a wrong operator password apart from the audit log, so that guesses displace no
    /// entries.
    fn note_guess(&self) {
        let source = match self.user.address {
            Some(address) => network_of(address).to_string(),
            None => "no known address".to_owned(),
        };
        tracing::warn!(by = %self.name(), source, "audit: a wrong operator password");
        self.chat.archive.guess(self.chat.now_ms(), self.name().as_str(), &source);
    }

    /// Changes the rights of a member of the current room. `report` gets the names of the member
    /// and of the room.
    async fn alter_member(
        &mut self,
        other: &ChatUser,
        change: RoomChange,
        report: impl FnOnce(&Name, &Name) -> ModerationReport,
    ) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else { return Ok(()) };
        let (room, name) = (membership.room.clone(), other.name());
        let outcome = self.propose(Operation::Alter { room: room.clone(), change }).await?;
        match outcome.refusal() {
            None => self.report(&report(&name, &room)),
            Some(OperationError::NotFound) => self.notice(&format!("{name} is not in {room}")),
            Some(_) => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    fn report(&mut self, report: &ModerationReport) {
        self.audit(&report.audit);
        self.notice(&report.told);
    }

    /// `/op` and `/deop`: makes a member an operator of the room, or revokes that.
    pub(super) async fn set_operator(&mut self, name: &str, operator: bool) -> Result<(), Closed> {
        let Some(other) = self.find_user(name) else { return Ok(()) };
        if !operator && self.is_above(&other) {
            return Ok(());
        }
        let (did, now) = match operator {
            true => ("made", "an operator"),
            false => ("removed", "no longer an operator"),
        };
        let chat = if !operator && other.is_operator() { "the chat and of " } else { "" };
        let change = RoomChange::Operator(other.session, operator);
        let report = |name: &Name, room: &Name| ModerationReport {
            audit: format!("{did} {name} as an operator of {chat}{room}"),
            told: format!("{name} is {now} of {chat}{room}"),
        };
        self.alter_member(&other, change, report).await
    }

    /// `/kick`: expels a member from the room.
    pub(super) async fn kick(&mut self, name: &str, words: &str) -> Result<(), Closed> {
        let Some(other) = self.find_user(name) else { return Ok(()) };
        if self.is_above(&other) {
            return Ok(());
        }
        let Some(membership) = self.feed.current() else { return Ok(()) };
        let (room, name) = (membership.room.clone(), other.name());
        let kick =
            Operation::Kick { room: room.clone(), whom: other.session, words: words.to_owned() };
        let outcome = self.propose(kick).await?;
        match outcome.refusal() {
            None => {
                let colon = if words.is_empty() { "" } else { ": " };
                self.audit(&format!("kicked {name} from {room}{colon}{words}"));
                self.notice(&format!("You kicked {name} from {room}"));
            }
            Some(OperationError::NotFound) => self.notice(&format!("{name} is not in {room}")),
            Some(_) => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    /// `/mute` and `/unmute`: mutes a member of the room for a time (`Some(None)`: for ever), or
    /// ends the mute.
    pub(super) async fn mute(
        &mut self,
        name: &str,
        length: Option<Option<Duration>>,
    ) -> Result<(), Closed> {
        let Some(other) = self.find_user(name) else { return Ok(()) };
        if length.is_some() && self.is_above(&other) {
            return Ok(());
        }
        let until_ms = length.map(|length| self.end_of(length).unwrap_or(u64::MAX));
        let what = if length.is_some() { "muted" } else { "unmuted" };
        let until = until_ms.map(|until| ending(Some(until), self.chat.settings.moment));
        let until = until.map_or_else(String::new, |until| format!(" {until}"));
        let change = RoomChange::Mute(other.session, until_ms);
        let report = |name: &Name, room: &Name| ModerationReport {
            audit: format!("{what} {name} in {room}{until}"),
            told: format!("You {what} {name} in {room}{until}"),
        };
        self.alter_member(&other, change, report).await
    }

    /// `/invite`: invites a user to the room.
    pub(super) async fn invite(&mut self, name: &str) -> Result<(), Closed> {
        let Some(other) = self.find_user(name) else { return Ok(()) };
        let report = |name: &Name, room: &Name| ModerationReport {
            audit: format!("invited {name} to {room}"),
            told: format!("You invited {name} to {room}"),
        };
        self.alter_member(&other, RoomChange::Invite(other.session), report).await
    }

    /// `/audit`: shows the last entries of the audit log.
    pub(super) async fn show_audit(&mut self, count: Option<u64>) -> Result<(), Closed> {
        if !self.require_chat_operator() {
            return Ok(());
        }
        let most = count.unwrap_or(AUDIT_USUAL).min(AUDIT_MAX) as usize;
        let chat = Arc::clone(&self.chat);
        let read = self.wait(async move {
            (chat.archive.acts(most).await, chat.archive.guesses(SOURCES_SHOWN).await)
        });
        let (entries, guesses) = read.await?;
        if entries.is_empty() {
            self.notice("The audit log is empty");
        }
        let moment = self.chat.settings.moment;
        // Selects the newest entries that fit one answer, and shows the oldest of them first.
        let mut budget = Budget::new(PAST_BYTES_MAX);
        let entries =
            entries.iter().map(|(time_ms, by, what)| format!("{} {by} {what}", moment(*time_ms)));
        let fitting = entries.rev().take_while(|line| budget.take(line.len()));
        for line in fitting.collect::<Vec<_>>().iter().rev() {
            self.reply(line);
        }
        for PasswordGuesses { source, count, first_ms, last_ms, by } in guesses {
            let passwords = if count == 1 { "password" } else { "passwords" };
            let (first, last) = (moment(first_ms), moment(last_ms));
            self.reply(&format!(
                "{count} wrong operator {passwords} from {source}, the first at {first}, the last \
                 at {last} by {by}"
            ));
        }
        Ok(())
    }

    /// `/forget`: removes a room, or tells how many lines would be lost.
    pub(super) async fn forget(&mut self, text: &str, is_sure: bool) -> Result<(), Closed> {
        if !self.require_chat_operator() {
            return Ok(());
        }
        let name = match Name::parse_room(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return Ok(());
            }
        };
        let Some(shared_room) = self.chat.room(&name) else {
            self.notice(&format!("There is no room {name}"));
            return Ok(());
        };
        if shared_room.is_same(&self.chat.lobby) {
            self.notice(&format!("{name} is the lobby, which cannot be removed"));
            return Ok(());
        }
        let bans = self.chat.bans(Some(name.key())).len();
        let (room, lost) = shared_room.with(|room| {
            let (people, last) = (room.count(), room.log.next() - 1);
            let lost = format!("{people} members, lines up to number {last}, {bans} bans");
            (room.name.clone(), lost)
        });
        if !is_sure {
            self.notice(&format!(
                "{room} has {lost}: \"/forget {room} yes\" removes all of it for good"
            ));
            return Ok(());
        }
        let outcome = self.propose(Operation::Forget { room: room.clone() }).await?;
        match outcome.refusal() {
            None => self.report(&ModerationReport {
                audit: format!("removed the room {room} ({lost})"),
                told: format!("You removed the room {room}"),
            }),
            Some(OperationError::NotFound) => self.notice(&format!("There is no room {room}")),
            Some(_) => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    /// Adds an entry to the audit log.
    pub(crate) fn audit(&self, what: &str) {
        let what: String = what.chars().take(AUDIT_CHARACTERS_MAX).collect();
        tracing::info!(by = %self.name(), "audit: {}", escape(what.as_bytes()));
        self.chat.announce(self.user.session, Operation::Audit { what });
    }

    /// Returns whether the user is an operator of the whole chat. If not, tells them that the
    /// command needs one.
    pub(super) fn require_chat_operator(&mut self) -> bool {
        let is_operator = self.user.is_operator();
        if !is_operator {
            self.notice("Only an operator of the whole chat can do that (/oper PASSWORD)");
        }
        is_operator
    }

    /// Returns whether the other user is an operator of the whole chat and this user is not. If so,
    /// sends this user a notice that explains why they cannot moderate the other.
    pub(super) fn is_above(&mut self, other: &ChatUser) -> bool {
        let above = other.is_operator() && !self.user.is_operator();
        if above {
            self.notice(&format!("{} is an operator", other.name()));
        }
        above
    }

    /// Returns the end of a duration that begins now, in milliseconds since 1970.
    pub(super) fn end_of(&self, length: Option<Duration>) -> Option<u64> {
        let length = u64::try_from(length?.as_millis()).unwrap_or(u64::MAX);
        Some(self.chat.now_ms().saturating_add(length))
    }
}
