//! What is sent. Pure: the same plan gives the same bytes on every machine.

use std::num::NonZero;

use crate::net::Eol;

/// The letters of a message's body: 32 of them, so that five random bits make one. No white
/// space, which a line server would strip.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";

/// All messages of one run: client `c` sends message `0`, `1`, `2` …, each a line of `size` bytes
/// that says whose it is and which, `17:004:kqXbz…`.
///
/// No two messages of a run are the same, so that a reply that is swapped with another client's,
/// stale, cut or corrupted is found.
///
/// ```
/// use std::num::NonZero;
///
/// use echoline::Eol;
/// use echoline::load::Plan;
///
/// let plan = Plan::new(NonZero::new(10).unwrap(), NonZero::new(100).unwrap(), 12, Eol::Lf, 1)?;
/// let mut message = Vec::new();
/// plan.write_message(7, 42, &mut message);
/// assert_eq!(message.len(), 12);
/// assert!(message.starts_with(b"7:42:") && message.ends_with(b"\n"));
/// # Ok::<(), echoline::load::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    clients: NonZero<u32>,
    messages: NonZero<u32>,
    size: usize,
    eol: Eol,
    seed: u64,
    /// Digits of the highest client number and of the highest message number: with fixed widths
    /// no message begins like another.
    digits: (usize, usize),
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
}

impl Plan {
    /// `clients` times `messages` lines of `size` bytes, their end included.
    ///
    /// # Errors
    /// [`PlanError::TooSmall`] where client and message number do not fit in `size` bytes.
    pub fn new(
        clients: NonZero<u32>,
        messages: NonZero<u32>,
        size: usize,
        eol: Eol,
        seed: u64,
    ) -> Result<Self, PlanError> {
        let digits = (count_digits(clients.get() - 1), count_digits(messages.get() - 1));
        let least = digits.0 + 1 + digits.1 + eol.as_str().len();
        if size < least {
            let (clients, messages) = (clients.get(), messages.get());
            return Err(PlanError::TooSmall { size, least, clients, messages });
        }
        Ok(Self { clients, messages, size, eol, seed, digits })
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.clients.get()
    }

    /// How many messages each client sends.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages.get()
    }

    /// How many messages all clients send together.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::from(self.clients()) * u64::from(self.messages())
    }

    /// The bytes of a message, its line end included.
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

    /// Puts message `number` of `client` in the place of what `message` held.
    pub fn write_message(&self, client: u32, number: u32, message: &mut Vec<u8>) {
        let text_length = self.size - self.eol.as_str().len();
        message.clear();
        push_number(client, self.digits.0, message);
        message.push(b':');
        push_number(number, self.digits.1, message);
        if message.len() < text_length {
            message.push(b':');
        }
        let mut random = Random::new(self.seed, client, number);
        while message.len() < text_length {
            let letters = random.letters();
            let wanted = (text_length - message.len()).min(letters.len());
            message.extend_from_slice(&letters[..wanted]);
        }
        message.extend_from_slice(self.eol.as_str().as_bytes());
    }
}

fn count_digits(number: u32) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Appends `number` with leading zeros. By hand, because `write!` takes longer than all the rest
/// of a short message.
fn push_number(mut number: u32, width: usize, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + width, b'0');
    for digit in bytes[start..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// SplitMix64: good enough to tell messages apart, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64, client: u32, number: u32) -> Self {
        let mut random = Self(seed ^ (u64::from(client) << 32 | u64::from(number)));
        // Once round, so that neighbours do not walk along the same sequence one step apart.
        Self(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Twelve letters out of 64 bits.
    fn letters(&mut self) -> [u8; 12] {
        let mut bits = self.next();
        std::array::from_fn(|_| {
            let letter = LETTERS[(bits % 32) as usize];
            bits /= 32;
            letter
        })
    }
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
        let mut message = b"stale".to_vec();
        plan.write_message(client, number, &mut message);
        message
    }

    #[test]
    fn the_smallest_size_is_exact() {
        let error = plan(100, 1000, 6, Eol::Lf).unwrap_err();
        let PlanError::TooSmall { least, .. } = error;
        assert_eq!(least, 7);
        assert!(error.to_string().contains("at least 7 bytes"));
        let smallest = plan(100, 1000, least, Eol::Lf).unwrap();
        assert_eq!(message(&smallest, 99, 999), b"99:999\n");
        assert_eq!(message(&plan(1, 1, 5, Eol::CrLf).unwrap(), 0, 0), b"0:0\r\n");
        assert!(plan(1, 1, 4, Eol::CrLf).is_err());
        assert!(plan(u32::MAX, u32::MAX, 22, Eol::Lf).is_ok());
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
            let PlanError::TooSmall { least, .. } = plan(clients, messages, 0, eol).unwrap_err();
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
