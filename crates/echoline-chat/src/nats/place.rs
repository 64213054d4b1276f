//! Where in the order a chat stands, and how it is found out that the order is another one. Pure.

use std::collections::VecDeque;

use super::super::follower::Entry;
use super::blocks::{Blocks, Checkpoint, digest, first_of_block};

/// The stream, and the last entries of it.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// When the stream was made, in nanoseconds since 1970: its identity.
    pub(super) created_ns: Option<i128>,
    /// Of the last entries, one after the other.
    marks: VecDeque<Mark>,
    /// Further back than those.
    blocks: Blocks,
    short: u32,
    /// Where we stood when an entry was missing, and the next one that there was.
    gap: Option<(u64, u64)>,
    is_hole: bool,
}

/// How many entries are known again. Servers that change their leader may lose those that came
/// last, acknowledged or not, and put others in their places.
pub(super) const MARKS_MAX: usize = 4096;

/// An entry that was applied, to be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    sequence: u64,
    time_ms: u64,
    digest: u64,
}

/// How often a stream must turn out to end before the place where we stand: a server that has just
/// become the leader may not have caught up with its own log yet.
const SHORT_MAX: u32 = 6;

/// What a look at the stream says about our place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on from here.
    Same,
    /// It seems to end before here: to be looked at again.
    Short,
    /// It is not the stream that we followed.
    Another,
}

impl Place {
    /// Compares the stream as it is with what is known of it.
    pub(super) fn look(&mut self, created_ns: i128, last: u64, applied: u64) -> Verdict {
        if self.created_ns.is_some_and(|known| known != created_ns) {
            return Verdict::Another;
        }
        self.created_ns = Some(created_ns);
        if last >= applied {
            self.short = 0;
            return Verdict::Same;
        }
        self.short += 1;
        if self.short < SHORT_MAX { Verdict::Short } else { Verdict::Another }
    }

    /// After the entry at `applied` came the one at `next`. Once, that is a message that was
    /// dropped on its way; the same twice, and those between are not there.
    pub(super) fn missed(&mut self, applied: u64, next: u64) {
        let gap = Some((applied, next));
        self.is_hole = self.gap == gap;
        self.gap = gap;
    }

    /// The first entry that can be read on to from here: the stream's first, or else the one after
    /// a hole.
    pub(super) fn first(&self, first: u64, applied: u64) -> u64 {
        match self.gap {
            Some((before, next)) if self.is_hole && before == applied => first.max(next),
            _ => first,
        }
    }

    /// From here on it is this stream, from its beginning.
    pub(super) fn begin_anew(&mut self, created_ns: i128) {
        *self = Self { created_ns: Some(created_ns), ..Self::default() };
    }

    pub(super) fn remember(&mut self, entries: &[Entry]) {
        for mark in entries.iter().map(Mark::of) {
            if self.marks.len() == MARKS_MAX {
                self.marks.pop_front();
            }
            self.marks.push_back(mark);
            self.blocks.add(mark.sequence, mark.digest);
        }
    }

    /// What the block of this entry comes to, up to it; unknown where it was not applied here.
    pub(super) fn checkpoint(&self, sequence: u64) -> Option<Checkpoint> {
        self.blocks.at(sequence).or_else(|| {
            let marks = (first_of_block(sequence)..=sequence).map(|place| self.mark(place));
            let follow = |before, mark: Option<&Mark>| {
                let Mark { sequence, digest, .. } = *mark?;
                Some(Checkpoint::follow(before, sequence, digest))
            };
            marks.into_iter().try_fold(None, follow)?
        })
    }

    /// What the others are told of it.
    pub(super) fn checkpoints(&self) -> impl Iterator<Item = Checkpoint> {
        self.blocks.newest()
    }

    /// Those of another machine that are not as ours, as far as we have them.
    pub(super) fn differing(&self, theirs: &[Checkpoint]) -> Vec<u64> {
        let ours = |their: &&Checkpoint| self.checkpoint(their.sequence);
        let differs = |their: &&Checkpoint| ours(their).is_some_and(|our| our != **their);
        theirs.iter().filter(differs).map(|their| their.sequence).collect()
    }

    /// When the entry at our place was taken; unknown where it was not applied here.
    pub(super) fn time_ms(&self) -> Option<u64> {
        self.marks.back().map(|mark| mark.time_ms)
    }

    /// The first entry that can be compared, or else 0.
    pub(super) fn first_known(&self) -> u64 {
        self.marks.front().map_or(0, |mark| mark.sequence)
    }

    /// A place that was not come to by applying entries.
    pub(super) fn forget(&mut self) {
        self.marks.clear();
        self.blocks = Blocks::default();
    }

    /// Whether the entry is the one that was applied in its place, as far as that is known.
    pub(super) fn is_known(&self, entry: &Entry) -> bool {
        self.mark(entry.sequence).is_none_or(|mark| *mark == Mark::of(entry))
    }

