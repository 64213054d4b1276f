//! The form of a room's line on a terminal. Pure.

use std::ops::Range;

use crate::{LineKind, StoredLine};

/// The end of a line on a terminal.
pub const EOL: &str = "\r\n";

/// Returns a line as a terminal shows it, without its end.
#[must_use]
pub fn terminal_text(line: &StoredLine) -> String {
    Shape::encode(line.kind, &line.name, &line.text).1.concat()
}

/// Returns the fixed parts of a line: before the name, between name and text, and after the text.
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

/// The positions of name and text in an encoded line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The kind of the line.
    pub kind: LineKind,
    name: u8,
    text: u32,
}

impl Shape {
    /// Encodes a line without its line end. Returns the pieces of its bytes, and the positions of
    /// name and text in them.
    ///
    /// A name has at most 128 bytes (32 letters); a text that does not fit into 32 bits cannot
    /// have come through a line limit.
    pub fn encode<'a>(kind: LineKind, name: &'a str, text: &'a str) -> (Self, [&'a str; 5]) {
        let [before, between, after] = frame(kind, !text.is_empty());
        let shape = Self {
            kind,
            name: u8::try_from(name.len()).expect("a name has at most 128 bytes"),
            text: u32::try_from(text.len()).expect("a line limit is far below 4 GiB"),
        };
        (shape, [before, name, between, text, after])
    }

    /// Returns the range of the name.
    pub fn name(self) -> Range<usize> {
        let start = self.frame()[0].len();
        start..start + usize::from(self.name)
    }

    /// Returns the range of the text.
    pub fn text(self) -> Range<usize> {
        let start = self.name().end + self.frame()[1].len();
        start..start + self.text as usize
    }

    fn frame(self) -> [&'static str; 3] {
        frame(self.kind, self.text > 0)
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
