//! The position in the stream, and detection of a replaced stream.

use std::collections::VecDeque;

use super::block_digests::{BlockDigest, BlockDigests, digest, first_of_block};
use echoline_chat_core::StreamEntry;

/// The stream that this node follows, with fingerprints of the entries that it has applied.
#[derive(Debug, Default)]
pub(super) struct StreamCursor {
    /// The creation time of the stream in nanoseconds since 1970. It identifies the stream.
    pub(super) created_ns: Option<i128>,
    /// The fingerprints of the newest applied entries, without gaps.
    recent: VecDeque<EntryFingerprint>,
    /// The digests of blocks. They cover more entries than `recent`.
    blocks: BlockDigests,
    /// The number of consecutive lookups in which the stream ended before the last applied entry.
    times_short: u32,
    /// The last gap: the sequence of the last applied entry, and of the entry that arrived next.
    gap: Option<(u64, u64)>,
    /// Whether the same gap was seen twice. The stream then does not have these entries.
    is_gap_permanent: bool,
}

/// The number of entries that a node can compare one by one. A server that loses its newest
/// entries, even acknowledged ones, gives their sequences to other entries.
pub(super) const RECENT_MAX: usize = 4096;

/// The properties that identify an applied entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntryFingerprint {
    sequence: u64,
    time_ms: u64,
    digest: u64,
}

/// The number of consecutive lookups after which a stream that is too short counts as replaced. A
/// new leader may not have applied its own log yet.
const TIMES_SHORT_MAX: u32 = 6;

/// The result of comparing the stream on the servers with the stream that this node follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamIdentity {
    /// The servers have the same stream.
    Same,
    /// The stream seems to end before the last applied entry. Further lookups must confirm this.
    TooShort,
    /// The servers have a different stream.
    Replaced,
}

impl StreamCursor {
    /// Compares the stream on the servers with the stream that this node follows.
    pub(super) fn compare(&mut self, created_ns: i128, last: u64, applied: u64) -> StreamIdentity {
        if self.created_ns.is_some_and(|known| known != created_ns) {
            return StreamIdentity::Replaced;
        }
        self.created_ns = Some(created_ns);
        if last >= applied {
            self.times_short = 0;
            return StreamIdentity::Same;
        }
        self.times_short += 1;
        match self.times_short {
            ..TIMES_SHORT_MAX => StreamIdentity::TooShort,
            _ => StreamIdentity::Replaced,
        }
    }

    /// Records that entry `next` arrived directly after entry `applied`. The first time, a message
    /// may have been lost on the way. The second time, the stream does not have the entries in
    /// between.
    pub(super) fn record_gap(&mut self, applied: u64, next: u64) {
        let gap = Some((applied, next));
        self.is_gap_permanent = self.gap == gap;
        self.gap = gap;
    }

    /// Returns the sequence of the first entry after `applied` that can be read. This is the entry
    /// after a permanent gap, or `first`, the first entry of the stream.
    pub(super) fn first_readable(&self, first: u64, applied: u64) -> u64 {
        match self.gap {
            Some((before, next)) if self.is_gap_permanent && before == applied => first.max(next),
            _ => first,
        }
    }

    /// Forgets the current stream, and follows the stream with this creation time from its
    /// beginning.
    pub(super) fn reset(&mut self, created_ns: i128) {
        *self = Self { created_ns: Some(created_ns), ..Self::default() };
    }

    /// Records entries that were applied.
    pub(super) fn record(&mut self, entries: &[StreamEntry]) {
        for entry in entries.iter().map(EntryFingerprint::of) {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(entry);
            self.blocks.add(entry.sequence, entry.digest);
        }
    }

    /// Returns the digest of the block of this entry, up to the entry. Returns `None` if not all of
    /// these entries were applied by this node.
    pub(super) fn block_digest(&self, sequence: u64) -> Option<BlockDigest> {
        self.blocks.at(sequence).or_else(|| {
            let mut entries = (first_of_block(sequence)..=sequence).map(|at| self.fingerprint(at));
            let extend = |before, entry: Option<&EntryFingerprint>| {
                let EntryFingerprint { sequence, digest, .. } = *entry?;
                Some(BlockDigest::extend(before, sequence, digest))
            };
            entries.try_fold(None, extend)?
        })
    }

    /// Returns the newest block digests, the oldest first.
    pub(super) fn newest_digests(&self) -> impl Iterator<Item = BlockDigest> {
        self.blocks.newest()
    }

    /// Returns the sequences of the other node's digests that differ from those of this node.
    pub(super) fn differing(&self, theirs: &[BlockDigest]) -> Vec<u64> {
        let ours = |their: &&BlockDigest| self.block_digest(their.sequence);
        let differs = |their: &&BlockDigest| ours(their).is_some_and(|our| our != **their);
        theirs.iter().filter(differs).map(|their| their.sequence).collect()
    }

    /// Returns the time of the last applied entry; `None` after a snapshot was restored.
    pub(super) fn time_ms(&self) -> Option<u64> {
        self.recent.back().map(|entry| entry.time_ms)
    }

    /// Returns the sequence of the oldest entry that has a fingerprint, or 0.
    pub(super) fn first_recent(&self) -> u64 {
        self.recent.front().map_or(0, |entry| entry.sequence)
    }

    /// Forgets all applied entries, because the state was restored from a snapshot.
    pub(super) fn forget_entries(&mut self) {
        self.recent.clear();
        self.blocks = BlockDigests::default();
    }

    /// Returns whether the entry is equal to the applied one. Also returns true if there is no
    /// fingerprint to compare.
    pub(super) fn matches(&self, entry: &StreamEntry) -> bool {
        self.fingerprint(entry.sequence).is_none_or(|known| *known == EntryFingerprint::of(entry))
    }

