//! Whether a reply is right. Pure: bytes go in as they come, verdicts come out; how the bytes
//! were cut into packets never changes a verdict, and no byte is searched twice.

use std::ops::Range;

use memchr::memchr;

use super::expect::{Expect, Reply};

/// Lines that may come before the first answer.
const GREETING_LINES: u32 = 16;

/// How much longer than the message a line of the server may be.
const EXTRA_BYTES: usize = 64 * 1024;

/// Room for replies before it is known how long they are: most servers' prefix.
const FIRST_EXTRA_BYTES: usize = 128;

/// Room for the replies to several messages at first, unless one takes more.
const FIRST_BYTES_MAX: usize = 16 * 1024;

/// How much of the server's own words is shown.
const SHOWN_BYTES: usize = 80;

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It does not end with the text that was sent.
    Different,
    /// It is not the text that was expected.
    Unexpected,
    /// It does not match the pattern.
    NotMatching,
    /// It ends with the text, but what stands before that is not what stood there at first.
    PrefixChanged,
    /// It goes on and on.
    TooLong,
    /// So many lines, and none of them is an answer.
    NoAnswer,
}

impl Fault {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Different => "it does not end with what was sent",
            Self::Unexpected => "it is not the text that was expected",
            Self::NotMatching => "it does not match the pattern",
            Self::PrefixChanged => "what stands before the text has changed",
            Self::TooLong => "it goes on 64 KiB past the size of the message",
            Self::NoAnswer => "more than 16 lines came and none of them was an answer",
        }
    }
}

/// What the bytes so far say about the message that was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The reply is not complete.
    Incomplete,
    /// It came back.
    Right,
    /// Something else came back.
    Wrong(Fault),
}

/// What one connection receives.
#[derive(Debug)]
pub(super) struct Replies {
    /// Only `taken..filled` holds anything.
    buffer: Vec<u8>,
    /// Bytes at the front that were judged.
    taken: usize,
    /// Bytes after `taken` that are known to hold no line end.
    scanned: usize,
    filled: usize,
    /// The longest line, its end included.
    line_bytes_max: usize,
    /// What the server puts before each answer; learnt from the first.
    prefix: Option<Vec<u8>>,
    /// Lines before the first answer.
    greeting_lines: u32,
    /// Lines of the greeting that are still to come.
    skip: u32,
    /// Lines of the reply in hand that are still to come before the one that is judged.
    before_last: u32,
    /// The last line of the greeting, or the one that was wrong, as far as it is shown.
    last_other: Vec<u8>,
}

impl Replies {
    /// For messages of up to `size` bytes, so many of them under way at the same time.
    pub(super) fn new(size: usize, depth: usize, expect: &Expect) -> Self {
        let first = size.saturating_add(FIRST_EXTRA_BYTES).saturating_mul(depth);
        Self {
            buffer: vec![0; first.min(FIRST_BYTES_MAX.max(size + FIRST_EXTRA_BYTES))],
            taken: 0,
            scanned: 0,
            filled: 0,
            line_bytes_max: size.saturating_add(EXTRA_BYTES),
            prefix: match &expect.reply {
                Reply::Echo { prefix } => prefix.clone(),
                _ => None,
            },
            greeting_lines: 0,
            skip: expect.greeting_lines,
            before_last: expect.lines.saturating_sub(1),
            last_other: Vec::new(),
        }
    }

