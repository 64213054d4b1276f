//! An incremental UTF-8 check. Pure.

/// The state of an incremental UTF-8 check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The first bytes of an incomplete character.
    begun: [u8; 4],
    length: usize,
}

/// The error for text that is not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Utf8 {
    /// Checks the next bytes of the text. `is_last` means that the text ends with them. Returns an
    /// error at the first byte that makes the text invalid.
    pub(super) fn push(&mut self, mut bytes: &[u8], is_last: bool) -> Result<(), NotUtf8> {
        while self.length > 0 && !bytes.is_empty() {
            self.begun[self.length] = bytes[0];
            self.length += 1;
            bytes = &bytes[1..];
            match std::str::from_utf8(&self.begun[..self.length]) {
                Ok(_) => self.length = 0,
                // An incomplete character has at most three bytes, so there is room for the fourth.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NotUtf8),
            }
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            if error.error_len().is_some() {
                return Err(NotUtf8);
            }
            let rest = &bytes[error.valid_up_to()..];
            self.begun[..rest.len()].copy_from_slice(rest);
            self.length = rest.len();
        }
        if is_last && self.length > 0 { Err(NotUtf8) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_an_invalid_character_at_its_first_wrong_byte() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.push(b"\xf4", false), Ok(()));
        assert_eq!(utf8.push(b"\x90", false), Err(NotUtf8), "beyond U+10FFFF");
        assert_eq!(Utf8::default().push(b"\xc3", true), Err(NotUtf8), "cut in two");
    }

    proptest! {
        /// Fault 21: the result for a text in pieces equals the result for the whole text.
        #[test]
        fn pieces_give_the_same_result_as_the_whole(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..4),
                    "\\PC{0,5}".prop_map(String::into_bytes)
                ],
                0..6
            ),
            cut in 1_usize..5,
        ) {
            let whole = parts.concat();
            let mut utf8 = Utf8::default();
            let mut judged = whole.chunks(cut).try_for_each(|piece| utf8.push(piece, false));
            judged = judged.and_then(|()| utf8.push(b"", true));
            prop_assert_eq!(judged.is_ok(), std::str::from_utf8(&whole).is_ok());
        }
    }
}
