//! Which snapshots there are, and when the next one is due. Pure.

use std::collections::VecDeque;

use super::super::follower::Entry;
use super::seal::{Purpose, Seal};

/// What a snapshot is called: the end of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// When the stream was made that it belongs to.
    pub(super) created_ns: i128,
    pub(super) sequence: u64,
    /// When the stream took that entry: where another one stands at its place, the snapshot is of
    /// what the server has lost.
    pub(super) time_ms: u64,
    /// Of the machine that wrote it, so that two at once do not mix.
    pub(super) writer: u32,
    /// In how many messages it is; with fewer it is torn.
    pub(super) parts: usize,
    pub(super) checksum: u32,
    /// Made with the key of the cluster, if it has one.
    pub(super) proof: Option<Proof>,
}

/// The proof that a node with the key wrote a snapshot, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// SHA-256 of the state.
    pub(super) digest: String,
    /// The tag of the rest of the label.
    pub(super) tag: String,
}

impl Label {
    /// The subject below `prefix`.
    pub(super) fn subject(&self, prefix: &str) -> String {
        let words = self.words();
        match &self.proof {
            None => format!("{prefix}.{words}"),
            Some(Proof { digest, tag }) => format!("{prefix}.{words}.{digest}.{tag}"),
        }
    }

    /// All of it but the proof.
    fn words(&self) -> String {
        let Self { created_ns, sequence, time_ms, writer, parts, checksum, .. } = self;
        format!("{created_ns}.{sequence}.{time_ms}.{writer:08x}.{parts}.{checksum:08x}")
    }

    /// Returns the text that the tag of the proof authenticates.
    pub(super) fn proven(&self, digest: &str) -> String {
        format!("{}.{digest}", self.words())
    }

    /// Whether a node with the key made it, or there is no key; see [`Seal`].
    pub(super) fn is_authentic(&self, prefix: &str, seal: Option<&Seal>) -> bool {
        match (seal, &self.proof) {
            (None, proof) => proof.is_none(),
            (Some(_), None) => false,
            (Some(seal), Some(Proof { digest, tag })) => {
                seal.is_tag_of(Purpose::Label { prefix }, self.proven(digest).as_bytes(), tag)
            }
        }
    }

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
            label.proof = Some(Proof { digest, tag });
        }
        words.next().is_none().then_some(label)
    }
}

/// Those from which a chat at `applied` can go on in a stream that has entries from `first` to
/// `last`, the best first. At the start that is the oldest, for the history after it is replayed;
/// later it is the newest.
pub(super) fn fitting(labels: &[Label], applied: u64, first: u64, last: u64) -> Vec<&Label> {
    let fits = |label: &&Label| {
        label.sequence.saturating_add(1) >= first
            && label.sequence <= last
            && label.sequence > applied
    };
    let mut found: Vec<&Label> = labels.iter().filter(fits).collect();
    found.sort_by_key(|label| label.sequence);
    if applied > 0 {
        found.reverse();
    }
    found
}

/// Returns the snapshots that no node can go on from, except the newest of this stream, which has
/// entries from `first` to `last`.
pub(super) fn useless(labels: &[Label], created_ns: i128, first: u64, last: u64) -> Vec<&Label> {
    let ours = |label: &&Label| label.created_ns == created_ns;
    let newest = newest(labels, created_ns, last);
    let is_useless = |label: &&Label| {
        !ours(label) || (label.sequence.saturating_add(1) < first && label.sequence != newest)
    };
    labels.iter().filter(is_useless).collect()
}

/// Returns the entry of the newest snapshot of this stream, or 0. A forged one beyond `last` does
/// not count: it would keep all nodes from taking another one.
pub(super) fn newest(labels: &[Label], created_ns: i128, last: u64) -> u64 {
    let ours = labels.iter().filter(|label| label.created_ns == created_ns);
    ours.map(|label| label.sequence).filter(|&sequence| sequence <= last).max().unwrap_or_default()
}

/// How many snapshots of ours are remembered.
const WRITTEN_MAX: usize = 64;

/// The snapshots that we wrote of late, and whether they can be gone on from.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Of which entry, as whom, and whether it is of the stream's order as far as we know.
    snapshots: VecDeque<(u64, u32, bool)>,
}

impl Written {
    pub(super) fn add(&mut self, label: &Label) {
        if self.snapshots.len() == WRITTEN_MAX {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back((label.sequence, label.writer, true));
    }

    /// From this entry on, what we had was wrong.
    pub(super) fn distrust(&mut self, first: u64) {
        let wrong = self.snapshots.iter_mut().filter(|(sequence, ..)| *sequence >= first);
        wrong.for_each(|(.., is_right)| *is_right = false);
    }

    pub(super) fn is_wrong(&self, label: &Label) -> bool {
        self.snapshots.contains(&(label.sequence, label.writer, false))
    }
}

/// What a server keeps with each entry besides its payload, about.
const OVERHEAD_BYTES: u64 = 128;

/// When somebody is to take a snapshot.
#[derive(Debug)]
pub(super) struct Due {
    every_entries: u64,
    every_bytes: u64,
    /// The newest one known.
    newest: u64,
    /// Of the entries since.
    bytes: u64,
    applied: u64,
}

impl Due {
    pub(super) fn new(every_entries: u64, every_bytes: u64) -> Self {
        Self { every_entries, every_bytes, newest: 0, bytes: 0, applied: 0 }
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        self.applied = entry.sequence;
        self.bytes += entry.payload.len() as u64 + OVERHEAD_BYTES;
    }

