//! The encoding of lines in the log, and views of them.

use std::ops::Range;
use std::sync::Arc;

use crate::{LineKind, StoredLine};

/// The end of a line on a terminal.
pub const EOL: &str = "\r\n";

/// Returns a line as a terminal shows it, without the line end.
#[must_use]
pub fn terminal_text(line: &StoredLine) -> String {
    Shape::encode(line.kind, &line.name, &line.text).1.concat()
}

/// Returns the fixed parts of a line: before the name, between the name and the text, and after the
/// text.
const fn frame(kind: LineKind, has_text: bool) -> [&'static str; 3] {
    match (kind, has_text) {
        (LineKind::Said, _) => ["", ": ", ""],
        (LineKind::Action, _) => ["* ", " ", ""],
        (LineKind::Joined, _) => ["*** ", " joined the chat", " ***"],
        (LineKind::Left, false) => ["*** ", " left the chat", " ***"],
        (LineKind::Left, true) => ["*** ", " left the chat (", ") ***"],
        (LineKind::Renamed, _) => ["*** ", " is now ", " ***"],
        (LineKind::Topic, false) => ["*** ", " removed the topic", " ***"],
        (LineKind::Topic, true) => ["*** ", " set the topic: ", " ***"],
        (LineKind::Notice, _) => ["*** ", "", " ***"],
    }
}

/// The positions of the name and the text in an encoded line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The kind of the line.
    pub kind: LineKind,
    name: u8,
    text: u32,
}

impl Shape {
    /// Encodes a line without its line end. Returns the pieces of its bytes, and the positions of
    /// the name and the text.
    ///
    /// A name has at most 128 bytes (32 characters). A text always fits into 32 bits, because lines
    /// have a limit.
    pub fn encode<'a>(kind: LineKind, name: &'a str, text: &'a str) -> (Self, [&'a str; 5]) {
        let [before, between, after] = frame(kind, !text.is_empty());
        let shape = Self {
            kind,
            name: u8::try_from(name.len()).expect("a name has at most 128 bytes"),
            text: u32::try_from(text.len()).expect("a line limit is far below 4 GiB"),
        };
        (shape, [before, name, between, text, after])
    }

    /// Returns the range of the name, in bytes.
    pub fn name(self) -> Range<usize> {
        let start = self.frame()[0].len();
        start..start + usize::from(self.name)
    }

    /// Returns the range of the text, in bytes.
    pub fn text(self) -> Range<usize> {
        let start = self.name().end + self.frame()[1].len();
        start..start + self.text as usize
    }

    fn frame(self) -> [&'static str; 3] {
        frame(self.kind, self.text > 0)
    }
}

/// One line of a room, split into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineView<'a> {
    /// The number of the line.
    pub number: u64,
    /// The time, in milliseconds since 1970 (UTC). It is larger than that of the line before.
    pub time_ms: u64,
    /// The lineage of the author. 0 if the server wrote the line, or if the line was read from the
    /// store.
    pub author: u64,
    /// The kind of the line.
    pub kind: LineKind,
    /// The name in the line.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The line as a terminal shows it, without the line end.
    pub shown: &'a str,
}

impl<'a> LineView<'a> {
    /// Creates a line from the bytes that a terminal shows, with the line end.
    pub(super) fn new(
        number: u64,
        time_ms: u64,
        author: u64,
        shape: &Shape,
        bytes: &'a [u8],
    ) -> Self {
        let shown = std::str::from_utf8(bytes).expect("lines are UTF-8");
        let shown = shown.strip_suffix(EOL).expect("every line in the log has a line end");
        let (name, text) = (&shown[shape.name()], &shown[shape.text()]);
        Self { number, time_ms, author, kind: shape.kind, name, text, shown }
    }
}

impl From<LineView<'_>> for StoredLine {
    fn from(line: LineView<'_>) -> Self {
        let LineView { number, time_ms, kind, name, text, .. } = line;
        Self { number, time_ms, kind, name: Arc::from(name), text: Arc::from(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: LineKind, name: &str, text: &str) -> String {
        let (shape, parts) = Shape::encode(kind, name, text);
        let line = parts.concat();
        assert_eq!(&line[shape.name()], name);
        assert_eq!(&line[shape.text()], text);
        line
    }

    #[test]
    fn every_kind_of_line_is_worded_as_in_the_lesson() {
        assert_eq!(shown(LineKind::Said, "ann", "hi: there"), "ann: hi: there");
        assert_eq!(shown(LineKind::Said, "ann", ""), "ann: ");
        assert_eq!(shown(LineKind::Action, "ann", "waves"), "* ann waves");
        assert_eq!(shown(LineKind::Joined, "ann", ""), "*** ann joined the chat ***");
        assert_eq!(shown(LineKind::Left, "ann", ""), "*** ann left the chat ***");
        assert_eq!(shown(LineKind::Left, "ann", "tea"), "*** ann left the chat (tea) ***");
        assert_eq!(shown(LineKind::Renamed, "ann", "bea"), "*** ann is now bea ***");
        assert_eq!(shown(LineKind::Topic, "ann", "tea"), "*** ann set the topic: tea ***");
        assert_eq!(shown(LineKind::Topic, "ann", ""), "*** ann removed the topic ***");
        assert_eq!(shown(LineKind::Notice, "", "tea is ready"), "*** tea is ready ***");
    }
}
