//! Matches datagrams with messages: datagrams get lost, duplicated, delayed and reordered. Pure.

use std::collections::VecDeque;

use crate::exchange::reply::{ReplyFault, without_eol};
use crate::message::{Expect, ExpectedReply};
use echoline_base::checksum::Fnv1a;

/// The number of settled messages that are remembered, to recognise late and duplicated replies.
const SETTLED_MAX: usize = 4096;

/// The number of bytes at the beginning of a message that its fingerprint covers.
const FINGERPRINT_BYTES: usize = 64;

/// The messages of one socket: those that await a reply, and the most recently settled ones.
#[derive(Debug)]
pub(crate) struct DatagramMatcher {
    /// The messages that await a reply, in the order in which they were sent.
    open: VecDeque<SentMessage>,
    settled: VecDeque<(SentMessage, Settled)>,
    /// The prefix that the server puts before each reply. It is learnt from the first reply.
    prefix: Option<Vec<u8>>,
    /// The index in `open` of the message whose reply is expected next, if no reply is lost or
    /// overtakes another.
    cursor: usize,
    /// The highest number of a message that has a reply.
    highest: Option<u32>,
    /// A buffer for an expected reply.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SentMessage {
    number: u32,
    fingerprint: u64,
}

/// The way in which a message was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Answered,
    TimedOut,
}

/// The meaning of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramMatch {
    /// A correct reply to the message at `index` among those that await a reply.
    Correct { index: usize, order: ArrivalOrder },
    /// A wrong reply to the message at `index`.
    Wrong { index: usize, fault: ReplyFault },
    /// A reply to a message that has timed out.
    Late,
    /// Another reply to the same message.
    Duplicate,
    /// A datagram for which no message waits.
    Unasked,
}

/// Whether a reply arrived after the reply to a later message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrivalOrder {
    InOrder,
    Overtaken,
}

/// Writes the expected reply to message `number`.
pub(crate) trait ExpectedText: Fn(u32, &mut Vec<u8>) {}

impl<F: Fn(u32, &mut Vec<u8>)> ExpectedText for F {}

impl DatagramMatcher {
    pub(crate) fn new(expect: &Expect) -> Self {
        let prefix = match &expect.reply {
            ExpectedReply::Echo { prefix } => prefix.clone(),
            _ => Some(Vec::new()),
        };
        Self {
            open: VecDeque::new(),
            settled: VecDeque::new(),
            prefix,
            cursor: 0,
            highest: None,
            text: Vec::new(),
        }
    }

    /// Adds message `number`, the newest one, to the messages that await a reply.
    pub(crate) fn wait_for(&mut self, number: u32, expected_text: impl ExpectedText) {
        self.text.clear();
        expected_text(number, &mut self.text);
        self.open.push_back(SentMessage { number, fingerprint: fingerprint(&self.text) });
    }

    /// Stops waiting for the reply to the oldest message.
    pub(crate) fn give_up(&mut self) {
        self.settle(0, Settled::TimedOut);
    }

    /// Matches a datagram. If the datagram settles a message, that message no longer awaits a
    /// reply.
    pub(crate) fn take(
        &mut self,
        expect: &Expect,
        datagram: &[u8],
        expected_text: impl ExpectedText,
    ) -> DatagramMatch {
        let body = without_eol(datagram);
        let found = match &expect.reply {
            ExpectedReply::Echo { .. } | ExpectedReply::Text(_) => self.find(body, expected_text),
            // The content does not identify the message, so the reply counts for the oldest one.
            ExpectedReply::Line | ExpectedReply::Any => MatchLocation::Open(0),
            ExpectedReply::Matching(pattern) if pattern.matches(body) => MatchLocation::Open(0),
            ExpectedReply::Matching(_) => {
                MatchLocation::Unmatched { nearest: 0, fault: ReplyFault::NotMatching }
            }
        };
        match found {
            MatchLocation::Open(index) | MatchLocation::Unmatched { nearest: index, .. }
                if index >= self.open.len() =>
            {
                DatagramMatch::Unasked
            }
            MatchLocation::Open(index) => self.answer(index),
            MatchLocation::Unmatched { nearest, fault } => {
                self.settle(nearest, Settled::Answered);
                DatagramMatch::Wrong { index: nearest, fault }
            }
            MatchLocation::Settled(index) => {
                match std::mem::replace(&mut self.settled[index].1, Settled::Answered) {
                    Settled::TimedOut => DatagramMatch::Late,
                    Settled::Answered => DatagramMatch::Duplicate,
                }
            }
        }
    }

