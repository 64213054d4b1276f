//! Keeping order: operators, kicks, bans, mutes, invitations, and the book in which it all stands.

use std::sync::Arc;
use std::time::Duration;

use super::{Step, UserSession};
use crate::answer_limits::{Budget, LIST_BYTES_MAX, PAST_BYTES_MAX};
use crate::arguments::{Secret, Target};
use crate::bans::{Ban, Scope, Subject, counted, ending, network_of};
use crate::command::Command;
use crate::command_table::Rank;
use crate::former_users::FormerUser;
use crate::history::Guesses;
use crate::name::Name;
use crate::operation::{Operation, RoomChange};
use crate::operator_password::{self, Checked};
use crate::outcome::{OperationError, Outcome};
use crate::password_checks::WRONG_PASSWORD_PAUSE;
use crate::state::ChatUser;
use echoline::SourceAction;

/// Entries that `/audit` shows without a number, and at most.
const AUDIT_USUAL: u64 = 20;
const AUDIT_MAX: u64 = 500;

/// Sources of wrong operator passwords that `/audit` shows.
const SOURCES_SHOWN: usize = 20;

/// Characters of an act's description that the audit log keeps.
const AUDIT_CHARACTERS_MAX: usize = 400;

/// Characters of the reason of a ban.
const REASON_MAX: usize = 200;

impl UserSession {
    /// Carries out a command for operators.
    pub(super) fn moderate(&mut self, command: Command<'_>) -> Step {
        if self.rank() != Rank::Operator {
            self.notice("Only an operator can do that");
            return Step::Done;
        }
        if command.is_written_down() && !self.may(SourceAction::Moderation) {
            return Step::Done;
        }
        match command {
            Command::Op(name) => self.set_operator(name, true),
            Command::Deop(name) => self.set_operator(name, false),
            Command::Kick { name, words } => self.kick(name, words.unwrap_or_default()),
            Command::Ban { target, length, words } => self.ban(target, length, words),
            Command::Unban(target) => self.unban(target),
            Command::Bans(from) => self.bans(from.unwrap_or(1)),
            Command::Mute { name, length } => self.mute(name, Some(length)),
            Command::Unmute(name) => self.mute(name, None),
            Command::Invite(name) => self.invite(name),
            Command::Private(switch) => self.set_private(switch),
            Command::Password(password) => self.set_password(password),
            Command::Forget { room, is_sure } => self.forget(room, is_sure),
            Command::Audit(count) => self.show_audit(count),
            Command::Penalties(pardoned) => self.penalties(pardoned),
            _ => Step::Done,
        }
    }

    pub(super) fn become_operator(&mut self, password: Secret<'_>) -> Step {
        // Before the check, so that guesses over many connections at once cannot pass.
        if !self.may(SourceAction::WrongOperatorPassword) {
            return Step::Done;
        }
        let (chat, given) = (Arc::clone(&self.chat), password.reveal().to_owned());
        Step::Wait(Box::pin(async move {
            tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            let checked = operator_password::check(&chat, given).await;
            Box::new(move |user: &mut Self| match checked {
                Ok(Checked::Right(proof)) => {
                    user.give_back(SourceAction::WrongOperatorPassword);
                    user.be_operator(proof)
                }
                Ok(Checked::Wrong) => {
                    user.note_guess();
                    user.notice("That is not the operators' password");
                    Step::Done
                }
                Err(error) => {
                    user.give_back(SourceAction::WrongOperatorPassword);
                    user.notice(error.sentence());
                    Step::Done
                }
            }) as super::Rest
        }))
    }

    fn be_operator(&mut self, proof: Option<Arc<str>>) -> Step {
        self.apply_operation(Operation::BecomeOperator, move |user, outcome| {
            if outcome.refusal().is_some() {
                return user.refuse(&outcome);
            }
            user.user.set_operator_proof(proof);
            user.save_session();
            user.audit("became an operator");
            user.notice("You are an operator: /help lists what you can do");
            Step::Done
        })
    }

    /// Counts a wrong operator password beside the audit log: a guess takes no act's place there.
    fn note_guess(&self) {
        let source = match self.user.address {
            Some(address) => network_of(address).to_string(),
            None => "no known address".to_owned(),
        };
        tracing::warn!(by = %self.name(), source, "audit: a wrong operator password");
        self.chat.archive.guess(self.chat.now_ms(), self.name().as_str(), &source);
    }

