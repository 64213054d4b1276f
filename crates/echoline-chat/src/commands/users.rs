//! Commands about users: lists, private lines, names, ignored users, away texts.

use crate::live_state::ChatUser;
use crate::session::Session;
use crate::telnet::ByteStream;
use crate::view::print_json;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::answer_limits::{AWAY_CHARACTERS_MAX, names_in_words};
use echoline_chat_core::name::Name;
use echoline_chat_core::operation::Operation;
use echoline_chat_core::outcome::{OperationError, Outcome};
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::state::user_table::person_id;
use echoline_chat_store::LineKind;

impl<S: ByteStream> Session<S> {
    /// `/users ROOM`: lists the members of another room.
    pub(super) fn users_of(&mut self, room: &str) {
        let Some((name, shared_room)) = self.visible_room(room) else { return };
        let names = shared_room
            .with(|room| names_in_words(room.members().iter().map(|member| member.name.as_str())));
        if names.is_empty() {
            self.reply(&format!("No one is in {name}"));
        } else {
            self.reply(&format!("Online in {name}: {names}"));
        }
    }

    /// `/msg`: sends a private line to one user.
    pub(super) async fn message(&mut self, to: &str, words: &str) -> Result<(), Closed> {
        match self.find_user(to) {
            Some(other) => self.write_to(&other, LineKind::Said, words).await,
            None => Ok(()),
        }
    }

    /// Sends a private line to the user with this id.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn say_to(
        &mut self,
        id: &str,
        kind: LineKind,
        words: &str,
    ) -> Result<(), Closed> {
        if self.is_ended() {
            return Ok(());
        }
        match self.chat.person_with_id(id) {
            Some(other) => self.write_to(&other, kind, words).await,
            None => {
                self.refuse_line(kind, words, "That user has left");
                Ok(())
            }
        }
    }

    /// `/reply`: answers the author of the last private line.
    pub(super) async fn answer(&mut self, words: &str) -> Result<(), Closed> {
        let Some(session) = self.feed.reply_to else {
            self.notice("You have no private message to answer: /msg NAME WORDS sends one");
            return Ok(());
        };
        match self.chat.user(session.get()) {
            Some(other) => self.write_to(&other, LineKind::Said, words).await,
            None => {
                self.notice("The last user who wrote to you has left");
                Ok(())
            }
        }
    }

    async fn write_to(
        &mut self,
        other: &ChatUser,
        kind: LineKind,
        words: &str,
    ) -> Result<(), Closed> {
        if other.session == self.user.session {
            self.notice("You cannot send a private message to yourself");
            return Ok(());
        }
        self.user.note_speech(self.chat.now_ms());
        let name = other.name();
        if let Some(away) = other.away() {
            match self.feed.view.ignores(other.lineage, name.as_str()) {
                true => self.notice(&format!("{name} is away")),
                false => self.notice(&format!("{name} is away: {away}")),
            }
        }
        let write = Operation::Write { to: other.session, words: words.to_owned(), kind };
        let outcome = self.propose(write).await?;
        let reason = match outcome.refusal() {
            None => {
                self.show_written(other.lineage, &name, kind, words);
                return Ok(());
            }
            Some(OperationError::NotFound | OperationError::NotInRoom) => {
                format!("Not delivered: {name} has left")
            }
            Some(OperationError::NotDelivered(why)) => format!("Not delivered to {name}: {why}"),
            Some(_) => format!("Not delivered: the mailbox of {name} is full"),
        };
        match self.feed.private {
            Some(_) => self.refuse_line(kind, words, &reason),
            None => self.notice(&reason),
        }
        Ok(())
    }

    fn show_written(&mut self, lineage: u64, to: &Name, kind: LineKind, words: &str) {
        if self.feed.view.is_page() {
            let name = self.name();
            let sent = ServerMessage::Private {
                name: name.as_str().into(),
                to: Some(to.as_str().into()),
                time_ms: self.chat.now_ms(),
                text: words.into(),
                person: person_id(lineage).into(),
                action: kind == LineKind::Action,
                own: true,
            };
            print_json(&sent, &mut self.replies);
        } else {
            self.reply(&format!("[you -> {to}] {words}"));
        }
    }

    /// `/nick`: takes another name.
    pub(super) async fn rename(&mut self, text: &str) -> Result<(), Closed> {
        let name = match Name::parse(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return Ok(());
            }
        };
        if name.as_str() == self.name().as_str() {
            self.notice(&format!("Your name is already {name}"));
            return Ok(());
        }
        if !self.charge(SourceAction::Login) {
            return Ok(());
        }
        match self.propose(Operation::Rename { name }).await? {
            Outcome::Renamed(Ok(())) => self.save_session(),
            Outcome::Renamed(Err(taken)) => self.notice(&taken.sentence()),
            outcome => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    /// `/ignore`: hides the lines of a user, or lists the hidden users.
    pub(super) fn ignore(&mut self, name: Option<&str>) {
        let Some(name) = name else {
            let names: Vec<String> = self.feed.view.ignored().map(Name::to_string).collect();
            return match names.as_slice() {
                [] => self.notice("You ignore no one"),
                names => self.reply(&format!("Ignored: {}", names.join(", "))),
            };
        };
        let Some(other) = self.find_user(name) else { return };
        let name = other.name();
        if other.session == self.user.session {
            self.notice("You cannot ignore yourself");
        } else if self.feed.view.ignore(name.clone(), other.lineage) {
            self.save_session();
            self.notice(&format!(
                "You no longer see what {name} says; /unignore {name} undoes that"
            ));
        } else {
            self.notice("You already ignore too many users; /ignore lists them");
        }
    }

    /// `/unignore`: shows the lines of a user again.
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

    /// `/away`: sets the text for users who write to this one, or removes it.
    pub(super) async fn away(&mut self, words: Option<&str>) -> Result<(), Closed> {
        if words.is_some_and(|words| words.chars().count() > AWAY_CHARACTERS_MAX) {
            self.notice(&format!(
                "An away message can have at most {AWAY_CHARACTERS_MAX} characters"
            ));
            return Ok(());
        }
        let away = Operation::Away { words: words.map(str::to_owned) };
        let outcome = self.propose(away).await?;
        if outcome.refusal().is_some() {
            self.explain_refusal(&outcome);
            return Ok(());
        }
        self.save_session();
        match words {
            Some(words) => {
                self.notice(&format!("You are marked as away: {words}"));
            }
            None => self.notice("You are no longer marked as away"),
        }
        Ok(())
    }

    /// Returns the user of a name. If there is none, tells the author of the command.
    pub(super) fn find_user(&mut self, text: &str) -> Option<ChatUser> {
        let found = Name::parse(text).map(|name| self.chat.find(&name));
        match found {
            Ok(Some(user)) => Some(user),
            Ok(None) => {
                let shown = echoline_chat_core::text::excerpt(text);
                self.notice(&format!("There is no user {shown}; /users lists the users here"));
                None
            }
            Err(error) => {
                self.notice(&error.to_string());
                None
            }
        }
    }
}
