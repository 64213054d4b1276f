//! The log of a room: its lines in order, numbered and encoded once. Its size is bounded.
//!
//! An append encodes a line, as a terminal shows it, into a chunk of bytes. A member is only a
//! cursor: the number of the next line. All unread lines of a member are a few slices of those
//! chunks, so no line is copied or stored per member.
//!
//! Lines that users said have a limit of their own. If other lines fill the log, the said lines
//! that leave it move to `OlderLines`, so a flood of joins does not displace them.

mod older;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use older::{OlderLine, OlderLines};

use crate::room::LineView;
use crate::room::{Batch, EOL, Shape};
use crate::{DELETED, LineKind};

/// The minimum and maximum size of a chunk, in bytes. A longer line has its own chunk. Chunks grow
/// with the room, so that many rooms with a few lines cost little memory.
const CHUNK_BYTES_MIN: usize = 1024;
const CHUNK_BYTES_MAX: usize = 128 * 1024;

/// The maximum number of deleted lines that are remembered.
const DELETED_MAX: usize = 1000;

/// The lines of one room in memory.
///
/// Invariants:
///
/// * `entries` has the lines `first..next()` in order. Their bytes are in `chunks` and then in
///   `tail`, without gaps; no line is split between two of them.
/// * Times increase strictly.
/// * `visible` is between `first` and `next()`.
/// * The lines of `older` have numbers below `first`. The said lines in `older` and `entries`
///   together do not exceed `limits`.
#[derive(Debug)]
pub struct Log {
    limits: LogLimits,
    older: OlderLines,
    first: u64,
    entries: VecDeque<LineEntry>,
    /// The number and size of the said lines in `entries`.
    said: SaidLines,
    chunks: VecDeque<Chunk>,
    /// The bytes that were appended since the last [`freeze`](Self::freeze).
    tail: BytesMut,
    tail_start: u64,
    /// Lines with smaller numbers may be shown.
    visible: u64,
    /// Whether appended lines stay invisible until [`show`](Self::show) is called.
    pub holds: bool,
    last_time_ms: u64,
    /// The highest numbers of deleted lines, including lines that were dropped since. A node that
    /// missed a deletion learns about it from these numbers.
    pub deleted: BTreeSet<u64>,
}

/// The number and size of lines that users said.
#[derive(Clone, Copy, Debug, Default)]
struct SaidLines {
    lines: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct LineEntry {
    /// The offset of the line in the sequence of all bytes that were ever appended.
    start: u64,
    time_ms: u64,
    author: u64,
    shape: Shape,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// The properties of a line without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The kind of the line.
    pub kind: LineKind,
    /// The lineage of the author, as in [`LineView`].
    pub author: u64,
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
}

impl Log {
    /// Creates an empty log. Its first line will have the number `first` and a time after
    /// `last_time_ms`.
    pub fn new(limits: LogLimits, first: u64, last_time_ms: u64) -> Self {
        Self {
            limits,
            older: OlderLines::default(),
            first,
            entries: VecDeque::new(),
            said: SaidLines::default(),
            chunks: VecDeque::new(),
            tail: BytesMut::new(),
            tail_start: 0,
            visible: first,
            holds: false,
            last_time_ms,
            deleted: BTreeSet::new(),
        }
    }

    /// Appends a line. Returns its number and its time. The time is `now_ms`, or slightly later if
    /// that is not after the last line.
    pub fn append(
        &mut self,
        now_ms: u64,
        author: u64,
        kind: LineKind,
        name: &str,
        text: &str,
    ) -> (u64, u64) {
        let (shape, parts) = Shape::encode(kind, name, text);
        let length = parts.iter().map(|part| part.len()).sum::<usize>() + EOL.len();
        self.make_room(length);
        let start = self.tail_start + self.tail.len() as u64;
        for part in parts.iter().chain([&EOL]) {
            self.tail.extend_from_slice(part.as_bytes());
        }
        let time_ms = now_ms.max(self.last_time_ms + 1);
        self.last_time_ms = time_ms;
        self.entries.push_back(LineEntry { start, time_ms, author, shape });
        if kind.is_said() {
            self.said.lines += 1;
            self.said.bytes += length;
        }
        self.forget_old();
        if !self.holds {
            self.show(self.next());
        }
        (self.next() - 1, time_ms)
    }