    /// Changes what somebody may do in the current room; `done` is told and written down.
    fn alter_for(
        &mut self,
        other: &ChatUser,
        change: RoomChange,
        done: impl FnOnce(&Name, &Name) -> Done + Send + 'static,
    ) -> Step {
        let Some(membership) = self.feed.current() else { return Step::Done };
        let (room, name) = (membership.room.clone(), other.name());
        self.apply_operation(
            Operation::Alter { room: room.clone(), change },
            move |user, outcome| {
                match outcome.refusal() {
                    None => {
                        let Done { audit, told } = done(&name, &room);
                        user.audit(&audit);
                        user.notice(&told);
                    }
                    Some(OperationError::Absent) => {
                        user.notice(&format!("{name} is not in {room}"))
                    }
                    Some(_) => drop(user.refuse(&outcome)),
                }
                Step::Done
            },
        )
    }

    fn set_operator(&mut self, name: &str, operator: bool) -> Step {
        let Some(other) = self.somebody(name) else { return Step::Done };
        if !operator && self.is_above(&other) {
            return Step::Done;
        }
        let now = if operator { "an operator" } else { "no operator any more" };
        let chat = if !operator && other.is_operator() { "the chat, nor of " } else { "" };
        self.alter_for(&other, RoomChange::Operator(other.session, operator), move |name, room| {
            Done {
                audit: format!("made {name} {now} of {chat}{room}"),
                told: format!("{name} is {now} of {chat}{room}"),
            }
        })
    }

    fn kick(&mut self, name: &str, words: &str) -> Step {
        let Some(other) = self.somebody(name) else { return Step::Done };
        if self.is_above(&other) {
            return Step::Done;
        }
        let Some(membership) = self.feed.current() else { return Step::Done };
        let (room, name, words) = (membership.room.clone(), other.name(), words.to_owned());
        let act = Operation::Kick { room: room.clone(), whom: other.session, words: words.clone() };
        self.apply_operation(act, move |user, outcome| {
            match outcome.refusal() {
                None => {
                    let colon = if words.is_empty() { "" } else { ": " };
                    user.audit(&format!("kicked {name} from {room}{colon}{words}"));
                    user.notice(&format!("{name} is out of {room}"));
                }
                Some(OperationError::Absent) => user.notice(&format!("{name} is not in {room}")),
                Some(_) => drop(user.refuse(&outcome)),
            }
            Step::Done
        })
    }

    fn ban(&mut self, target: Target<'_>, length: Option<Duration>, words: Option<&str>) -> Step {
        if words.is_some_and(|words| words.chars().count() > REASON_MAX) {
            self.notice(&format!("The reason of a ban has at most {REASON_MAX} characters"));
            return Step::Done;
        }
        let is_wider = matches!(target, Target::Network(network) if counted(network) != network);
        let Some((subject, scope)) = self.subject_and_scope(target) else { return Step::Done };
        if let Subject::Name(name) = &subject
            && self.chat.find(name).is_some_and(|other| self.is_above(&other))
        {
            return Step::Done;
        }
        let known = match &subject {
            Subject::Name(name) => self.known_user(name),
            Subject::Network(_) => None,
        };
        let lineage = known.as_ref().map(|(user, _)| user.lineage);
        let until_ms = self.end_of(length);
        let (by, reason) = (self.name().to_string(), words.unwrap_or_default().to_owned());
        let told = format!("banned {subject} from {}", self.place(&scope));
        let (name, is_wider) = match &subject {
            Subject::Name(name) => (Some(name.clone()), false),
            Subject::Network(_) => (None, is_wider),
        };
        let ban = Ban { subject, scope, by, reason: reason.clone(), until_ms, lineage };
        self.apply_operation(Operation::Ban(ban), move |user, outcome| {
            if outcome.refusal().is_some() {
                return user.refuse(&outcome);
            }
            let until = ending(until_ms, user.chat.settings.moment);
            let colon = if reason.is_empty() { "" } else { ": " };
            user.audit(&format!("{told} {until}{colon}{reason}"));
            user.notice(&format!("You {told} {until}"));
            if let Some(name) = name {
                let (known, is_here) = known.unzip();
                user.explain_ban(&name, known.as_ref(), is_here.unwrap_or_default());
            } else if is_wider {
                user.notice(
                    "An IPv6 address counts with its /64 network, as one host has all of it",
                );
            }
            Step::Done
        })
    }

