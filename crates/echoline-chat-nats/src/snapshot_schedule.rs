//! Decides when a snapshot is due, and which of this node's snapshots are wrong.

use std::collections::VecDeque;

use super::snapshot_label::SnapshotLabel;
use echoline_chat_core::StreamEntry;

/// The approximate number of bytes that a server stores for each entry besides its payload.
const OVERHEAD_BYTES: u64 = 128;

/// Decides when the next snapshot is due.
#[derive(Debug)]
pub(super) struct SnapshotSchedule {
    every_entries: u64,
    every_bytes: u64,
    /// The sequence of the last entry in the newest known snapshot.
    newest: u64,
    /// The size of all entries after `newest`, in bytes.
    bytes: u64,
    applied: u64,
}

impl SnapshotSchedule {
    pub(super) fn new(every_entries: u64, every_bytes: u64) -> Self {
        Self { every_entries, every_bytes, newest: 0, bytes: 0, applied: 0 }
    }

    /// Counts an entry that is about to be applied.
    pub(super) fn count(&mut self, entry: &StreamEntry) {
        self.applied = entry.sequence;
        self.bytes += entry.payload.len() as u64 + OVERHEAD_BYTES;
    }

    /// Returns whether a snapshot is due. The node that proposed the last counted entry must write
    /// it.
    pub(super) fn is_due(&self) -> bool {
        let is_round = self.applied.is_multiple_of(self.every_entries);
        (is_round || self.bytes >= self.every_bytes) && self.applied > self.newest
    }

    /// Returns whether a snapshot is overdue because the responsible node seems to be down. Any
    /// node may write it.
    pub(super) fn is_overdue(&self) -> bool {
        self.applied.saturating_sub(self.newest) >= self.every_entries + self.every_entries / 2
            || self.bytes >= self.every_bytes + self.every_bytes / 4
    }

    /// Records that a snapshot exists whose last entry is `sequence`.
    pub(super) fn record(&mut self, sequence: u64) {
        if sequence > self.newest {
            self.newest = sequence;
            self.bytes = 0;
        }
    }

    /// Starts again with entry 1.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.every_entries, self.every_bytes);
    }
}

/// The number of this node's snapshots that are remembered.
const WRITTEN_MAX: usize = 64;

/// The last snapshots that this node has written.
#[derive(Debug, Default)]
pub(super) struct WrittenSnapshots {
    /// For each snapshot: the sequence of its last entry, the writer, and whether the snapshot is
    /// right.
    snapshots: VecDeque<(u64, u32, bool)>,
}

impl WrittenSnapshots {
    pub(super) fn add(&mut self, label: &SnapshotLabel) {
        if self.snapshots.len() == WRITTEN_MAX {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back((label.sequence, label.writer, true));
    }

    /// Marks the snapshots that contain entry `first` as wrong, because this node had applied a
    /// different entry than the stream's.
    pub(super) fn diverged_at(&mut self, first: u64) {
        let wrong = self.snapshots.iter_mut().filter(|(sequence, ..)| *sequence >= first);
        wrong.for_each(|(.., is_right)| *is_right = false);
    }

    pub(super) fn is_wrong(&self, label: &SnapshotLabel) -> bool {
        self.snapshots.contains(&(label.sequence, label.writer, false))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_snapshot_is_due_at_the_same_entries_on_all_nodes() {
        let mut schedule = SnapshotSchedule::new(10, 2000);
        // Returns whether the proposer of the entry must write a snapshot, and whether any node
        // must.
        let mut count = |sequence, length| {
            schedule.count(&StreamEntry {
                sequence,
                time_ms: 0,
                payload: Bytes::from(vec![0; length]),
            });
            let asked = (schedule.is_due(), schedule.is_overdue());
            if asked.1 {
                schedule.record(sequence);
            }
            asked
        };
        assert_eq!(count(9, 1), (false, false));
        assert_eq!(count(10, 1), (true, false));
        assert_eq!(count(11, 1), (false, false));
        assert_eq!(count(15, 1), (false, true));
        assert_eq!(count(16, 1800), (false, false));
        assert_eq!(count(17, 1), (true, false));
        assert_eq!(count(18, 400), (true, true));
        assert_eq!(count(19, 1), (false, false));
        schedule.reset();
        schedule.count(&StreamEntry { sequence: 1, time_ms: 0, payload: Bytes::new() });
        assert!(!schedule.is_due() && !schedule.is_overdue());
    }
}