    /// Replaces the text of a line with `[deleted]`, if the log has the line and its kind has a
    /// text. The number and the time stay the same. Copies one chunk.
    pub fn delete(&mut self, number: u64) {
        self.deleted.insert(number);
        if self.deleted.len() > DELETED_MAX {
            self.deleted.pop_first();
        }
        if !(self.first..self.next()).contains(&number) {
            return self.older.delete(number);
        }
        self.freeze();
        let index = (number - self.first) as usize;
        let LineEntry { start, shape, .. } = self.entries[index];
        let end = self.start_of(number + 1);
        let shown = std::str::from_utf8(self.bytes(start, end)).expect("lines are UTF-8");
        if !shape.kind.has_words() || ["", DELETED].contains(&&shown[shape.text()]) {
            return;
        }
        let name = shown[shape.name()].to_owned();
        let (shape, parts) = Shape::encode(shape.kind, &name, DELETED);
        let line = parts.concat() + EOL;
        let chunk_index = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let Chunk { start: origin, bytes } = &self.chunks[chunk_index];
        let (before, after) = ((start - origin) as usize, (end - origin) as usize);
        let bytes = [&bytes[..before], line.as_bytes(), &bytes[after..]].concat();
        self.chunks[chunk_index].bytes = bytes.into();
        self.entries[index].shape = shape;
        if shape.kind.is_said() {
            self.said.bytes = self.said.bytes + line.len() - (end - start) as usize;
        }
        // All later offsets shift by the difference in length.
        let by = (line.len() as u64).wrapping_sub(end - start);
        let starts = self.entries.iter_mut().skip(index + 1).map(|entry| &mut entry.start);
        let starts =
            starts.chain(self.chunks.iter_mut().skip(chunk_index + 1).map(|c| &mut c.start));
        for start in starts.chain([&mut self.tail_start]) {
            *start = start.wrapping_add(by);
        }
    }

    /// Returns the time of the last line.
    pub fn last_time_ms(&self) -> u64 {
        self.last_time_ms
    }

    /// Drops all lines. The next line will have this number, which must not be lower than the
    /// current one.
    pub(crate) fn jump(&mut self, number: u64) {
        self.tail_start += self.tail.len() as u64;
        self.tail.clear();
        self.entries.clear();
        self.chunks.clear();
        self.deleted.clear();
        (self.older, self.said) = Default::default();
        (self.first, self.visible) = (number, number);
    }

    /// Ensures that the next line is later than `time_ms`.
    pub fn set_last_time(&mut self, time_ms: u64) {
        self.last_time_ms = self.last_time_ms.max(time_ms);
    }

    /// Makes all lines before `until` visible.
    pub fn show(&mut self, until: u64) {
        self.visible = until.clamp(self.visible, self.next());
    }

    /// Returns the number from which on the log has all lines.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number of the oldest line that the log still has.
    pub fn oldest(&self) -> u64 {
        self.older.first().unwrap_or(self.first)
    }

    /// Returns the number of the first line, starting at `number`, that the log still has. Numbers
    /// after the last line are returned unchanged.
    pub(crate) fn kept_from(&self, number: u64) -> u64 {
        if number >= self.first {
            return number;
        }
        self.older.at_or_after(number).unwrap_or(self.first)
    }

    /// Returns the number of the last line before `number` that the log still has.
    pub fn kept_before(&self, number: u64) -> Option<u64> {
        match number.min(self.next()) {
            number if number > self.first => Some(number - 1),
            number => self.older.before(number),
        }
    }

    /// Counts the lines in this range of numbers that the log still has.
    pub fn count(&self, numbers: Range<u64>) -> u64 {
        let newer = numbers.end.saturating_sub(numbers.start.max(self.first));
        newer + self.older.count(numbers)
    }

