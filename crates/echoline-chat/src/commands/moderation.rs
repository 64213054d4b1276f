//! Moderation: operators, kicks, mutes, invitations, the removal of rooms, and the audit log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::access::operator_password::{self, Checked};
use crate::access::password_checks::WRONG_PASSWORD_PAUSE;
use crate::chat::live_state::ChatUser;
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline::sources::SourceAction;
use echoline_chat_core::command::CommandSecret;
use echoline_chat_core::state::{ending, network_of};
use echoline_chat_core::text::escape;
use echoline_chat_core::{Budget, Name, Operation, PAST_BYTES_MAX, RoomChange};
use echoline_chat_store::PasswordGuesses;

/// The default and the maximum number of entries that `/audit` shows.
const AUDIT_USUAL: u64 = 20;
const AUDIT_MAX: u64 = 500;

/// The maximum number of sources of wrong operators' passwords that `/audit` shows.
const SOURCES_SHOWN: usize = 20;

/// The maximum length of an entry of the audit log, in characters.
const AUDIT_CHARACTERS_MAX: usize = 400;

impl<S: ByteStream> Session<S> {
    /// `/oper`: makes the user an operator of the chat if the password is right.
    pub(super) async fn become_operator(&mut self, password: CommandSecret<'_>) -> CommandResult {
        // Charged before the check, so that concurrent guesses over many connections count too.
        self.charge(SourceAction::WrongOperatorPassword)?;
        let (chat, given) = (Arc::clone(&self.chat), password.reveal().to_owned());
        let checked = self.wait(async move {
            sleep(WRONG_PASSWORD_PAUSE).await;
            operator_password::check(&chat, given).await
        });
        match checked.await? {
            Ok(Checked::Right(proof)) => {
                self.refund(SourceAction::WrongOperatorPassword);
                self.be_operator(proof).await
            }
            Ok(Checked::Wrong) => {
                self.note_guess();
                Err("Wrong operator password".into())
            }
            Err(error) => {
                self.refund(SourceAction::WrongOperatorPassword);
                Err(error.sentence().into())
            }
        }
    }

    async fn be_operator(&mut self, proof: Option<Arc<str>>) -> CommandResult {
        self.carry_out(Operation::BecomeOperator).await?;
        self.user.set_operator_proof(proof);
        self.save_session();
        self.audit("became an operator");
        self.notice("You are now an operator: /help lists your commands");
        Ok(())
    }

    /// Counts a wrong operators' password. It is not an entry of the audit log, so guesses cannot
    /// displace entries.
    fn note_guess(&self) {
        let source = match self.user.address {
            Some(address) => network_of(address).to_string(),
            None => "no known address".to_owned(),
        };
        tracing::warn!(by = %self.name(), source, "audit: a wrong operator password");
        self.chat.archive.guess(self.chat.now_ms(), self.name().as_str(), &source);
    }

    /// Changes the rights of a member of the current room. Returns the names of the member and the
    /// room.
    async fn alter_member(
        &mut self,
        other: &ChatUser,
        change: RoomChange,
    ) -> CommandResult<(Name, Name)> {
        let ((_, room), name) = (self.current_room()?, other.name());
        let alter = Operation::Alter { room: room.clone(), change };
        self.carry_out_or(alter, || format!("{name} is not in {room}")).await?;
        Ok((name, room))
    }

    /// `/op` and `/deop`: makes a member an operator of the room, or revokes that right.
    pub(super) async fn set_operator(&mut self, name: &str, operator: bool) -> CommandResult {
        let other = self.find_user(name)?;
        if !operator {
            self.require_rank_over(&other)?;
        }
        let (did, now) = match operator {
            true => ("made", "an operator"),
            false => ("removed", "no longer an operator"),
        };
        let chat = if !operator && other.is_operator() { "the chat and of " } else { "" };
        let change = RoomChange::Operator(other.session, operator);
        let (name, room) = self.alter_member(&other, change).await?;
        self.audit(&format!("{did} {name} as an operator of {chat}{room}"));
        self.notice(&format!("{name} is {now} of {chat}{room}"));
        Ok(())
    }

    /// `/kick`: expels a member from the room.
    pub(super) async fn kick(&mut self, name: &str, words: &str) -> CommandResult {
        let other = self.find_user(name)?;
        self.require_rank_over(&other)?;
        let ((_, room), name) = (self.current_room()?, other.name());
        let kick =
            Operation::Kick { room: room.clone(), whom: other.session, words: words.to_owned() };
        self.carry_out_or(kick, || format!("{name} is not in {room}")).await?;
        let colon = if words.is_empty() { "" } else { ": " };
        self.audit(&format!("kicked {name} from {room}{colon}{words}"));
        self.notice(&format!("You kicked {name} from {room}"));
        Ok(())
    }

