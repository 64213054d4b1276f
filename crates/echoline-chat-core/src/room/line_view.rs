//! One line of a room's log as its readers see it. Pure.

use std::sync::Arc;

use crate::room::line::{EOL, Shape};
use crate::{LineKind, StoredLine};

/// One line of a room with its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineView<'a> {
    /// The number of the line.
    pub number: u64,
    /// Milliseconds since 1970, UTC; larger than those of the line before.
    pub time_ms: u64,
    /// The lineage of the author; 0 if the server wrote the line, or if it was read from the store.
    pub author: u64,
    /// The kind of the line.
    pub kind: LineKind,
    /// The name in the line.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The line as a terminal shows it, without its end.
    pub shown: &'a str,
}

impl<'a> LineView<'a> {
    /// Creates a line from its bytes, as a terminal shows it and with its end.
    pub(super) fn new(
        number: u64,
        time_ms: u64,
        author: u64,
        shape: &Shape,
        bytes: &'a [u8],
    ) -> Self {
        let shown = std::str::from_utf8(bytes).expect("lines are made of text");
        let shown = shown.strip_suffix(EOL).expect("every line was given its end");
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
