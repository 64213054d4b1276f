//! Commands for rooms: `/join`, `/leave`, `/rooms`, `/topic`, `/private` and `/password`.

use std::sync::Arc;

use tokio::time::sleep;

use crate::chat::{Credential, JoinError, Membership};
use crate::password_checks::WRONG_PASSWORD_PAUSE;
use crate::session::{IN_NO_ROOM, Session};
use crate::shared_room::SharedRoom;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline::sources::SourceAction;
use echoline_chat_core::answer_limits::{Budget, LIST_BYTES_MAX, topic_in_list};
use echoline_chat_core::command::arguments::{CommandSecret, Switch};
use echoline_chat_core::name::Name;
use echoline_chat_core::operation::{Operation, RoomChange};
use echoline_chat_core::outcome::{OperationError, Outcome};
use echoline_chat_core::room::ReplayFrom;
use echoline_chat_core::room::entrance::Entrance;

/// The number of earlier lines for newcomers that need every line: programs, pages, and terminals
/// that show numbers.
const WHOLE_LINES: u64 = 500;

/// The maximum number of rooms that `/rooms` lists.
const ROOMS_SHOWN: usize = 100;

impl<S: ByteStream> Session<S> {
    /// `/join`: makes a room the current one, and joins it if the user is not in it.
    pub(super) async fn join(
        &mut self,
        text: &str,
        password: Option<CommandSecret<'_>>,
    ) -> Result<(), Closed> {
        let room = match Name::parse_room(text) {
            Ok(room) => room,
            Err(error) => {
                self.notice(&error.to_string());
                return Ok(());
            }
        };
        if let Some(index) = self.feed.position(&room) {
            self.feed.set_current(index);
            self.tell_rooms();
            self.save_session();
            self.notice(&format!("You are now talking in {room}"));
            return Ok(());
        }
        let mut joined = self.enter(&room, Credential::Nothing).await?;
        if let (Some(Err(JoinError::Password(hash))), Some(password)) = (&joined, password) {
            let hash = Arc::clone(hash);
            joined = self.enter_with_password(&room, password, hash).await?;
        }
        match joined {
            Some(Ok(membership)) => {
                self.settle_in(membership);
                return self.show_earlier_lines().await;
            }
            Some(Err(error)) => self.notice(&error.sentence(&room)),
            None => {}
        }
        Ok(())
    }

    /// Enters with a password. The check takes a while, and longer if the password is wrong. The
    /// session reads its next line only afterwards, so it has one attempt at a time.
    ///
    /// Returns `None` if the user was told why the password was not checked.
    async fn enter_with_password(
        &mut self,
        room: &Name,
        password: CommandSecret<'_>,
        hash: Arc<str>,
    ) -> Result<Option<Result<Membership, JoinError>>, Closed> {
        // Charged before the check, so that guesses over many connections at once count too.
        if !self.charge(SourceAction::WrongPassword) {
            return Ok(None);
        }
        let (chat, source) = (Arc::clone(&self.chat), self.source);
        let (password, expected) = (password.reveal().to_owned(), Arc::clone(&hash));
        let checked = self.wait(async move {
            let passed = chat.gates.pass(source).await;
            let fits = chat.passwords.fits(password, expected).await;
            drop(passed);
            if fits != Ok(true) {
                sleep(WRONG_PASSWORD_PAUSE).await;
            }
            fits
        });
        match checked.await? {
            Ok(true) => {
                self.refund(SourceAction::WrongPassword);
                self.enter(room, Credential::Password(hash.to_string())).await
            }
            Ok(false) => Ok(Some(Err(JoinError::Password(hash)))),
            Err(error) => {
                self.refund(SourceAction::WrongPassword);
                self.notice(error.sentence());
                Ok(None)
            }
        }
    }

