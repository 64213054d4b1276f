//! The messages of a run. Pure: the same plan produces the same bytes on every machine.

use std::num::NonZero;
use std::sync::Arc;

use super::header::{BYTES_MAX, MessageHeader};
use super::template::{Template, push_letters};
use echoline::Eol;
use echoline_base::random::Random;

/// The length of the pool of letters from which bodies are taken. It is a prime, so that the
/// repetitions in a long body do not align with the server's buffers.
const POOL_LETTERS: usize = 4093;

/// All messages of a run: client `c` sends the lines `0`, `1`, `2` ….
///
/// By default, a message has `size` bytes and contains the numbers of its client and of itself,
/// `17:004:kqXbz…`. No two messages of a run are equal. So the checks find replies that are swapped
/// between clients, stale, truncated or corrupted.
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
/// # Ok::<(), echoline_load::message::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    clients: NonZero<u32>,
    messages: Option<NonZero<u32>>,
    /// The number of messages of all clients together, if the plan has a total. Otherwise each
    /// client sends `messages`.
    total: Option<u64>,
    text: MessageText,
    size: usize,
    eol: Eol,
    seed: u64,
}

/// The text of messages, without the line end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MessageText {
    /// The numbers of client and message, then random letters up to the plan's size.
    Numbered {
        /// The number of digits of the highest client number and of the highest message number.
        /// With fixed widths, no message is a prefix of another.
        digits: (usize, usize),
        /// The pool of letters from which bodies are taken, each at another position. Generating
        /// the letters of each message would cost more time than sending it.
        letters: Arc<[u8]>,
    },
    Template(Template),
    /// The lines of a file in turn, repeatedly. Client `c` begins at line `c`.
    Lines(Arc<[Vec<u8>]>),
}

/// The error of an impossible plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The numbers that make each message unique do not fit.
    #[error(
        "too small for {clients} clients with {messages} messages each: a message holds both \
         numbers and its line end, so it takes at least {least} bytes"
    )]
    TooSmall {
        /// The requested size.
        size: usize,
        /// The smallest possible size.
        least: usize,
        /// The number of clients.
        clients: u32,
        /// The number of messages of each client.
        messages: u32,
    },
    /// There is no line to send.
    #[error("it contains no message: write one on each line")]
    NoLines,
}

