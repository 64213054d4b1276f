//! What is sent. Pure: the same plan gives the same bytes on every machine.

use std::num::NonZero;
use std::sync::Arc;

use super::template::Template;
use echoline::Eol;
use echoline_base::random::Random;

/// The letters of a message's body: 32 of them, so that five random bits make one. No white
/// space, which a line server would strip.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";

/// Letters that bodies are cut from: a prime, so that a long body does not repeat in step with
/// anybody's buffers.
const POOL_LETTERS: usize = 4093;

/// All messages of one run: client `c` sends message `0`, `1`, `2` …, each a line.
///
/// Where nothing else is asked for, a message is of `size` bytes and says whose it is and which,
/// `17:004:kqXbz…`: no two messages of a run are the same, so that a reply that is swapped with
/// another client's, stale, cut or corrupted is found.
///
/// ```
/// use std::num::NonZero;
///
/// use echoline::Eol;
/// use echoline_load::Plan;
///
/// let plan = Plan::new(NonZero::new(10).unwrap(), NonZero::new(100).unwrap(), 12, Eol::Lf, 1)?;
/// let mut message = Vec::new();
/// plan.push_message(7, 42, &mut message);
/// assert_eq!(message.len(), 12);
/// assert!(message.starts_with(b"7:42:") && message.ends_with(b"\n"));
/// # Ok::<(), echoline_load::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    clients: NonZero<u32>,
    messages: Option<NonZero<u32>>,
    /// Messages of all clients together, if they share a number; else each sends `messages`.
    total: Option<u64>,
    text: Text,
    size: usize,
    eol: Eol,
    seed: u64,
}

/// What a message says, its line end left out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// The numbers of client and message and random letters, up to the plan's size.
    Numbered {
        /// Digits of the highest client number and of the highest message number: with fixed
        /// widths no message begins like another.
        digits: (usize, usize),
        /// What bodies are cut from, each at another place: to draw each letter of each message
        /// anew takes longer than all the rest of sending it.
        letters: Arc<[u8]>,
    },
    Template(Template),
    /// One after the other and again from the first; each client begins where its number says.
    Lines(Arc<[Vec<u8>]>),
}

/// Why there is no such plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The numbers that make a message the only one of its kind do not fit.
    #[error(
        "{size} bytes are too few for {clients} clients with {messages} messages each: a message \
         holds both numbers and its line end, so it takes at least {least} bytes"
    )]
    TooSmall {
        /// What was asked for.
        size: usize,
        /// The smallest size that would do.
        least: usize,
        /// Clients of the plan.
        clients: u32,
        /// Messages of each.
        messages: u32,
    },
    /// No line to send.
    #[error("there is no message in it: write one on each line")]
    NoLines,
}

impl Plan {
    /// `clients` times `messages` lines of `size` bytes, their end included; with no number of
    /// messages as many as there is time for (at most four thousand million each).
    ///
    /// # Errors
    /// [`PlanError::TooSmall`] where client and message number do not fit in `size` bytes.
    pub fn new(
        clients: NonZero<u32>,
        messages: impl Into<Option<NonZero<u32>>>,
        size: usize,
        eol: Eol,
        seed: u64,
    ) -> Result<Self, PlanError> {
        let messages = messages.into();
        let highest = messages.map_or(u32::MAX, NonZero::get);
        let digits = (count_digits(clients.get() - 1), count_digits(highest - 1));
        let least = digits.0 + 1 + digits.1 + eol.as_str().len();
        if size < least {
            let clients = clients.get();
            return Err(PlanError::TooSmall { size, least, clients, messages: highest });
        }
        let mut letters = Vec::with_capacity(POOL_LETTERS);
        push_letters(&mut Random::new(seed, 0, 0), POOL_LETTERS, &mut letters);
        let text = Text::Numbered { digits, letters: letters.into() };
        Ok(Self { clients, messages, total: None, text, size, eol, seed })
    }

    /// Messages made from a template.
    #[must_use]
    pub fn template(
        clients: NonZero<u32>,
        messages: Option<NonZero<u32>>,
        template: Template,
        eol: Eol,
        seed: u64,
    ) -> Self {
        let size = template.bytes_max() + eol.as_str().len();
        let text = Text::Template(template);
        Self { clients, messages, total: None, text, size, eol, seed }
    }

