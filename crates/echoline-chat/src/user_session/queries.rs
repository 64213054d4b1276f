//! What a page asks for, and a program may: answers in pieces that it need not take apart.

use std::sync::Arc;

use super::history_commands::{Part, newest_that_fit};
use super::{Rest, Step, UserSession};
use crate::aliases::aliases_of;
use crate::answer_limits::{Budget, LIST_BYTES_MAX, topic_in_list};
use crate::command_table::{COMMANDS, Rank};
use crate::entrance::Entrance;
use crate::history::Stored;
use crate::name::Name;
use crate::outbound_feed::Question;
use crate::protocol::{
    EarlierLine, ErrorTopic, ListedCommand, ListedRoom, Query, ServerMessage, Thread,
};
use crate::user_table::person_id;
use crate::view::print_json;
use echoline::SourceAction;

/// Lines of the past that one answer has at most.
const LINES_MAX: u64 = 100;

/// Rooms that one answer has at most.
const ROOMS_MAX: usize = 100;

/// Bytes of the entry of a room besides its texts, nearly.
const ENTRY_BYTES: usize = 64;

impl UserSession {
    /// Answers; `before` and `count` choose the lines of the past, `after` the page of a list.
    pub(crate) fn answer_about(
        &mut self,
        query: Query,
        (before, count): (Option<u64>, Option<u64>),
        after: u32,
    ) -> Step {
        if self.user.mailbox.ending().is_some() {
            return Step::Done;
        }
        // The answer includes the lines that this user said before it.
        self.feed.announce();
        let is_expensive = query != Query::Person;
        if is_expensive && !self.may(SourceAction::Expensive) {
            return Step::Done;
        }
        match query {
            Query::People => self.ask(Question::People { after }),
            Query::History => self.past_before(before.unwrap_or(u64::MAX), count),
            Query::Rooms => self.tell_rooms_listed(after),
            Query::Commands => self.tell(&commands()),
            Query::Person => Step::Done,
        }
    }

    /// Answers whether the user with this id, or else with this name, is in the chat.
    pub(crate) fn answer_about_user(&mut self, id: Option<&str>, name: Option<&str>) -> Step {
        let named = || Name::parse(name?).ok().and_then(|name| self.chat.find(&name));
        let found = id.map_or_else(named, |id| self.chat.person_with_id(id));
        let answer = match found {
            Some(user) => ServerMessage::Person {
                here: true,
                person: Some(person_id(user.lineage).into()),
                name: Some(user.name().to_string().into()),
                away: user.away().map(|words| words.to_string().into()),
            },
            None => ServerMessage::Person {
                here: false,
                person: id.map(Into::into),
                name: name.map(Into::into),
                away: None,
            },
        };
        self.tell(&answer)
    }

    fn tell(&mut self, answer: &ServerMessage<'_>) -> Step {
        print_json(answer, &mut self.replies);
        Step::Done
    }

    fn past_before(&mut self, before: u64, count: Option<u64>) -> Step {
        let Some(membership) = self.feed.current() else {
            self.notice(super::IN_NO_ROOM);
            return Step::Done;
        };
        let (shared_room, room) = (Arc::clone(&membership.shared_room), membership.room.clone());
        let before = before.min(shared_room.with(|room| room.log.visible()));
        let part = Part::Newest { before, count: count.unwrap_or(LINES_MAX).min(LINES_MAX) };
        if !self.chat.archive.is_lasting() || part.is_in_memory(&shared_room) {
            let lines = part.kept(&shared_room, &self.feed.view);
            let oldest = lines.first().map_or(before, |line| line.number);
            let is_more = shared_room.with(|room| room.log.kept_before(oldest).is_some());
            return self.tell_past(&room, &lines, is_more);
        }
        let chat = Arc::clone(&self.chat);
        Step::Wait(Box::pin(async move {
            let found = part.stored(&chat, &room).await;
            Box::new(move |user: &mut Self| match found {
                Ok(lines) => {
                    let is_more = lines.first().is_some_and(|line| line.number > 1);
                    user.tell_past(&room, &lines, is_more)
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read the history");
                    user.tell(&ServerMessage::Error {
                        text: "The history cannot be read now".into(),
                        about: Some(ErrorTopic::History),
                        action: None,
                        wait_ms: None,
                        thread: Thread::default(),
                    })
                }
            }) as Rest
        }))
    }

    fn tell_past(&mut self, room: &Name, lines: &[Stored], is_more: bool) -> Step {
        let view = &self.feed.view;
        let fitting = newest_that_fit(lines);
        let is_more = is_more || fitting.len() < lines.len();
        let seen = fitting.iter().filter(|line| !view.hides_past(line.kind, 0, &line.name));
        let lines = seen.map(|line| EarlierLine {
            kind: line.kind,
            number: line.number,
            time_ms: line.time_ms,
            name: (&*line.name).into(),
            text: (&*line.text).into(),
        });
        let (room, lines) = (room.as_str().into(), lines.collect());
        self.tell(&ServerMessage::History { room, lines, more: is_more })
    }

    /// The largest rooms first, without the first `after` of them.
    fn tell_rooms_listed(&mut self, after: u32) -> Step {
        let lineage = self.user.lineage;
        let sees_all = self.user.is_operator();
        let mut listed = Vec::new();
        for shared_room in self.chat.rooms() {
            listed.extend(shared_room.with(|room| {
                let is_in = room.seat_of(self.user.session).is_some();
                let entrance = room.entrance(lineage);
                if entrance == Entrance::Invited && !is_in && !sees_all {
                    return None;
                }
                let count = room.count();
                let has_password = entrance == Entrance::Password;
                Some((count, is_in, has_password, room.name.clone(), Arc::clone(&room.topic)))
            }));
        }
        // Stable: rooms with as many people stay in the order of their names.
        listed.sort_by_key(|&(count, ..)| std::cmp::Reverse(count));
        let rest = listed.get(after as usize..).unwrap_or_default();
        let (mut rooms, mut budget) = (Vec::new(), Budget::new(LIST_BYTES_MAX));
        for (count, is_in, has_password, name, topic) in rest.iter().take(ROOMS_MAX) {
            let topic = topic_in_list(topic);
            if !budget.take(ENTRY_BYTES + name.as_str().len() + topic.len()) {
                break;
            }
            rooms.push(ListedRoom {
                room: name.as_str().into(),
                count: *count,
                topic: topic.into(),
                password: *has_password,
                is_in: *is_in,
            });
        }
        let (more, told) = (rooms.len() < rest.len(), rooms.len());
        let next = more.then_some(after as usize + told);
        let from = (after > 0).then_some(after);
        self.tell(&ServerMessage::Rooms { rooms, more, from, after: next })
    }

    /// Tells of rooms whose lines are others than those that the user has seen.
    pub(crate) fn renew(&mut self, rooms: &[Name]) {
        if self.feed.view.is_json() {
            for room in rooms {
                let renewed = ServerMessage::Renewed { room: room.as_str().into() };
                print_json(&renewed, &mut self.replies);
            }
        }
    }
}

fn commands() -> ServerMessage<'static> {
    let commands = COMMANDS.iter().map(|entry| ListedCommand {
        name: entry.name.into(),
        usage: entry.usage.into(),
        purpose: entry.purpose.into(),
        operator: entry.rank == Rank::Operator,
        aliases: aliases_of(entry.name).map(Into::into).collect(),
    });
    ServerMessage::Commands { commands: commands.collect() }
}
