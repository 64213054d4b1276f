//! Telnet: the option negotiation of a connection, and the byte stream without Telnet commands.

use std::borrow::Cow;

use bytes::Bytes;

use echoline::Line;
use echoline_chat_core::text::erase;

mod line_end;
mod stream;

pub(super) use stream::{ByteStream, Telnet};

/// Applies editing keys such as Backspace to a line. A line without such keys is returned without a
/// copy.
pub(super) fn obey_erasing(line: Line) -> Line {
    match erase(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(left) => Line::from(Bytes::from(left)),
    }
}
