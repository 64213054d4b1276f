//! Rooms: coming, going, their topics, and which there are.

use std::sync::Arc;

use super::{IN_NO_ROOM, Step, UserSession};
use crate::answer_limits::{Budget, LIST_BYTES_MAX, topic_in_list};
use crate::arguments::{Secret, Switch};
use crate::entrance::Entrance;
use crate::name::Name;
use crate::operation::{Operation, RoomChange};
use crate::outcome::{OperationError, Outcome};
use crate::password_checks::WRONG_PASSWORD_PAUSE;
use crate::room::ReplayFrom;
use crate::shared_room::SharedRoom;
use crate::state::{Credential, JoinError, Membership};
use echoline::SourceAction;

/// Earlier lines that a newcomer sees who sees every line between them: programs, pages, and
/// terminals that show numbers.
const WHOLE_LINES: u64 = 500;

/// Rooms that `/rooms` lists.
const ROOMS_SHOWN: usize = 100;

impl UserSession {
    pub(super) fn join(&mut self, text: &str, password: Option<Secret<'_>>) -> Step {
        let room = match Name::parse_room(text) {
            Ok(room) => room,
            Err(error) => {
                self.notice(&error.to_string());
                return Step::Done;
            }
        };
        if let Some(index) = self.feed.position(&room) {
            self.feed.turn_to(index);
            self.tell_rooms();
            self.save_session();
            self.notice(&format!("You speak in {room} now"));
            return Step::Done;
        }
        let password = password.map(|password| password.reveal().to_owned());
        self.enter(room, Credential::Nothing, |user, room, not_in| match (not_in, password) {
            (JoinError::Password(hash), Some(password)) => user.check(room, password, hash),
            (not_in, _) => user.stay_out(&room, &not_in),
        })
    }

    fn stay_out(&mut self, room: &Name, not_in: &JoinError) -> Step {
        self.notice(&not_in.sentence(room));
        Step::Done
    }

    /// Enters with a password, which takes a while to check, and longer if it is wrong. The next
    /// line of the connection is read after that, so that it has one attempt at a time.
    fn check(&mut self, room: Name, password: String, hash: Arc<str>) -> Step {
        // Before the check, so that guesses over many connections at once cannot pass.
        if !self.may(SourceAction::WrongPassword) {
            return Step::Done;
        }
        let (chat, source) = (Arc::clone(&self.chat), self.source);
        Step::Wait(Box::pin(async move {
            let passed = chat.gates.pass(source).await;
            let fits = chat.passwords.fits(password, Arc::clone(&hash)).await;
            drop(passed);
            if fits != Ok(true) {
                tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            }
            let rest = move |user: &mut Self| match fits {
                Ok(true) => {
                    user.give_back(SourceAction::WrongPassword);
                    let pass = Credential::Password(hash.to_string());
                    user.enter(room, pass, |user, room, not_in| user.stay_out(&room, &not_in))
                }
                Ok(false) => user.stay_out(&room, &JoinError::Password(hash)),
                Err(error) => {
                    user.give_back(SourceAction::WrongPassword);
                    user.notice(error.sentence());
                    Step::Done
                }
            };
            Box::new(rest) as super::Rest
        }))
    }

    /// Goes to a room, or follows `refused`.
    fn enter(
        &mut self,
        room: Name,
        pass: Credential,
        refused: impl FnOnce(&mut Self, Name, JoinError) -> Step + Send + 'static,
    ) -> Step {
        if self.feed.memberships.len() >= self.chat.settings.max_rooms_each {
            return refused(self, room, JoinError::TooManyOfYours);
        }
        if self.chat.room(&room).is_none() && !self.may(SourceAction::Room) {
            return Step::Done;
        }
        let replay_from = ReplayFrom::Last(self.chat.rules().replay);
        let act = Operation::Join { room: room.clone(), replay_from, credential: pass };
        self.apply_operation(act, move |user, outcome| match outcome {
            Outcome::Joined(Ok(joined)) => match user.chat.membership(joined) {
                Some(membership) => {
                    user.settle_in(membership);
                    Step::Done
                }
                None => refused(user, room, JoinError::Gone),
            },
            Outcome::Joined(Err(not_in)) => refused(user, room, not_in),
            outcome => refused(user, room, JoinError::of(&outcome)),
        })
    }

    fn settle_in(&mut self, membership: Membership) {
        if membership.shared_room.with(|room| room.is_expelled(membership.member_id)) {
            // They were sent out again before they heard that they are in.
            return self.chat.give_back(&self.user, &membership.shared_room);
        }
        let (count, topic) =
            membership.shared_room.with(|room| (room.count(), Arc::clone(&room.topic)));
        let people =
            if count == 1 { "nobody else is here".into() } else { format!("{count} people") };
        let room = membership.room.clone();
        let earlier = self.lines_before(&membership);
        // A page shows the answers in the room that it is told of first.
        self.feed.enter(membership);
        self.tell_rooms();
        self.notice(&format!("You speak in {room} now: {people}"));
        if !topic.is_empty() {
            self.notice(&format!("Topic: {topic}"));
        }
        // A connection that is lost before its user has seen a token would take the room's operator
        // along for good.
        let is_operator = self.feed.current().is_some_and(Membership::is_operator);
        match is_operator && self.user.token().is_none() {
            true => self.tell_token(),
            false => self.save_session(),
        }
        self.separate(earlier);
    }

    /// Counts the earlier lines that a newcomer is going to see.
    pub(super) fn lines_before(&self, membership: &Membership) -> u64 {
        let Membership { shared_room, member_id, joined, .. } = membership;
        shared_room
            .with(|room| room.earlier(*member_id, *joined, self.feed.view.own(), WHOLE_LINES))
    }