    /// Enters a room, or returns the error. Returns `None` if the user was already told the reason.
    async fn enter(
        &mut self,
        room: &Name,
        credential: Credential,
    ) -> Result<Option<Result<Membership, JoinError>>, Closed> {
        if self.feed.memberships.len() >= self.chat.settings.max_rooms_each {
            return Ok(Some(Err(JoinError::TooManyOfYours)));
        }
        if self.chat.room(room).is_none() && !self.charge(SourceAction::Room) {
            return Ok(None);
        }
        let replay_from = ReplayFrom::Last(self.chat.rules().replay);
        let join = Operation::Join { room: room.clone(), replay_from, credential };
        Ok(Some(match self.propose(join).await? {
            Outcome::Joined(Ok(joined)) => self.chat.membership(joined).ok_or(JoinError::Gone),
            Outcome::Joined(Err(error)) => Err(error),
            outcome => Err(JoinError::of(&outcome)),
        }))
    }

    /// Shows the user the room that they have entered.
    fn settle_in(&mut self, membership: Membership) {
        if membership.shared_room.with(|room| room.is_expelled(membership.member_id)) {
            // The member was expelled again before the join was confirmed.
            return self.chat.give_back(&self.user, &membership.shared_room);
        }
        let (count, topic) =
            membership.shared_room.with(|room| (room.count(), Arc::clone(&room.topic)));
        let people =
            if count == 1 { "no one else is here".into() } else { format!("{count} users") };
        let room = membership.room.clone();
        let earlier = self.lines_before(&membership);
        // A page shows answers in the first room that it knows.
        self.feed.enter(membership);
        self.tell_rooms();
        self.notice(&format!("You are now talking in {room}: {people}"));
        if !topic.is_empty() {
            self.notice(&format!("Topic: {topic}"));
        }
        // An operator who has never seen a token would lose the room if the connection breaks.
        let is_operator = self.feed.current().is_some_and(Membership::is_operator);
        match is_operator && self.user.token().is_none() {
            true => self.tell_operator_token(),
            false => self.save_session(),
        }
        self.separate(earlier);
    }

    /// Counts the earlier lines that a newcomer will see.
    pub(crate) fn lines_before(&self, membership: &Membership) -> u64 {
        let Membership { shared_room, member_id, joined, .. } = membership;
        shared_room
            .with(|room| room.earlier(*member_id, *joined, self.feed.view.own(), WHOLE_LINES))
    }

    /// Announces `count` earlier lines.
    pub(crate) fn separate(&mut self, count: u64) {
        match count {
            0 => {}
            1 => self.reply("--- 1 earlier line ---"),
            count => self.reply(&format!("--- {count} earlier lines ---")),
        }
    }

    /// `/leave`: leaves the current room, or another one.
    pub(super) async fn leave_room(&mut self, text: Option<&str>) -> Result<(), Closed> {
        let room = match text.map(Name::parse_room) {
            None => self.feed.current().map(|membership| membership.room.clone()),
            Some(Ok(room)) => Some(room),
            Some(Err(error)) => {
                self.notice(&error.to_string());
                return Ok(());
            }
        };
        let Some(room) = room else {
            self.notice(IN_NO_ROOM);
            return Ok(());
        };
        let Some(index) = self.feed.position(&room) else {
            self.notice(&format!("You are not in {room}"));
            return Ok(());
        };
        if self.feed.memberships.len() < 2 {
            self.notice("This is your only room; /quit leaves the chat");
            return Ok(());
        }
        let room = self.feed.memberships[index].room.clone();
        let outcome = self.propose(Operation::Part { room: room.clone() }).await?;
        match outcome.refusal() {
            Some(_) => self.explain_refusal(&outcome),
            None => self.forget_membership(&room),
        }
        Ok(())
    }

    /// Releases the membership of a room that the user has left.
    fn forget_membership(&mut self, left: &Name) {
        let Some(index) = self.feed.position(left) else { return };
        let membership = self.feed.remove(index);
        self.chat.give_back(&self.user, &membership.shared_room);
        self.tell_rooms();
        self.save_session();
        if let Some(current) = self.feed.current() {
            let current = current.room.clone();
            self.notice(&format!("You left {left} and are now talking in {current}"));
        }
    }

