//! Answers to datagrams.

use super::dialogue::{EchoDialogue, EchoMode};
use super::{chargen, daytime};
use crate::udp::DatagramAnswer;

/// The maximum number of characters in the answer of chargen to a datagram (RFC 864).
const CHARACTERS_MAX: usize = 512;

/// The difference between the lengths of two consecutive answers. It is coprime to the number of
/// possible lengths, so that all lengths occur.
const CHARACTERS_STEP: usize = 199;

impl EchoMode {
    /// Returns whether an answer may be longer than its datagram. An attacker who forges the source
    /// address could then use this server to amplify a flood against a victim.
    #[must_use]
    pub fn amplifies(self) -> bool {
        matches!(self, Self::Chargen | Self::Daytime)
    }
}

/// Returns the function that answers datagrams, as [`serve`](super::serve) does for connections.
/// Each datagram comes back unchanged (RFC 862), or gets the answer that the RFC of discard,
/// chargen or daytime specifies. The line modes answer the same way, because a prefix would make
/// the answer longer than its request.
///
/// ```
/// use echoline::udp::DatagramAnswer;
/// use echoline::echo::{EchoDialogue, EchoMode, answer_datagrams};
///
/// let mut answer = answer_datagrams(&EchoDialogue::new(EchoMode::Line, || "now".to_owned()));
/// assert_eq!(answer(b"hello", &mut Vec::new()), DatagramAnswer::Same);
/// ```
pub fn answer_datagrams(
    dialogue: &EchoDialogue,
) -> impl FnMut(&[u8], &mut Vec<u8>) -> DatagramAnswer + Clone + Send + use<> {
    let (mode, clock) = (dialogue.mode, dialogue.clock);
    let mut length = 0;
    move |_, room| match mode {
        EchoMode::Raw | EchoMode::Line | EchoMode::Command => DatagramAnswer::Same,
        // The source address of a datagram can be forged, so `whoami` cannot give a reliable
        // answer.
        EchoMode::Discard | EchoMode::Whoami => DatagramAnswer::Nothing,
        EchoMode::Chargen => {
            length = (length + CHARACTERS_STEP) % (CHARACTERS_MAX + 1);
            room.extend_from_slice(chargen::characters(length));
            DatagramAnswer::Written
        }
        EchoMode::Daytime => {
            room.extend_from_slice(clock().as_bytes());
            room.extend_from_slice(daytime::LINE_END.as_bytes());
            DatagramAnswer::Written
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn answers(mode: EchoMode, count: usize) -> Vec<Vec<u8>> {
        let mut answer = answer_datagrams(&EchoDialogue::new(mode, || "now".to_owned()));
        let mut room = Vec::new();
        let mut one = |_| {
            room.clear();
            assert_eq!(answer(b"?", &mut room), DatagramAnswer::Written);
            room.clone()
        };
        (0..count).map(&mut one).collect()
    }

    #[test]
    fn chargen_answers_with_every_length() {
        let lengths: BTreeSet<usize> =
            answers(EchoMode::Chargen, 513).iter().map(Vec::len).collect();
        assert_eq!(lengths, (0..=512).collect());
        assert!(answers(EchoMode::Chargen, 1)[0].starts_with(b" !\"#$%&'()"));
    }

    #[test]
    fn daytime_answers_with_its_line() {
        assert_eq!(answers(EchoMode::Daytime, 1), [b"now\r\n"]);
    }

    /// Fault 41: no mode answers with more bytes than it received, unless its RFC defines another
    /// answer.
    #[test]
    fn only_amplifying_modes_write_answers() {
        for mode in EchoMode::ALL {
            let mut answer = answer_datagrams(&EchoDialogue::new(mode, || "now".to_owned()));
            let answer = answer(b"?", &mut Vec::new());
            assert_eq!(answer == DatagramAnswer::Written, mode.amplifies(), "{mode:?}");
        }
    }
}
