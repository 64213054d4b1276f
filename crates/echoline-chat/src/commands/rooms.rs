//! Commands for rooms: `/join`, `/leave`, `/rooms`, `/topic`, `/private` and `/password`.

use std::cmp::Reverse;
use std::sync::Arc;

use tokio::time::sleep;

use crate::access::password_checks::{PasswordError, WRONG_PASSWORD_PAUSE};
use crate::chat::shared_room::SharedRoom;
use crate::chat::{Credential, JoinError, Membership};
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline::sources::SourceAction;
use echoline_chat_core::command::{CommandSecret, Switch};
use echoline_chat_core::protocol::ListedRoom;
use echoline_chat_core::room::{Entrance, ReplayFrom, Room};
use echoline_chat_core::{
    Budget, LIST_BYTES_MAX, Name, Operation, OperationError, RoomChange, topic_in_list,
};

/// The number of earlier lines that a new member gets if every line matters to their client: a
/// program, a page, or a terminal that shows numbers.
const WHOLE_LINES: u64 = 500;

/// The maximum number of rooms that `/rooms` lists.
const ROOMS_SHOWN: usize = 100;

impl<S: ByteStream> Session<S> {
    /// `/join`: makes a room the current one. Joins it first if the user is not in it.
    pub(super) async fn join(
        &mut self,
        text: &str,
        password: Option<CommandSecret<'_>>,
    ) -> CommandResult {
        let room = Name::parse_room(text)?;
        if let Some(index) = self.feed.position(&room) {
            self.feed.set_current(index);
            self.tell_rooms();
            self.save_session();
            self.notice(&format!("You are now talking in {room}"));
            return Ok(());
        }
        let mut joined = self.enter(&room, Credential::Nothing).await?;
        if let (Err(JoinError::Password(hash)), Some(password)) = (&joined, password) {
            let hash = Arc::clone(hash);
            joined = self.enter_with_password(&room, password, hash).await?;
        }
        self.settle_in(joined.map_err(|error| error.sentence(&room))?);
        Ok(self.show_earlier_lines().await?)
    }

