//! To which message an answer belongs that came as a datagram: datagrams get lost, come twice, late
//! and out of their order. Pure.

use std::collections::VecDeque;

use super::expect::{Expect, Reply};
use super::reply::{Fault, without_end};
use echoline_base::checksum::Fnv1a;

/// Messages that are remembered after they were settled, to tell what comes late or twice.
const PAST_MAX: usize = 4096;

/// Bytes at the beginning of a message that are looked at before all of it is.
const FINGERPRINT_BYTES: usize = 64;

/// The messages of one socket: those that wait for an answer, and the newest that do not.
#[derive(Debug)]
pub(super) struct Answers {
    /// In the order in which they were sent.
    open: VecDeque<Sent>,
    past: VecDeque<(Sent, Past)>,
    /// What the server puts before each answer; learnt from the first.
    prefix: Option<Vec<u8>>,
    /// Where in `open` the next answer belongs, if none is lost and none overtakes another.
    cursor: usize,
    /// The highest number that was answered.
    highest: Option<u32>,
    /// A message made again, to be compared.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    number: u32,
    fingerprint: u64,
}

/// How a message was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Answered,
    TimedOut,
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The right answer to the message at this place among those that wait.
    Answer { place: usize, order: Order },
    /// A wrong one.
    Wrong { place: usize, fault: Fault },
    /// The answer to a message that was given up before.
    Late,
    /// One more answer to the same message.
    Duplicate,
    /// Nothing is waited for.
    Stray,
}

/// Whether an answer came after one to a later message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    InOrder,
    Overtaken,
}

/// Makes again what the right answer to message `number` says.
pub(super) trait Texts: Fn(u32, &mut Vec<u8>) {}

impl<F: Fn(u32, &mut Vec<u8>)> Texts for F {}

impl Answers {
    pub(super) fn new(expect: &Expect) -> Self {
        let prefix = match &expect.reply {
            Reply::Echo { prefix } => prefix.clone(),
            _ => Some(Vec::new()),
        };
        Self {
            open: VecDeque::new(),
            past: VecDeque::new(),
            prefix,
            cursor: 0,
            highest: None,
            text: Vec::new(),
        }
    }

    /// Message `number` was sent, the last so far.
    pub(super) fn wait_for(&mut self, number: u32, texts: impl Texts) {
        self.text.clear();
        texts(number, &mut self.text);
        self.open.push_back(Sent { number, fingerprint: fingerprint(&self.text) });
    }

    /// The message at the front has waited for too long.
    pub(super) fn give_up(&mut self) {
        self.settle(0, Past::TimedOut);
    }

    /// What has come. Whatever is settled by it leaves those that wait.
    pub(super) fn take(&mut self, expect: &Expect, datagram: &[u8], texts: impl Texts) -> Match {
        let body = without_end(datagram);
        let found = match &expect.reply {
            Reply::Echo { .. } | Reply::Text(_) => self.find(body, texts),
            // Nothing in it says to which message it belongs.
            Reply::Line | Reply::Any => Found::Open(0),
            Reply::Matching(pattern) if pattern.matches(body) => Found::Open(0),
            Reply::Matching(_) => Found::Nowhere { nearest: 0, fault: Fault::NotMatching },
        };
        match found {
            Found::Open(place) | Found::Nowhere { nearest: place, .. }
                if place >= self.open.len() =>
            {
                Match::Stray
            }
            Found::Open(place) => self.answer(place),
            Found::Nowhere { nearest, fault } => {
                self.settle(nearest, Past::Answered);
                Match::Wrong { place: nearest, fault }
            }
            Found::Past(place) => {
                match std::mem::replace(&mut self.past[place].1, Past::Answered) {
                    Past::TimedOut => Match::Late,
                    Past::Answered => Match::Duplicate,
                }
            }
        }
    }

    fn answer(&mut self, place: usize) -> Match {
        let number = self.open[place].number;
        let overtaken = self.highest.is_some_and(|highest| number < highest);
        self.highest = self.highest.max(Some(number));
        self.settle(place, Past::Answered);
        self.cursor = place;
        Match::Answer { place, order: if overtaken { Order::Overtaken } else { Order::InOrder } }
    }

    fn settle(&mut self, place: usize, past: Past) {
        if let Some(sent) = self.open.remove(place) {
            self.past.push_back((sent, past));
        }
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        self.cursor -= usize::from(place < self.cursor);
    }

    fn find(&mut self, body: &[u8], texts: impl Texts) -> Found {
        let prefix = self.prefix.as_deref().unwrap_or(b"");
        let wrong = if self.prefix.is_some() && !body.starts_with(prefix) {
            Fault::PrefixChanged
        } else {
            Fault::Different
        };
        if let Some(text) = body.strip_prefix(prefix) {
            let wanted = fingerprint(text);
            let mut is_it = |sent: &Sent| {
                sent.fingerprint == wanted && make(&mut self.text, sent.number, &texts) == text
            };
            let (before, after) = (0..self.cursor, self.cursor..self.open.len());
            if let Some(place) = after.chain(before).find(|&place| is_it(&self.open[place])) {
                self.prefix.get_or_insert_default();
                return Found::Open(place);
            }
            if let Some(place) = (0..self.past.len()).rev().find(|&p| is_it(&self.past[p].0)) {
                return Found::Past(place);
            }
        }
        if self.prefix.is_none() {
            for place in 0..self.open.len() {
                let text = make(&mut self.text, self.open[place].number, &texts);
                if let Some(before) = body.strip_suffix(text) {
                    self.prefix = Some(before.to_vec());
                    return Found::Open(place);
                }
            }
        }
        Found::Nowhere { nearest: self.nearest(body, texts), fault: wrong }
    }

