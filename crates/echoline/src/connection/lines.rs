//! The bounded line splitter. Pure. The result does not depend on packet boundaries, and no byte is
//! searched twice.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::line::Line;

/// The error for a line, or input of `read_until`, that is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line too long (limit {limit} bytes)")]
pub struct LineTooLong {
    /// The exceeded limit in bytes, without the line end.
    pub limit: usize,
}

/// Cuts a stream of bytes into lines of at most `max_line` bytes.
///
/// A line ends with `\n`, and one `\r` before it belongs to the line end. The line end does not
/// count: a line of exactly `max_line` bytes is accepted, and one byte more is [`LineTooLong`].
///
/// ```
/// use echoline::Lines;
///
/// let mut lines = Lines::new(80);
/// lines.push(b"one\r\ntw");
/// assert_eq!(lines.next_line()?.unwrap(), *b"one");
/// assert_eq!(lines.next_line()?, None);
/// lines.push(b"o\nrest");
/// assert_eq!(lines.next_line()?.unwrap(), *b"two");
/// assert_eq!(lines.finish().unwrap(), *b"rest");
/// # Ok::<(), echoline::connection::LineTooLong>(())
/// ```
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// The number of bytes at the front of `buffer` that contain no separator.
    scanned: usize,
    max_line: usize,
    /// Whether the input up to the next line end is discarded.
    skipping: bool,
}

impl Lines {
    /// Creates an empty splitter for lines of at most `max_line` bytes.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, max_line, skipping: false }
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.skipping {
            self.buffer.extend_from_slice(bytes);
        } else if let Some(end) = memchr(b'\n', bytes) {
            self.skipping = false;
            self.buffer.extend_from_slice(&bytes[end + 1..]);
        }
    }

    /// Appends received bytes. Whole lines stay in the buffer that `share` copies them to, if there
    /// is one and no other bytes are waiting. A partial line may wait for a long time, so it gets a
    /// separate buffer, which keeps no other bytes in memory.
    #[inline]
    pub(super) fn push_from(
        &mut self,
        bytes: &[u8],
        share: impl FnOnce(&[u8]) -> Option<BytesMut>,
    ) {
        if self.buffer.is_empty()
            && !self.skipping
            && bytes.ends_with(b"\n")
            && let Some(shared) = share(bytes)
        {
            self.buffer = shared;
        } else {
            self.push(bytes);
        }
    }

    /// Discards everything up to and including the next line end, even if it has not arrived yet.
    /// After [`LineTooLong`] the next line can then be read, and no part of the skipped line is
    /// buffered.
    pub fn skip_line(&mut self) {
        match memchr(b'\n', &self.buffer[self.scanned..]) {
            Some(found) => drop(self.cut(self.scanned + found + 1)),
            None => {
                drop(self.cut(self.buffer.len()));
                self.skipping = true;
            }
        }
    }

    /// Returns whether the rest of a skipped line has not arrived.
    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// Returns the received bytes that were not returned yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns the next complete line; `None` while its end has not arrived.
    ///
    /// # Errors
    /// [`LineTooLong`] as soon as the line can no longer end within the limit. So the buffer holds
    /// at most the limit plus one read. The bytes stay in the buffer.
    #[inline]
    pub fn next_line(&mut self) -> Result<Option<Line>, LineTooLong> {
        match memchr(b'\n', &self.buffer[self.scanned..]) {
            Some(found) => {
                let end = self.scanned + found + 1;
                let length = length_without_end(&self.buffer[..end]);
                self.fits(length)?;
                let mut bytes = self.cut(end);
                bytes.truncate(length);
                Ok(Some(Line::from(bytes.freeze())))
            }
            None => {
                self.scanned = self.buffer.len();
                // A `\r` just beyond the limit may belong to the line end.
                let end = usize::from(self.buffer.last() == Some(&b'\r'));
                self.fits(self.buffer.len() - end)?;
                Ok(None)
            }
        }
    }

    /// Returns the bytes up to and including the next `separator`; `None` while it has not arrived.
    /// An empty separator matches at once, before any byte.
    ///
    /// # Errors
    /// [`LineTooLong`] if more bytes than the limit precede the separator.
    pub fn next_until(&mut self, separator: &[u8]) -> Result<Option<Bytes>, LineTooLong> {
        if separator.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        match memmem::find(&self.buffer[self.scanned..], separator) {
            Some(found) => {
                let length = self.scanned + found;
                self.fits(length)?;
                Ok(Some(self.cut(length + separator.len()).freeze()))
            }
            None => {
                // The last bytes may be the first bytes of the separator.
                self.scanned = self.buffer.len().saturating_sub(separator.len() - 1);
                self.fits(self.scanned)?;
                Ok(None)
            }
        }
    }

    /// Returns the last line at the end of the stream, if the stream did not end with a line end.
    pub fn finish(&mut self) -> Option<Line> {
        let rest = self.take(usize::MAX);
        (!rest.is_empty()).then(|| Line::from(rest))
    }

    /// Returns the first bytes, at most `most` of them, without looking for a line end.
    pub fn take(&mut self, most: usize) -> Bytes {
        self.cut(self.buffer.len().min(most)).freeze()
    }

    /// Returns the number of received bytes that were not returned yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Returns whether all received bytes were returned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    #[inline]
    fn cut(&mut self, length: usize) -> BytesMut {
        self.scanned = 0;
        if length == self.buffer.len() {
            // If all bytes are taken, the buffer itself is returned. This needs no reference count
            // and leaves no empty buffer behind.
            return std::mem::take(&mut self.buffer);
        }
        self.buffer.split_to(length)
    }

    #[inline]
    fn fits(&self, length: usize) -> Result<(), LineTooLong> {
        if length > self.max_line { Err(LineTooLong { limit: self.max_line }) } else { Ok(()) }
    }
}

