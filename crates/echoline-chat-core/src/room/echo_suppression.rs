//! The lines of a room that a member's terminal does not show: the member's own lines, and the
//! lines that a new member's replay leaves out. Once the member has passed a line, it is no longer
//! tracked.

use std::collections::VecDeque;
use std::ops::Range;

/// Whether members see their own lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Own lines are shown.
    Shown,
    /// Own lines are hidden, because the terminal already showed them while the user typed.
    Hidden,
}

/// The lines that the member's terminal does not show: the member's own lines, and lines that the
/// replay left out. If there are none, it needs no memory.
#[derive(Debug, Default)]
pub struct HiddenLines(Option<Box<Written>>);

/// If more ranges than this were allocated, the memory is freed after the member has passed them.
const RANGES_KEPT: usize = 8;

#[derive(Debug, Default)]
struct Written {
    ranges: VecDeque<Range<u64>>,
    /// The number of hidden lines that the log dropped before the member passed them.
    forgotten: u64,
}

impl HiddenLines {
    /// Records that the member wrote line `number`. `next` is the member's next line, and `first`
    /// the first line of the log.
    pub fn push(&mut self, number: u64, next: u64, first: u64) {
        let Written { ranges, forgotten } = &mut **self.0.get_or_insert_default();
        if let Some(last) = ranges.back_mut().filter(|last| last.end == number) {
            last.end += 1;
            return;
        }
        // Forgets passed and dropped lines. This bounds the memory of a member who writes without
        // reading.
        while let Some(range) = ranges.front().filter(|range| range.end <= next.max(first)) {
            *forgotten += range.end.saturating_sub(range.start.max(next));
            ranges.pop_front();
        }
        ranges.push_back(number..number + 1);
    }

    /// Creates the hidden lines of a new member from the ranges that the replay leaves out.
    pub(crate) fn left_out(ranges: Vec<Range<u64>>) -> Self {
        if ranges.is_empty() {
            return Self::default();
        }
        Self(Some(Box::new(Written { ranges: ranges.into(), forgotten: 0 })))
    }

    /// Frees the memory of a long replay once the member has passed its lines. `next` is the
    /// member's next line.
    pub(crate) fn shrink(&mut self, next: u64) {
        let is_passed = |written: &Written| {
            written.ranges.capacity() > RANGES_KEPT
                && written.forgotten == 0
                && written.ranges.back().is_none_or(|range| range.end <= next)
        };
        self.0.take_if(|written| is_passed(written));
    }

    /// Returns the ranges of hidden lines in order. The member may already have passed some of
    /// them.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter().flat_map(|written| &written.ranges)
    }

    /// Returns the number of the first line that is not hidden, starting at `next`.
    pub fn pass(&self, next: u64) -> u64 {
        let Some(Written { ranges, .. }) = self.0.as_deref() else { return next };
        // The ranges are disjoint and not adjacent.
        let mine = ranges.get(ranges.partition_point(|range| range.end <= next));
        mine.filter(|range| range.start <= next).map_or(next, |range| range.end)
    }

    /// Returns how many lines from `next` up to `first` are hidden. The log has dropped these
    /// lines, so the member skips them.
    pub(crate) fn take_missed(&mut self, next: u64, first: u64) -> u64 {
        let Some(written) = &mut self.0 else { return 0 };
        let missed =
            |range: &Range<u64>| range.end.min(first).saturating_sub(range.start.max(next));
        std::mem::take(&mut written.forgotten) + written.ranges.iter().map(missed).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Promise P3: missed lines are counted without the member's own lines, in whatever order
        /// the log drops them.
        #[test]
        fn own_lines_are_counted_once(
            mine in prop::collection::vec(any::<bool>(), 1..100),
            kept in 1..20_u64,
            reads in prop::collection::vec(0..100_usize, 0..4),
        ) {
            let (mut own, mut next, mut seen, mut missed) = (HiddenLines::default(), 0, 0, 0);
            for (number, &is_mine) in mine.iter().enumerate() {
                let (number, first) = (number as u64, (number as u64 + 1).saturating_sub(kept));
                if is_mine {
                    own.push(number, next, first);
                }
                if reads.contains(&(number as usize)) || number + 1 == mine.len() as u64 {
                    if next < first {
                        missed += first - next - own.take_missed(next, first);
                        next = first;
                    }
                    let hidden = |n: &u64| own.ranges().any(|range| range.contains(n));
                    seen += (next..=number).filter(|n| !hidden(n)).count() as u64;
                    next = number + 1;
                }
            }
            let others = mine.iter().filter(|&&is_mine| !is_mine).count() as u64;
            prop_assert_eq!(seen + missed, others);
        }
    }
}
