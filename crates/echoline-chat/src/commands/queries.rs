//! The questions of pages and programs, and their answers as fields instead of sentences.

use std::sync::Arc;

use super::history::{HistoryRange, newest_that_fit};
use crate::command_cost::query_cost;
use crate::outbound_feed::RoomQuestion;
use crate::session::{IN_NO_ROOM, Session};
use crate::telnet::ByteStream;
use crate::view::print_json;
use echoline::Closed;
use echoline_chat_core::answer_limits::{Budget, LIST_BYTES_MAX, topic_in_list};
use echoline_chat_core::command::aliases::aliases_of;
use echoline_chat_core::command::command_table::{COMMANDS, Rank};
use echoline_chat_core::name::Name;
use echoline_chat_core::protocol::{
    EarlierLine, ErrorTopic, ListedCommand, ListedRoom, Query, ServerMessage, Thread,
};
use echoline_chat_core::room::entrance::Entrance;
use echoline_chat_core::state::user_table::person_id;
use echoline_chat_store::StoredLine;

/// The most earlier lines in one answer.
const LINES_MAX: u64 = 100;

/// The most rooms in one answer.
const ROOMS_MAX: usize = 100;

/// Approximate bytes of the entry of a room, without its texts.
const ENTRY_BYTES: usize = 64;

impl<S: ByteStream> Session<S> {
    /// Answers a question of a page or a program. `before` and `count` choose earlier lines,
    /// `after` chooses the part of a list.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn answer_query(
        &mut self,
        query: Query,
        (before, count): (Option<u64>, Option<u64>),
        after: u32,
    ) -> Result<(), Closed> {
        if self.is_ended() {
            return Ok(());
        }
        // The answer includes the earlier lines of this user.
        self.feed.announce();
        if let Some(cost) = query_cost(query)
            && !self.charge(cost)
        {
            return Ok(());
        }
        match query {
            Query::People => return self.ask(RoomQuestion::People { after }).await,
            Query::History => {
                return self.tell_earlier_lines(before.unwrap_or(u64::MAX), count).await;
            }
            Query::Rooms => self.tell_rooms_listed(after),
            Query::Commands => self.tell(&commands()),
            Query::Person => {}
        }
        Ok(())
    }

    /// Answers whether the user with this id, or else with this name, is in the chat.
    pub(crate) fn answer_about_user(&mut self, id: Option<&str>, name: Option<&str>) {
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
        self.tell(&answer);
    }

    fn tell(&mut self, answer: &ServerMessage<'_>) {
        print_json(answer, &mut self.replies);
    }

    async fn tell_earlier_lines(&mut self, before: u64, count: Option<u64>) -> Result<(), Closed> {
        let Some(membership) = self.feed.current() else {
            self.notice(IN_NO_ROOM);
            return Ok(());
        };
        let (shared_room, room) = (membership.shared_room.clone(), membership.room.clone());
        let before = before.min(shared_room.with(|room| room.log.visible()));
        let count = count.unwrap_or(LINES_MAX).min(LINES_MAX);
        let range = HistoryRange::Newest { before, count };
        let is_stored = self.chat.archive.is_lasting() && !range.is_in_memory(&shared_room);
        match self.earlier_lines(range, &shared_room, &room).await? {
            Ok(lines) => {
                let is_more = if is_stored {
                    lines.first().is_some_and(|line| line.number > 1)
                } else {
                    let oldest = lines.first().map_or(before, |line| line.number);
                    shared_room.with(|room| room.log.kept_before(oldest).is_some())
                };
                self.tell_lines(&room, &lines, is_more);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the history");
                self.tell(&ServerMessage::Error {
                    text: "The history cannot be read now; try again later".into(),
                    about: Some(ErrorTopic::History),
                    action: None,
                    wait_ms: None,
                    thread: Thread::default(),
                });
            }
        }
        Ok(())
    }

    fn tell_lines(&mut self, room: &Name, lines: &[StoredLine], is_more: bool) {
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
        let answer = ServerMessage::History { room, lines, more: is_more };
        print_json(&answer, &mut self.replies);
    }

    /// Lists the rooms by size, without the first `after` ones.
    fn tell_rooms_listed(&mut self, after: u32) {
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
        // The sort is stable, so rooms of equal size stay in the order of their names.
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
        self.tell(&ServerMessage::Rooms { rooms, more, from, after: next });
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