    /// The message that begins most like `body`: whose answer it probably is, but for the damage.
    fn nearest(&mut self, body: &[u8], texts: impl Texts) -> usize {
        let prefix = self.prefix.as_deref().unwrap_or(b"");
        let body = body.strip_prefix(prefix).unwrap_or(body);
        let mut best = (0, 0);
        for (place, sent) in self.open.iter().enumerate() {
            let text = make(&mut self.text, sent.number, &texts);
            let alike = text.iter().zip(body).take_while(|(a, b)| a == b).count();
            if alike > best.0 {
                best = (alike, place);
            }
        }
        best.1
    }
}

/// Where a datagram belongs.
enum Found {
    Open(usize),
    Past(usize),
    Nowhere { nearest: usize, fault: Fault },
}

fn make<'text>(text: &'text mut Vec<u8>, number: u32, texts: &impl Texts) -> &'text [u8] {
    text.clear();
    texts(number, text);
    text
}

/// A number that is the same for the same text, and hardly ever for two different ones.
fn fingerprint(text: &[u8]) -> u64 {
    let beginning = &text[..text.len().min(FINGERPRINT_BYTES)];
    let length = (text.len() as u64).to_le_bytes();
    Fnv1a::new().bytes(beginning).bytes(&length).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IN_ORDER: Order = Order::InOrder;

    fn text(number: u32, text: &mut Vec<u8>) {
        text.extend_from_slice(format!("{number}:abc").as_bytes());
    }

    fn after(messages: u32, expect: &Expect) -> Answers {
        let mut answers = Answers::new(expect);
        for number in 0..messages {
            answers.wait_for(number, text);
        }
        answers
    }

    #[test]
    fn answers_come_in_any_order_late_and_twice() {
        use Match::{Answer, Duplicate, Late, Stray};
        let expect = Expect::default();
        let mut answers = after(4, &expect);
        let take = |answers: &mut Answers, datagram: &str| {
            answers.take(&expect, datagram.as_bytes(), text)
        };
        assert_eq!(take(&mut answers, "0:abc\n"), Answer { place: 0, order: IN_ORDER });
        assert_eq!(take(&mut answers, "2:abc\n"), Answer { place: 1, order: IN_ORDER });
        assert_eq!(take(&mut answers, "1:abc\n"), Answer { place: 0, order: Order::Overtaken });
        assert_eq!(take(&mut answers, "1:abc\n"), Duplicate);
        answers.give_up();
        assert_eq!(take(&mut answers, "3:abc\n"), Late);
        assert_eq!(take(&mut answers, "3:abc\n"), Duplicate);
        assert_eq!(take(&mut answers, "9:abc\n"), Stray);
    }

    #[test]
    fn a_damaged_answer_is_wrong_for_its_own_message() {
        let expect = Expect::default();
        let mut answers = after(12, &expect);
        let wrong = |place| Match::Wrong { place, fault: Fault::Different };
        assert_eq!(
            answers.take(&expect, b"0:abc", text),
            Match::Answer { place: 0, order: IN_ORDER }
        );
        assert_eq!(answers.take(&expect, b"5:abx\n", text), wrong(4));
        assert_eq!(answers.take(&expect, b"11:ab", text), wrong(9));
        assert_eq!(answers.take(&expect, b"?", text), wrong(0));
        assert_eq!(answers.take(&expect, b"", text), wrong(0));
        // The right one comes too: that makes two.
        assert_eq!(answers.take(&expect, b"5:abc", text), Match::Duplicate);
    }

    #[test]
    fn a_prefix_is_learnt_from_the_first_answer() {
        let expect = Expect::default();
        let mut answers = after(3, &expect);
        let answer = Match::Answer { place: 0, order: IN_ORDER };
        assert_eq!(answers.take(&expect, b"Echo: 0:abc\n", text), answer);
        assert_eq!(answers.take(&expect, b"Echo: 1:abc\n", text), answer);
        let wrong = Match::Wrong { place: 0, fault: Fault::PrefixChanged };
        assert_eq!(answers.take(&expect, b"2:abc\n", text), wrong);
    }

    #[test]
    fn what_says_nothing_answers_the_oldest() {
        let expect = Expect { reply: Reply::Any, ..Expect::default() };
        let mut answers = after(2, &expect);
        for _ in 0..2 {
            let answer = Match::Answer { place: 0, order: IN_ORDER };
            assert_eq!(answers.take(&expect, b"", text), answer);
        }
        assert_eq!(answers.take(&expect, b"", text), Match::Stray);
    }

    proptest! {
        /// Whatever a network does to them: every message is answered once or given up, and every
        /// other datagram is late or one too many.
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
                    Match::Answer { .. } => answered += 1,
                    Match::Late => late += 1,
                    Match::Duplicate => duplicated += 1,
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(answered + given_up + answers.open.len(), 20);
            prop_assert!(late <= given_up);
            prop_assert_eq!(answered + late + duplicated, deliveries.len());
        }
    }
}