    /// Returns whether the log has a line that a user said.
    pub fn has_said(&self) -> bool {
        self.said.lines > 0 || !self.older.is_empty()
    }

    /// Adds an older said line. Its number must be below [`first`](Self::first), and above the
    /// numbers of all older lines that were added before. Otherwise nothing is added.
    pub fn restore_said(&mut self, line: &LineView<'_>) {
        let LineView { number, time_ms, author, kind, name, text, .. } = *line;
        if number >= self.first || !kind.is_said() || self.older.last() >= Some(number) {
            return;
        }
        let (shape, parts) = Shape::encode(kind, name, text);
        let bytes = Bytes::from(parts.concat() + EOL);
        self.older.push(OlderLine { number, time_ms, author, shape, bytes });
        self.shrink_older();
    }

    /// Returns the number that the next line will have.
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns the number of the first line that must not be shown yet.
    pub fn visible(&self) -> u64 {
        self.visible
    }

    /// Fills `batch` with the visible lines, starting at number `from`. Skips the lines in `own`,
    /// which are ranges in order. The log must still have line `from`. The batch ends at the first
    /// missing line before [`first`](Self::first).
    pub(crate) fn gather<'a>(
        &mut self,
        from: u64,
        own: impl Iterator<Item = &'a Range<u64>>,
        batch: &mut Batch,
    ) {
        self.freeze();
        let mut own = own.filter(|mine| mine.end > from).peekable();
        let mut at = from;
        while at < self.first {
            while own.next_if(|mine| mine.end <= at).is_some() {}
            if let Some(mine) = own.next_if(|mine| mine.start <= at) {
                at = mine.end;
                continue;
            }
            let line = self.older.get(at);
            if !line.is_some_and(|line| batch.push(at, line.bytes.clone())) {
                batch.until = at;
                return;
            }
            at += 1;
        }
        for mine in own {
            if !self.gather_all(at..mine.start.min(self.visible), batch) {
                return;
            }
            at = mine.end.max(at);
        }
        if self.gather_all(at..self.visible, batch) {
            batch.until = self.visible;
        }
    }

    /// Adds the lines with these numbers to `batch`. Returns `false` if not all of them fit. The
    /// batch then ends before the first line that does not fit.
    fn gather_all(&self, numbers: Range<u64>, batch: &mut Batch) -> bool {
        if numbers.is_empty() {
            return true;
        }
        let (mut at, end) = (self.start_of(numbers.start), self.start_of(numbers.end));
        let mut number = numbers.start;
        let mut index = self.chunks.partition_point(|chunk| chunk.end() <= at);
        while at < end {
            let chunk = &self.chunks[index];
            let until = chunk.end().min(end);
            let within = (at - chunk.start) as usize..(until - chunk.start) as usize;
            if !batch.push(number, chunk.bytes.slice(within)) {
                batch.until = number;
                return false;
            }
            index += 1;
            at = until;
            if at < end {
                number = self.number_at(at);
            }
        }
        true
    }

    /// Returns the properties of a line that the log still has, even if it is not visible.
    pub(crate) fn mark(&self, number: u64) -> Option<Mark> {
        if let Some(older) = self.older.get(number) {
            let OlderLine { time_ms, author, shape, .. } = *older;
            return Some(Mark { kind: shape.kind, author, time_ms });
        }
        let LineEntry { time_ms, author, shape, .. } =
            *self.entries.get(number.checked_sub(self.first)? as usize)?;
        Some(Mark { kind: shape.kind, author, time_ms })
    }