    /// These messages, each without its line end, in turn.
    ///
    /// # Errors
    /// [`PlanError::NoLines`] where there is none.
    pub fn lines(
        clients: NonZero<u32>,
        messages: Option<NonZero<u32>>,
        lines: Vec<Vec<u8>>,
        eol: Eol,
    ) -> Result<Self, PlanError> {
        let longest = lines.iter().map(Vec::len).max().ok_or(PlanError::NoLines)?;
        let size = longest + eol.as_str().len();
        let text = Text::Lines(lines.into());
        Ok(Self { clients, messages, total: None, text, size, eol, seed: 0 })
    }

    /// Shares `total` messages out over all clients: the first clients send one more than the
    /// others if the number cannot be divided. No client sends more than before.
    #[must_use]
    pub fn with_total(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.clients.get()
    }

    /// Returns the number of messages that `client` sends; `None` if only time ends the run.
    #[must_use]
    pub fn messages_of(&self, client: u32) -> Option<u32> {
        let messages = self.messages()?;
        let Some(total) = self.total else { return Some(messages) };
        // Of messages that are dealt out in turn, those with the numbers client + i × clients.
        let own = total.saturating_sub(client.into()).div_ceil(self.clients().into());
        Some(u32::try_from(own).map_or(messages, |own| own.min(messages)))
    }

    /// Returns the most messages that a client sends; `None` if only time ends the run.
    #[must_use]
    pub fn messages(&self) -> Option<u32> {
        self.messages.map(NonZero::get)
    }

    /// Returns the number of messages of all clients together; `None` if only time ends the run.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        let all =
            self.messages().map(|messages| u64::from(self.clients()) * u64::from(messages))?;
        Some(self.total.map_or(all, |total| total.min(all)))
    }

    /// Whether the number of messages is one of all clients together.
    pub(super) fn is_dealt_out(&self) -> bool {
        self.total.is_some()
    }

    /// The bytes of the longest message, its line end included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// What a message ends with.
    #[must_use]
    pub fn eol(&self) -> Eol {
        self.eol
    }

    /// What the bodies are made from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What is sent, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.text {
            Text::Numbered { .. } => format!("lines of {} bytes", self.size),
            Text::Template(template) => template.to_string(),
            Text::Lines(lines) => format!("{} lines of a file", lines.len()),
        }
    }

    /// Appends message `number` of `client`, its line end included.
    pub fn push_message(&self, client: u32, number: u32, message: &mut Vec<u8>) {
        match &self.text {
            Text::Numbered { digits, letters } => {
                let end = message.len() + self.size - self.eol.as_str().len();
                push_number(client, digits.0, message);
                message.push(b':');
                push_number(number, digits.1, message);
                if message.len() < end {
                    message.push(b':');
                }
                let place = Random::new(self.seed, client, number).next_u64();
                push_cut(letters, place, end - message.len(), message);
            }
            Text::Template(template) => template.write(self.seed, client, number, message),
            Text::Lines(lines) => {
                let index = (u64::from(client) + u64::from(number)) % lines.len() as u64;
                message.extend_from_slice(&lines[index as usize]);
            }
        }
        message.extend_from_slice(self.eol.as_str().as_bytes());
    }
}

