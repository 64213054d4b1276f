//! Commands about users: lists, private lines, names, ignored users and away texts.

use std::net::IpAddr;

use crate::chat::live_state::ChatUser;
use crate::chat::shared_room::SharedRoom;
use crate::session::view::print_json;
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::protocol::ServerMessage;
use echoline_chat_core::room::{Entrance, MemberId};
use echoline_chat_core::state::{FormerUser, network_of, person_id};
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
            self.reply(&format!("No one is in {name}"));
        } else {
            self.reply(&format!("Online in {name}: {names}"));
        }
        Ok(())
    }

    /// `/msg`: sends a private line to one user.
    pub(super) async fn message(&mut self, to: &str, words: &str) -> CommandResult {
        let other = self.find_user(to)?;
        self.write_to(&other, LineKind::Said, words).await
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
            Some(other) => {
                let written = self.write_to(&other, kind, words).await;
                self.finish(written)
            }
            None => {
                self.refuse_line(kind, words, "That user has left");
                Ok(())
            }
        }
    }

    /// `/reply`: answers the author of the last private line.
    pub(super) async fn answer(&mut self, words: &str) -> CommandResult {
        let no_message = "You have no private message to answer: /msg NAME WORDS sends one";
        let session = self.feed.reply_to.ok_or(no_message)?.get();
        let other = self.chat.user(session).ok_or("The last user who wrote to you has left")?;
        self.write_to(&other, LineKind::Said, words).await
    }

    async fn write_to(&mut self, other: &ChatUser, kind: LineKind, words: &str) -> CommandResult {
        if other.session == self.user.session {
            return Err("You cannot send a private message to yourself".into());
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

    /// `/nick`: changes the user's name.
    pub(super) async fn rename(&mut self, text: &str) -> CommandResult {
        let name = Name::parse(text)?;
        if name.as_str() == self.name().as_str() {
            return Err(format!("Your name is already {name}").into());
        }
        self.charge(SourceAction::Login)?;
        if let Outcome::Renamed(Err(taken)) = self.carry_out(Operation::Rename { name }).await? {
            return Err(taken.sentence().into());
        }
        self.save_session();
        Ok(())
    }

    /// `/ignore`: hides the lines of a user, or lists the ignored users.
    pub(super) fn ignore(&mut self, name: Option<&str>) -> CommandResult {
        let Some(name) = name else {
            let names: Vec<String> = self.feed.view.ignored().map(Name::to_string).collect();
            match names.as_slice() {
                [] => self.notice("You ignore no one"),
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
            return Err("You already ignore too many users; /ignore lists them".into());
        }
        self.save_session();
        self.notice(&format!("You no longer see what {name} says; /unignore {name} undoes that"));
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

    /// `/away`: sets or removes the away text. A user who writes to this user gets the away text as
    /// a reply.
    pub(super) async fn away(&mut self, words: Option<&str>) -> CommandResult {
        if words.is_some_and(|words| words.chars().count() > AWAY_CHARACTERS_MAX) {
            let sentence =
                format!("An away message can have at most {AWAY_CHARACTERS_MAX} characters");
            return Err(sentence.into());
        }
        self.carry_out(Operation::Away { words: words.map(str::to_owned) }).await?;
        self.save_session();
        match words {
            Some(words) => {
                self.notice(&format!("You are marked as away: {words}"));
            }
            None => self.notice("You are no longer marked as away"),
        }
        Ok(())
    }

    /// Returns the user with this name.
    pub(super) fn find_user(&self, text: &str) -> CommandResult<ChatUser> {
        let found = self.chat.find(&Name::parse(text)?);
        let absent = || format!("There is no user {}; /users lists the users here", excerpt(text));
        Ok(found.ok_or_else(absent)?)
    }
}

/// The maximum number of bans of one user that `/whois` shows.
const BANS_SHOWN: usize = 20;

impl<S: ByteStream> Session<S> {
    /// `/whois`: shows the rooms of a user. Operators of the chat see more.
    pub(super) fn whois(&mut self, text: &str) -> CommandResult {
        let name = Name::parse(text).ok();
        let found = name.as_ref().and_then(|name| self.chat.find(name));
        if found.is_none()
            && self.user.is_operator()
            && let Some(former) = name.and_then(|name| self.chat.former_user(&name))
        {
            self.whois_former(&former);
            return Ok(());
        }
        let other = self.find_user(text)?;
        let name = other.name();
        let rooms = self.rooms_of(&other);
        let rooms = if rooms.is_empty() { "no room".to_owned() } else { rooms.join(", ") };
        let away = other.away().map(|words| format!("; away: {words}")).unwrap_or_default();
        self.reply(&format!("{name} is in {rooms}{away}"));
        if self.user.is_operator() {
            self.whois_for_operator(&other, &name);
        }
        Ok(())
    }

    /// Returns the rooms of the other user that this user can see. Marks the rooms in which the
    /// other user is an operator or muted.
    fn rooms_of(&self, other: &ChatUser) -> Vec<String> {
        let (lineage, sees_all) = (self.user.lineage, self.user.is_operator());
        let now_ms = self.chat.now_ms();
        let room = |(shared_room, _): (SharedRoom, MemberId)| {
            shared_room.with(|room| {
                // The membership may have ended since.
                let member_id = room.member_id_of(other.session)?;
                let is_open = room.entrance(lineage) != Entrance::Invited;
                let is_known = is_open || room.member_id_of(self.user.session).is_some();
                let operator = if room.is_operator(member_id) { " (operator)" } else { "" };
                let muted = room.muted_until(now_ms, other.name().key(), other.lineage);
                let muted = if sees_all && muted.is_some() { " (muted)" } else { "" };
                (is_known || sees_all).then(|| format!("{}{operator}{muted}", room.name))
            })
        };
        let mut rooms: Vec<String> = other.memberships().into_iter().filter_map(room).collect();
        rooms.sort_unstable();
        rooms
    }

    fn whois_for_operator(&mut self, other: &ChatUser, name: &Name) {
        let since = (self.chat.settings.moment)(other.since_ms);
        let operator = if other.is_operator() { ", an operator of the chat" } else { "" };
        let token = match self.chat.has_token(other.lineage) {
            true => "with a resume token",
            false => "without a resume token",
        };
        let from = self.origin(other.address, other.lineage);
        self.reply(&format!("{name} has been here since {since}{operator}, {token}, {from}"));
        for ban in self.chat.bans_of(other).iter().take(BANS_SHOWN) {
            self.reply(&format!("{name} is banned from {}, as {}", ban.scope, ban.subject));
        }
    }

    fn whois_former(&mut self, former: &FormerUser) {
        let left = (self.chat.settings.moment)(former.left_ms);
        let from = self.origin(former.address, former.lineage);
        self.reply(&format!("{} left at {left}, {from}", former.name));
    }

    /// Describes the address of a user, and counts the other users who share it, because a ban of
    /// the address applies to them too.
    pub(super) fn origin(&self, address: Option<IpAddr>, lineage: u64) -> String {
        let Some(address) = address else { return "from no known address".to_owned() };
        let network = network_of(address);
        let others = self.chat.people_from(network, lineage);
        let counted = match address.to_canonical() {
            IpAddr::V6(_) => format!(" (counted as {network})"),
            IpAddr::V4(_) => String::new(),
        };
        let address = address.to_canonical();
        match others {
            0 => format!("from {address}{counted}, used by no other user here"),
            1 => format!("from {address}{counted}, also used by 1 other user here"),
            others => {
                format!("from {address}{counted}, also used by {others} other users here")
            }
        }
    }
}
