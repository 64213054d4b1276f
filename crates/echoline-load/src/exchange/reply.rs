//! Checks replies as their bytes arrive. Pure. The result does not depend on packet boundaries, and
//! no byte is searched twice for a line end.

use std::ops::Range;

use memchr::memchr;

use crate::message::{Expect, ExpectedReply};

/// The number of greeting lines that may precede the first reply.
const GREETING_LINES: u32 = 16;

/// The number of bytes by which a line of the server may be longer than the message.
const EXTRA_BYTES: usize = 64 * 1024;

/// The buffer space for the prefix of the first reply, in bytes.
const FIRST_EXTRA_BYTES: usize = 128;

/// The maximum initial size of the buffer in bytes, unless a single reply needs more.
const FIRST_BYTES_MAX: usize = 16 * 1024;

/// The number of bytes of a reply that an error shows.
const SHOWN_BYTES: usize = 80;

/// The difference between a wrong reply and the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReplyFault {
    /// The reply does not end with the sent text.
    Different,
    /// The reply is not the expected text.
    Unexpected,
    /// The reply does not match the pattern.
    NotMatching,
    /// The reply ends with the sent text, but its prefix differs from that of earlier replies.
    PrefixChanged,
    /// The line is too long.
    TooLong,
    /// None of the first lines is a reply.
    NoAnswer,
}

impl ReplyFault {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Different => "it does not end with the sent text",
            Self::Unexpected => "it is not the expected text",
            Self::NotMatching => "it does not match the pattern",
            Self::PrefixChanged => "the prefix before the text has changed",
            Self::TooLong => "it is more than 64 KiB longer than the message",
            Self::NoAnswer => "more than 16 lines arrived, and none was the reply",
        }
    }
}

/// The result of checking the received bytes against the oldest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyCheck {
    /// The reply is not complete.
    Incomplete,
    /// The reply is correct.
    Correct,
    /// The reply is wrong.
    Wrong(ReplyFault),
}

/// Buffers the bytes that one connection receives, and checks them as replies.
#[derive(Debug)]
pub(crate) struct ReplyChecker {
    /// `taken..filled` holds the received bytes.
    buffer: Vec<u8>,
    /// The number of bytes at the front that were checked.
    taken: usize,
    /// The number of bytes after `taken` that contain no line end.
    scanned: usize,
    filled: usize,
    /// The maximum length of a line in bytes, line end included.
    line_bytes_max: usize,
    /// The prefix that the server puts before each reply; learnt from the first reply.
    prefix: Option<Vec<u8>>,
    /// The number of greeting lines so far.
    greeting_lines: u32,
    /// The number of greeting lines that will still be skipped.
    skip: u32,
    /// The number of lines of the current reply that precede the checked one.
    before_last: u32,
    verbatim: Verbatim,
    /// Bytes after `taken` that equal the sent ones; zero if `verbatim` is not `Yes`.
    equal: usize,
    /// The start of the last line of the greeting, or of the wrong reply.
    unmatched: Vec<u8>,
}

/// Whether replies are the messages byte for byte, their line ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verbatim {
    /// No reply has shown it.
    Unknown,
    /// The replies so far.
    Yes,
    /// One reply was not, so each reply is checked as a line.
    No,
}

impl ReplyChecker {
    /// Creates a checker for messages of up to `size` bytes, with `depth` of them in flight.
    pub(crate) fn new(size: usize, depth: usize, expect: &Expect) -> Self {
        let first = size.saturating_add(FIRST_EXTRA_BYTES).saturating_mul(depth);
        Self {
            buffer: vec![0; first.min(FIRST_BYTES_MAX.max(size + FIRST_EXTRA_BYTES))],
            taken: 0,
            scanned: 0,
            filled: 0,
            line_bytes_max: size.saturating_add(EXTRA_BYTES),
            prefix: match &expect.reply {
                ExpectedReply::Echo { prefix } => prefix.clone(),
                _ => None,
            },
            greeting_lines: 0,
            skip: expect.greeting_lines,
            before_last: expect.lines.saturating_sub(1),
            verbatim: Verbatim::Unknown,
            equal: 0,
            unmatched: Vec::new(),
        }
    }

