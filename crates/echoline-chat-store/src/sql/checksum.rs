//! CRC-32C checksums of rows. They are needed because SQLite has no checksums of pages, and a text
//! with a flipped bit is still a valid text.

use crc::Digest;

use super::super::record::StoredBan;
use super::schema::saturating;
use echoline_base::checksum::CRC_32C;
use echoline_chat_core::StoredLine;

/// The checksum of a row's fields. The length of each text is included, so that "ab", "c" and "a",
/// "bc" have different checksums.
#[derive(Clone)]
struct RowChecksum(Digest<'static, u32>);

impl RowChecksum {
    fn new() -> Self {
        Self(CRC_32C.digest())
    }

    /// Adds the number as 8 bytes, in little-endian order.
    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds the length of the text in bytes, and then the text.
    fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    /// Adds 1 and the text, or only 0 if there is no text.
    fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    fn finish(self) -> u32 {
        self.0.finalize()
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }
}

/// Returns the checksum of a line in the room with this id.
pub(crate) fn line_sum(room: i64, line: &StoredLine) -> i64 {
    let sum = RowChecksum::new().number(room as u64).number(line.number).number(line.time_ms);
    sum.number(line.kind.code().into()).text(&line.name).text(&line.text).finish().into()
}

/// Returns the checksum of a room's properties.
pub(crate) fn room_sum(
    name: &str,
    topic: Option<&str>,
    private: bool,
    password: Option<&str>,
    more: &str,
) -> i64 {
    let sum = RowChecksum::new().text(name).optional(topic).number(private.into());
    let sum = sum.optional(password);
    // Rows of earlier versions have an empty `more`, and a checksum without it.
    if more.is_empty() { sum.finish().into() } else { sum.text(more).finish().into() }
}

/// Returns the checksum of a ban.
pub(crate) fn ban_sum(ban: &StoredBan) -> i64 {
    let sum =
        RowChecksum::new().text(&ban.subject).text(&ban.shown).text(&ban.by).text(&ban.reason);
    // This is the value that is stored: a time above `i64::MAX` is stored as `i64::MAX`.
    let sum = sum.number(ban.until_ms.map_or(0, |until| saturating(until) as u64 + 1));
    // Rows of the first version have an empty `more`, and a checksum without it.
    if ban.more.is_empty() { sum.finish().into() } else { sum.text(&ban.more).finish().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_value_is_that_of_crc_32c() {
        assert_eq!(RowChecksum::new().bytes(b"123456789").finish(), 0xE306_9283);
        // The example of RFC 3720, section B.4: 32 bytes of zeros.
        assert_eq!(RowChecksum::new().bytes(&[0; 32]).finish(), 0x8A91_36AA);
    }

    /// Files of earlier versions contain these checksums, so they must not change.
    #[test]
    fn checksums_of_rows_never_change() {
        let kind = echoline_chat_core::LineKind::Said;
        let line =
            StoredLine { number: 7, time_ms: 9, kind, name: "ann".into(), text: "hi".into() };
        assert_eq!(line_sum(1, &line), 0xFEB2_EBD8);
        assert_eq!(room_sum("lobby", None, false, Some("x"), ""), 0xAD51_CA6D);
    }

    #[test]
    fn fields_do_not_run_together() {
        let sum = |one: &str, two: &str| RowChecksum::new().text(one).text(two).finish();
        assert_ne!(sum("ab", "c"), sum("a", "bc"));
        let optional = |text| RowChecksum::new().optional(text).finish();
        assert_ne!(optional(None), optional(Some("")));
    }

    proptest! {
        /// Fault 62: a flipped bit changes the checksum, whatever its position.
        #[test]
        fn a_flipped_bit_changes_it(
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            index in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut flipped = bytes.clone();
            flipped[index.index(bytes.len())] ^= 1u8 << bit;
            let sum = |bytes: &[u8]| RowChecksum::new().bytes(bytes).finish();
            prop_assert_ne!(sum(&bytes), sum(&flipped));
        }
    }
}
