//! `/history`, `/quote` and `/delete`, and access to earlier lines.

use std::ops::Range;
use std::sync::Arc;

use crate::chat::shared_room::SharedRoom;
use crate::session::view::DisplaySettings;
use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline_chat_core::command::{Passage, Rank};
use echoline_chat_core::room::terminal_text;
use echoline_chat_core::{
    Budget, DELETED, Days, LineKind, MISSING, Name, Operation, PAST_BYTES_MAX, StoredLine,
};
use echoline_chat_store::{Store, StoreError};

/// The default and the maximum number of lines that `/history` shows.
const HISTORY_USUAL: u64 = 20;
const HISTORY_MAX: u64 = 500;

/// The approximate size of a line in an answer, without its texts, in bytes.
const LINE_BYTES: usize = 64;

/// A range of earlier lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HistoryRange {
    /// The last `count` lines before the line number `before`.
    Newest {
        before: u64,
        count: u64,
    },
    Numbers(Range<u64>),
}

impl<S: ByteStream> Session<S> {
    /// `/history`: shows lines of the room, by number or the last ones.
    pub(super) async fn history(&mut self, passage: Option<Passage>) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let end = shared_room.with(|room| room.log.visible());
        let is_range = matches!(passage, Some(Passage::Between { .. }));
        let range = match passage.unwrap_or(Passage::Last(HISTORY_USUAL)) {
            Passage::Last(count) => {
                HistoryRange::Newest { before: end, count: count.min(HISTORY_MAX) }
            }
            Passage::Between { from, to } => {
                let from = from.max(1);
                let until = to.saturating_add(1).min(from.saturating_add(HISTORY_MAX));
                HistoryRange::Numbers(from..until.min(end))
            }
        };
        let lines = self.earlier_lines(range, &shared_room, &room).await?;
        self.show_passage(&lines.map_err(unreadable)?, is_range);
        Ok(())
    }

    /// Returns the lines of a range, from memory if all of them are there.
    pub(super) async fn earlier_lines(
        &mut self,
        range: HistoryRange,
        shared_room: &SharedRoom,
        room: &Name,
    ) -> Result<Result<Vec<StoredLine>, StoreError>, Closed> {
        match self.chat.archive.store().filter(|_| !range.is_in_memory(shared_room)) {
            Some(store) => self.wait(range.stored(&store, room)).await,
            None => Ok(Ok(range.kept(shared_room, &self.feed.view))),
        }
    }

    /// Reads a line from the store. Returns `None` if there is no store, or no such line.
    pub(super) async fn stored_line(
        &mut self,
        room: &Name,
        number: u64,
    ) -> Result<Option<StoredLine>, Closed> {
        let Some(store) = self.chat.archive.store() else { return Ok(None) };
        let lines = self.wait(store.lines(room.as_str(), number..=number, 1)).await?;
        Ok(lines.ok().and_then(|mut lines| lines.pop()))
    }

    /// `/quote`: posts an earlier line of the room again.
    pub(super) async fn quote(&mut self, number: u64) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let mut line = shared_room.with(|room| room.log.line(number).map(StoredLine::from));
        if line.is_none() {
            line = self.stored_line(&room, number).await?;
        }
        let line = line.ok_or_else(|| format!("There is no line {number}"))?;
        let words = format!("> #{} {}", line.number, terminal_text(&line));
        // Shows the quotation to its author too, because a terminal does not show the author's own
        // lines.
        self.reply(&words);
        Ok(self.say(LineKind::Said, &words).await?)
    }

    /// Shows as many lines as fit into one answer: the first lines of a range, otherwise the last
    /// lines.
    fn show_passage(&mut self, lines: &[StoredLine], is_range: bool) {
        let fitting = if is_range { oldest_that_fit(lines) } else { newest_that_fit(lines) };
        self.show_past(fitting, "There are no such lines");
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        if is_range && fitting.len() < lines.len() {
            let (next, last) = (lines[fitting.len()].number, last.number);
            self.notice(&format!("There is more: /history {next}-{last} shows the next lines"));
        } else if fitting.len() < lines.len() {
            let last = lines[lines.len() - fitting.len() - 1].number;
            let first = first.number;
            self.notice(&format!("There is more: /history {first}-{last} shows the earlier lines"));
        }
    }

    pub(super) fn show_past(&mut self, lines: &[StoredLine], nothing: &str) {
        let view = &self.feed.view;
        let is_seen = |line: &&StoredLine| !view.hides_past(line.kind, 0, &line.name);
        let lines: Vec<&StoredLine> = lines.iter().filter(is_seen).collect();
        if lines.is_empty() {
            self.notice(nothing);
        }
        let date = self.chat.settings.date;
        let mut days = Days::new(date(self.chat.now_ms()));
        for line in lines {
            if let Some(separator) = days.turn(date(line.time_ms)) {
                self.reply(&separator);
            }
            let time = (self.chat.settings.time)(line.time_ms);
            self.reply(&format!("#{} {time} {}", line.number, terminal_text(line)));
        }
    }
}

