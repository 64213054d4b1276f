//! Answers the questions of pages and programs, with fields instead of sentences.

use super::history::{HistoryRange, newest_that_fit, unreadable};
use crate::session::command_cost::query_cost;
use crate::session::outbound_feed::RoomQuestion;
use crate::session::view::print_json;
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline_chat_core::command::{COMMANDS, Rank, aliases_of};
use echoline_chat_core::protocol::{
    EarlierLine, ErrorTopic, ListedCommand, ListedRoom, Query, ServerMessage, Thread,
};
use echoline_chat_core::state::person_id;
use echoline_chat_core::{Budget, LIST_BYTES_MAX, Name, StoredLine};

/// The maximum number of earlier lines in one answer.
const LINES_MAX: u64 = 100;

/// The maximum number of rooms in one answer.
const ROOMS_MAX: usize = 100;

/// The approximate size of a room's entry without its texts, in bytes.
const ENTRY_BYTES: usize = 64;

impl<S: ByteStream> Session<S> {
    /// Answers a question of a page or a program. `before` and `count` select earlier lines, and
    /// `after` selects the page of a list.
    ///
    /// # Errors
    /// Like [`wait`](Self::wait).
    pub(crate) async fn answer_query(
        &mut self,
        query: Query,
        (before, count): (Option<u64>, Option<u64>),
        after: u32,
    ) -> CommandResult {
        if self.is_ended() {
            return Ok(());
        }
        // Wakes the readers of the user's earlier lines first, so that the answer includes those
        // lines.
        self.feed.announce();
        if let Some(cost) = query_cost(query) {
            self.charge(cost)?;
        }
        match query {
            Query::People => self.ask(RoomQuestion::People { after }).await?,
            Query::History => self.tell_earlier_lines(before.unwrap_or(u64::MAX), count).await?,
            Query::Rooms => self.tell_rooms_listed(after),
            Query::Commands => self.tell(&commands()),
            Query::Person => {}
        }
        Ok(())
    }

    /// Answers whether the user with this id is in the chat. Without an id, the name is used.
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

    async fn tell_earlier_lines(&mut self, before: u64, count: Option<u64>) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
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
            Err(error) => self.tell(&ServerMessage::Error {
                text: unreadable(error).into(),
                about: Some(ErrorTopic::History),
                action: None,
                wait_ms: None,
                thread: Thread::default(),
            }),
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

    /// Sends the list of rooms, the largest first, without the first `after` rooms.
    fn tell_rooms_listed(&mut self, after: u32) {
        let mut rooms = self.listed_rooms();
        let total = rooms.len();
        rooms.drain(..total.min(after as usize));
        let rest = rooms.len();
        let mut budget = Budget::new(LIST_BYTES_MAX);
        let fits =
            |room: &&ListedRoom<'_>| budget.take(ENTRY_BYTES + room.room.len() + room.topic.len());
        let told = rooms.iter().take(ROOMS_MAX).take_while(fits).count();
        rooms.truncate(told);
        let more = told < rest;
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
