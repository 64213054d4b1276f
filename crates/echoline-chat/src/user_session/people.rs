//! Other people: who is there, what is said to one alone, names, who is ignored and who is away.

use super::{Step, UserSession};
use crate::answer_limits::{AWAY_CHARACTERS_MAX, names_in_words};
use crate::command::Command;
use crate::history::Kind;
use crate::name::Name;
use crate::operation::Operation;
use crate::outcome::{OperationError, Outcome};
use crate::protocol::ServerMessage;
use crate::state::ChatUser;
use crate::user_table::person_id;
use crate::view::print_json;
use echoline::SourceAction;

/// Members that `/lag` lists.
const LAGS_SHOWN: usize = 20;

impl UserSession {
    pub(super) fn users_of(&mut self, room: &str) {
        let Some((name, shared_room)) = self.visible_room(room) else { return };
        let names = shared_room
            .with(|room| names_in_words(room.members().iter().map(|member| member.name.as_str())));
        if names.is_empty() {
            self.reply(&format!("Nobody is in {name}"));
        } else {
            self.reply(&format!("Online in {name}: {names}"));
        }
    }

    pub(super) fn message(&mut self, to: &str, words: &str) -> Step {
        match self.somebody(to) {
            Some(other) => self.write_to(&other, Kind::Said, words),
            None => Step::Done,
        }
    }

    /// Does what was typed in the private thread with the user of this id.
    pub(crate) fn act_in_private(&mut self, id: &str, line: &str) -> Step {
        match Command::parse(line) {
            Ok(Command::Say(words) | Command::Reply(words)) => {
                self.say_in_private(id, Kind::Said, words)
            }
            Ok(Command::Me(words)) => self.say_in_private(id, Kind::Action, words),
            Ok(command) if command.concerns_current_room() => {
                self.notice("That command is about a room: open the room, and type it there");
                Step::Done
            }
            _ => self.act(line),
        }
    }

    /// Says something to the user with this id alone.
    pub(crate) fn say_in_private(&mut self, id: &str, kind: Kind, words: &str) -> Step {
        if self.user.mailbox.ending().is_some() {
            return Step::Done;
        }
        match self.chat.person_with_id(id) {
            Some(other) => self.write_to(&other, kind, words),
            None => self.refuse_line(kind, words, "That person has left"),
        }
    }

    fn write_to(&mut self, other: &ChatUser, kind: Kind, words: &str) -> Step {
        if other.session == self.user.session {
            self.notice("You need nobody to talk to yourself");
            return Step::Done;
        }
        self.user.note_speech(self.chat.now_ms());
        let name = other.name();
        if let Some(away) = other.away() {
            match self.feed.view.ignores(other.lineage, name.as_str()) {
                true => self.notice(&format!("{name} is away")),
                false => self.notice(&format!("{name} is away: {away}")),
            }
        }
        let words = words.to_owned();
        let lineage = other.lineage;
        let act = Operation::Write { to: other.session, words: words.clone(), kind };
        self.apply_operation(act, move |user, outcome| {
            let reason = match outcome.refusal() {
                None => {
                    user.show_written(lineage, &name, kind, &words);
                    return Step::Done;
                }
                Some(OperationError::Absent | OperationError::Outside) => {
                    format!("{name} has left: that was not delivered")
                }
                Some(OperationError::NotDelivered(why)) => {
                    format!("Not delivered to {name}, {why}")
                }
                Some(_) => format!("{name} does not read: that was not delivered"),
            };
            match user.feed.private {
                Some(_) => user.refuse_line(kind, &words, &reason),
                None => {
                    user.notice(&reason);
                    Step::Done
                }
            }
        })
    }

    fn show_written(&mut self, lineage: u64, to: &Name, kind: Kind, words: &str) {
        if self.feed.view.is_page() {
            let name = self.name();
            let sent = ServerMessage::Private {
                name: name.as_str().into(),
                to: Some(to.as_str().into()),
                time_ms: self.chat.now_ms(),
                text: words.into(),
                person: person_id(lineage).into(),
                action: kind == Kind::Action,
                own: true,
            };
            print_json(&sent, &mut self.replies);
        } else {
            self.reply(&format!("[you -> {to}] {words}"));
        }
    }

