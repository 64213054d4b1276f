//! The labels of snapshots, and the choice of snapshots to restore and to remove.

use super::cluster_key::{ClusterKey, TagPurpose};

/// The description of a snapshot. It is the end of the snapshot's subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotLabel {
    /// The creation time of the stream, in nanoseconds since 1970.
    pub(super) created_ns: i128,
    /// The sequence of the last entry that the snapshot contains.
    pub(super) sequence: u64,
    /// The time of the last entry, in milliseconds since 1970. If the stream's entry has a
    /// different time, the stream has lost entries that the snapshot contains.
    pub(super) time_ms: u64,
    /// A random number of the writer. It distinguishes two snapshots after the same entry.
    pub(super) writer: u32,
    /// The number of messages. A snapshot with fewer messages is incomplete.
    pub(super) parts: usize,
    /// The CRC-32C of the state.
    pub(super) checksum: u32,
    /// The proof of the writer; `None` if the cluster has no key.
    pub(super) proof: Option<SnapshotProof>,
}

/// The proof that a node with the cluster's key wrote a snapshot. All values are hexadecimal
/// digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotProof {
    /// The SHA-256 of the state.
    pub(super) digest: String,
    /// The tag of the rest of the label.
    pub(super) tag: String,
}

impl SnapshotLabel {
    /// Returns the subject of the snapshot. `prefix` is its beginning.
    pub(super) fn subject(&self, prefix: &str) -> String {
        let words = self.words();
        match &self.proof {
            None => format!("{prefix}.{words}"),
            Some(SnapshotProof { digest, tag }) => format!("{prefix}.{words}.{digest}.{tag}"),
        }
    }

    /// Returns the text of the label without the proof.
    fn words(&self) -> String {
        let Self { created_ns, sequence, time_ms, writer, parts, checksum, .. } = self;
        format!("{created_ns}.{sequence}.{time_ms}.{writer:08x}.{parts}.{checksum:08x}")
    }

    /// Returns the text that the proof's tag authenticates.
    pub(super) fn proven(&self, digest: &str) -> String {
        format!("{}.{digest}", self.words())
    }

    /// Returns whether a node with the key wrote the snapshot. Without a key, snapshots must have
    /// no proof.
    pub(super) fn is_authentic(&self, prefix: &str, key: Option<&ClusterKey>) -> bool {
        match (key, &self.proof) {
            (None, proof) => proof.is_none(),
            (Some(_), None) => false,
            (Some(key), Some(SnapshotProof { digest, tag })) => {
                key.is_tag_of(TagPurpose::Label { prefix }, self.proven(digest).as_bytes(), tag)
            }
        }
    }

    /// Parses a subject. Returns `None` if it is not the subject of a snapshot.
    pub(super) fn parse(prefix: &str, subject: &str) -> Option<Self> {
        let mut words = subject.strip_prefix(prefix)?.strip_prefix('.')?.split('.');
        let mut label = Self {
            created_ns: words.next()?.parse().ok()?,
            sequence: words.next()?.parse().ok()?,
            time_ms: words.next()?.parse().ok()?,
            writer: u32::from_str_radix(words.next()?, 16).ok()?,
            parts: words.next()?.parse().ok()?,
            checksum: u32::from_str_radix(words.next()?, 16).ok()?,
            proof: None,
        };
        if let Some(digest) = words.next() {
            let (digest, tag) = (digest.to_owned(), words.next()?.to_owned());
            label.proof = Some(SnapshotProof { digest, tag });
        }
        words.next().is_none().then_some(label)
    }
}

/// Returns the snapshots that a node can restore, the best first. The node has applied the entries
/// up to `applied`, and the stream has the entries `first` to `last`. At a start, the oldest
/// snapshot is best, because more entries after it restore more of the history. Later, the newest
/// is best.
pub(super) fn restorable(
    labels: &[SnapshotLabel],
    applied: u64,
    first: u64,
    last: u64,
) -> Vec<&SnapshotLabel> {
    let fits = |label: &&SnapshotLabel| {
        label.sequence.saturating_add(1) >= first
            && label.sequence <= last
            && label.sequence > applied
    };
    let mut found: Vec<&SnapshotLabel> = labels.iter().filter(fits).collect();
    found.sort_by_key(|label| label.sequence);
    if applied > 0 {
        found.reverse();
    }
    found
}

