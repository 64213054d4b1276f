//! CRC-32C over the fields of a row: SQLite has no checksum of what a page says, and a flipped
//! bit in a text is still a text.

/// The checksum of RFC 3720 (section 12.1, appendix B.4), over fields that cannot run together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum(u32);

/// The remainder that each byte leaves (polynomial 0x1EDC6F41, reflected).
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder = (remainder >> 1) ^ (0x82F6_3B78 * carry);
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

impl Checksum {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// With its length before it: "ab", "c" is not "a", "bc".
    pub(super) fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    pub(super) fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(crate) const fn end(self) -> u32 {
        !self.0
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let step = |sum: u32, byte: &u8| {
            let [low, ..] = sum.to_le_bytes();
            (sum >> 8) ^ TABLE[usize::from(low ^ byte)]
        };
        Self(bytes.iter().fold(self.0, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_is_that_of_crc_32c() {
        assert_eq!(Checksum::new().bytes(b"123456789").end(), 0xE306_9283);
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(Checksum::new().bytes(&[0; 32]).end(), 0x8A91_36AA);
    }

    #[test]
    fn fields_do_not_run_together() {
        let sum = |one: &str, two: &str| Checksum::new().text(one).text(two).end();
        assert_ne!(sum("ab", "c"), sum("a", "bc"));
        assert_ne!(Checksum::new().optional(None).end(), Checksum::new().optional(Some("")).end());
    }

    proptest! {
        /// Fault 62: a flipped bit is seen, wherever it is.
        #[test]
        fn a_flipped_bit_changes_it(
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            place in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut flipped = bytes.clone();
            flipped[place.index(bytes.len())] ^= 1u8 << bit;
            let sum = |bytes: &[u8]| Checksum::new().bytes(bytes).end();
            prop_assert_ne!(sum(&bytes), sum(&flipped));
        }
    }
}
