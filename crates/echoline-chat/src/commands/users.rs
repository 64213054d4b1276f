//! Other users: lists of them, private lines, names, ignored users, away texts.

use crate::live_state::ChatUser;
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use crate::view::print_json;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::state::person_id;
use echoline_chat_core::text::excerpt;
use echoline_chat_core::{
    AWAY_CHARACTERS_MAX, LineKind, Name, Operation, OperationError, Outcome, names_in_words,
};

impl<S: ByteStream> Session<S> {
    /// `/users ROOM`: lists the members of another room.
    pub(super) fn users_of(&mut self, room: &str) -> CommandResult {
        let (name, shared_room) = self.visible_room(room)?;
        let names = shared_room
            .with(|room| names_in_words(room.members().iter().map(|member| member.name.as_str())));
        if names.is_empty() {
            self.reply(&format!("Nobody is in {name}"));
        } else {
            self.reply(&format!("Online in {name}: {names}"));
        }
        Ok(())
    }

    /// `/msg`: says something to one user alone.
    pub(super) async fn message(&mut self, to: &str, words: &str) -> CommandResult {
        let other = self.find_user(to)?;
        self.write_to(&other, LineKind::Said, words).await
    }

    /// Says something to the user with this id alone.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
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
            Some(other) => {
                let written = self.write_to(&other, kind, words).await;
                self.finish(written)
            }
            None => {
                self.refuse_line(kind, words, "That person has left");
                Ok(())
            }
        }
    }

    /// `/reply`: answers the author of the last private line.
    pub(super) async fn answer(&mut self, words: &str) -> CommandResult {
        let nobody = "Nobody has written to you yet: /msg NAME WORDS";
        let session = self.feed.reply_to.ok_or(nobody)?.get();
        let other = self.chat.user(session).ok_or("Who wrote to you last has left")?;
        self.write_to(&other, LineKind::Said, words).await
    }

    async fn write_to(&mut self, other: &ChatUser, kind: LineKind, words: &str) -> CommandResult {
        if other.session == self.user.session {
            return Err("You need nobody to talk to yourself".into());
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
                format!("{name} has left: that was not delivered")
            }
            Some(OperationError::NotDelivered(why)) => format!("Not delivered to {name}, {why}"),
            Some(_) => format!("{name} does not read: that was not delivered"),
        };
        if self.feed.private.is_none() {
            return Err(reason.into());
        }
        self.refuse_line(kind, words, &reason);
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
    pub(super) async fn rename(&mut self, text: &str) -> CommandResult {
        let name = Name::parse(text)?;
        if name.as_str() == self.name().as_str() {
            return Err(format!("You are {name} already").into());
        }
        self.charge(SourceAction::Login)?;
        if let Outcome::Renamed(Err(taken)) = self.carry_out(Operation::Rename { name }).await? {
            return Err(taken.sentence().into());
        }
        self.save_session();
        Ok(())
    }

    /// `/ignore`: hides the lines of a user, or lists the hidden users.
    pub(super) fn ignore(&mut self, name: Option<&str>) -> CommandResult {
        let Some(name) = name else {
            let names: Vec<String> = self.feed.view.ignored().map(Name::to_string).collect();
            match names.as_slice() {
                [] => self.notice("You ignore nobody"),
                names => self.reply(&format!("Ignored: {}", names.join(", "))),
            }
            return Ok(());
        };
        let other = self.find_user(name)?;
        let name = other.name();
        if other.session == self.user.session {
            return Err("You cannot ignore yourself".into());
        }
        if !self.feed.view.ignore(name.clone(), other.lineage) {
            return Err("You ignore too many people already; /ignore lists them".into());
        }
        self.save_session();
        self.notice(&format!("You do not see what {name} says; /unignore {name} ends that"));
        Ok(())
    }

    /// `/unignore`: shows the lines of a user again.
    pub(super) fn unignore(&mut self, name: &str) -> CommandResult {
        let name = Name::parse(name)?;
        if !self.feed.view.heed(&name) {
            return Err(format!("You do not ignore {name}").into());
        }
        self.save_session();
        self.notice(&format!("You see what {name} says again"));
        Ok(())
    }

    /// `/away`: sets the text for users who write to this one, or removes it.
    pub(super) async fn away(&mut self, words: Option<&str>) -> CommandResult {
        if words.is_some_and(|words| words.chars().count() > AWAY_CHARACTERS_MAX) {
            let sentence = format!("An away text has at most {AWAY_CHARACTERS_MAX} characters");
            return Err(sentence.into());
        }
        self.carry_out(Operation::Away { words: words.map(str::to_owned) }).await?;
        self.save_session();
        match words {
            Some(words) => {
                self.notice(&format!("Who writes to you hears that you are away: {words}"));
            }
            None => self.notice("You are back"),
        }
        Ok(())
    }

    /// Returns the user of a name.
    pub(super) fn find_user(&self, text: &str) -> CommandResult<ChatUser> {
        let found = self.chat.find(&Name::parse(text)?);
        let absent = || format!("Nobody here is called {}; /users lists who is", excerpt(text));
        Ok(found.ok_or_else(absent)?)
    }
}