    /// The user who has a name, or had it last; and whether they are here.
    fn known_user(&self, name: &Name) -> Option<(FormerUser, bool)> {
        if let Some(user) = self.chat.find(name) {
            let (lineage, address, name) = (user.lineage, user.address, user.name());
            return Some((FormerUser { name, lineage, address, left_ms: 0 }, true));
        }
        self.chat.former_user(name).map(|user| (user, false))
    }

    fn unban(&mut self, target: Target<'_>) -> Step {
        let Some((subject, scope)) = self.subject_and_scope(target) else { return Step::Done };
        let act = Operation::Unban { subject: subject.clone(), scope: scope.clone() };
        self.apply_operation(act, move |user, outcome| match outcome {
            Outcome::Unbanned(None) => {
                user.notice(&format!("{subject} is not banned; /bans lists who is"));
                Step::Done
            }
            Outcome::Unbanned(Some(_)) => {
                let place = user.place(&scope);
                user.audit(&format!("lifted the ban of {subject} from {place}"));
                user.notice(&format!("{subject} may come to {place} again"));
                Step::Done
            }
            outcome => user.refuse(&outcome),
        })
    }

    /// Lists the bans from the `from`th on, as many as fit one answer.
    fn bans(&mut self, from: u64) -> Step {
        let scope = self.scope();
        let room = match &scope {
            Some(Scope::Room(name)) => Some(name.key()),
            _ => None,
        };
        let bans = self.chat.bans(room);
        if bans.is_empty() {
            self.notice("Nobody is banned");
        }
        let mut budget = Budget::new(LIST_BYTES_MAX);
        for (place, ban) in (1..).zip(&bans).skip_while(|(place, _)| *place < from) {
            let Ban { subject, by, reason, until_ms, .. } = ban;
            let until = ending(*until_ms, self.chat.settings.moment);
            let colon = if reason.is_empty() { "" } else { ": " };
            let line = format!("{subject}, {until}, by {by}{colon}{reason}");
            if !budget.take(line.len()) {
                let more = bans.len() as u64 + 1 - place;
                self.notice(&format!("{more} more: /bans {place} lists them"));
                break;
            }
            self.reply(&line);
        }
        Step::Done
    }

    /// Mutes for a length, or for good; or gives the word back.
    fn mute(&mut self, name: &str, length: Option<Option<Duration>>) -> Step {
        let Some(other) = self.somebody(name) else { return Step::Done };
        if length.is_some() && self.is_above(&other) {
            return Step::Done;
        }
        let until_ms = length.map(|length| self.end_of(length).unwrap_or(u64::MAX));
        let what = if length.is_some() { "muted" } else { "unmuted" };
        let until = until_ms.map(|until| ending(Some(until), self.chat.settings.moment));
        let until = until.map_or_else(String::new, |until| format!(" {until}"));
        self.alter_for(&other, RoomChange::Mute(other.session, until_ms), move |name, room| Done {
            audit: format!("{what} {name} in {room}{until}"),
            told: format!("You {what} {name} in {room}{until}"),
        })
    }

    fn invite(&mut self, name: &str) -> Step {
        let Some(other) = self.somebody(name) else { return Step::Done };
        self.alter_for(&other, RoomChange::Invite(other.session), |name, room| Done {
            audit: format!("invited {name} to {room}"),
            told: format!("{name} may join {room}"),
        })
    }

    fn show_audit(&mut self, count: Option<u64>) -> Step {
        if !self.is_above_all() {
            return Step::Done;
        }
        let most = count.unwrap_or(AUDIT_USUAL).min(AUDIT_MAX) as usize;
        let chat = Arc::clone(&self.chat);
        Step::Wait(Box::pin(async move {
            let acts = chat.archive.acts(most).await;
            let guesses = chat.archive.guesses(SOURCES_SHOWN).await;
            Box::new(move |user: &mut Self| {
                if acts.is_empty() {
                    user.notice("Nothing was done yet");
                }
                let moment = user.chat.settings.moment;
                // The newest that fit one answer, the oldest of them first.
                let mut budget = Budget::new(PAST_BYTES_MAX);
                let acts = acts
                    .iter()
                    .map(|(time_ms, by, what)| format!("{} {by} {what}", moment(*time_ms)));
                let fitting = acts.rev().take_while(|line| budget.take(line.len()));
                for line in fitting.collect::<Vec<_>>().iter().rev() {
                    user.reply(line);
                }
                for Guesses { source, count, first_ms, last_ms, by } in guesses {
                    let passwords = if count == 1 { "password" } else { "passwords" };
                    let (first, last) = (moment(first_ms), moment(last_ms));
                    user.reply(&format!(
                        "{count} wrong operator {passwords} from {source}, the first at {first}, \
                         the last at {last} by {by}"
                    ));
                }
                Step::Done
            }) as super::Rest
        }))
    }