    pub(super) fn answer(&mut self, words: &str) -> Step {
        let Some(session) = self.feed.reply_to else {
            self.notice("Nobody has written to you yet: /msg NAME WORDS");
            return Step::Done;
        };
        match self.chat.user(session.get()) {
            Some(other) => self.write_to(&other, Kind::Said, words),
            None => {
                self.notice("Who wrote to you last has left");
                Step::Done
            }
        }
    }

    pub(super) fn rename(&mut self, text: &str) -> Step {
        let name = match Name::parse(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return Step::Done;
            }
        };
        if name.as_str() == self.name().as_str() {
            self.notice(&format!("You are {name} already"));
            return Step::Done;
        }
        if !self.may(SourceAction::Login) {
            return Step::Done;
        }
        self.apply_operation(Operation::Rename { name }, |user, outcome| match outcome {
            Outcome::Renamed(renamed) => {
                match renamed {
                    Ok(()) => user.save_session(),
                    Err(taken) => user.notice(&taken.sentence()),
                }
                Step::Done
            }
            outcome => user.refuse(&outcome),
        })
    }

    pub(super) fn ignore(&mut self, name: Option<&str>) {
        let Some(name) = name else {
            let names: Vec<String> = self.feed.view.ignored().map(Name::to_string).collect();
            return match names.as_slice() {
                [] => self.notice("You ignore nobody"),
                names => self.reply(&format!("Ignored: {}", names.join(", "))),
            };
        };
        let Some(other) = self.somebody(name) else { return };
        let name = other.name();
        if other.session == self.user.session {
            self.notice("You cannot ignore yourself");
        } else if self.feed.view.ignore(name.clone(), other.lineage) {
            self.save_session();
            self.notice(&format!("You do not see what {name} says; /unignore {name} ends that"));
        } else {
            self.notice("You ignore too many people already; /ignore lists them");
        }
    }

    pub(super) fn unignore(&mut self, name: &str) {
        match Name::parse(name) {
            Ok(name) if self.feed.view.heed(&name) => {
                self.save_session();
                self.notice(&format!("You see what {name} says again"));
            }
            Ok(name) => self.notice(&format!("You do not ignore {name}")),
            Err(error) => self.notice(&error.to_string()),
        }
    }

    pub(super) fn away(&mut self, words: Option<&str>) -> Step {
        if words.is_some_and(|words| words.chars().count() > AWAY_CHARACTERS_MAX) {
            self.notice(&format!("An away text has at most {AWAY_CHARACTERS_MAX} characters"));
            return Step::Done;
        }
        let words = words.map(str::to_owned);
        self.apply_operation(Operation::Away { words: words.clone() }, move |user, outcome| {
            if outcome.refusal().is_some() {
                return user.refuse(&outcome);
            }
            user.save_session();
            match words {
                Some(words) => {
                    user.notice(&format!("Who writes to you hears that you are away: {words}"));
                }
                None => user.notice("You are back"),
            }
            Step::Done
        })
    }

    /// Who is called so; where nobody is, the user is told.
    pub(super) fn somebody(&mut self, text: &str) -> Option<ChatUser> {
        let found = Name::parse(text).map(|name| self.chat.find(&name));
        match found {
            Ok(Some(user)) => Some(user),
            Ok(None) => {
                let shown = crate::text::excerpt(text);
                self.notice(&format!("Nobody here is called {shown}; /users lists who is"));
                None
            }
            Err(error) => {
                self.notice(&error.to_string());
                None
            }
        }
    }
}

/// Lists the members that are behind, and how many lines.
pub(crate) fn lags_in_words(lags: &[(&Name, u64)]) -> String {
    if lags.is_empty() {
        return "Nobody is behind".to_owned();
    }
    let mut parts: Vec<String> =
        lags.iter().take(LAGS_SHOWN).map(|(name, lines)| format!("{name} {lines}")).collect();
    if lags.len() > LAGS_SHOWN {
        parts.push(format!("and {} more", lags.len() - LAGS_SHOWN));
    }
    format!("Lines behind: {}", parts.join(", "))
}