    /// Joins a room with a password. The check takes some time, and longer if the password is
    /// wrong. The session reads its next line only afterwards, so it has one attempt at a time.
    async fn enter_with_password(
        &mut self,
        room: &Name,
        password: CommandSecret<'_>,
        hash: Arc<str>,
    ) -> CommandResult<Result<Membership, JoinError>> {
        // Charged before the check, so that concurrent guesses over many connections count too.
        self.charge(SourceAction::WrongPassword)?;
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
            Ok(false) => Ok(Err(JoinError::Password(hash))),
            Err(error) => {
                self.refund(SourceAction::WrongPassword);
                Err(error.sentence().into())
            }
        }
    }

    /// Joins a room. The inner result is the answer of the chat.
    async fn enter(
        &mut self,
        room: &Name,
        credential: Credential,
    ) -> CommandResult<Result<Membership, JoinError>> {
        if self.feed.memberships.len() >= self.chat.settings.max_rooms_each {
            return Ok(Err(JoinError::TooManyOfYours));
        }
        if self.chat.room(room).is_none() {
            self.charge(SourceAction::Room)?;
        }
        let replay_from = ReplayFrom::Last(self.chat.rules().replay);
        let join = Operation::Join { room: room.clone(), replay_from, credential };
        let outcome = self.propose(join).await?;
        Ok(self.chat.joined(outcome))
    }

    /// Shows the user the room that they have joined.
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
        // A page shows replies in a room, so it must learn about its first room before them.
        self.feed.enter(membership);
        self.tell_rooms();
        self.notice(&format!("You are now talking in {room}: {people}"));
        if !topic.is_empty() {
            self.notice(&format!("Topic: {topic}"));
        }
        // An operator who has never seen a token would lose the rights if the connection broke.
        let is_operator = self.feed.current().is_some_and(Membership::is_operator);
        match is_operator && self.user.token().is_none() {
            true => self.tell_operator_token(),
            false => self.save_session(),
        }
        self.separate(earlier);
    }

    /// Counts the earlier lines that a new member will see.
    pub(crate) fn lines_before(&self, membership: &Membership) -> u64 {
        let Membership { shared_room, member_id, joined, .. } = membership;
        shared_room
            .with(|room| room.earlier(*member_id, *joined, self.feed.view.own(), WHOLE_LINES))
    }

    /// Shows a separator with the number of earlier lines that follow.
    pub(crate) fn separate(&mut self, count: u64) {
        match count {
            0 => {}
            1 => self.reply("--- 1 earlier line ---"),
            count => self.reply(&format!("--- {count} earlier lines ---")),
        }
    }

    /// `/leave`: leaves the current room, or another one.
    pub(super) async fn leave_room(&mut self, text: Option<&str>) -> CommandResult {
        let room = match text {
            Some(text) => Name::parse_room(text)?,
            None => self.current_room()?.1,
        };
        let index = self.feed.position(&room).ok_or_else(|| format!("You are not in {room}"))?;
        if self.feed.memberships.len() < 2 {
            return Err("This is your only room; /quit leaves the chat".into());
        }
        let room = self.feed.memberships[index].room.clone();
        self.carry_out(Operation::Part { room: room.clone() }).await?;
        self.forget_membership(&room);
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

    /// Returns the rooms that the user can see, the largest first. Rooms of equal size are in
    /// alphabetical order.
    pub(super) fn listed_rooms(&self) -> Vec<ListedRoom<'static>> {
        let lineage = self.user.lineage;
        let sees_all = self.user.is_operator();
        let listed = |room: &Room| {
            let is_in = room.member_id_of(self.user.session).is_some();
            let entrance = room.entrance(lineage);
            (entrance != Entrance::Invited || is_in || sees_all).then(|| ListedRoom {
                room: room.name.to_string().into(),
                count: room.count(),
                topic: topic_in_list(&room.topic).into(),
                password: entrance == Entrance::Password,
                is_in,
            })
        };
        let rooms = self.chat.rooms();
        let mut rooms: Vec<_> =
            rooms.iter().filter_map(|cell| cell.with(|room| listed(room))).collect();
        rooms.sort_by_key(|room| Reverse(room.count));
        rooms
    }

    /// `/rooms`: lists the rooms by size.
    pub(super) fn rooms(&mut self) {
        let listed = self.listed_rooms();
        let (mut shown, mut budget) = (0, Budget::new(LIST_BYTES_MAX));
        for ListedRoom { room, count, topic, password, .. } in listed.iter().take(ROOMS_SHOWN) {
            let lock = if *password { " (password)" } else { "" };
            let colon = if topic.is_empty() { "" } else { ": " };
            let line = format!("{room} ({count}){lock}{colon}{topic}");
            if !budget.take(line.len()) {
                break;
            }
            self.reply(&line);
            shown += 1;
        }
        if shown < listed.len() {
            self.reply(&format!("and {} more", listed.len() - shown));
        }
    }

    /// `/topic`: shows the topic of the room, sets it, or removes it.
    pub(super) async fn topic(&mut self, words: Option<&str>) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let Some(words) = words else {
            let topic = shared_room.with(|room| Arc::clone(&room.topic));
            match &*topic {
                "" => self.notice("No topic is set"),
                topic => self.notice(&format!("Topic: {topic}")),
            }
            return Ok(());
        };
        // `/topic -` removes the topic.
        let words = if words == "-" { "" } else { words };
        let outcome = self.propose(Operation::Topic { room, words: words.to_owned() }).await?;
        match outcome.refusal() {
            Some(OperationError::Muted(_)) => Err("You are muted in this room".into()),
            Some(OperationError::NotInRoom) => Err("You are no longer in this room".into()),
            _ => self.accept(outcome).map(drop),
        }
    }

    /// Returns the room with this name, if the user can see it.
    pub(super) fn visible_room(&self, text: &str) -> CommandResult<(Name, SharedRoom)> {
        let name = Name::parse_room(text)?;
        let (lineage, session) = (self.user.lineage, self.user.session);
        let sees_all = self.user.is_operator();
        let room = self.chat.room(&name).filter(|shared_room| {
            shared_room.with(|room| {
                let is_open = room.entrance(lineage) == Entrance::Open;
                is_open || room.member_id_of(session).is_some() || sees_all
            })
        });
        match room {
            Some(room) => Ok((name, room)),
            None => Err(format!("There is no room {name} that you can see").into()),
        }
    }

    /// `/private`: admits only invited users, or all users again.
    pub(super) async fn set_private(&mut self, switch: Switch) -> CommandResult {
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
    ) -> CommandResult {
        let Some(password) = password else {
            let words = "This room no longer has a password";
            return self.alter(RoomChange::Password(None), "no password", words).await;
        };
        let (chat, password) = (Arc::clone(&self.chat), password.reveal().to_owned());
        let hashed = self.wait(async move {
            let hash = chat.passwords.hash(password).await;
            // Computing a hash costs as much as checking a password, so it takes the same pause.
            sleep(WRONG_PASSWORD_PAUSE).await;
            hash
        });
        let hash = hashed.await?.map_err(PasswordError::sentence)?;
        let words = "Users now need this password: /join ROOM PASSWORD";
        self.alter(RoomChange::Password(Some(hash.to_string())), "password", words).await
    }

    /// Changes a setting of the current room. `what` is the new value in the audit log, and `words`
    /// the confirmation.
    async fn alter(&mut self, change: RoomChange, what: &str, words: &str) -> CommandResult {
        let (_, room) = self.current_room()?;
        self.carry_out(Operation::Alter { room: room.clone(), change }).await?;
        self.audit(&format!("set {room} to {what}"));
        self.notice(words);
        Ok(())
    }
}
