//! Telnet: the option negotiation of a connection, and its byte stream without it.

use std::borrow::Cow;

use bytes::Bytes;

use echoline::Line;
use echoline_chat_core::text::erase;

mod line_end;
mod stream;

pub(super) use stream::{ByteStream, Telnet};

/// Applies the keys that edit a line. Returns a line without them unchanged, without a copy.
pub(super) fn obey_erasing(line: Line) -> Line {
    match erase(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(left) => Line::from(Bytes::from(left)),
    }
}
