//! Rooms: coming, going, their topics, and which there are.

use std::sync::Arc;

use super::passwords::{fits, hash};
use super::{Step, User};
use crate::chat::arguments::{Secret, Switch};
use crate::chat::crowd::Crowd;
use crate::chat::hall::{NotIn, Pass, Seated};
use crate::chat::history::Kind;
use crate::chat::name::Name;
use crate::chat::room::{Entrance, See};

/// Rooms that `/rooms` lists.
const ROOMS_SHOWN: usize = 100;

impl User {
    pub(super) fn join(&mut self, text: &str, password: Option<Secret<'_>>) -> Step {
        let room = match Name::parse_room(text) {
            Ok(room) => room,
            Err(error) => {
                self.notice(&error.to_string());
                return Step::Done;
            }
        };
        if let Some(index) = self.inbox.position(&room) {
            self.inbox.turn_to(index);
            self.tell_rooms();
            self.notice(&format!("You speak in {room} now"));
            return Step::Done;
        }
        match (self.enter(&room, Pass::Nothing), password) {
            (Err(NotIn::Password(hash)), Some(password)) => self.check(room, password, hash),
            (Err(not_in), _) => {
                self.notice(&not_in.sentence(&room));
                Step::Done
            }
            (Ok(()), _) => Step::Done,
        }
    }

    /// Enters with a password, which takes a while to check.
    fn check(&self, room: Name, password: Secret<'_>, hash: Arc<str>) -> Step {
        let password = password.reveal().to_owned();
        Step::Wait(Box::pin(async move {
            let fits = fits(password, Arc::clone(&hash)).await;
            let rest = move |user: &mut Self| {
                let entered = if fits {
                    user.enter(&room, Pass::Password(&hash))
                } else {
                    Err(NotIn::Password(hash))
                };
                if let Err(not_in) = entered {
                    user.notice(&not_in.sentence(&room));
                }
            };
            Box::new(rest) as super::Rest
        }))
    }

    fn enter(&mut self, room: &Name, pass: Pass<'_>) -> Result<(), NotIn> {
        if self.inbox.seats.len() >= self.hall.settings.max_rooms_each {
            return Err(NotIn::TooManyOfYours);
        }
        let see = See::Last(self.hall.rules().replay);
        let seated = self.hall.join(&self.person, room, see, pass)?;
        let (count, topic) = seated.crowd.with(|room| (room.count(), Arc::clone(&room.topic)));
        let people =
            if count == 1 { "nobody else is here".into() } else { format!("{count} people") };
        self.notice(&format!("You speak in {} now: {people}", seated.room));
        if !topic.is_empty() {
            self.notice(&format!("Topic: {topic}"));
        }
        self.separate(&seated);
        self.inbox.enter(seated);
        self.tell_rooms();
        Ok(())
    }

    /// Announces the earlier lines that a newcomer is going to see.
    pub(super) fn separate(&mut self, seated: &Seated) {
        let next = seated.crowd.with(|room| room.standing(seated.seat).0);
        match seated.joined.saturating_sub(next) {
            0 => {}
            1 => self.reply("--- the line before ---"),
            count => self.reply(&format!("--- the {count} lines before ---")),
        }
    }

    pub(super) fn leave(&mut self, text: Option<&str>) {
        let index = match text.map(Name::parse_room) {
            None => self.inbox.current_index(),
            Some(Ok(room)) => match self.inbox.position(&room) {
                Some(index) => index,
                None => return self.notice(&format!("You are not in {room}")),
            },
            Some(Err(error)) => return self.notice(&error.to_string()),
        };
        if self.inbox.seats.len() < 2 {
            return self.notice("You are in no other room; /quit leaves the chat");
        }
        let seated = self.inbox.remove(index);
        let left = seated.room.clone();
        self.hall.part(&self.person, seated, "");
        self.tell_rooms();
        if let Some(current) = self.inbox.current() {
            let current = current.room.clone();
            self.notice(&format!("You left {left} and speak in {current} now"));
        }
    }

