//! A line that was read: bytes that are usually text. Pure.

use std::fmt;
use std::ops::Deref;
use std::str::Utf8Error;

use bytes::{Buf, Bytes};

/// One line without its line end (`\n` or `\r\n`). It is a cheap, owned slice of the bytes that
/// were read.
///
/// Lines are bytes, not text: an echo returns its input, valid UTF-8 or not. A `Line` keeps all
/// bytes of the same read in memory (at most 64 KiB, or the longest line), or a block of 4 KiB with
/// short lines of several connections. So copy lines that you keep for a long time
/// (`line.to_vec()`).
///
/// It dereferences to `[u8]`, and can be compared with text and with bytes:
///
/// ```
/// use echoline::Line;
///
/// let line = Line::from(bytes::Bytes::from("QUIT"));
/// assert!(line == "QUIT" && line == b"QUIT" && line.eq_ignore_ascii_case(b"quit"));
/// assert_eq!(line.to_string(), "QUIT");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Line(Bytes);

impl Line {
    /// Returns the line as text, if it is valid UTF-8.
    ///
    /// # Errors
    /// The position and the kind of the first invalid bytes.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// Returns the line without white space at both ends, as in Python's `str.strip()`: Unicode
    /// white space and the four separators U+001C to U+001F. Bytes that are not UTF-8 are not white
    /// space.
    #[must_use]
    pub fn trim(mut self) -> Self {
        let (start, end) = (self.len() - trim_start(&self).len(), trim_end(&self).len());
        self.0.truncate(end.max(start));
        self.0.advance(start);
        self
    }

    /// Works like [`trim`](Self::trim), but borrows the line.
    #[must_use]
    #[inline]
    pub fn trimmed(&self) -> &[u8] {
        // Most lines begin and end with a visible ASCII letter.
        match &*self.0 {
            [b'!'..=b'~'] | [b'!'..=b'~', .., b'!'..=b'~'] => &self.0,
            other => trim_end(trim_start(other)),
        }
    }

    /// Returns the rest of the line after `prefix`, without a copy; `None` if the line does not
    /// begin with it.
    ///
    /// ```
    /// use echoline::Line;
    ///
    /// let line = Line::from(bytes::Bytes::from("NICK Ann"));
    /// assert_eq!(line.strip_prefix("NICK ").unwrap(), "Ann");
    /// assert_eq!(line.strip_prefix("JOIN "), None);
    /// ```
    #[must_use]
    pub fn strip_prefix(&self, prefix: impl AsRef<[u8]>) -> Option<Self> {
        let rest = self.0.strip_prefix(prefix.as_ref())?;
        Some(Self(self.0.slice_ref(rest)))
    }

    /// Returns the bytes themselves, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter)
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let Some(letter) = first_letter(bytes).filter(|&letter| is_space(letter)) {
        bytes = &bytes[letter.len_utf8()..];
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let Some(letter) = last_letter(bytes).filter(|&letter| is_space(letter)) {
        bytes = &bytes[..bytes.len() - letter.len_utf8()];
    }
    bytes
}

/// The maximum number of bytes of a white-space character in UTF-8.
const SPACE_BYTES_MAX: usize = 3;

fn first_letter(bytes: &[u8]) -> Option<char> {
    (1..=bytes.len().min(SPACE_BYTES_MAX))
        .find_map(|length| std::str::from_utf8(&bytes[..length]).ok())
        .and_then(|text| text.chars().next())
}

fn last_letter(bytes: &[u8]) -> Option<char> {
    (1..=bytes.len().min(SPACE_BYTES_MAX))
        .find_map(|length| std::str::from_utf8(&bytes[bytes.len() - length..]).ok())
        .and_then(|text| text.chars().next())
}

impl Deref for Line {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Line {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl PartialEq<[u8]> for Line {
    fn eq(&self, other: &[u8]) -> bool {
        *self.0 == *other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Line {
    fn eq(&self, other: &[u8; N]) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&[u8]> for Line {
    fn eq(&self, other: &&[u8]) -> bool {
        *self.0 == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Line {
    fn eq(&self, other: &&[u8; N]) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

/// Prints the line as text, with `�` for bytes that are not valid UTF-8. To pass bytes on
/// unchanged, write the line itself.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn trimming_equals_strip(text in "[ \\t\\x1c\\x1f\\u{85}\\u{a0}\\u{3000}ab]{0,12}") {
            let line = Line::from(Bytes::from(text.clone())).trim();
            let stripped = text.trim_matches(is_space);
            prop_assert_eq!(line.as_str().unwrap(), stripped);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_unchanged() {
        let line = Line::from(Bytes::from_static(b" \xff\x80\xa0 "));
        assert_eq!(line.clone().trim(), *b"\xff\x80\xa0");
        assert_eq!(line.to_string(), " \u{fffd}\u{fffd}\u{fffd} ");
        assert_eq!(format!("{line:?}"), "\" \\xff\\x80\\xa0 \"");
        assert!(line.as_str().is_err());
        assert_eq!(Line::from(Bytes::from_static(b"\xc2\xa0 x")).trim(), *b"x");
    }

    #[test]
    fn a_line_is_compared_with_text_and_with_bytes() {
        let line = Line::from(Bytes::from_static(b"QUIT"));
        assert!(line == "QUIT" && line == *"QUIT" && line == b"QUIT" && line == *b"QUIT");
        let bytes: &[u8] = b"QUIT";
        assert!(line == *bytes && line == bytes);
        assert!(line != "quit" && line != b"QUIT " && line != "QUI");
    }

    #[test]
    fn the_rest_after_a_prefix_is_a_line() {
        let line = Line::from(Bytes::from_static(b"NICK \xff"));
        assert_eq!(line.strip_prefix("NICK ").unwrap(), b"\xff");
        assert_eq!(line.strip_prefix(b"NICK \xff").unwrap(), "");
        assert_eq!(line.strip_prefix("").as_ref(), Some(&line));
        assert_eq!(line.strip_prefix("NICK  "), None);
        assert_eq!(line.strip_prefix(&line[..4]).unwrap().trim(), b"\xff");
    }
}