impl Plan {
    /// Creates a plan in which each of `clients` sends `messages` lines of `size` bytes, line end
    /// included. Without a number of messages, clients send until the run ends, at most 2^32
    /// messages each.
    ///
    /// # Errors
    /// [`PlanError::TooSmall`] if the numbers of client and message do not fit in `size` bytes.
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
        let text = MessageText::Numbered { digits, letters: letters.into() };
        Ok(Self { clients, messages, total: None, text, size, eol, seed })
    }

    /// Returns a plan of messages from a template.
    #[must_use]
    pub fn template(
        clients: NonZero<u32>,
        messages: Option<NonZero<u32>>,
        template: Template,
        eol: Eol,
        seed: u64,
    ) -> Self {
        let size = template.bytes_max() + eol.as_str().len();
        let text = MessageText::Template(template);
        Self { clients, messages, total: None, text, size, eol, seed }
    }

    /// Returns a plan that sends `lines` in turn. They have no line ends.
    ///
    /// # Errors
    /// [`PlanError::NoLines`] if `lines` is empty.
    pub fn lines(
        clients: NonZero<u32>,
        messages: Option<NonZero<u32>>,
        lines: Vec<Vec<u8>>,
        eol: Eol,
    ) -> Result<Self, PlanError> {
        let longest = lines.iter().map(Vec::len).max().ok_or(PlanError::NoLines)?;
        let size = longest + eol.as_str().len();
        let text = MessageText::Lines(lines.into());
        Ok(Self { clients, messages, total: None, text, size, eol, seed: 0 })
    }

    /// Distributes `total` messages evenly over all clients. If `total` is not a multiple of the
    /// number of clients, the first clients send one message more. No client sends more than the
    /// plan allowed before.
    #[must_use]
    pub fn with_total(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }

    /// Returns the number of clients.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.clients.get()
    }

    /// Returns the number of messages that `client` sends; `None` if only time ends the run.
    #[must_use]
    pub fn messages_of(&self, client: u32) -> Option<u32> {
        let messages = self.messages()?;
        let Some(total) = self.total else { return Some(messages) };
        // Messages are assigned in turn, so the client has the numbers client + i × clients.
        let own = total.saturating_sub(client.into()).div_ceil(self.clients().into());
        Some(u32::try_from(own).map_or(messages, |own| own.min(messages)))
    }

    /// Returns the maximum number of messages that a client sends; `None` if only time ends the
    /// run.
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

    /// Returns whether a total number of messages is distributed over the clients.
    pub(crate) fn is_distributed(&self) -> bool {
        self.total.is_some()
    }

    /// Returns the size of the longest message in bytes, line end included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the line end of messages.
    #[must_use]
    pub fn eol(&self) -> Eol {
        self.eol
    }

    /// Returns the seed of the bodies.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns a description of the messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.text {
            MessageText::Numbered { .. } => format!("lines of {} bytes", self.size),
            MessageText::Template(template) => template.to_string(),
            MessageText::Lines(lines) => format!("{} lines of a file", lines.len()),
        }
    }

    /// Appends message `number` of `client`, its line end included.
    pub fn push_message(&self, client: u32, number: u32, message: &mut Vec<u8>) {
        self.push_next(&mut MessageHeader::default(), client, number, message);
    }

    /// Appends a message, as [`push_message`](Self::push_message) does. It costs less if `header`
    /// was used for the message before.
    #[inline]
    pub(crate) fn push_next(
        &self,
        header: &mut MessageHeader,
        client: u32,
        number: u32,
        message: &mut Vec<u8>,
    ) {
        match &self.text {
            MessageText::Numbered { digits, letters } => {
                let position = Random::new(self.seed, client, number).next_u64();
                let header = header.text(client, number, *digits);
                self.push_numbered(header, *digits, letters, position, message);
                return;
            }
            MessageText::Template(template) => template.write(self.seed, client, number, message),
            MessageText::Lines(lines) => {
                let index = (u64::from(client) + u64::from(number)) % lines.len() as u64;
                message.extend_from_slice(&lines[index as usize]);
            }
        }
        message.extend_from_slice(self.eol.as_str().as_bytes());
    }

    /// Appends a header, letters from the position that the random number `position` selects, and
    /// a line end.
    #[inline]
    fn push_numbered(
        &self,
        header: &[u8; BYTES_MAX],
        digits: (usize, usize),
        letters: &[u8],
        position: u64,
        message: &mut Vec<u8>,
    ) {
        let start = message.len();
        let text = self.size - self.eol.as_str().len();
        // The last colon is left out if there is no room.
        let header_bytes = (digits.0 + digits.1 + 2).min(text);
        message.reserve(self.size + BYTES_MAX);
        // All of its bytes, because a copy of a constant length is cheaper.
        message.extend_from_slice(header);
        message.truncate(start + header_bytes);
        // The letters also fill the place of the line end, because an append costs more.
        push_letters_of(letters, position, self.size - header_bytes, message);
        match (&mut message[start + text..], self.eol) {
            ([lf], Eol::Lf) => *lf = b'\n',
            (eol, _) => eol.copy_from_slice(self.eol.as_str().as_bytes()),
        }
    }
}

fn count_digits(number: u32) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends `count` letters of `pool`, from the position that the random number `position` selects,
/// wrapping around.
#[inline]
fn push_letters_of(pool: &[u8], position: u64, mut count: usize, bytes: &mut Vec<u8>) {
    // The upper 64 bits of the product are less than the length. Computing them is cheaper than a
    // remainder.
    let position = (u128::from(position) * pool.len() as u128) >> u64::BITS;
    let mut rest = &pool[position as usize..];
    while count > rest.len() {
        bytes.extend_from_slice(rest);
        count -= rest.len();
        rest = pool;
    }
    bytes.extend_from_slice(&rest[..count]);
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

    /// Issue 11, item 44: a total number of messages is distributed evenly.
    #[test]
    fn regression_a_total_of_messages_is_distributed_evenly() {
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
    fn the_seed_determines_the_bodies() {
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