    pub(super) fn rooms(&mut self) {
        let key = self.name.key().clone();
        let sees_all = self.person.is_operator();
        let mut listed: Vec<(usize, String)> = Vec::new();
        for crowd in self.hall.rooms() {
            listed.extend(crowd.with(|room| {
                let is_in = room.seat_of(self.person.session).is_some();
                let entrance = room.entrance(&key);
                if entrance == Entrance::Invited && !is_in && !sees_all {
                    return None;
                }
                let lock = if entrance == Entrance::Password { " (password)" } else { "" };
                let topic = &room.topic;
                let colon = if topic.is_empty() { "" } else { ": " };
                let line = format!("{} ({}){lock}{colon}{topic}", room.name, room.count());
                Some((room.count(), line))
            }));
        }
        listed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let more = listed.len().saturating_sub(ROOMS_SHOWN);
        for (_, line) in listed.iter().take(ROOMS_SHOWN) {
            self.reply(line);
        }
        if more > 0 {
            self.reply(&format!("and {more} more"));
        }
    }

    pub(super) fn topic(&mut self, words: Option<&str>) {
        let Some(seated) = self.inbox.current() else { return };
        let Some(words) = words else {
            let topic = seated.crowd.with(|room| Arc::clone(&room.topic));
            return match &*topic {
                "" => self.notice("No topic is set"),
                topic => self.notice(&format!("Topic: {topic}")),
            };
        };
        // `/topic -` removes it.
        let words = if words == "-" { "" } else { words };
        let (now_ms, session) = (self.hall.now_ms(), self.person.session);
        let set = seated.crowd.change(|room| {
            if room.muted_until(now_ms, self.name.key(), session).is_some() {
                return Err("You may not speak in this room");
            }
            let appended = room.set_topic(now_ms, seated.seat, words);
            let appended = appended.ok_or("You are not in this room any more")?;
            self.hall.archive.line(room, appended, Kind::Topic, &self.name, words);
            self.hall.archive.room(room);
            Ok(())
        });
        if let Err(words) = set {
            self.notice(words);
        }
    }

    /// The room of this name, where the user may know of it; else they are told.
    pub(super) fn visible_room(&mut self, text: &str) -> Option<(Name, Arc<Crowd>)> {
        let name = match Name::parse_room(text) {
            Ok(name) => name,
            Err(error) => {
                self.notice(&error.to_string());
                return None;
            }
        };
        let (key, session) = (self.name.key().clone(), self.person.session);
        let sees_all = self.person.is_operator();
        let room = self.hall.room(&name).filter(|crowd| {
            crowd.with(|room| {
                room.entrance(&key) == Entrance::Open || room.seat_of(session).is_some() || sees_all
            })
        });
        if room.is_none() {
            self.notice(&format!("There is no room {name} that you could look into"));
        }
        room.map(|room| (name, room))
    }

    pub(super) fn set_private(&mut self, switch: Switch) {
        let words = if switch.is_on() {
            "Only who is invited can join this room now (/invite NAME), and it is not listed"
        } else {
            "Everybody can join this room now"
        };
        self.alter("private", |room| room.private = switch.is_on());
        self.notice(words);
    }

    pub(super) fn set_password(&mut self, password: Option<Secret<'_>>) -> Step {
        let Some(password) = password else {
            self.alter("no password", |room| room.password = None);
            self.notice("This room has no password any more");
            return Step::Done;
        };
        let password = password.reveal().to_owned();
        Step::Wait(Box::pin(async move {
            let hash = hash(password).await;
            Box::new(move |user: &mut Self| match hash {
                Some(hash) => {
                    user.alter("password", |room| room.password = Some(hash));
                    user.notice("/join ROOM PASSWORD is how to get in now");
                }
                None => user.notice("The password could not be set; try again"),
            }) as super::Rest
        }))
    }

    fn alter(&mut self, what: &str, change: impl FnOnce(&mut crate::chat::room::Room)) {
        let Some(seated) = self.inbox.current() else { return };
        let name = seated.crowd.with(|room| {
            change(room);
            self.hall.archive.room(room);
            room.name.clone()
        });
        self.audit(&format!("set {name} to {what}"));
    }
}

impl NotIn {
    /// What is told to who wanted to enter `room`.
    pub(in crate::chat) fn sentence(&self, room: &Name) -> String {
        match self {
            Self::Already => format!("You are in {room} already"),
            Self::Banned(words) => words.clone(),
            Self::Invited => format!("Only who is invited can join {room}"),
            Self::Password(_) => format!("{room} has a password: /join {room} PASSWORD"),
            Self::TooManyRooms => "There are too many rooms; join one of /rooms".to_owned(),
            Self::TooManyOfYours => "You are in too many rooms; /leave one first".to_owned(),
        }
    }
}
