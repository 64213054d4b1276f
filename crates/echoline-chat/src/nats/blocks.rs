//! Digests of the order, by which machines find out that they have not the same. Pure.
//!
//! Each block of entries has its own: a machine that began with a snapshot has the same ones as
//! one that has read everything. All machines must compute the same, whatever they were built by.

use std::collections::VecDeque;

use super::super::follower::Entry;
use echoline_base::checksum::Fnv1a;

/// How many entries are one block.
const BLOCK: u64 = 64;
/// How many blocks are remembered.
const BLOCKS_MAX: usize = 1000;
/// How many of them are told.
const TOLD_MAX: usize = 64;

/// What the entries of a block come to, up to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) sequence: u64,
    pub(super) digest: u64,
}

/// The blocks that were applied, one after the other.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// At the last entry of each.
    whole: VecDeque<Checkpoint>,
    /// Of the block that we are in; unknown where we came into the middle of it.
    open: Option<Checkpoint>,
}

/// The first entry of the block that this one is in.
pub(super) fn first_of_block(sequence: u64) -> u64 {
    sequence.saturating_sub(1) / BLOCK * BLOCK + 1
}

/// The digest of one entry: its sequence number, its time and its payload.
pub(super) fn digest(entry: &Entry) -> u64 {
    let start = Fnv1a::new().bytes(&entry.sequence.to_le_bytes());
    start.bytes(&entry.time_ms.to_le_bytes()).bytes(&entry.payload).sum()
}

impl Checkpoint {
    /// With the next entry of the block; `None` where it does not follow.
    pub(super) fn follow(before: Option<Self>, sequence: u64, digest: u64) -> Option<Self> {
        if first_of_block(sequence) == sequence {
            return Some(Self { sequence, digest });
        }
        let before = before.filter(|before| before.sequence + 1 == sequence)?;
        Some(Self {
            sequence,
            digest: Fnv1a::from_sum(before.digest).bytes(&digest.to_le_bytes()).sum(),
        })
    }
}

impl Blocks {
    pub(super) fn add(&mut self, sequence: u64, digest: u64) {
        self.open = Checkpoint::follow(self.open, sequence, digest);
        let Some(open) = self.open.filter(|open| open.sequence.is_multiple_of(BLOCK)) else {
            return;
        };
        if self.whole.len() == BLOCKS_MAX {
            self.whole.pop_front();
        }
        self.whole.push_back(open);
    }

    /// Of the whole block that ends with this entry.
    pub(super) fn at(&self, sequence: u64) -> Option<Checkpoint> {
        let found = self.whole.binary_search_by_key(&sequence, |whole| whole.sequence);
        found.ok().map(|place| self.whole[place])
    }

    /// Those that the others are told: the newest.
    pub(super) fn newest(&self) -> impl Iterator<Item = Checkpoint> {
        let skipped = self.whole.len().saturating_sub(TOLD_MAX);
        let open = self.open.filter(|open| !open.sequence.is_multiple_of(BLOCK));
        self.whole.iter().skip(skipped).copied().chain(open)
    }
}

/// What one machine tells the others of the stream that was made then.
pub(super) fn write(created_ns: i128, checkpoints: impl Iterator<Item = Checkpoint>) -> String {
    let told = checkpoints.map(|point| format!(" {}:{:x}", point.sequence, point.digest));
    format!("{created_ns}{}", told.collect::<String>())
}

/// What another machine told, if it is in this form.
pub(super) fn read(told: &[u8]) -> Option<(i128, Vec<Checkpoint>)> {
    let mut words = std::str::from_utf8(told).ok()?.split(' ');
    let created_ns = words.next()?.parse().ok()?;
    let checkpoints = words.take(TOLD_MAX + 1).map(|word| {
        let (sequence, digest) = word.split_once(':')?;
        let digest = u64::from_str_radix(digest, 16).ok()?;
        Some(Checkpoint { sequence: sequence.parse().ok()?, digest })
    });
    Some((created_ns, checkpoints.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn blocks(sequences: impl Iterator<Item = u64>, odd: u64) -> Blocks {
        let mut blocks = Blocks::default();
        for sequence in sequences {
            blocks.add(sequence, sequence * 7 + u64::from(sequence == odd));
        }
        blocks
    }

    #[test]
    fn a_block_is_the_same_wherever_a_machine_began() {
        let all = blocks(1..=300, 0);
        let some = blocks(100..=300, 0);
        assert_eq!(some.at(128), None, "it has not applied all of that one");
        assert!(some.at(192).is_some() && some.at(192) == all.at(192));
        assert_eq!(all.newest().last(), some.newest().last());
        assert_eq!(all.newest().count(), 5);
        assert_eq!([1, 64, 65, 128, 129].map(first_of_block), [1, 1, 65, 65, 129]);
    }

    #[test]
    fn another_entry_changes_its_block_and_no_other() {
        let (ours, theirs) = (blocks(1..=192, 0), blocks(1..=192, 70));
        let differ = |sequence| ours.at(sequence) != theirs.at(sequence);
        assert_eq!([64, 128, 192].map(differ), [false, true, false]);
        let swapped = blocks((1..=128).map(|n| if n == 3 { 5 } else { n }), 0);
        assert_eq!(swapped.at(64), None, "it has a hole");
    }

    #[test]
    fn the_newest_are_kept_and_told() {
        let all = blocks(1..=(BLOCKS_MAX as u64 + 1) * BLOCK, 0);
        assert_eq!((all.at(BLOCK), all.whole.len()), (None, BLOCKS_MAX));
        assert_eq!(all.newest().count(), TOLD_MAX);
        let told = write(-7, all.newest());
        let (created_ns, heard) = read(told.as_bytes()).unwrap();
        assert_eq!((created_ns, heard), (-7, all.newest().collect()));
        assert_eq!(read(b"5"), Some((5, Vec::new())));
        for nonsense in ["", "x", "5 1", "5 1:", "5 1:x", "5  1:1", "5 -1:1"] {
            assert_eq!(read(nonsense.as_bytes()), None, "{nonsense}");
        }
        let endless = format!("5{}", " 1:1".repeat(1000));
        assert_eq!(read(endless.as_bytes()).unwrap().1.len(), TOLD_MAX + 1);
    }

    /// Machines of other versions must come to the same.
    #[test]
    fn the_digest_of_an_entry_is_for_ever() {
        let payload = Bytes::from_static(b"tea");
        let entry = Entry { sequence: 3, time_ms: 5, payload };
        assert_eq!(digest(&entry), 0x4de8_fa2b_4fa3_d9a3);
        let later = Entry { time_ms: 6, ..entry.clone() };
        let elsewhere = Entry { sequence: 4, ..entry.clone() };
        assert!(digest(&later) != digest(&entry) && digest(&elsewhere) != digest(&entry));
    }
}