    /// The first of these entries of one block, as the stream has them, that is not as it was
    /// applied; or the first of all, where we know no more of them than what they come to.
    pub(super) fn first_wrong(&self, entries: &[Entry]) -> Option<u64> {
        if let Some(entry) = entries.iter().find(|entry| !self.is_known(entry)) {
            return Some(entry.sequence);
        }
        let follow = |before, entry: &Entry| {
            Checkpoint::follow(before, entry.sequence, digest(entry)).map(Some)
        };
        let theirs = entries.iter().try_fold(None, follow)??;
        let ours = self.checkpoint(theirs.sequence)?;
        (ours != theirs).then(|| first_of_block(theirs.sequence))
    }

    fn mark(&self, sequence: u64) -> Option<&Mark> {
        let place = sequence.checked_sub(self.first_known())?;
        let mark = self.marks.get(usize::try_from(place).ok()?);
        mark.filter(|mark| mark.sequence == sequence)
    }
}

impl Mark {
    fn of(entry: &Entry) -> Self {
        Self { sequence: entry.sequence, time_ms: entry.time_ms, digest: digest(entry) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn another_stream_is_known_by_its_birth_or_its_shortness() {
        let mut place = Place::default();
        assert_eq!(place.look(7, 10, 0), Verdict::Same);
        assert_eq!(place.look(8, 10, 5), Verdict::Another);
        for _ in 1..SHORT_MAX {
            assert_eq!(place.look(7, 4, 5), Verdict::Short);
        }
        assert_eq!(place.look(7, 4, 5), Verdict::Another);
        place.begin_anew(7);
        assert_eq!(place.look(7, 4, 0), Verdict::Same);
        assert_eq!(place.look(7, 4, 5), Verdict::Short);
        assert_eq!(place.look(7, 5, 5), Verdict::Same);
        assert_eq!(place.look(7, 4, 5), Verdict::Short);
    }

    #[test]
    fn what_is_missing_twice_is_not_there() {
        let mut place = Place::default();
        place.missed(5, 8);
        assert_eq!(place.first(1, 5), 1);
        place.missed(5, 8);
        assert_eq!((place.first(1, 5), place.first(9, 5), place.first(1, 6)), (8, 9, 1));
        place.missed(6, 9);
        assert_eq!(place.first(1, 6), 1);
    }

    #[test]
    fn another_entry_at_our_place_is_noticed() {
        let entry = |time_ms, text: &'static str| Entry {
            sequence: 3,
            time_ms,
            payload: Bytes::from_static(text.as_bytes()),
        };
        let mut place = Place::default();
        assert!(place.is_known(&entry(1, "a")));
        place.remember(&[Entry { sequence: 2, ..entry(1, "b") }, entry(1, "a")]);
        assert!(place.is_known(&entry(1, "a")));
        assert!(!place.is_known(&entry(2, "a")) && !place.is_known(&entry(1, "b")));
        assert!(place.is_known(&Entry { sequence: 2, ..entry(1, "b") }));
        assert!(!place.is_known(&Entry { sequence: 2, ..entry(1, "c") }));
        for sequence in [1, 4] {
            assert!(place.is_known(&Entry { sequence, ..entry(9, "z") }));
        }
        place.forget();
        assert!(place.is_known(&entry(1, "b")));
    }

    #[test]
    fn a_checkpoint_of_another_order_differs() {
        let entry = |sequence| Entry { sequence, time_ms: 1, payload: Bytes::from_static(b"a") };
        let (mut ours, mut theirs) = (Place::default(), Place::default());
        ours.remember(&(1..=100).map(entry).collect::<Vec<_>>());
        theirs.remember(&(1..=70).map(entry).collect::<Vec<_>>());
        let told: Vec<_> = theirs.checkpoints().collect();
        assert_eq!((told.len(), ours.differing(&told)), (2, Vec::new()));
        theirs.remember(&[Entry { time_ms: 2, ..entry(71) }]);
        let told: Vec<_> = theirs.checkpoints().collect();
        assert_eq!(ours.differing(&told), [71]);
        let told: Vec<_> = ours.checkpoints().collect();
        assert!(theirs.differing(&told).is_empty(), "it has not got as far");
        let right: Vec<_> = (65..=71).map(entry).collect();
        assert_eq!((theirs.first_wrong(&right), ours.first_wrong(&right)), (Some(71), None));
        theirs.marks.clear();
        let wrong = [entry(1), Entry { time_ms: 2, ..entry(2) }];
        let block = wrong.into_iter().chain((3..=64).map(entry)).collect::<Vec<_>>();
        assert_eq!((theirs.first_wrong(&block), ours.first_wrong(&block)), (Some(1), Some(2)));
        assert_eq!(theirs.first_wrong(&block[1..]), None, "it cannot be told");
        ours.forget();
        assert_eq!((ours.checkpoint(71), ours.first_wrong(&block)), (None, None));
    }
}