    /// Whether everything that came has been judged.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.filled
    }

    /// Room for what comes next; never empty.
    ///
    /// Bounded: a line that is longer than `line_bytes_max` is a fault before it needs more.
    pub(super) fn room(&mut self) -> &mut [u8] {
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

    /// So many bytes were put into [`room`](Self::room).
    pub(super) fn fill(&mut self, count: usize) {
        self.filled += count;
    }

    /// Judges what has come. `text` is what the reply is held against, without a line end: the
    /// message of an echo, or what is expected instead.
    pub(super) fn judge(&mut self, expect: &Expect, text: &[u8]) -> Verdict {
        if matches!(expect.reply, Reply::Any) && self.skip == 0 {
            let came = !self.is_empty();
            (self.taken, self.scanned) = (self.filled, 0);
            return if came { Verdict::Right } else { Verdict::Incomplete };
        }
        loop {
            let Some(line) = self.next_line() else {
                let length = self.filled - self.taken;
                let endless = length >= self.line_bytes_max;
                return if endless { Verdict::Wrong(Fault::TooLong) } else { Verdict::Incomplete };
            };
            if line.len() > self.line_bytes_max {
                return Verdict::Wrong(Fault::TooLong);
            }
            if self.skip > 0 || self.before_last > 0 {
                let counter = if self.skip > 0 { &mut self.skip } else { &mut self.before_last };
                *counter -= 1;
                self.note_other(line);
                continue;
            }
            self.before_last = expect.lines.saturating_sub(1);
            match self.judge_line(expect, text, line) {
                Verdict::Incomplete => {}
                verdict => return verdict,
            }
        }
    }

    /// Incomplete: the line was part of a greeting.
    fn judge_line(&mut self, expect: &Expect, text: &[u8], range: Range<usize>) -> Verdict {
        let line = without_end(&self.buffer[range.clone()]);
        let fault = match &expect.reply {
            Reply::Echo { .. } => return self.judge_echo(expect, text, range),
            Reply::Text(_) => (line != text).then_some(Fault::Unexpected),
            Reply::Matching(pattern) => (!pattern.matches(line)).then_some(Fault::NotMatching),
            Reply::Line | Reply::Any => None,
        };
        let Some(fault) = fault else { return Verdict::Right };
        self.note_other(range);
        Verdict::Wrong(fault)
    }

    fn judge_echo(&mut self, expect: &Expect, text: &[u8], range: Range<usize>) -> Verdict {
        let line = without_end(&self.buffer[range.clone()]);
        let before = line.strip_suffix(text);
        let fault = match (&self.prefix, before) {
            (Some(prefix), Some(before)) if prefix == before => return Verdict::Right,
            (None, Some(before)) => {
                self.prefix = Some(before.to_vec());
                self.last_other.clear();
                return Verdict::Right;
            }
            (Some(_), Some(_)) => Fault::PrefixChanged,
            (None, None) if expect.lines == 1 && self.greeting_lines < GREETING_LINES => {
                self.greeting_lines += 1;
                self.note_other(range);
                return Verdict::Incomplete;
            }
            (None, None) if expect.lines == 1 => Fault::NoAnswer,
            (_, None) => Fault::Different,
        };
        self.note_other(range);
        Verdict::Wrong(fault)
    }

    fn note_other(&mut self, line: Range<usize>) {
        let line = without_end(&self.buffer[line]);
        let shown = line.len().min(SHOWN_BYTES + 1);
        self.last_other.clear();
        self.last_other.extend_from_slice(&line[..shown]);
    }

    /// The wrong reply, or before the first answer the last line of the greeting, fit for a
    /// terminal; empty where there was none.
    pub(super) fn last_other(&self) -> String {
        shown(&self.last_other)
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

/// The beginning of `bytes`, fit for a terminal.
pub(super) fn shown(bytes: &[u8]) -> String {
    let rest = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
    format!("{}{rest}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::expect::Pattern;
    use super::*;

    /// The verdict on each message in turn, as far as `input`, which comes in `pieces`, goes.
    fn verdicts(texts: &[&[u8]], input: &[u8], pieces: &[usize]) -> Vec<Verdict> {
        judged(&Expect::default(), texts, input, pieces)
    }

    fn judged(expect: &Expect, texts: &[&[u8]], input: &[u8], pieces: &[usize]) -> Vec<Verdict> {
        let mut replies = Replies::new(8, 1, expect);
        let mut rest = input;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
        let mut found = Vec::new();
        for text in texts {
            let mut verdict = replies.judge(expect, text);
            while verdict == Verdict::Incomplete && !rest.is_empty() {
                let room = replies.room();
                let size = sizes.next().unwrap().clamp(1, room.len()).min(rest.len());
                room[..size].copy_from_slice(&rest[..size]);
                replies.fill(size);
                rest = &rest[size..];
                verdict = replies.judge(expect, text);
            }
            found.push(verdict);
            if verdict != Verdict::Right {
                break;
            }
        }
        assert!(replies.buffer.len() <= 2 * replies.line_bytes_max, "the buffer is bounded");
        found
    }

    #[test]
    fn a_prefix_a_greeting_and_both_line_ends_are_right() {
        use Verdict::{Incomplete, Right};
        let texts: [&[u8]; 2] = [b"0:0", b"0:1"];
        for input in ["0:0\n0:1\n", "Echo: 0:0\r\nEcho: 0:1\r\n", "Hi\r\n\r\n> 0:0\n> 0:1\n"] {
            assert_eq!(verdicts(&texts, input.as_bytes(), &[]), [Right, Right], "{input}");
        }
        assert_eq!(verdicts(&texts, b"0:0\n0:1", &[]), [Right, Incomplete]);
        assert_eq!(verdicts(&texts, b"Hi\n", &[]), [Incomplete]);
        assert_eq!(verdicts(&texts, b"", &[]), [Incomplete]);
    }

    #[test]
    fn everything_else_is_wrong() {
        use Verdict::{Right, Wrong};
        let texts: [&[u8]; 2] = [b"0:0", b"0:1"];
        for (input, fault) in [
            ("0:0\n0:0\n", Fault::Different),
            ("0:0\n\n", Fault::Different),
            ("0:0\n0:1 \n", Fault::Different),
            ("0:0\n> 0:1\n", Fault::PrefixChanged),
            ("> 0:0\n0:1\n", Fault::PrefixChanged),
        ] {
            assert_eq!(verdicts(&texts, input.as_bytes(), &[]), [Right, Wrong(fault)], "{input}");
        }
    }

    #[test]
    fn other_expectations_take_other_lines() {
        use Verdict::{Incomplete, Right, Wrong};
        let of = |reply| Expect { reply, ..Expect::default() };
        let texts: [&[u8]; 2] = [b"5", b"6"];
        let pattern = Pattern::new("P", |line: &[u8]| line.starts_with(b"+"));
        let prefix = Some(b"> ".to_vec());
        let template = "{seq}".parse().unwrap();
        for (expect, input, wanted) in [
            (of(Reply::Line), "hi\nho\n", vec![Right, Right]),
            (of(Reply::Any), "x", vec![Right, Incomplete]),
            (of(Reply::Matching(pattern)), "+a\r\n-b\r\n", vec![Right, Wrong(Fault::NotMatching)]),
            (of(Reply::Echo { prefix }), "> 5\n6\n", vec![Right, Wrong(Fault::PrefixChanged)]),
            (
                Expect { lines: 2, greeting_lines: 1, ..of(Reply::Text(template)) },
                "hello\n$1\r\n5\r\n$1\r\n5\r\n",
                vec![Right, Wrong(Fault::Unexpected)],
            ),
            (Expect { lines: 2, ..Expect::default() }, "a\n7\n", vec![Wrong(Fault::Different)]),
        ] {
            assert_eq!(judged(&expect, &texts, input.as_bytes(), &[]), wanted, "{expect}");
        }
    }

    #[test]
    fn the_limits_are_exact() {
        use Verdict::{Right, Wrong};
        let greeting = |lines| ["x\n"].repeat(lines).concat() + "0:0\n";
        assert_eq!(verdicts(&[b"0:0"], greeting(16).as_bytes(), &[]), [Right]);
        assert_eq!(verdicts(&[b"0:0"], greeting(17).as_bytes(), &[]), [Wrong(Fault::NoAnswer)]);
        // The line end counts: 8 + 64 KiB bytes are a line.
        let line = |bytes: usize| "x".repeat(bytes - 4) + "0:0\n";
        let most = 8 + EXTRA_BYTES;
        for pieces in [&[][..], &[1, 4096, 60_000], &[most - 1]] {
            assert_eq!(verdicts(&[b"0:0"], line(most).as_bytes(), pieces), [Right]);
            let longer = line(most + 1);
            let too_long = [Wrong(Fault::TooLong)];
            assert_eq!(verdicts(&[b"0:0"], longer.as_bytes(), pieces), too_long);
            assert_eq!(verdicts(&[b"0:0"], &longer.as_bytes()[..most], pieces), too_long);
        }
    }

    #[test]
    fn what_is_shown_cannot_harm_a_terminal() {
        let expect = Expect::default();
        let mut replies = Replies::new(8, 1, &expect);
        let input = b"busy\x1b[2J\xff\n";
        replies.room()[..input.len()].copy_from_slice(input);
        replies.fill(input.len());
        assert_eq!(replies.judge(&expect, b"0:0"), Verdict::Incomplete);
        assert_eq!(replies.last_other(), "busy\\x1b[2J\\xff");
    }

    proptest! {
        #[test]
        fn splitting_a_reply_anywhere_gives_the_same_verdict(
            lines in prop::collection::vec("(> )?0:[012](\r)?\n|.{0,3}\n|\r\n", 0..24),
            tail in ".{0,3}",
            pieces in prop::collection::vec(1usize..9, 0..60),
        ) {
            let input = lines.concat() + &tail;
            let texts: [&[u8]; 3] = [b"0:0", b"0:1", b"0:2"];
            let whole = verdicts(&texts, input.as_bytes(), &[]);
            prop_assert_eq!(verdicts(&texts, input.as_bytes(), &pieces), whole);
        }

        #[test]
        fn garbage_never_panics(
            input in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200,
            ),
            pieces in prop::collection::vec(1usize..9, 0..60),
        ) {
            verdicts(&[b"0:0", b"0:1"], &input, &pieces);
        }
    }
}