/// Logs the reason why the store cannot be read. Returns the message for the user.
#[expect(clippy::needless_pass_by_value, reason = "used as an argument of `map_err`")]
pub(super) fn unreadable(error: StoreError) -> &'static str {
    tracing::warn!(%error, "cannot read the history");
    "The history cannot be read now; try again later"
}

/// Returns a line from memory, unless the view hides its author.
fn seen(shared_room: &SharedRoom, number: u64, view: &DisplaySettings) -> Option<StoredLine> {
    shared_room.with(|room| {
        let line = room.log.line(number);
        let line = line.filter(|line| !view.hides_past(line.kind, line.author, line.name));
        line.map(StoredLine::from)
    })
}

impl HistoryRange {
    /// Returns whether all of these lines are in memory, so that the store need not be read.
    pub(super) fn is_in_memory(&self, shared_room: &SharedRoom) -> bool {
        let first = shared_room.with(|room| room.log.first());
        match *self {
            Self::Newest { before, count } => before.saturating_sub(count).max(1) >= first,
            Self::Numbers(ref numbers) => numbers.start >= first,
        }
    }

    /// Returns the lines of the range that are in memory, the oldest first. Leaves out lines that
    /// the view hides.
    pub(super) fn kept(&self, shared_room: &SharedRoom, view: &DisplaySettings) -> Vec<StoredLine> {
        let mut lines: Vec<StoredLine> = match *self {
            Self::Newest { before, count } => {
                let earlier = |number| shared_room.with(|room| room.log.kept_before(number));
                let numbers = std::iter::successors(earlier(before), |number| earlier(*number));
                let lines = numbers.filter_map(|number| seen(shared_room, number, view));
                lines.take(count as usize).collect()
            }
            Self::Numbers(ref numbers) => {
                numbers.clone().rev().filter_map(|number| seen(shared_room, number, view)).collect()
            }
        };
        lines.reverse();
        lines
    }

    /// Returns the lines of the range that the store has, the oldest first, with notices for
    /// missing lines.
    pub(super) async fn stored(
        self,
        store: &Store,
        room: &Name,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let room = room.as_str();
        let (found, until, most) = match self {
            Self::Newest { before, count } => {
                (store.last(room, before, count as usize).await, before, count as usize)
            }
            Self::Numbers(numbers) => {
                let most = HISTORY_MAX as usize;
                let range = numbers.start..=numbers.end.saturating_sub(1);
                (store.lines(room, range, most).await, numbers.end, most)
            }
        };
        let mut lines = with_gaps(found?, until, store.trimmed(room).await?);
        lines.drain(..lines.len().saturating_sub(most));
        Ok(lines)
    }
}

