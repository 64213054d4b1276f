//! Keeping order: operators, kicks, bans, mutes, invitations, and the book in which it all stands.

use std::sync::Arc;
use std::time::Duration;

use super::{Step, User};
use crate::chat::arguments::{Secret, Target};
use crate::chat::bans::{Ban, Scope, Subject};
use crate::chat::command::Command;
use crate::chat::command_table::Rank;
use crate::chat::mailbox::{Ending, Letter};
use crate::chat::name::Name;
use crate::chat::person::Person;
use crate::chat::room::Muted;

/// How long a password for operators is thought about: guessing is to be slow.
const PASSWORD_PAUSE: Duration = Duration::from_secs(1);

/// Entries that `/audit` shows without a number, and at most.
const AUDIT_USUAL: u64 = 20;
const AUDIT_MAX: u64 = 500;

impl User {
    /// Carries out a command for operators.
    pub(super) fn moderate(&mut self, command: Command<'_>) -> Step {
        if self.rank() != Rank::Operator {
            self.notice("Only an operator can do that");
            return Step::Done;
        }
        match command {
            Command::Op(name) => self.set_operator(name, true),
            Command::Deop(name) => self.set_operator(name, false),
            Command::Kick { name, words } => self.kick(name, words.unwrap_or_default()),
            Command::Ban { target, length, words } => self.ban(target, length, words),
            Command::Unban(target) => self.unban(target),
            Command::Bans => self.bans(),
            Command::Mute { name, length } => self.mute(name, Some(length)),
            Command::Unmute(name) => self.mute(name, None),
            Command::Invite(name) => self.invite(name),
            Command::Private(switch) => self.set_private(switch),
            Command::Password(password) => return self.set_password(password),
            Command::Audit(count) => return self.show_audit(count),
            _ => {}
        }
        Step::Done
    }

    pub(super) fn become_operator(&mut self, password: Secret<'_>) -> Step {
        let rules = self.hall.rules();
        let right = rules.operator_password.as_deref();
        let fits = right.is_some_and(|right| is_same(right, password.reveal()));
        Step::Wait(Box::pin(async move {
            tokio::time::sleep(PASSWORD_PAUSE).await;
            Box::new(move |user: &mut Self| {
                if fits {
                    user.person.make_operator();
                    user.audit("became an operator");
                    user.notice("You are an operator: /help lists what you can do");
                } else {
                    user.audit("gave a wrong operator password");
                    user.notice("That is not the operators' password");
                }
            }) as super::Rest
        }))
    }

    fn set_operator(&mut self, name: &str, operator: bool) {
        let Some(other) = self.somebody(name) else { return };
        let Some(seated) = self.inbox.current() else { return };
        let (room, name) = (seated.room.clone(), other.name());
        let done = seated.crowd.with(|room| {
            let seat = room.seat_of(other.session)?;
            room.set_operator(seat, operator);
            Some(())
        });
        if done.is_none() {
            return self.notice(&format!("{name} is not in {room}"));
        }
        let now = if operator { "an operator" } else { "no operator any more" };
        self.audit(&format!("made {name} {now} of {room}"));
        self.notice(&format!("{name} is {now} of {room}"));
        let words = format!("You are {now} of {room}");
        other.mailbox.deliver(Letter::Notice(words));
    }

    fn kick(&mut self, name: &str, words: &str) {
        let Some(other) = self.somebody(name) else { return };
        if self.is_above(&other) {
            return;
        }
        let Some(seated) = self.inbox.current() else { return };
        let (crowd, room) = (Arc::clone(&seated.crowd), seated.room.clone());
        let (by, name) = (self.name.clone(), other.name());
        let colon = if words.is_empty() { "" } else { ": " };
        let told = format!("You were kicked from {room} by {by}{colon}{words}");
        let reason = format!("kicked by {by}{colon}{words}");
        let is_lobby = Arc::ptr_eq(&crowd, &self.hall.lobby);
        if !self.hall.expel(&crowd, &other, &told, &reason) {
            return self.notice(&format!("{name} is not in {room}"));
        }
        if is_lobby {
            // There is nothing to fall back on.
            other.mailbox.end(Ending { words: "Goodbye".to_owned() });
        }
        self.audit(&format!("kicked {name} from {room}{colon}{words}"));
        self.notice(&format!("{name} is out of {room}"));
    }

    fn ban(&mut self, target: Target<'_>, length: Option<Duration>, words: Option<&str>) {
        let Some((subject, scope)) = self.subject_and_scope(target) else { return };
        if let Subject::Name(name) = &subject
            && self.hall.find(name).is_some_and(|other| self.is_above(&other))
        {
            return;
        }
        let until_ms = self.end_of(length);
        let (by, reason) = (self.name.to_string(), words.unwrap_or_default().to_owned());
        let told = format!("banned {subject} from {}", self.place(&scope));
        self.hall.ban(Ban { subject, scope, by, reason, until_ms });
        let until = until_ms.map(self.hall.settings.moment);
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        self.audit(&format!("{told}{until} {}", words.unwrap_or_default()));
        self.notice(&format!("You {told}{until}"));
    }