    /// Compares entries of one block of the stream with the applied ones. Returns the first
    /// sequence that differs. If only digests can be compared, this is the first of the block.
    pub(super) fn first_wrong(&self, entries: &[StreamEntry]) -> Option<u64> {
        if let Some(entry) = entries.iter().find(|entry| !self.matches(entry)) {
            return Some(entry.sequence);
        }
        let extend = |before, entry: &StreamEntry| {
            BlockDigest::extend(before, entry.sequence, digest(entry)).map(Some)
        };
        let theirs = entries.iter().try_fold(None, extend)??;
        let ours = self.block_digest(theirs.sequence)?;
        (ours != theirs).then(|| first_of_block(theirs.sequence))
    }

    fn fingerprint(&self, sequence: u64) -> Option<&EntryFingerprint> {
        let index = sequence.checked_sub(self.first_recent())?;
        let entry = self.recent.get(usize::try_from(index).ok()?);
        entry.filter(|entry| entry.sequence == sequence)
    }
}

impl EntryFingerprint {
    fn of(entry: &StreamEntry) -> Self {
        Self { sequence: entry.sequence, time_ms: entry.time_ms, digest: digest(entry) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_stream_is_new_if_its_creation_time_or_its_length_shows_it() {
        let mut cursor = StreamCursor::default();
        assert_eq!(cursor.compare(7, 10, 0), StreamIdentity::Same);
        assert_eq!(cursor.compare(8, 10, 5), StreamIdentity::Replaced);
        for _ in 1..TIMES_SHORT_MAX {
            assert_eq!(cursor.compare(7, 4, 5), StreamIdentity::TooShort);
        }
        assert_eq!(cursor.compare(7, 4, 5), StreamIdentity::Replaced);
        cursor.reset(7);
        assert_eq!(cursor.compare(7, 4, 0), StreamIdentity::Same);
        assert_eq!(cursor.compare(7, 4, 5), StreamIdentity::TooShort);
        assert_eq!(cursor.compare(7, 5, 5), StreamIdentity::Same);
        assert_eq!(cursor.compare(7, 4, 5), StreamIdentity::TooShort);
    }

    #[test]
    fn a_gap_that_is_seen_twice_is_permanent() {
        let mut cursor = StreamCursor::default();
        cursor.record_gap(5, 8);
        assert_eq!(cursor.first_readable(1, 5), 1);
        cursor.record_gap(5, 8);
        assert_eq!(
            (cursor.first_readable(1, 5), cursor.first_readable(9, 5), cursor.first_readable(1, 6)),
            (8, 9, 1)
        );
        cursor.record_gap(6, 9);
        assert_eq!(cursor.first_readable(1, 6), 1);
    }

    #[test]
    fn an_entry_that_differs_from_the_applied_one_does_not_match() {
        let entry = |time_ms, text: &'static str| StreamEntry {
            sequence: 3,
            time_ms,
            payload: Bytes::from_static(text.as_bytes()),
        };
        let mut cursor = StreamCursor::default();
        assert!(cursor.matches(&entry(1, "a")));
        cursor.record(&[StreamEntry { sequence: 2, ..entry(1, "b") }, entry(1, "a")]);
        assert!(cursor.matches(&entry(1, "a")));
        assert!(!cursor.matches(&entry(2, "a")) && !cursor.matches(&entry(1, "b")));
        assert!(cursor.matches(&StreamEntry { sequence: 2, ..entry(1, "b") }));
        assert!(!cursor.matches(&StreamEntry { sequence: 2, ..entry(1, "c") }));
        for sequence in [1, 4] {
            assert!(cursor.matches(&StreamEntry { sequence, ..entry(9, "z") }));
        }
        cursor.forget_entries();
        assert!(cursor.matches(&entry(1, "b")));
    }

    #[test]
    fn the_digest_of_another_copy_differs() {
        let entry =
            |sequence| StreamEntry { sequence, time_ms: 1, payload: Bytes::from_static(b"a") };
        let (mut ours, mut theirs) = (StreamCursor::default(), StreamCursor::default());
        ours.record(&(1..=100).map(entry).collect::<Vec<_>>());
        theirs.record(&(1..=70).map(entry).collect::<Vec<_>>());
        let digests: Vec<_> = theirs.newest_digests().collect();
        assert_eq!((digests.len(), ours.differing(&digests)), (2, Vec::new()));
        theirs.record(&[StreamEntry { time_ms: 2, ..entry(71) }]);
        let digests: Vec<_> = theirs.newest_digests().collect();
        assert_eq!(ours.differing(&digests), [71]);
        let digests: Vec<_> = ours.newest_digests().collect();
        assert!(
            theirs.differing(&digests).is_empty(),
            "the other node has not applied these entries"
        );
        let right: Vec<_> = (65..=71).map(entry).collect();
        assert_eq!((theirs.first_wrong(&right), ours.first_wrong(&right)), (Some(71), None));
        theirs.recent.clear();
        let wrong = [entry(1), StreamEntry { time_ms: 2, ..entry(2) }];
        let block = wrong.into_iter().chain((3..=64).map(entry)).collect::<Vec<_>>();
        assert_eq!((theirs.first_wrong(&block), ours.first_wrong(&block)), (Some(1), Some(2)));
        assert_eq!(
            theirs.first_wrong(&block[1..]),
            None,
            "a block without its first entry has no digest"
        );
        ours.forget_entries();
        assert_eq!((ours.block_digest(71), ours.first_wrong(&block)), (None, None));
    }
}