/// Returns the snapshots to remove: those of another stream, and those that end before entry
/// `first` - 1. The newest one of this stream is always kept. The stream has the entries `first` to
/// `last`.
pub(super) fn useless(
    labels: &[SnapshotLabel],
    created_ns: i128,
    first: u64,
    last: u64,
) -> Vec<&SnapshotLabel> {
    let ours = |label: &&SnapshotLabel| label.created_ns == created_ns;
    let newest = newest(labels, created_ns, last);
    let is_useless = |label: &&SnapshotLabel| {
        !ours(label) || (label.sequence.saturating_add(1) < first && label.sequence != newest)
    };
    labels.iter().filter(is_useless).collect()
}

/// Returns the sequence of the last entry of this stream's newest snapshot, or 0. Ignores labels
/// above `last`: otherwise a forged label would keep all nodes from writing snapshots.
pub(super) fn newest(labels: &[SnapshotLabel], created_ns: i128, last: u64) -> u64 {
    let ours = labels.iter().filter(|label| label.created_ns == created_ns);
    ours.map(|label| label.sequence).filter(|&sequence| sequence <= last).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(created_ns: i128, sequence: u64) -> SnapshotLabel {
        let (writer, parts, checksum) = (0xab, 2, 0xffff_0001);
        SnapshotLabel { created_ns, sequence, time_ms: 9, writer, parts, checksum, proof: None }
    }

    #[test]
    fn a_label_is_part_of_a_subject() {
        let subject = label(7, 30).subject("echoline.tea.snapshot");
        assert_eq!(subject, "echoline.tea.snapshot.7.30.9.000000ab.2.ffff0001");
        assert_eq!(SnapshotLabel::parse("echoline.tea.snapshot", &subject), Some(label(7, 30)));
        for wrong in ["", "echoline.tea.snapshot", "echoline.tea.snapshot.7.30.9.ab.2"] {
            assert_eq!(SnapshotLabel::parse("echoline.tea.snapshot", wrong), None);
        }
    }

    /// Issue 12, item 10: a snapshot after entry 2^64-1 does not count as the newest one.
    #[test]
    fn attack_a_forged_label_does_not_stop_snapshots() {
        let labels = [label(7, 10), label(7, 20), label(7, u64::MAX)];
        assert_eq!(newest(&labels, 7, 30), 20);
        assert_eq!(restorable(&labels, 5, 21, 30), [&labels[1]]);
        assert_eq!(useless(&labels, 7, 22, 30), [&labels[0]]);
    }

    /// Issue 12, item 10: a label without a tag of the key is refused.
    #[test]
    fn attack_a_label_without_the_key_is_refused() {
        let key_of = |key: &str| ClusterKey::read(Some(&key.repeat(32).into())).unwrap().unwrap();
        let (prefix, ours) = ("echoline.tea.snapshot", key_of("a"));
        let mut label = label(7, 30);
        assert!(label.is_authentic(prefix, None) && !label.is_authentic(prefix, Some(&ours)));
        let digest = "ab".repeat(32);
        let tag = ours.tag(TagPurpose::Label { prefix }, label.proven(&digest).as_bytes());
        label.proof = Some(SnapshotProof { digest, tag });
        assert_eq!(SnapshotLabel::parse(prefix, &label.subject(prefix)), Some(label.clone()));
        assert!(label.is_authentic(prefix, Some(&ours)) && !label.is_authentic(prefix, None));
        assert!(!label.is_authentic("echoline.cup.snapshot", Some(&ours)));
        assert!(!label.is_authentic(prefix, Some(&key_of("b"))));
        let later = SnapshotLabel { sequence: 31, ..label };
        assert!(!later.is_authentic(prefix, Some(&ours)));
        assert_eq!(SnapshotLabel::parse(prefix, &format!("{prefix}.7.30.9.ab.2.1.00")), None);
    }

    #[test]
    fn restores_the_oldest_at_a_start_and_the_newest_later() {
        let labels = [label(7, 30), label(7, 10), label(7, 20), label(7, 40)];
        let sequences = |applied, first, last| {
            let found = restorable(&labels, applied, first, last);
            found.iter().map(|label| label.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sequences(0, 21, 35), [20, 30]);
        assert_eq!(sequences(5, 11, 45), [40, 30, 20, 10]);
        assert_eq!(sequences(0, 42, 45), [0u64; 0]);
    }

    #[test]
    fn the_newest_snapshot_is_never_useless() {
        let labels = [label(6, 90), label(7, 10), label(7, 20)];
        let sequences = |first| {
            let found = useless(&labels, 7, first, 100);
            found.iter().map(|label| label.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sequences(11), [90]);
        assert_eq!(sequences(12), [90, 10]);
        assert_eq!(sequences(99), [90, 10]);
    }
}