    /// Whether the user is an operator of the whole chat; else they are told that only such a one
    /// may do this.
    fn is_above_all(&mut self) -> bool {
        let is_operator = self.user.is_operator();
        if !is_operator {
            self.notice("Only an operator of the whole chat can do that (/oper PASSWORD)");
        }
        is_operator
    }

    /// Removes a room, or says what would be lost with it.
    fn forget(&mut self, text: &str, is_sure: bool) -> Step {
        if !self.is_above_all() {
            return Step::Done;
        }
        let name = match Name::parse_room(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return Step::Done;
            }
        };
        let Some(shared_room) = self.chat.room(&name) else {
            self.notice(&format!("There is no room {name}"));
            return Step::Done;
        };
        if Arc::ptr_eq(&shared_room, &self.chat.lobby) {
            self.notice(&format!("{name} is the room that everybody comes into: it stays"));
            return Step::Done;
        }
        let bans = self.chat.bans(Some(name.key())).len();
        let (room, lost) = shared_room.with(|room| {
            let (people, last) = (room.count(), room.log.next() - 1);
            let lost = format!("{people} people in it, lines up to number {last}, {bans} bans");
            (room.name.clone(), lost)
        });
        if !is_sure {
            self.notice(&format!(
                "{room} has {lost}: \"/forget {room} yes\" removes all of it for good"
            ));
            return Step::Done;
        }
        self.apply_operation(Operation::Forget { room: room.clone() }, move |user, outcome| {
            match outcome.refusal() {
                None => {
                    user.audit(&format!("removed the room {room} ({lost})"));
                    user.notice(&format!("The room {room} is removed"));
                }
                Some(OperationError::Absent) => user.notice(&format!("There is no room {room}")),
                Some(_) => drop(user.refuse(&outcome)),
            }
            Step::Done
        })
    }

    /// Writes down what this operator did.
    pub(super) fn audit(&self, what: &str) {
        let what: String = what.chars().take(AUDIT_CHARACTERS_MAX).collect();
        tracing::info!(by = %self.name(), "audit: {}", crate::text::escape(what.as_bytes()));
        self.chat.announce(self.user.session, Operation::Audit { what });
    }

    /// Whether the other is an operator of the whole chat, and this one is not: then nothing can
    /// be done to them.
    fn is_above(&mut self, other: &ChatUser) -> bool {
        let above = other.is_operator() && !self.user.is_operator();
        if above {
            self.notice(&format!("{} is an operator", other.name()));
        }
        above
    }

    fn subject_and_scope(&mut self, target: Target<'_>) -> Option<(Subject, Scope)> {
        let subject = match target {
            Target::Network(network) => Subject::Network(counted(network)),
            Target::Name(name) => match Name::parse(name) {
                Ok(name) => Subject::Name(name),
                Err(error) => {
                    self.notice(&error.to_string());
                    return None;
                }
            },
        };
        Some((subject, self.scope()?))
    }

    /// An operator of the whole chat bans from all of it, another one from their room.
    fn scope(&self) -> Option<Scope> {
        if self.user.is_operator() {
            return Some(Scope::Chat);
        }
        self.feed.current().map(|membership| Scope::Room(membership.room.clone()))
    }

    fn place(&self, scope: &Scope) -> String {
        match scope {
            Scope::Chat => "the chat".to_owned(),
            Scope::Room(name) => name.to_string(),
        }
    }

    fn end_of(&self, length: Option<Duration>) -> Option<u64> {
        let length = u64::try_from(length?.as_millis()).unwrap_or(u64::MAX);
        Some(self.chat.now_ms().saturating_add(length))
    }
}

/// What was done, for the book and for who did it.
struct Done {
    audit: String,
    told: String,
}
