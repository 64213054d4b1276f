//! Checksums that detect accidental damage, not forgery. Pure.

/// CRC-32C, the checksum of RFC 3720 (section 12.1, appendix B.4).
#[cfg(feature = "crc")]
pub static CRC_32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// The 64-bit FNV-1a hash. Two different inputs rarely have the same sum by accident, but bytes
/// with a given sum are easy to construct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self::new()
    }
}

impl Fnv1a {
    /// Creates the sum of an empty input.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Continues from the sum of earlier bytes.
    pub const fn from_sum(sum: u64) -> Self {
        Self(sum)
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let add = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, add))
    }

    /// Returns the sum of all bytes.
    pub const fn sum(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of the authors (draft-eastlake-fnv, appendix C).
    #[test]
    fn sums_match_the_fnv_1a_test_vectors() {
        let sum = |text: &str| Fnv1a::new().bytes(text.as_bytes()).sum();
        assert_eq!(sum(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(sum("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(sum("foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(Fnv1a::from_sum(sum("foo")).bytes(b"bar").sum(), sum("foobar"));
    }
}
