//! Older lines of a log: only lines that users said. Joins, leaves and notices that fill the log do
//! not displace them.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::DELETED;
use crate::room::{EOL, LineView, Shape};

/// A line that a user said.
#[derive(Clone, Debug)]
pub(super) struct OlderLine {
    pub number: u64,
    pub time_ms: u64,
    pub author: u64,
    pub(crate) shape: Shape,
    /// The line as a terminal shows it, with the line end.
    pub bytes: Bytes,
}

/// Said lines in order. Their numbers have gaps.
#[derive(Debug, Default)]
pub(super) struct OlderLines {
    lines: VecDeque<OlderLine>,
    bytes: usize,
}

impl OlderLine {
    pub(super) fn view(&self) -> LineView<'_> {
        LineView::new(self.number, self.time_ms, self.author, &self.shape, &self.bytes)
    }
}

impl OlderLines {
    /// Adds a line. Its number must be larger than that of every other line.
    pub(super) fn push(&mut self, line: OlderLine) {
        self.bytes += line.bytes.len();
        self.lines.push_back(line);
    }

    /// Drops the oldest lines until at most `lines` lines and `bytes` bytes are left.
    pub(super) fn shrink_to(&mut self, lines: usize, bytes: usize) {
        while self.lines.len() > lines || self.bytes > bytes {
            let Some(dropped) = self.lines.pop_front() else { return };
            self.bytes -= dropped.bytes.len();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the number of the oldest line.
    pub(super) fn first(&self) -> Option<u64> {
        self.lines.front().map(|line| line.number)
    }

    /// Returns the number of the newest line.
    pub(super) fn last(&self) -> Option<u64> {
        self.lines.back().map(|line| line.number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&OlderLine> {
        self.lines.get(self.index(number)).filter(|line| line.number == number)
    }

    /// Returns the number of the first line whose number is at least `number`.
    pub(super) fn at_or_after(&self, number: u64) -> Option<u64> {
        self.lines.get(self.index(number)).map(|line| line.number)
    }

    /// Returns the number of the last line before `number`.
    pub(super) fn before(&self, number: u64) -> Option<u64> {
        self.lines.get(self.index(number).checked_sub(1)?).map(|line| line.number)
    }

    /// Counts the lines in this range of numbers.
    pub(super) fn count(&self, numbers: Range<u64>) -> u64 {
        self.index(numbers.end).saturating_sub(self.index(numbers.start)) as u64
    }

    /// Replaces the text of a line with `[deleted]`, if the line is here and its kind has a text.
    pub(super) fn delete(&mut self, number: u64) {
        let index = self.index(number);
        let Some(line) = self.lines.get_mut(index).filter(|line| line.number == number) else {
            return;
        };
        let view = line.view();
        if ["", DELETED].contains(&view.text) {
            return;
        }
        let (shape, parts) = Shape::encode(view.kind, view.name, DELETED);
        let bytes = Bytes::from(parts.concat() + EOL);
        self.bytes = self.bytes - line.bytes.len() + bytes.len();
        (line.shape, line.bytes) = (shape, bytes);
    }

    fn index(&self, number: u64) -> usize {
        self.lines.partition_point(|line| line.number < number)
    }
}