    fn unban(&mut self, target: Target<'_>) {
        let Some((subject, scope)) = self.subject_and_scope(target) else { return };
        if self.hall.unban(&subject, &scope).is_none() {
            return self.notice(&format!("{subject} is not banned; /bans lists who is"));
        }
        self.audit(&format!("lifted the ban of {subject} from {}", self.place(&scope)));
        self.notice(&format!("{subject} may come to {} again", self.place(&scope)));
    }

    fn bans(&mut self) {
        let scope = self.scope();
        let room = match &scope {
            Some(Scope::Room(name)) => Some(name.key()),
            _ => None,
        };
        let bans = self.hall.bans(room);
        if bans.is_empty() {
            self.notice("Nobody is banned");
        }
        for Ban { subject, by, reason, until_ms, .. } in bans {
            let until = until_ms.map(self.hall.settings.moment);
            let until =
                until.map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
            self.reply(&format!("{subject}, {until}, by {by} {reason}"));
        }
    }

    /// Mutes for a length, or for good; or gives the word back.
    fn mute(&mut self, name: &str, length: Option<Option<Duration>>) {
        let Some(other) = self.somebody(name) else { return };
        if length.is_some() && self.is_above(&other) {
            return;
        }
        let until_ms = length.map(|length| self.end_of(length).unwrap_or(u64::MAX));
        let Some(seated) = self.inbox.current() else { return };
        let (room, name, now_ms) = (seated.room.clone(), other.name(), self.hall.now_ms());
        let muted = Muted { key: name.key().clone(), session: other.session };
        seated.crowd.with(|room| room.mute(now_ms, muted, until_ms));
        let what = if length.is_some() { "muted" } else { "unmuted" };
        self.audit(&format!("{what} {name} in {room}"));
        self.notice(&format!("You {what} {name} in {room}"));
        other.mailbox.deliver(Letter::Notice(format!("You were {what} in {room}")));
    }

    fn invite(&mut self, name: &str) {
        let Some(other) = self.somebody(name) else { return };
        let Some(seated) = self.inbox.current() else { return };
        let (room, name) = (seated.room.clone(), other.name());
        seated.crowd.with(|room| room.invite(name.key().clone()));
        self.audit(&format!("invited {name} to {room}"));
        self.notice(&format!("{name} may join {room}"));
        let words = format!("{} invites you: /join {room}", self.name);
        other.mailbox.deliver(Letter::Notice(words));
    }

    fn show_audit(&mut self, count: Option<u64>) -> Step {
        if !self.person.is_operator() {
            self.notice("Only an operator of the whole chat can do that (/oper PASSWORD)");
            return Step::Done;
        }
        let most = count.unwrap_or(AUDIT_USUAL).min(AUDIT_MAX) as usize;
        let hall = Arc::clone(&self.hall);
        Step::Wait(Box::pin(async move {
            let entries = hall.archive.audit_log(most).await;
            Box::new(move |user: &mut Self| {
                if entries.is_empty() {
                    user.notice("Nothing was done yet");
                }
                for (time_ms, by, what) in entries {
                    let moment = (user.hall.settings.moment)(time_ms);
                    user.reply(&format!("{moment} {by} {what}"));
                }
            }) as super::Rest
        }))
    }

    /// Writes down what this operator did.
    pub(super) fn audit(&self, what: &str) {
        tracing::info!(by = %self.name, "audit: {}", crate::chat::text::escape(what.as_bytes()));
        self.hall.archive.audit(self.hall.now_ms(), self.name.as_str(), what);
    }

    /// Whether the other is an operator of the whole chat, and this one is not: then nothing can
    /// be done to them.
    fn is_above(&mut self, other: &Person) -> bool {
        let above = other.is_operator() && !self.person.is_operator();
        if above {
            self.notice(&format!("{} is an operator", other.name()));
        }
        above
    }

    fn subject_and_scope(&mut self, target: Target<'_>) -> Option<(Subject, Scope)> {
        let subject = match target {
            Target::Network(network) => Subject::Network(network.trunc()),
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
        if self.person.is_operator() {
            return Some(Scope::Chat);
        }
        self.inbox.current().map(|seated| Scope::Room(seated.room.clone()))
    }

    fn place(&self, scope: &Scope) -> String {
        match scope {
            Scope::Chat => "the chat".to_owned(),
            Scope::Room(name) => name.to_string(),
        }
    }

    fn end_of(&self, length: Option<Duration>) -> Option<u64> {
        let length = u64::try_from(length?.as_millis()).unwrap_or(u64::MAX);
        Some(self.hall.now_ms().saturating_add(length))
    }
}

/// Compares in the same time wherever the difference lies.
fn is_same(right: &str, given: &str) -> bool {
    let differs = right.bytes().zip(given.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    right.len() == given.len() && differs == 0
}
