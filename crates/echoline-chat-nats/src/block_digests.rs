//! Digests of blocks of entries. Nodes exchange them to detect that their copies of the stream
//! differ.
//!
//! Each block has its own digest, so a node that started from a snapshot computes the same digests
//! as a node that has read the whole stream. All versions must compute the same digests.

use std::collections::VecDeque;

use echoline_chat_core::StreamEntry;

/// The number of entries in a block.
const BLOCK: u64 = 64;
/// The number of blocks that a node remembers.
const BLOCKS_MAX: usize = 1000;
/// The number of blocks whose digests a node publishes.
const PUBLISHED_MAX: usize = 64;

/// The digest of the entries of a block, from its first entry up to `sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockDigest {
    pub(super) sequence: u64,
    pub(super) digest: u64,
}

/// The digests of the applied blocks.
#[derive(Debug, Default)]
pub(super) struct BlockDigests {
    /// The digests of complete blocks, in their order.
    complete: VecDeque<BlockDigest>,
    /// The digest of the current block; `None` if its first entries were not applied by this node.
    open: Option<BlockDigest>,
}

/// Returns the sequence of the first entry of the block that contains `sequence`.
pub(super) fn first_of_block(sequence: u64) -> u64 {
    sequence.saturating_sub(1) / BLOCK * BLOCK + 1
}

/// Computes FNV-1a with 64 bits. It does not resist forgery, but a client that can publish digests
/// can forge entries anyway.
fn fold(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns the digest of an entry, computed from its sequence, its time and its payload.
pub(super) fn digest(entry: &StreamEntry) -> u64 {
    let start = fold(0xcbf2_9ce4_8422_2325, &entry.sequence.to_le_bytes());
    fold(fold(start, &entry.time_ms.to_le_bytes()), &entry.payload)
}

impl BlockDigest {
    /// Extends the digest of a block with the block's next entry. Returns `None` if the entry does
    /// not come directly after the digest.
    pub(super) fn extend(before: Option<Self>, sequence: u64, digest: u64) -> Option<Self> {
        if first_of_block(sequence) == sequence {
            return Some(Self { sequence, digest });
        }
        let before = before.filter(|before| before.sequence + 1 == sequence)?;
        Some(Self { sequence, digest: fold(before.digest, &digest.to_le_bytes()) })
    }
}

impl BlockDigests {
    pub(super) fn add(&mut self, sequence: u64, digest: u64) {
        self.open = BlockDigest::extend(self.open, sequence, digest);
        let Some(open) = self.open.filter(|open| open.sequence.is_multiple_of(BLOCK)) else {
            return;
        };
        if self.complete.len() == BLOCKS_MAX {
            self.complete.pop_front();
        }
        self.complete.push_back(open);
    }

    /// Returns the digest of the complete block that ends with this entry.
    pub(super) fn at(&self, sequence: u64) -> Option<BlockDigest> {
        let found = self.complete.binary_search_by_key(&sequence, |block| block.sequence);
        found.ok().map(|index| self.complete[index])
    }

    /// Returns the newest digests, the oldest first. The last one may be of an incomplete block.
    pub(super) fn newest(&self) -> impl Iterator<Item = BlockDigest> {
        let skipped = self.complete.len().saturating_sub(PUBLISHED_MAX);
        let open = self.open.filter(|open| !open.sequence.is_multiple_of(BLOCK));
        self.complete.iter().skip(skipped).copied().chain(open)
    }
}

/// Encodes digests. `created_ns` is the creation time of the stream, in nanoseconds since 1970.
pub(super) fn encode(created_ns: i128, digests: impl Iterator<Item = BlockDigest>) -> String {
    let words = digests.map(|block| format!(" {}:{:x}", block.sequence, block.digest));
    format!("{created_ns}{}", words.collect::<String>())
}

/// Decodes the digests of another node. Returns `None` if the message is malformed.
pub(super) fn decode(message: &[u8]) -> Option<(i128, Vec<BlockDigest>)> {
    let mut words = std::str::from_utf8(message).ok()?.split(' ');
    let created_ns = words.next()?.parse().ok()?;
    let digests = words.take(PUBLISHED_MAX + 1).map(|word| {
        let (sequence, digest) = word.split_once(':')?;
        let digest = u64::from_str_radix(digest, 16).ok()?;
        Some(BlockDigest { sequence: sequence.parse().ok()?, digest })
    });
    Some((created_ns, digests.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn blocks(sequences: impl Iterator<Item = u64>, odd: u64) -> BlockDigests {
        let mut blocks = BlockDigests::default();
        for sequence in sequences {
            blocks.add(sequence, sequence * 7 + u64::from(sequence == odd));
        }
        blocks
    }

    #[test]
    fn a_block_has_the_same_digest_after_any_start() {
        let all = blocks(1..=300, 0);
        let some = blocks(100..=300, 0);
        assert_eq!(some.at(128), None, "the first entries of the block were not applied");
        assert!(some.at(192).is_some() && some.at(192) == all.at(192));
        assert_eq!(all.newest().last(), some.newest().last());
        assert_eq!(all.newest().count(), 5);
        assert_eq!([1, 64, 65, 128, 129].map(first_of_block), [1, 1, 65, 65, 129]);
    }

    #[test]
    fn an_entry_changes_only_the_digest_of_its_block() {
        let (ours, theirs) = (blocks(1..=192, 0), blocks(1..=192, 70));
        let differ = |sequence| ours.at(sequence) != theirs.at(sequence);
        assert_eq!([64, 128, 192].map(differ), [false, true, false]);
        let swapped = blocks((1..=128).map(|n| if n == 3 { 5 } else { n }), 0);
        assert_eq!(swapped.at(64), None, "an entry is missing");
    }

    #[test]
    fn publishes_the_newest_digests() {
        let all = blocks(1..=(BLOCKS_MAX as u64 + 1) * BLOCK, 0);
        assert_eq!((all.at(BLOCK), all.complete.len()), (None, BLOCKS_MAX));
        assert_eq!(all.newest().count(), PUBLISHED_MAX);
        let message = encode(-7, all.newest());
        let (created_ns, decoded) = decode(message.as_bytes()).unwrap();
        assert_eq!((created_ns, decoded), (-7, all.newest().collect()));
        assert_eq!(decode(b"5"), Some((5, Vec::new())));
        for nonsense in ["", "x", "5 1", "5 1:", "5 1:x", "5  1:1", "5 -1:1"] {
            assert_eq!(decode(nonsense.as_bytes()), None, "{nonsense}");
        }
        let endless = format!("5{}", " 1:1".repeat(1000));
        assert_eq!(decode(endless.as_bytes()).unwrap().1.len(), PUBLISHED_MAX + 1);
    }

    /// All versions must compute the same digest.
    #[test]
    fn the_digest_of_an_entry_never_changes() {
        let payload = Bytes::from_static(b"tea");
        let entry = StreamEntry { sequence: 3, time_ms: 5, payload };
        assert_eq!(digest(&entry), 0x4de8_fa2b_4fa3_d9a3);
        let later = StreamEntry { time_ms: 6, ..entry.clone() };
        let elsewhere = StreamEntry { sequence: 4, ..entry.clone() };
        assert!(digest(&later) != digest(&entry) && digest(&elsewhere) != digest(&entry));
    }
}