    /// `/rooms`: lists the rooms by size.
    pub(super) fn rooms(&mut self) {
        let lineage = self.user.lineage;
        let sees_all = self.user.is_operator();
        let mut listed: Vec<(usize, String)> = Vec::new();
        for shared_room in self.chat.rooms() {
            listed.extend(shared_room.with(|room| {
                let is_in = room.seat_of(self.user.session).is_some();
                let entrance = room.entrance(lineage);
                if entrance == Entrance::Invited && !is_in && !sees_all {
                    return None;
                }
                let lock = if entrance == Entrance::Password { " (password)" } else { "" };
                let topic = topic_in_list(&room.topic);
                let colon = if topic.is_empty() { "" } else { ": " };
                let line = format!("{} ({}){lock}{colon}{topic}", room.name, room.count());
                Some((room.count(), line))
            }));
        }
        listed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let (mut shown, mut budget) = (0, Budget::new(LIST_BYTES_MAX));
        for (_, line) in listed.iter().take(ROOMS_SHOWN) {
            if !budget.take(line.len()) {
                break;
            }
            self.reply(line);
            shown += 1;
        }
        if shown < listed.len() {
            self.reply(&format!("and {} more", listed.len() - shown));
        }
    }

    /// `/topic`: shows the topic of the room, or sets it.
    pub(super) async fn topic(&mut self, words: Option<&str>) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else { return Ok(()) };
        let Some(words) = words else {
            let topic = membership.shared_room.with(|room| Arc::clone(&room.topic));
            match &*topic {
                "" => self.notice("No topic is set"),
                topic => self.notice(&format!("Topic: {topic}")),
            }
            return Ok(());
        };
        // `/topic -` removes it.
        let words = if words == "-" { "" } else { words };
        let room = membership.room.clone();
        let outcome = self.propose(Operation::Topic { room, words: words.to_owned() }).await?;
        match outcome.refusal() {
            Some(OperationError::Muted(_)) => self.notice("You are muted in this room"),
            Some(OperationError::NotInRoom) => self.notice("You are no longer in this room"),
            _ => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    /// Returns a room that the user may know of. If there is none, tells the user.
    pub(super) fn visible_room(&mut self, text: &str) -> Option<(Name, SharedRoom)> {
        let name = match Name::parse_room(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return None;
            }
        };
        let (lineage, session) = (self.user.lineage, self.user.session);
        let sees_all = self.user.is_operator();
        let room = self.chat.room(&name).filter(|shared_room| {
            shared_room.with(|room| {
                let is_open = room.entrance(lineage) == Entrance::Open;
                is_open || room.seat_of(session).is_some() || sees_all
            })
        });
        if room.is_none() {
            self.notice(&format!("There is no room {name} that you can see"));
        }
        room.map(|room| (name, room))
    }

    /// `/private`: admits only invited users, or all users again.
    pub(super) async fn set_private(&mut self, switch: Switch) -> Result<(), Closed> {
        let words = if switch.is_on() {
            "Only invited users can join this room now (/invite NAME), and /rooms does not list it"
        } else {
            "All users can join this room now"
        };
        self.alter(RoomChange::Private(switch.is_on()), "private", words).await
    }

    /// `/password`: admits only users who know the password, or all users again.
    pub(super) async fn set_password(
        &mut self,
        password: Option<CommandSecret<'_>>,
    ) -> Result<(), Closed> {
        let Some(password) = password else {
            let words = "This room no longer has a password";
            return self.alter(RoomChange::Password(None), "no password", words).await;
        };
        let (chat, password) = (Arc::clone(&self.chat), password.reveal().to_owned());
        let hashed = self.wait(async move {
            let hash = chat.passwords.hash(password).await;
            // Computing a hash costs as much as a guess, so the pause is the same.
            sleep(WRONG_PASSWORD_PAUSE).await;
            hash
        });
        match hashed.await? {
            Ok(hash) => {
                let words = "Users now need this password: /join ROOM PASSWORD";
                self.alter(RoomChange::Password(Some(hash.to_string())), "password", words).await
            }
            Err(error) => {
                self.notice(error.sentence());
                Ok(())
            }
        }
    }

    /// Changes a setting of the current room to `what`, and confirms it with `words`.
    async fn alter(&mut self, change: RoomChange, what: &str, words: &str) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else { return Ok(()) };
        let room = membership.room.clone();
        let outcome = self.propose(Operation::Alter { room: room.clone(), change }).await?;
        if outcome.refusal().is_some() {
            self.explain_refusal(&outcome);
            return Ok(());
        }
        self.audit(&format!("set {room} to {what}"));
        self.notice(words);
        Ok(())
    }
}