    /// `/mute` and `/unmute`: mutes a member of the room for a time, or unmutes them. `Some(None)`
    /// means for ever, and `None` unmutes.
    pub(super) async fn mute(
        &mut self,
        name: &str,
        length: Option<Option<Duration>>,
    ) -> CommandResult {
        let other = self.find_user(name)?;
        if length.is_some() {
            self.require_rank_over(&other)?;
        }
        let until_ms = length.map(|length| self.end_of(length).unwrap_or(u64::MAX));
        let what = if length.is_some() { "muted" } else { "unmuted" };
        let until = until_ms.map(|until| ending(Some(until), self.chat.settings.moment));
        let until = until.map_or_else(String::new, |until| format!(" {until}"));
        let change = RoomChange::Mute(other.session, until_ms);
        let (name, room) = self.alter_member(&other, change).await?;
        self.audit(&format!("{what} {name} in {room}{until}"));
        self.notice(&format!("You {what} {name} in {room}{until}"));
        Ok(())
    }

    /// `/invite`: invites a user to the room.
    pub(super) async fn invite(&mut self, name: &str) -> CommandResult {
        let other = self.find_user(name)?;
        let change = RoomChange::Invite(other.session);
        let (name, room) = self.alter_member(&other, change).await?;
        self.audit(&format!("invited {name} to {room}"));
        self.notice(&format!("You invited {name} to {room}"));
        Ok(())
    }

    /// `/audit`: shows the last entries of the audit log.
    pub(super) async fn show_audit(&mut self, count: Option<u64>) -> CommandResult {
        self.require_chat_operator()?;
        let most = count.unwrap_or(AUDIT_USUAL).min(AUDIT_MAX) as usize;
        let chat = Arc::clone(&self.chat);
        let read = self.wait(async move {
            (chat.archive.audit_entries(most).await, chat.archive.guesses(SOURCES_SHOWN).await)
        });
        let (entries, guesses) = read.await?;
        if entries.is_empty() {
            self.notice("The audit log is empty");
        }
        let moment = self.chat.settings.moment;
        // Takes the newest entries that fit into one answer, and shows the oldest of these first.
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

    /// `/forget`: removes a room. Without confirmation, states what would be lost.
    pub(super) async fn forget(&mut self, text: &str, is_sure: bool) -> CommandResult {
        self.require_chat_operator()?;
        let name = Name::parse_room(text)?;
        let absent = || format!("There is no room {name}");
        let shared_room = self.chat.room(&name).ok_or_else(absent)?;
        if shared_room.is_same(&self.chat.lobby) {
            let sentence = format!("{name} is the lobby, which cannot be removed");
            return Err(sentence.into());
        }
        let bans = self.chat.bans(Some(name.key())).len();
        let (room, lost) = shared_room.with(|room| {
            let (people, last) = (room.count(), room.log.next() - 1);
            let lost = format!("{people} members, lines up to number {last}, {bans} bans");
            (room.name.clone(), lost)
        });
        if !is_sure {
            let how = format!("\"/forget {room} yes\" removes all of it for good");
            return Err(format!("{room} has {lost}: {how}").into());
        }
        self.carry_out_or(Operation::Forget { room: room.clone() }, absent).await?;
        self.audit(&format!("removed the room {room} ({lost})"));
        self.notice(&format!("You removed the room {room}"));
        Ok(())
    }

    /// Adds an entry to the audit log.
    pub(crate) fn audit(&self, what: &str) {
        let what: String = what.chars().take(AUDIT_CHARACTERS_MAX).collect();
        tracing::info!(by = %self.name(), "audit: {}", escape(what.as_bytes()));
        self.chat.announce(self.user.session, Operation::Audit { what });
    }

    /// Fails unless the user is an operator of the whole chat.
    pub(super) fn require_chat_operator(&self) -> CommandResult {
        match self.user.is_operator() {
            true => Ok(()),
            false => Err("Only an operator of the whole chat can do that (/oper PASSWORD)".into()),
        }
    }

    /// Fails if the other user is an operator of the whole chat and this user is not. This user
    /// then cannot moderate the other.
    pub(super) fn require_rank_over(&self, other: &ChatUser) -> CommandResult {
        match other.is_operator() && !self.user.is_operator() {
            true => Err(format!("{} is an operator", other.name()).into()),
            false => Ok(()),
        }
    }

    /// Returns the end of a duration that begins now, in milliseconds since 1970. `None` stays
    /// `None`: for ever.
    pub(super) fn end_of(&self, length: Option<Duration>) -> Option<u64> {
        let length = u64::try_from(length?.as_millis()).unwrap_or(u64::MAX);
        Some(self.chat.now_ms().saturating_add(length))
    }
}