/// Inserts notices for missing lines after the first of `lines` and before the number `until`.
/// Lines up to `trimmed` get no notice, because the store may have trimmed them.
fn with_gaps(lines: Vec<StoredLine>, until: u64, trimmed: u64) -> Vec<StoredLine> {
    let mut whole = Vec::with_capacity(lines.len());
    let missing = |number, time_ms| StoredLine {
        number,
        time_ms,
        kind: LineKind::Notice,
        name: Arc::default(),
        text: Arc::from(MISSING),
    };
    // An answer shows at most `HISTORY_MAX` lines, so more notices are not needed.
    let gap = |from: u64, to: u64| {
        from.max(trimmed.saturating_add(1)).max(to.saturating_sub(HISTORY_MAX))..to
    };
    let mut next = None;
    for line in lines {
        let (number, time_ms) = (line.number, line.time_ms);
        let gaps = gap(next.unwrap_or(number), number);
        whole.extend(gaps.map(|number| missing(number, time_ms)));
        next = Some(number + 1);
        whole.push(line);
    }
    let time_ms = whole.last().map_or(0, |line| line.time_ms);
    whole.extend(gap(next.unwrap_or(until), until).map(|number| missing(number, time_ms)));
    whole
}

/// Returns the first lines, as many as fit into one answer.
fn oldest_that_fit(lines: &[StoredLine]) -> &[StoredLine] {
    &lines[..fitting(lines.iter())]
}

/// Returns the last lines, as many as fit into one answer.
pub(super) fn newest_that_fit(lines: &[StoredLine]) -> &[StoredLine] {
    &lines[lines.len() - fitting(lines.iter().rev())..]
}

fn fitting<'a>(lines: impl Iterator<Item = &'a StoredLine>) -> usize {
    let mut budget = Budget::new(PAST_BYTES_MAX);
    lines.take_while(|line| budget.take(LINE_BYTES + line.name.len() + line.text.len())).count()
}

/// A line that `/delete` found.
struct FoundLine {
    has_words: bool,
    is_deleted: bool,
    /// Whether this user wrote the line. This is unknown for stored lines, which have no lineage.
    is_own: bool,
    /// Whether the line set the current topic of the room.
    is_topic: bool,
}

impl<S: ByteStream> Session<S> {
    /// `/delete`: deletes a line of this user, or any line if they are an operator here.
    pub(super) async fn delete(&mut self, number: u64) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let is_operator = self.rank() == Rank::Operator;
        let mut found = self.find_in_memory(&shared_room, number);
        if found.is_none() {
            found = self.find_in_store(&shared_room, &room, number).await?;
        }
        let line = found.ok_or_else(|| format!("There is no line {number}"))?;
        let objection = match () {
            () if line.is_deleted => "is already deleted",
            () if !line.has_words => "has no text to delete",
            () if !line.is_own && !is_operator => "is not yours: only an operator can delete it",
            () => return self.delete_found(room, number, &line).await,
        };
        Err(format!("Line {number} {objection}").into())
    }

    fn find_in_memory(&self, shared_room: &SharedRoom, number: u64) -> Option<FoundLine> {
        shared_room.with(|room| {
            let line = room.log.line(number)?;
            Some(FoundLine {
                has_words: line.kind.has_words() && !line.text.is_empty(),
                is_deleted: line.text == DELETED,
                is_own: line.author == self.user.lineage,
                is_topic: line.kind == LineKind::Topic && *line.text == *room.topic,
            })
        })
    }

    async fn find_in_store(
        &mut self,
        shared_room: &SharedRoom,
        room: &Name,
        number: u64,
    ) -> Result<Option<FoundLine>, Closed> {
        let topic = shared_room.with(|room| Arc::clone(&room.topic));
        let stored = self.stored_line(room, number).await?;
        Ok(stored.map(|line| FoundLine {
            has_words: line.kind.has_words() && !line.text.is_empty(),
            is_deleted: *line.text == *DELETED,
            is_own: false,
            is_topic: line.kind == LineKind::Topic && line.text == topic,
        }))
    }

    async fn delete_found(&mut self, room: Name, number: u64, line: &FoundLine) -> CommandResult {
        let own = line.is_own;
        let delete = Operation::Delete { room: room.clone(), number, own };
        self.carry_out_or(delete, || format!("There is no line {number}")).await?;
        if !own {
            self.audit(&format!("deleted line {number} of {room}"));
        }
        if line.is_topic {
            // The line set the current topic, so the topic is removed too.
            return self.topic(Some("-")).await;
        }
        Ok(())
    }
}
