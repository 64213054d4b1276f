//! CRC-32C checksums of rows. SQLite has no checksum of a page's content, and a flipped bit in a
//! text is still a text.

use crc::{CRC_32_ISCSI, Crc, Digest};

/// The checksum of RFC 3720 (section 12.1, appendix B.4).
static CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The checksum of a row's fields. Each field is framed, so that "ab", "c" differs from "a", "bc".
#[derive(Clone)]
pub(super) struct RowChecksum(Digest<'static, u32>);

impl RowChecksum {
    pub(super) fn new() -> Self {
        Self(CRC_32C.digest())
    }

    /// Adds 8 bytes, little endian.
    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds the length of the text in bytes, and then the text.
    pub(super) fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    /// Adds 1 and the text, or 0 if there is none.
    pub(super) fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(super) fn finish(self) -> u32 {
        self.0.finalize()
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_is_that_of_crc_32c() {
        assert_eq!(RowChecksum::new().bytes(b"123456789").finish(), 0xE306_9283);
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(RowChecksum::new().bytes(&[0; 32]).finish(), 0x8A91_36AA);
    }

    #[test]
    fn fields_do_not_run_together() {
        let sum = |one: &str, two: &str| RowChecksum::new().text(one).text(two).finish();
        assert_ne!(sum("ab", "c"), sum("a", "bc"));
        let optional = |text| RowChecksum::new().optional(text).finish();
        assert_ne!(optional(None), optional(Some("")));
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
            let sum = |bytes: &[u8]| RowChecksum::new().bytes(bytes).finish();
            prop_assert_ne!(sum(&bytes), sum(&flipped));
        }
    }
}