/// Returns the length of a line without its line end. `bytes` must end with `\n`.
#[inline]
fn length_without_end(bytes: &[u8]) -> usize {
    let without = &bytes[..bytes.len() - 1];
    without.strip_suffix(b"\r").unwrap_or(without).len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::connection::buffers;

    /// Returns the result of reading `input` in pieces cut at `cuts`: the lines, and whether one
    /// was too long.
    fn read(input: &[u8], cuts: &[usize], max_line: usize) -> (Vec<Vec<u8>>, bool) {
        read_by(input, cuts, max_line, Lines::push)
    }

    /// Does the same with `push` instead of [`Lines::push`].
    fn read_by(
        input: &[u8],
        cuts: &[usize],
        max_line: usize,
        push: impl Fn(&mut Lines, &[u8]),
    ) -> (Vec<Vec<u8>>, bool) {
        let mut lines = Lines::new(max_line);
        let mut found = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            let end = end.clamp(start, input.len());
            push(&mut lines, &input[start..end]);
            start = end;
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => found.push(line.to_vec()),
                    Ok(None) => break,
                    Err(LineTooLong { .. }) => return (found, false),
                }
            }
            assert!(lines.len() <= max_line + 1, "kept {} bytes", lines.len());
        }
        found.extend(lines.finish().map(|line| line.to_vec()));
        (found, true)
    }

    /// Generates any byte, but line ends more often than other bytes.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()]
    }

    proptest! {
        /// Fault 27: the lines are the same wherever packets split the input.
        #[test]
        fn cutting_the_input_never_changes_the_lines(
            input in proptest::collection::vec(byte(), 0..80),
            mut cuts in proptest::collection::vec(0usize..80, 0..8),
            max_line in 0usize..30,
        ) {
            cuts.sort_unstable();
            let every_byte: Vec<usize> = (0..input.len()).collect();
            let whole = read(&input, &[], max_line);
            prop_assert_eq!(&read(&input, &cuts, max_line), &whole);
            prop_assert_eq!(&read(&input, &every_byte, max_line), &whole);
            let push = |lines: &mut Lines, bytes: &[u8]| lines.push_from(bytes, buffers::share);
            prop_assert_eq!(&read_by(&input, &cuts, max_line, push), &whole);
        }

        #[test]
        fn skip_line_skips_only_the_line_that_was_too_long(
            lines in prop::collection::vec(0..20_usize, 1..8),
            cuts in prop::collection::vec(0..200_usize, 0..8),
        ) {
            let text = |length: &usize| "x".repeat(*length);
            let input = lines.iter().map(|length| text(length) + "\n").collect::<String>();
            let mut splitter = Lines::new(10);
            let mut found = Vec::new();
            let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(input.len())).collect();
            cuts.sort_unstable();
            let starts = [0].into_iter().chain(cuts.iter().copied());
            for (start, end) in starts.zip(cuts.iter().copied().chain([input.len()])) {
                splitter.push(&input.as_bytes()[start..end]);
                loop {
                    match splitter.next_line() {
                        Ok(Some(line)) => found.push(line.len()),
                        Ok(None) => break,
                        Err(LineTooLong { .. }) => splitter.skip_line(),
                    }
                }
            }
            let kept: Vec<usize> = lines.into_iter().filter(|&length| length <= 10).collect();
            prop_assert_eq!(found, kept);
            prop_assert_eq!(splitter.finish(), None);
        }

        #[test]
        fn cutting_the_input_never_changes_what_a_separator_finds(
            input in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 0..40),
            cut in 0usize..40,
        ) {
            let cut = cut.min(input.len());
            let mut lines = Lines::new(1000);
            lines.push(&input[..cut]);
            let mut found = Vec::new();
            while let Some(part) = lines.next_until(b"abb").unwrap() { found.push(part); }
            lines.push(&input[cut..]);
            while let Some(part) = lines.next_until(b"abb").unwrap() { found.push(part); }
            found.push(lines.take(usize::MAX));
            prop_assert_eq!(found.concat(), input.clone());
            let text = String::from_utf8(input).unwrap();
            prop_assert_eq!(found.len(), text.split("abb").count());
        }
    }

    /// A partial line may wait for a long time, so it must not keep a shared block in memory.
    #[test]
    fn only_whole_lines_are_shared() {
        let shared = |input: &[u8], before: &[u8]| {
            let mut lines = Lines::new(10);
            lines.push(before);
            let asked = std::cell::Cell::new(false);
            lines.push_from(input, |bytes| {
                asked.set(true);
                Some(bytes.into())
            });
            asked.get()
        };
        assert!(shared(b"one\ntwo\n", b""));
        assert!(!shared(b"one\ntw", b""));
        assert!(!shared(b"o\n", b"tw"));
    }

    /// Issue 11, item 47: the unread bytes are all received bytes that were not returned, line ends
    /// included.
    #[test]
    fn regression_unread_returns_all_bytes_that_were_not_returned() {
        let mut lines = Lines::new(10);
        assert_eq!(lines.unread(), b"");
        lines.push(b"one\r\ntw");
        assert_eq!(lines.unread(), b"one\r\ntw");
        assert_eq!(lines.next_line().unwrap().unwrap(), *b"one");
        assert_eq!(lines.unread(), b"tw");
        assert_eq!((lines.next_line(), lines.unread()), (Ok(None), &b"tw"[..]));
        assert_eq!(lines.take(1), &b"t"[..]);
        assert_eq!(lines.unread(), b"w");
    }

    /// Fault 19: a line of exactly the limit is accepted, and one byte more is not. The line end
    /// does not count.
    #[test]
    fn the_limit_is_exact() {
        for end in ["\n", "\r\n"] {
            assert_eq!(read(format!("1234567{end}").as_bytes(), &[], 7).0, [b"1234567"]);
            assert_eq!(read(format!("12345678{end}").as_bytes(), &[], 7), (vec![], false));
        }
        assert_eq!(read(b"1234567", &[], 7), (vec![b"1234567".to_vec()], true));
        assert_eq!(read(b"1234567\rx\n", &[], 7), (vec![], false));
        let mut lines = Lines::new(7);
        lines.push(b"12345678");
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 7 }));
        lines = Lines::new(3);
        lines.push(b"1234--");
        assert_eq!(lines.next_until(b"--"), Err(LineTooLong { limit: 3 }));
        assert_eq!(lines.next_until(b""), Ok(Some(Bytes::new())));
    }

    #[test]
    fn only_the_line_end_is_removed() {
        assert_eq!(read(b" a\r\r\n\n\rb", &[], 9).0, [&b" a\r"[..], b"", b"\rb"]);
    }
}