    /// Returns whether all received bytes were checked.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    /// Returns the buffer space for the next read, which is never empty.
    ///
    /// The buffer is bounded, because a line over `line_bytes_max` is an error before it needs
    /// more.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        if self.filled == self.buffer.len() && self.taken > 0 {
            self.buffer.copy_within(self.taken.., 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// Marks bytes of [`room`](Self::room) as received.
    #[inline]
    pub(crate) fn fill(&mut self, count: usize) {
        self.filled += count;
    }

    /// Returns whether replies are compared byte for byte by [`echoed`](Self::echoed). Else each is
    /// [checked](Self::check) as a line.
    #[inline]
    pub(crate) fn is_verbatim(&self) -> bool {
        self.verbatim == Verbatim::Yes
    }

    /// Returns the number of received bytes that equal the messages in flight, `sent`, which begin
    /// with the oldest one. One comparison checks many replies.
    ///
    /// After the first difference, replies are no longer compared in this way.
    #[inline]
    pub(crate) fn echoed(&mut self, sent: &[u8]) -> usize {
        let length = (self.filled - self.taken).min(sent.len());
        let received = &self.buffer[self.taken + self.equal..self.taken + length];
        let sent = &sent[self.equal..length];
        if received == sent {
            self.equal = length;
        } else {
            self.verbatim = Verbatim::No;
            self.equal += received.iter().zip(sent).take_while(|(one, other)| one == other).count();
        }
        self.equal
    }

    /// Takes `count` bytes that [`echoed`](Self::echoed) has compared.
    #[inline]
    pub(crate) fn take_echoed(&mut self, count: usize) {
        self.taken += count;
        self.scanned = 0;
        self.equal = if self.is_verbatim() { self.equal - count } else { 0 };
    }

    /// Checks the received bytes. `text` is the expected reply without a line end.
    pub(crate) fn check(&mut self, expect: &Expect, text: &[u8]) -> ReplyCheck {
        if matches!(expect.reply, ExpectedReply::Any) && self.skip == 0 {
            let came = !self.is_empty();
            (self.taken, self.scanned) = (self.filled, 0);
            return if came { ReplyCheck::Correct } else { ReplyCheck::Incomplete };
        }
        loop {
            let Some(line) = self.next_line() else {
                let length = self.filled - self.taken;
                let endless = length >= self.line_bytes_max;
                return if endless {
                    ReplyCheck::Wrong(ReplyFault::TooLong)
                } else {
                    ReplyCheck::Incomplete
                };
            };
            if line.len() > self.line_bytes_max {
                return ReplyCheck::Wrong(ReplyFault::TooLong);
            }
            if self.skip > 0 || self.before_last > 0 {
                let counter = if self.skip > 0 { &mut self.skip } else { &mut self.before_last };
                *counter -= 1;
                self.keep_excerpt(line);
                continue;
            }
            self.before_last = expect.lines.saturating_sub(1);
            match self.check_line(expect, text, line) {
                ReplyCheck::Incomplete => {}
                result => return result,
            }
        }
    }

    /// Checks one line. Returns `Incomplete` if the line is part of a greeting.
    fn check_line(&mut self, expect: &Expect, text: &[u8], range: Range<usize>) -> ReplyCheck {
        let line = without_eol(&self.buffer[range.clone()]);
        let fault = match &expect.reply {
            ExpectedReply::Echo { .. } => return self.check_echo(expect, text, range),
            ExpectedReply::Text(_) => (line != text).then_some(ReplyFault::Unexpected),
            ExpectedReply::Matching(pattern) => {
                (!pattern.matches(line)).then_some(ReplyFault::NotMatching)
            }
            ExpectedReply::Line | ExpectedReply::Any => None,
        };
        let Some(fault) = fault else { return ReplyCheck::Correct };
        self.keep_excerpt(range);
        ReplyCheck::Wrong(fault)
    }

    fn check_echo(&mut self, expect: &Expect, text: &[u8], range: Range<usize>) -> ReplyCheck {
        let line = without_eol(&self.buffer[range.clone()]);
        let before = line.strip_suffix(text);
        let fault = match (&self.prefix, before) {
            (Some(prefix), Some(before)) if prefix == before => {
                self.note_correct(expect);
                return ReplyCheck::Correct;
            }
            (None, Some(before)) => {
                self.prefix = Some(before.to_vec());
                self.unmatched.clear();
                self.note_correct(expect);
                return ReplyCheck::Correct;
            }
            (Some(_), Some(_)) => ReplyFault::PrefixChanged,
            (None, None) if expect.lines == 1 && self.greeting_lines < GREETING_LINES => {
                self.greeting_lines += 1;
                self.keep_excerpt(range);
                return ReplyCheck::Incomplete;
            }
            (None, None) if expect.lines == 1 => ReplyFault::NoAnswer,
            (_, None) => ReplyFault::Different,
        };
        self.keep_excerpt(range);
        ReplyCheck::Wrong(fault)
    }

    /// Notes a correct echo: the next ones may be the messages byte for byte.
    fn note_correct(&mut self, expect: &Expect) {
        let bare = expect.lines == 1 && self.prefix.as_ref().is_some_and(Vec::is_empty);
        if bare && self.verbatim == Verbatim::Unknown {
            self.verbatim = Verbatim::Yes;
        }
    }

    fn keep_excerpt(&mut self, line: Range<usize>) {
        let line = without_eol(&self.buffer[line]);
        let length = line.len().min(SHOWN_BYTES + 1);
        self.unmatched.clear();
        self.unmatched.extend_from_slice(&line[..length]);
    }

    /// Returns the escaped start of the wrong reply. Before the first reply it is the start of the
    /// greeting's last line.
    pub(crate) fn unmatched_excerpt(&self) -> String {
        excerpt(&self.unmatched)
    }

    fn next_line(&mut self) -> Option<Range<usize>> {
        let unread = &self.buffer[self.taken..self.filled];
        let Some(found) = memchr(b'\n', &unread[self.scanned..]) else {
            self.scanned = unread.len();
            return None;
        };
        let start = self.taken;
        self.taken += self.scanned + found + 1;
        self.scanned = 0;
        Some(start..self.taken)
    }
}

/// Returns the escaped start of `bytes`.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let rest = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
    format!("{}{rest}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}

pub(crate) fn without_eol(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::LinePattern;

    /// Returns the result for each message in turn, for an `input` that arrives in `pieces`.
    fn checks(texts: &[&[u8]], input: &[u8], pieces: &[usize]) -> Vec<ReplyCheck> {
        checked(&Expect::default(), texts, input, pieces)
    }

    fn checked(
        expect: &Expect,
        texts: &[&[u8]],
        input: &[u8],
        pieces: &[usize],
    ) -> Vec<ReplyCheck> {
        let mut replies = ReplyChecker::new(8, 1, expect);
        let mut rest = input;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
        let mut found = Vec::new();
        for text in texts {
            let mut result = replies.check(expect, text);
            while result == ReplyCheck::Incomplete && !rest.is_empty() {
                let room = replies.room();
                let size = sizes.next().unwrap().clamp(1, room.len()).min(rest.len());
                room[..size].copy_from_slice(&rest[..size]);
                replies.fill(size);
                rest = &rest[size..];
                result = replies.check(expect, text);
            }
            found.push(result);
            if result != ReplyCheck::Correct {
                break;
            }
        }
        assert!(replies.buffer.len() <= 2 * replies.line_bytes_max, "the buffer is bounded");
        found
    }

    #[test]
    fn accepts_a_prefix_a_greeting_and_both_line_ends() {
        use ReplyCheck::{Correct, Incomplete};
        let texts: [&[u8]; 2] = [b"0:0", b"0:1"];
        for input in ["0:0\n0:1\n", "Echo: 0:0\r\nEcho: 0:1\r\n", "Hi\r\n\r\n> 0:0\n> 0:1\n"] {
            assert_eq!(checks(&texts, input.as_bytes(), &[]), [Correct, Correct], "{input}");
        }
        assert_eq!(checks(&texts, b"0:0\n0:1", &[]), [Correct, Incomplete]);
        assert_eq!(checks(&texts, b"Hi\n", &[]), [Incomplete]);
        assert_eq!(checks(&texts, b"", &[]), [Incomplete]);
    }

    #[test]
    fn rejects_other_lines() {
        use ReplyCheck::{Correct, Wrong};
        let texts: [&[u8]; 2] = [b"0:0", b"0:1"];
        for (input, fault) in [
            ("0:0\n0:0\n", ReplyFault::Different),
            ("0:0\n\n", ReplyFault::Different),
            ("0:0\n0:1 \n", ReplyFault::Different),
            ("0:0\n> 0:1\n", ReplyFault::PrefixChanged),
            ("> 0:0\n0:1\n", ReplyFault::PrefixChanged),
        ] {
            assert_eq!(checks(&texts, input.as_bytes(), &[]), [Correct, Wrong(fault)], "{input}");
        }
    }

    #[test]
    fn checks_each_kind_of_expectation() {
        use ReplyCheck::{Correct, Incomplete, Wrong};
        let of = |reply| Expect { reply, ..Expect::default() };
        let texts: [&[u8]; 2] = [b"5", b"6"];
        let pattern = LinePattern::new("P", |line: &[u8]| line.starts_with(b"+"));
        let prefix = Some(b"> ".to_vec());
        let template = "{seq}".parse().unwrap();
        for (expect, input, wanted) in [
            (of(ExpectedReply::Line), "hi\nho\n", vec![Correct, Correct]),
            (of(ExpectedReply::Any), "x", vec![Correct, Incomplete]),
            (
                of(ExpectedReply::Matching(pattern)),
                "+a\r\n-b\r\n",
                vec![Correct, Wrong(ReplyFault::NotMatching)],
            ),
            (
                of(ExpectedReply::Echo { prefix }),
                "> 5\n6\n",
                vec![Correct, Wrong(ReplyFault::PrefixChanged)],
            ),
            (
                Expect { lines: 2, greeting_lines: 1, ..of(ExpectedReply::Text(template)) },
                "hello\n$1\r\n5\r\n$1\r\n5\r\n",
                vec![Correct, Wrong(ReplyFault::Unexpected)],
            ),
            (
                Expect { lines: 2, ..Expect::default() },
                "a\n7\n",
                vec![Wrong(ReplyFault::Different)],
            ),
        ] {
            assert_eq!(checked(&expect, &texts, input.as_bytes(), &[]), wanted, "{expect}");
        }
    }

    #[test]
    fn the_limits_are_exact() {
        use ReplyCheck::{Correct, Wrong};
        let greeting = |lines| ["x\n"].repeat(lines).concat() + "0:0\n";
        assert_eq!(checks(&[b"0:0"], greeting(16).as_bytes(), &[]), [Correct]);
        assert_eq!(checks(&[b"0:0"], greeting(17).as_bytes(), &[]), [Wrong(ReplyFault::NoAnswer)]);
        // The line end counts: a line may have 8 bytes more than 64 KiB.
        let line = |bytes: usize| "x".repeat(bytes - 4) + "0:0\n";
        let most = 8 + EXTRA_BYTES;
        for pieces in [&[][..], &[1, 4096, 60_000], &[most - 1]] {
            assert_eq!(checks(&[b"0:0"], line(most).as_bytes(), pieces), [Correct]);
            let longer = line(most + 1);
            let too_long = [Wrong(ReplyFault::TooLong)];
            assert_eq!(checks(&[b"0:0"], longer.as_bytes(), pieces), too_long);
            assert_eq!(checks(&[b"0:0"], &longer.as_bytes()[..most], pieces), too_long);
        }
    }

    #[test]
    fn escapes_the_excerpt_for_a_terminal() {
        let expect = Expect::default();
        let mut replies = ReplyChecker::new(8, 1, &expect);
        let input = b"busy\x1b[2J\xff\n";
        replies.room()[..input.len()].copy_from_slice(input);
        replies.fill(input.len());
        assert_eq!(replies.check(&expect, b"0:0"), ReplyCheck::Incomplete);
        assert_eq!(replies.unmatched_excerpt(), "busy\\x1b[2J\\xff");
    }

    proptest! {
        #[test]
        fn splitting_a_reply_anywhere_gives_the_same_result(
            lines in prop::collection::vec("(> )?0:[012](\r)?\n|.{0,3}\n|\r\n", 0..24),
            tail in ".{0,3}",
            pieces in prop::collection::vec(1usize..9, 0..60),
        ) {
            let input = lines.concat() + &tail;
            let texts: [&[u8]; 3] = [b"0:0", b"0:1", b"0:2"];
            let whole = checks(&texts, input.as_bytes(), &[]);
            prop_assert_eq!(checks(&texts, input.as_bytes(), &pieces), whole);
        }

        #[test]
        fn garbage_never_panics(
            input in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200,
            ),
            pieces in prop::collection::vec(1usize..9, 0..60),
        ) {
            checks(&[b"0:0", b"0:1"], &input, &pieces);
        }
    }
}