fn count_digits(number: u32) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends `number` with leading zeros. By hand, because `write!` takes longer than all the rest
/// of a short message.
pub(super) fn push_number(mut number: u32, width: usize, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + width, b'0');
    for digit in bytes[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Appends so many letters of `pool`, from a place on that a random number says, round and round.
fn push_cut(pool: &[u8], place: u64, mut count: usize, bytes: &mut Vec<u8>) {
    // The upper half of the product is below the length, and costs less than a remainder.
    let place = (u128::from(place) * pool.len() as u128) >> u64::BITS;
    let mut rest = &pool[place as usize..];
    while count > 0 {
        let wanted = count.min(rest.len());
        bytes.extend_from_slice(&rest[..wanted]);
        count -= wanted;
        rest = pool;
    }
}

/// Appends so many random letters.
pub(super) fn push_letters(random: &mut Random, mut count: usize, bytes: &mut Vec<u8>) {
    while count > 0 {
        let letters = letters(random);
        let wanted = count.min(letters.len());
        bytes.extend_from_slice(&letters[..wanted]);
        count -= wanted;
    }
}

/// Twelve letters out of 64 bits.
fn letters(random: &mut Random) -> [u8; 12] {
    let mut bits = random.next_u64();
    std::array::from_fn(|_| {
        let letter = LETTERS[(bits % 32) as usize];
        bits /= 32;
        letter
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn plan(clients: u32, messages: u32, size: usize, eol: Eol) -> Result<Plan, PlanError> {
        let number = |number| NonZero::new(number).unwrap();
        Plan::new(number(clients), number(messages), size, eol, 1)
    }

    fn message(plan: &Plan, client: u32, number: u32) -> Vec<u8> {
        let mut message = b"before".to_vec();
        plan.push_message(client, number, &mut message);
        message.split_off(b"before".len())
    }

    /// Issue 11, item 44: a number of messages of all clients together is shared out evenly.
    #[test]
    fn regression_a_total_of_messages_is_shared_out() {
        for (clients, total) in [(1, 1), (3, 7), (3, 9), (100, 250), (7, 7)] {
            let count = NonZero::new(clients).unwrap();
            let each = NonZero::new(u32::div_ceil(total, clients));
            let plan = Plan::new(count, each, 64, Eol::Lf, 1).unwrap().with_total(total.into());
            let own: Vec<_> = (0..clients).map(|c| plan.messages_of(c).unwrap()).collect();
            assert_eq!(own.iter().sum::<u32>(), total);
            assert!(own.iter().max().unwrap() - own.iter().min().unwrap() <= 1, "{own:?}");
            assert_eq!(plan.total(), Some(total.into()));
        }
    }

    #[test]
    fn the_smallest_size_is_exact() {
        let error = plan(100, 1000, 6, Eol::Lf).unwrap_err();
        let PlanError::TooSmall { least, .. } = error else { panic!("{error}") };
        assert_eq!(least, 7);
        assert!(error.to_string().contains("at least 7 bytes"));
        let smallest = plan(100, 1000, least, Eol::Lf).unwrap();
        assert_eq!(message(&smallest, 99, 999), b"99:999\n");
        assert_eq!(message(&plan(1, 1, 5, Eol::CrLf).unwrap(), 0, 0), b"0:0\r\n");
        assert!(plan(1, 1, 4, Eol::CrLf).is_err());
        assert!(plan(u32::MAX, u32::MAX, 22, Eol::Lf).is_ok());
    }

    #[test]
    fn lines_of_a_file_are_sent_in_turn() {
        let number = NonZero::new(3).unwrap();
        let lines = vec![b"a".to_vec(), b"bcd".to_vec()];
        let plan = Plan::lines(number, Some(number), lines, Eol::CrLf).unwrap();
        assert_eq!((plan.size(), plan.total()), (5, Some(9)));
        assert_eq!(message(&plan, 0, 2), b"a\r\n");
        assert_eq!(message(&plan, 1, u32::MAX), b"a\r\n");
        assert_eq!(message(&plan, 1, 0), b"bcd\r\n");
        assert_eq!(Plan::lines(number, None, Vec::new(), Eol::Lf), Err(PlanError::NoLines));
    }

    #[test]
    fn another_seed_gives_other_bodies() {
        let number = |number| NonZero::new(number).unwrap();
        let plans = [1, 2].map(|seed| Plan::new(number(1), number(1), 64, Eol::Lf, seed).unwrap());
        assert_ne!(message(&plans[0], 0, 0), message(&plans[1], 0, 0));
        assert_eq!(message(&plans[0], 0, 0), message(&plans[0].clone(), 0, 0));
    }

    proptest! {
        #[test]
        fn messages_are_exact_lines_and_no_two_are_the_same(
            clients in 1u32..12, messages in 1u32..12, extra in 0usize..40, crlf: bool,
        ) {
            let eol = if crlf { Eol::CrLf } else { Eol::Lf };
            let error = plan(clients, messages, 0, eol).unwrap_err();
            let PlanError::TooSmall { least, .. } = error else { panic!("{error}") };
            let plan = plan(clients, messages, least + extra, eol).unwrap();
            let mut seen = HashSet::new();
            for client in 0..clients {
                for number in 0..messages {
                    let message = message(&plan, client, number);
                    prop_assert_eq!(message.len(), least + extra);
                    let text = message.strip_suffix(eol.as_str().as_bytes()).unwrap();
                    prop_assert!(text.iter().all(u8::is_ascii_graphic));
                    prop_assert!(seen.insert(message));
                }
            }
        }
    }
}