    /// Announces so many earlier lines.
    pub(super) fn separate(&mut self, count: u64) {
        match count {
            0 => {}
            1 => self.reply("--- the line before ---"),
            count => self.reply(&format!("--- the {count} lines before ---")),
        }
    }

    pub(super) fn leave(&mut self, text: Option<&str>) -> Step {
        let room = match text.map(Name::parse_room) {
            None => self.feed.current().map(|membership| membership.room.clone()),
            Some(Ok(room)) => Some(room),
            Some(Err(error)) => {
                self.notice(&error.to_string());
                return Step::Done;
            }
        };
        let Some(room) = room else {
            self.notice(IN_NO_ROOM);
            return Step::Done;
        };
        let Some(index) = self.feed.position(&room) else {
            self.notice(&format!("You are not in {room}"));
            return Step::Done;
        };
        if self.feed.memberships.len() < 2 {
            self.notice("You are in no other room; /quit leaves the chat");
            return Step::Done;
        }
        let room = self.feed.memberships[index].room.clone();
        self.apply_operation(Operation::Part { room: room.clone() }, move |user, outcome| {
            if outcome.refusal().is_some() {
                return user.refuse(&outcome);
            }
            user.go_out_of(&room);
            Step::Done
        })
    }

    /// Gives the place in a room back that the user has left.
    fn go_out_of(&mut self, left: &Name) {
        let Some(index) = self.feed.position(left) else { return };
        let membership = self.feed.remove(index);
        self.chat.give_back(&self.user, &membership.shared_room);
        self.tell_rooms();
        self.save_session();
        if let Some(current) = self.feed.current() {
            let current = current.room.clone();
            self.notice(&format!("You left {left} and speak in {current} now"));
        }
    }

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

    pub(super) fn topic(&mut self, words: Option<&str>) -> Step {
        let Some(membership) = self.feed.current() else { return Step::Done };
        let Some(words) = words else {
            let topic = membership.shared_room.with(|room| Arc::clone(&room.topic));
            match &*topic {
                "" => self.notice("No topic is set"),
                topic => self.notice(&format!("Topic: {topic}")),
            }
            return Step::Done;
        };
        // `/topic -` removes it.
        let words = if words == "-" { "" } else { words };
        let act = Operation::Topic { room: membership.room.clone(), words: words.to_owned() };
        self.apply_operation(act, |user, outcome| {
            match outcome.refusal() {
                Some(OperationError::Muted(_)) => user.notice("You may not speak in this room"),
                Some(OperationError::Outside) => user.notice("You are not in this room any more"),
                _ => drop(user.refuse(&outcome)),
            }
            Step::Done
        })
    }

    /// The room of this name, where the user may know of it; else they are told.
    pub(super) fn visible_room(&mut self, text: &str) -> Option<(Name, Arc<SharedRoom>)> {
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
            self.notice(&format!("There is no room {name} that you could look into"));
        }
        room.map(|room| (name, room))
    }

    pub(super) fn set_private(&mut self, switch: Switch) -> Step {
        let words = if switch.is_on() {
            "Only who is invited can join this room now (/invite NAME), and it is not listed"
        } else {
            "Everybody can join this room now"
        };
        self.alter(RoomChange::Private(switch.is_on()), "private", words)
    }

    pub(super) fn set_password(&mut self, password: Option<Secret<'_>>) -> Step {
        let Some(password) = password else {
            let words = "This room has no password any more";
            return self.alter(RoomChange::Password(None), "no password", words);
        };
        let (chat, password) = (Arc::clone(&self.chat), password.reveal().to_owned());
        Step::Wait(Box::pin(async move {
            let hash = chat.passwords.hash(password).await;
            // A hash costs as much as a guess does.
            tokio::time::sleep(WRONG_PASSWORD_PAUSE).await;
            Box::new(move |user: &mut Self| match hash {
                Ok(hash) => {
                    let words = "/join ROOM PASSWORD is how to get in now";
                    user.alter(RoomChange::Password(Some(hash.to_string())), "password", words)
                }
                Err(error) => {
                    user.notice(error.sentence());
                    Step::Done
                }
            }) as super::Rest
        }))
    }

    fn alter(&mut self, change: RoomChange, what: &'static str, words: &'static str) -> Step {
        let Some(membership) = self.feed.current() else { return Step::Done };
        let room = membership.room.clone();
        self.apply_operation(
            Operation::Alter { room: room.clone(), change },
            move |user, outcome| {
                if outcome.refusal().is_some() {
                    return user.refuse(&outcome);
                }
                user.audit(&format!("set {room} to {what}"));
                user.notice(words);
                Step::Done
            },
        )
    }
}

impl JoinError {
    /// Why somebody is not in a room after an act that did not even come to that.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome.refusal() {
            Some(OperationError::NotDelivered(why)) => Self::NotDelivered(why),
            _ => Self::Gone,
        }
    }

    /// What is told to who wanted to enter `room`.
    pub(crate) fn sentence(&self, room: &Name) -> String {
        match self {
            Self::Already => format!("You are in {room} already"),
            Self::Banned(words) => words.clone(),
            Self::Invited => format!("Only who is invited can join {room}"),
            Self::Password(_) => format!("{room} has a password: /join {room} PASSWORD"),
            Self::TooManyRooms => "There are too many rooms; join one of /rooms".to_owned(),
            Self::TooManyOfSource(count) => format!(
                "Your address has made {count} rooms, which are still there; join one of /rooms"
            ),
            Self::TooManyOfYours => "You are in too many rooms; /leave one first".to_owned(),
            Self::Gone => format!("You could not join {room}"),
            Self::NotDelivered(why) => format!("You are not in {room}, {why}"),
        }
    }
}