    fn answer(&mut self, index: usize) -> DatagramMatch {
        let number = self.open[index].number;
        let overtaken = self.highest.is_some_and(|highest| number < highest);
        self.highest = self.highest.max(Some(number));
        self.settle(index, Settled::Answered);
        self.cursor = index;
        DatagramMatch::Correct {
            index,
            order: if overtaken { ArrivalOrder::Overtaken } else { ArrivalOrder::InOrder },
        }
    }

    fn settle(&mut self, index: usize, settled: Settled) {
        if let Some(sent) = self.open.remove(index) {
            self.settled.push_back((sent, settled));
        }
        if self.settled.len() > SETTLED_MAX {
            self.settled.pop_front();
        }
        self.cursor -= usize::from(index < self.cursor);
    }

    fn find(&mut self, body: &[u8], expected_text: impl ExpectedText) -> MatchLocation {
        let prefix = self.prefix.as_deref().unwrap_or(b"");
        let wrong = if self.prefix.is_some() && !body.starts_with(prefix) {
            ReplyFault::PrefixChanged
        } else {
            ReplyFault::Different
        };
        if let Some(text) = body.strip_prefix(prefix) {
            let wanted = fingerprint(text);
            let mut matches = |sent: &SentMessage| {
                sent.fingerprint == wanted
                    && write_expected(&mut self.text, sent.number, &expected_text) == text
            };
            let (before, after) = (0..self.cursor, self.cursor..self.open.len());
            if let Some(index) = after.chain(before).find(|&index| matches(&self.open[index])) {
                self.prefix.get_or_insert_default();
                return MatchLocation::Open(index);
            }
            if let Some(index) =
                (0..self.settled.len()).rev().find(|&p| matches(&self.settled[p].0))
            {
                return MatchLocation::Settled(index);
            }
        }
        if self.prefix.is_none() {
            for index in 0..self.open.len() {
                let text = write_expected(&mut self.text, self.open[index].number, &expected_text);
                if let Some(before) = body.strip_suffix(text) {
                    self.prefix = Some(before.to_vec());
                    return MatchLocation::Open(index);
                }
            }
        }
        MatchLocation::Unmatched { nearest: self.nearest(body, expected_text), fault: wrong }
    }

    /// Returns the open message whose expected reply has the longest common prefix with `body`. A
    /// damaged reply probably belongs to it.
    fn nearest(&mut self, body: &[u8], expected_text: impl ExpectedText) -> usize {
        let prefix = self.prefix.as_deref().unwrap_or(b"");
        let body = body.strip_prefix(prefix).unwrap_or(body);
        let mut best = (0, 0);
        for (index, sent) in self.open.iter().enumerate() {
            let text = write_expected(&mut self.text, sent.number, &expected_text);
            let length = text.iter().zip(body).take_while(|(a, b)| a == b).count();
            if length > best.0 {
                best = (length, index);
            }
        }
        best.1
    }
}

/// The message that a datagram belongs to.
enum MatchLocation {
    Open(usize),
    Settled(usize),
    Unmatched { nearest: usize, fault: ReplyFault },
}

fn write_expected<'text>(
    text: &'text mut Vec<u8>,
    number: u32,
    expected_text: &impl ExpectedText,
) -> &'text [u8] {
    text.clear();
    expected_text(number, text);
    text
}

