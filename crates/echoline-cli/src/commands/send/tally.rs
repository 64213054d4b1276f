//! Determines whether every line was answered. Pure.

use memchr::memchr_iter;

/// Counts lines in both directions.
///
/// Only the server knows which answer belongs to which line. This counter assumes that lines before
/// the first sent one are the greeting, and that each later line answers one line.
#[derive(Debug, Default)]
pub(super) struct ReplyTally {
    sent: u64,
    answers: u64,
    /// Whether anything has been sent. Lines that arrive afterwards are not a greeting.
    begun: bool,
    /// Whether the server has sent a part of a line, but not its end.
    partial: bool,
    input_ended: bool,
    /// Whether the last line was sent without a line end. Its answer may then have no line end
    /// either.
    unended: bool,
}

impl ReplyTally {
    /// Records that the first line is about to be sent.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    pub(super) fn note_sent(&mut self, lines: u64) {
        self.sent += lines;
    }

    /// Records that all input was sent. The last `unended` lines (at most one) have no line end.
    pub(super) fn note_input_end(&mut self, unended: u64) {
        self.input_ended = true;
        self.unended = unended > 0;
    }

    pub(super) fn note_received(&mut self, bytes: &[u8]) {
        if self.begun {
            self.answers += memchr_iter(b'\n', bytes).count() as u64;
            self.partial = bytes.last().map_or(self.partial, |&last| last != b'\n');
        }
    }

    /// Records a received datagram, which answers one line.
    pub(super) fn note_datagram(&mut self) {
        self.answers += 1;
    }

    /// Records that the server has closed the connection. Its last line counts even without a line
    /// end.
    pub(super) fn note_close(&mut self) {
        self.answers += u64::from(std::mem::take(&mut self.partial));
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn unanswered(&self) -> u64 {
        let partial = u64::from(self.unended && self.partial);
        self.sent.saturating_sub(self.answers + partial)
    }

    /// Returns whether all input was sent.
    pub(super) fn has_input_ended(&self) -> bool {
        self.input_ended
    }

    /// Returns whether everything was sent and answered.
    pub(super) fn is_complete(&self) -> bool {
        self.input_ended && self.unanswered() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_no_answer_and_a_last_partial_line_is() {
        let mut tally = ReplyTally::default();
        tally.note_received(b"Welcome!\r\nname: ");
        tally.begin();
        tally.note_sent(3);
        assert_eq!(tally.unanswered(), 3);
        tally.note_received(b"Echo: a\nEcho");
        tally.note_received(b": b\nGood");
        tally.note_received(b"");
        assert_eq!(tally.unanswered(), 1);
        assert!(!tally.is_complete());
        tally.note_close();
        tally.note_close();
        assert_eq!((tally.unanswered(), tally.is_complete()), (0, false));
        tally.note_input_end(0);
        assert!(tally.is_complete());
        tally.note_received(b"one more\n");
        assert_eq!(tally.unanswered(), 0);
    }

    /// Issue 11, item 40: the echo of a last line without an end has no end either.
    #[test]
    fn regression_a_partial_answer_counts_for_a_line_without_an_end() {
        for (unended, unanswered) in [(0, 1), (1, 0)] {
            let mut tally = ReplyTally::default();
            tally.begin();
            tally.note_sent(2);
            tally.note_received(b"one\ntw");
            tally.note_input_end(unended);
            assert_eq!(tally.unanswered(), unanswered);
            tally.note_close();
            assert_eq!(tally.unanswered(), 0);
        }
    }
}
