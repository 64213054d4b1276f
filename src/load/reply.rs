//! Whether a reply is right. Pure: bytes go in as they come, verdicts come out; how the bytes
//! were cut into packets never changes a verdict, and no byte is searched twice.

use memchr::memchr;

/// Lines that may come before the first answer.
const GREETING_LINES: u32 = 16;

/// How much longer than the message a line of the server may be.
const EXTRA_BYTES: usize = 64 * 1024;

/// Room for replies before it is known how long they are: most servers' prefix.
const FIRST_EXTRA_BYTES: usize = 128;

/// How much of the server's own words is shown.
const SHOWN_BYTES: usize = 80;

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It does not end with the text that was sent.
    Different,
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
    /// The last line of the greeting, or the one that was wrong, as far as it is shown.
    last_other: Vec<u8>,
}

impl Replies {
    /// For messages of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        Self {
            buffer: vec![0; size.saturating_add(FIRST_EXTRA_BYTES)],
            taken: 0,
            scanned: 0,
            filled: 0,
            line_bytes_max: size.saturating_add(EXTRA_BYTES),
            prefix: None,
            greeting_lines: 0,
            last_other: Vec::new(),
        }
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

    /// Judges what has come. `text` is the message without its line end.
    pub(super) fn judge(&mut self, text: &[u8]) -> Verdict {
        loop {
            let Some(line) = self.next_line() else {
                let length = self.filled - self.taken;
                let endless = length >= self.line_bytes_max;
                return if endless { Verdict::Wrong(Fault::TooLong) } else { Verdict::Incomplete };
            };
            let line = &self.buffer[line];
            if line.len() > self.line_bytes_max {
                return Verdict::Wrong(Fault::TooLong);
            }
            let line = without_end(line);
            let before = line.strip_suffix(text);
            match (&self.prefix, before) {
                (Some(prefix), Some(before)) if prefix == before => return Verdict::Right,
                (None, Some(before)) => {
                    self.prefix = Some(before.to_vec());
                    self.last_other.clear();
                    return Verdict::Right;
                }
                _ => {}
            }
            self.last_other = line[..line.len().min(SHOWN_BYTES + 1)].to_vec();
            match (&self.prefix, before) {
                (Some(_), Some(_)) => return Verdict::Wrong(Fault::PrefixChanged),
                (Some(_), None) => return Verdict::Wrong(Fault::Different),
                (None, _) => self.greeting_lines += 1,
            }
            if self.greeting_lines > GREETING_LINES {
                return Verdict::Wrong(Fault::NoAnswer);
            }
        }
    }

    /// The wrong reply, or before the first answer the last line of the greeting, fit for a
    /// terminal; empty where there was none.
    pub(super) fn last_other(&self) -> String {
        shown(&self.last_other)
    }

    fn next_line(&mut self) -> Option<std::ops::Range<usize>> {
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

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The verdict on each message in turn, as far as `input`, which comes in `pieces`, goes.
    fn verdicts(texts: &[&[u8]], input: &[u8], pieces: &[usize]) -> Vec<Verdict> {
        let mut replies = Replies::new(8);
        let mut rest = input;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
        let mut found = Vec::new();
        for text in texts {
            let mut verdict = replies.judge(text);
            while verdict == Verdict::Incomplete && !rest.is_empty() {
                let room = replies.room();
                let size = sizes.next().unwrap().clamp(1, room.len()).min(rest.len());
                room[..size].copy_from_slice(&rest[..size]);
                replies.fill(size);
                rest = &rest[size..];
                verdict = replies.judge(text);
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
        let mut replies = Replies::new(8);
        let input = b"busy\x1b[2J\xff\n";
        replies.room()[..input.len()].copy_from_slice(input);
        replies.fill(input.len());
        assert_eq!(replies.judge(b"0:0"), Verdict::Incomplete);
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