    /// Returns the line with this number, if the log still has it and it is visible.
    pub fn line(&self, number: u64) -> Option<LineView<'_>> {
        if !(self.first..self.visible).contains(&number) {
            return self.older.get(number).map(OlderLine::view);
        }
        let entry = &self.entries[(number - self.first) as usize];
        let shown = self.bytes(entry.start, self.start_of(number + 1));
        Some(LineView::new(number, entry.time_ms, entry.author, &entry.shape, shown))
    }

    fn bytes(&self, start: u64, end: u64) -> &[u8] {
        let index = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let (origin, bytes) = match self.chunks.get(index) {
            Some(chunk) => (chunk.start, &chunk.bytes[..]),
            None => (self.tail_start, &self.tail[..]),
        };
        &bytes[(start - origin) as usize..(end - origin) as usize]
    }

    /// Returns the offset at which line `number` begins. For the next line, returns the end of all
    /// bytes.
    fn start_of(&self, number: u64) -> u64 {
        match self.entries.get((number - self.first) as usize) {
            Some(entry) => entry.start,
            None => self.tail_start + self.tail.len() as u64,
        }
    }

    fn number_at(&self, start: u64) -> u64 {
        self.first + self.entries.partition_point(|entry| entry.start < start) as u64
    }

    /// Ensures that the tail has space for `length` more bytes without moving its content.
    fn make_room(&mut self, length: usize) {
        if self.tail.capacity() - self.tail.len() < length {
            self.freeze();
            let usual = self.kept_bytes().clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
            self.tail = BytesMut::with_capacity(usual.max(length));
        }
    }

    /// Moves the appended bytes into a chunk that batches can share.
    fn freeze(&mut self) {
        if !self.tail.is_empty() {
            let bytes = self.tail.split().freeze();
            let chunk = Chunk { start: self.tail_start, bytes };
            self.tail_start = chunk.end();
            self.chunks.push_back(chunk);
        }
    }

    fn kept_bytes(&self) -> usize {
        let end = self.tail_start + self.tail.len() as u64;
        self.entries.front().map_or(0, |entry| (end - entry.start) as usize)
    }

    fn forget_old(&mut self) {
        while self.entries.len() > self.limits.lines.max(1)
            || (self.kept_bytes() > self.limits.bytes && self.entries.len() > 1)
        {
            self.forget_first();
        }
        self.shrink_older();
        self.visible = self.visible.max(self.first);
        let start = self.entries.front().map_or(self.tail_start, |entry| entry.start);
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= start) {
            self.chunks.pop_front();
        }
    }

    /// Removes the first line from the entries. If a user said it, it moves to the older lines,
    /// provided that it fits.
    fn forget_first(&mut self) {
        let end = self.start_of(self.first + 1);
        let Some(LineEntry { start, time_ms, author, shape }) = self.entries.pop_front() else {
            return;
        };
        let number = self.first;
        self.first += 1;
        if !shape.kind.is_said() {
            return;
        }
        let length = (end - start) as usize;
        self.said.lines -= 1;
        self.said.bytes -= length;
        let (lines, bytes) = self.room_for_older();
        // A line that still waits for the store was never shown, so it is dropped instead of kept.
        if lines > 0 && length <= bytes && number < self.visible {
            let bytes = Bytes::copy_from_slice(self.bytes(start, end));
            self.older.push(OlderLine { number, time_ms, author, shape, bytes });
        }
    }

    /// Returns how many lines and bytes the older lines may have. The limit is shared with the said
    /// lines in the entries.
    fn room_for_older(&self) -> (usize, usize) {
        let LogLimits { lines, bytes } = self.limits;
        (lines.saturating_sub(self.said.lines), bytes.saturating_sub(self.said.bytes))
    }

    fn shrink_older(&mut self) {
        let (lines, bytes) = self.room_for_older();
        self.older.shrink_to(lines, bytes);
    }
}

/// The limits up to which a log keeps lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The maximum number of lines. Default: 10,000.
    pub lines: usize,
    /// The maximum size of the lines as they are shown, in bytes. Default: 1 MiB.
    pub bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { lines: 10_000, bytes: 1024 * 1024 }
    }
}

impl LogLimits {
    /// Returns limits with the larger of the two values for each field.
    pub fn at_least(self, other: Self) -> Self {
        Self { lines: self.lines.max(other.lines), bytes: self.bytes.max(other.bytes) }
    }
}