    /// The places on which all machines agree: the one whose entry it is takes it.
    fn is_place(&self) -> bool {
        self.applied.is_multiple_of(self.every_entries) && self.applied > self.newest
    }

    /// Whether one should be taken by the machine whose entry the last one is.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_place() || (self.bytes >= self.every_bytes && self.applied > self.newest)
    }

    /// Whether nobody seems to have taken it: then anybody is to.
    pub(super) fn is_overdue(&self) -> bool {
        self.applied.saturating_sub(self.newest) >= self.every_entries + self.every_entries / 2
            || self.bytes >= self.every_bytes + self.every_bytes / 4
    }

    /// There is one of this place.
    pub(super) fn found(&mut self, sequence: u64) {
        if sequence > self.newest {
            self.newest = sequence;
            self.bytes = 0;
        }
    }

    pub(super) fn begin_anew(&mut self) {
        *self = Self::new(self.every_entries, self.every_bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn label(created_ns: i128, sequence: u64) -> Label {
        let (writer, parts, checksum) = (0xab, 2, 0xffff_0001);
        Label { created_ns, sequence, time_ms: 9, writer, parts, checksum, proof: None }
    }

    #[test]
    fn a_label_is_a_subject() {
        let subject = label(7, 30).subject("echoline.tea.snapshot");
        assert_eq!(subject, "echoline.tea.snapshot.7.30.9.000000ab.2.ffff0001");
        assert_eq!(Label::parse("echoline.tea.snapshot", &subject), Some(label(7, 30)));
        for wrong in ["", "echoline.tea.snapshot", "echoline.tea.snapshot.7.30.9.ab.2"] {
            assert_eq!(Label::parse("echoline.tea.snapshot", wrong), None);
        }
    }

    /// Issue 12, item 10: a snapshot of an entry 2^64-1 does not count as the newest one.
    #[test]
    fn attack_a_forged_label_stops_no_snapshots() {
        let labels = [label(7, 10), label(7, 20), label(7, u64::MAX)];
        assert_eq!(newest(&labels, 7, 30), 20);
        assert_eq!(fitting(&labels, 5, 21, 30), [&labels[1]]);
        assert_eq!(useless(&labels, 7, 22, 30), [&labels[0]]);
    }

    /// Issue 12, item 10: only a node with the key makes a label that the others take.
    #[test]
    fn attack_a_label_without_the_key_is_refused() {
        let seal = |key: &str| Seal::read(Some(&key.repeat(32).into())).unwrap().unwrap();
        let (prefix, ours) = ("echoline.tea.snapshot", seal("a"));
        let mut label = label(7, 30);
        assert!(label.is_authentic(prefix, None) && !label.is_authentic(prefix, Some(&ours)));
        let digest = "ab".repeat(32);
        let tag = ours.tag(Purpose::Label { prefix }, label.proven(&digest).as_bytes());
        label.proof = Some(Proof { digest, tag });
        assert_eq!(Label::parse(prefix, &label.subject(prefix)), Some(label.clone()));
        assert!(label.is_authentic(prefix, Some(&ours)) && !label.is_authentic(prefix, None));
        assert!(!label.is_authentic("echoline.cup.snapshot", Some(&ours)));
        assert!(!label.is_authentic(prefix, Some(&seal("b"))));
        let later = Label { sequence: 31, ..label };
        assert!(!later.is_authentic(prefix, Some(&ours)));
        assert_eq!(Label::parse(prefix, &format!("{prefix}.7.30.9.ab.2.1.00")), None);
    }

    #[test]
    fn the_oldest_at_the_start_and_the_newest_later() {
        let labels = [label(7, 30), label(7, 10), label(7, 20), label(7, 40)];
        let sequences = |applied, first, last| {
            let found = fitting(&labels, applied, first, last);
            found.iter().map(|label| label.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sequences(0, 21, 35), [20, 30]);
        assert_eq!(sequences(5, 11, 45), [40, 30, 20, 10]);
        assert_eq!(sequences(0, 42, 45), [0u64; 0]);
    }

    #[test]
    fn the_newest_is_kept_whatever_it_is_good_for() {
        let labels = [label(6, 90), label(7, 10), label(7, 20)];
        let sequences = |first| {
            let found = useless(&labels, 7, first, 100);
            found.iter().map(|label| label.sequence).collect::<Vec<_>>()
        };
        assert_eq!(sequences(11), [90]);
        assert_eq!(sequences(12), [90, 10]);
        assert_eq!(sequences(99), [90, 10]);
    }

    #[test]
    fn one_is_due_at_places_that_all_agree_on() {
        let mut due = Due::new(10, 2000);
        // What the owner of the entry is to do, and what anybody is.
        let mut count = |sequence, length| {
            due.count(&Entry { sequence, time_ms: 0, payload: Bytes::from(vec![0; length]) });
            let asked = (due.is_wanted(), due.is_overdue());
            if asked.1 {
                due.found(sequence);
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
        due.begin_anew();
        due.count(&Entry { sequence: 1, time_ms: 0, payload: Bytes::new() });
        assert!(!due.is_wanted() && !due.is_overdue());
    }
}