/// Returns a hash that rarely collides.
fn fingerprint(text: &[u8]) -> u64 {
    let beginning = &text[..text.len().min(FINGERPRINT_BYTES)];
    let length = (text.len() as u64).to_le_bytes();
    Fnv1a::new().bytes(beginning).bytes(&length).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IN_ORDER: ArrivalOrder = ArrivalOrder::InOrder;

    fn text(number: u32, text: &mut Vec<u8>) {
        text.extend_from_slice(format!("{number}:abc").as_bytes());
    }

    fn after(messages: u32, expect: &Expect) -> DatagramMatcher {
        let mut answers = DatagramMatcher::new(expect);
        for number in 0..messages {
            answers.wait_for(number, text);
        }
        answers
    }

    #[test]
    fn recognises_late_duplicated_and_reordered_replies() {
        use DatagramMatch::{Correct, Duplicate, Late, Unasked};
        let expect = Expect::default();
        let mut answers = after(4, &expect);
        let take = |answers: &mut DatagramMatcher, datagram: &str| {
            answers.take(&expect, datagram.as_bytes(), text)
        };
        assert_eq!(take(&mut answers, "0:abc\n"), Correct { index: 0, order: IN_ORDER });
        assert_eq!(take(&mut answers, "2:abc\n"), Correct { index: 1, order: IN_ORDER });
        assert_eq!(
            take(&mut answers, "1:abc\n"),
            Correct { index: 0, order: ArrivalOrder::Overtaken }
        );
        assert_eq!(take(&mut answers, "1:abc\n"), Duplicate);
        answers.give_up();
        assert_eq!(take(&mut answers, "3:abc\n"), Late);
        assert_eq!(take(&mut answers, "3:abc\n"), Duplicate);
        assert_eq!(take(&mut answers, "9:abc\n"), Unasked);
    }

    #[test]
    fn a_damaged_answer_is_wrong_for_its_own_message() {
        let expect = Expect::default();
        let mut answers = after(12, &expect);
        let wrong = |index| DatagramMatch::Wrong { index, fault: ReplyFault::Different };
        assert_eq!(
            answers.take(&expect, b"0:abc", text),
            DatagramMatch::Correct { index: 0, order: IN_ORDER }
        );
        assert_eq!(answers.take(&expect, b"5:abx\n", text), wrong(4));
        assert_eq!(answers.take(&expect, b"11:ab", text), wrong(9));
        assert_eq!(answers.take(&expect, b"?", text), wrong(0));
        assert_eq!(answers.take(&expect, b"", text), wrong(0));
        // The correct reply also arrives, as a duplicate.
        assert_eq!(answers.take(&expect, b"5:abc", text), DatagramMatch::Duplicate);
    }

    #[test]
    fn a_prefix_is_learnt_from_the_first_answer() {
        let expect = Expect::default();
        let mut answers = after(3, &expect);
        let answer = DatagramMatch::Correct { index: 0, order: IN_ORDER };
        assert_eq!(answers.take(&expect, b"Echo: 0:abc\n", text), answer);
        assert_eq!(answers.take(&expect, b"Echo: 1:abc\n", text), answer);
        let wrong = DatagramMatch::Wrong { index: 0, fault: ReplyFault::PrefixChanged };
        assert_eq!(answers.take(&expect, b"2:abc\n", text), wrong);
    }

    #[test]
    fn an_unspecific_reply_answers_the_oldest_message() {
        let expect = Expect { reply: ExpectedReply::Any, ..Expect::default() };
        let mut answers = after(2, &expect);
        for _ in 0..2 {
            let answer = DatagramMatch::Correct { index: 0, order: IN_ORDER };
            assert_eq!(answers.take(&expect, b"", text), answer);
        }
        assert_eq!(answers.take(&expect, b"", text), DatagramMatch::Unasked);
    }

    proptest! {
        /// For any order of delivery, each message is answered or given up once, and every other
        /// datagram is late or duplicated.
        #[test]
        fn every_datagram_is_counted_once(
            deliveries in prop::collection::vec((0u32..20, any::<bool>()), 0..120),
        ) {
            let expect = Expect::default();
            let mut answers = after(20, &expect);
            let (mut answered, mut late, mut duplicated, mut given_up) = (0, 0, 0, 0);
            for (number, give_up) in &deliveries {
                if *give_up && !answers.open.is_empty() {
                    answers.give_up();
                    given_up += 1;
                }
                match answers.take(&expect, format!("{number}:abc\n").as_bytes(), text) {
                    DatagramMatch::Correct { .. } => answered += 1,
                    DatagramMatch::Late => late += 1,
                    DatagramMatch::Duplicate => duplicated += 1,
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(answered + given_up + answers.open.len(), 20);
            prop_assert!(late <= given_up);
            prop_assert_eq!(answered + late + duplicated, deliveries.len());
        }
    }
}
