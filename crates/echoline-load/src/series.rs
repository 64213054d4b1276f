//! What happened in each second of a run. Pure, and of bounded size for a run of any length.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::strays::{Stray, Strays};
use super::times::nanos;

/// Slots that are kept. When one more is needed, each two neighbours become one.
pub(super) const SLOTS_MAX: usize = 300;

/// One stretch of a run.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Messages that were sent in it.
    pub sent: u64,
    /// Messages that were answered right in it, whenever they were sent.
    pub ok: u64,
    /// Messages that failed in it, whenever they were sent.
    pub failed: u64,
    /// Datagrams that came in it otherwise than once, in time and in order.
    pub strays: Strays,
    /// The latency of those that were answered right in it, in nanoseconds with two digits: from
    /// the intended time in open loop, from sending in closed loop.
    pub latency: Histogram<u32>,
}

impl Default for Slot {
    fn default() -> Self {
        let latency = Histogram::new(2).expect("2 digits are at most 5");
        Self { sent: 0, ok: 0, failed: 0, strays: Strays::default(), latency }
    }
}

impl Slot {
    pub(super) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.failed += other.failed;
        self.strays.merge(&other.strays);
        self.latency.add(&other.latency).expect("it grows by itself up to any value");
    }
}

/// A run cut into stretches of equal length: of a second, and of two, four … seconds in longer
/// runs, so that there are never more than 300.
///
/// Offsets count from the start of what is measured, after the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// A slot is two to the power of this seconds long: to shift is cheaper than to divide.
    exponent: u32,
    slots: Vec<Slot>,
}

impl Series {
    /// From what was read from elsewhere; `None` where `length` is no power of two of seconds, or
    /// where there are more than 300 slots.
    #[must_use]
    pub fn from_slots(length: Duration, slots: Vec<Slot>) -> Option<Self> {
        let fits = length.subsec_nanos() == 0
            && length.as_secs().is_power_of_two()
            && slots.len() <= SLOTS_MAX;
        fits.then(|| Self { exponent: length.as_secs().ilog2(), slots })
    }

    /// How long each slot is: a power of two of seconds.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_secs(1 << self.exponent)
    }

    /// Slot `i` begins at `i` times [`length`](Self::length).
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slot before the one that `offset` lies in, where there is one and something happened.
    pub(super) fn last_whole(&self, offset: Duration) -> Option<&Slot> {
        self.slots.get(self.index(offset).checked_sub(1)?)
    }

    /// A message was sent at `offset`.
    pub fn sent(&mut self, offset: Duration) {
        self.at(offset).sent += 1;
    }

    /// A message was answered right at `offset`, after `latency`.
    pub fn answered(&mut self, offset: Duration, latency: Duration) {
        let slot = self.at(offset);
        slot.ok += 1;
        slot.latency.record(nanos(latency)).expect("it grows by itself up to any value");
    }

    /// A message failed at `offset`.
    pub fn failed(&mut self, offset: Duration) {
        self.at(offset).failed += 1;
    }

    /// A datagram came at `offset` that settles nothing.
    pub fn stray(&mut self, stray: Stray, offset: Duration) {
        self.at(offset).strays.count(stray);
    }

    /// Makes slots up to `end`, so that a silence at the end is seen.
    pub fn cover(&mut self, end: Duration) {
        if let Some(last) = end.checked_sub(Duration::from_nanos(1)) {
            self.at(last);
        }
    }

    /// Takes in the slots of `other`, each where it lies in time.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.exponent < other.exponent {
            self.coarsen();
        }
        while other.exponent < self.exponent {
            other.coarsen();
        }
        if self.slots.len() < other.slots.len() {
            self.slots.resize_with(other.slots.len(), Slot::default);
        }
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            mine.merge(theirs);
        }
    }

    /// Takes in the slots of `other` after its own, as those of a run that came later.
    pub fn append(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.exponent < other.exponent {
            self.coarsen();
        }
        while other.exponent < self.exponent {
            other.coarsen();
        }
        self.slots.append(&mut other.slots);
        while self.slots.len() > SLOTS_MAX {
            self.coarsen();
        }
    }

    fn at(&mut self, offset: Duration) -> &mut Slot {
        let mut index = self.index(offset);
        while index >= SLOTS_MAX {
            self.coarsen();
            index = self.index(offset);
        }
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        &mut self.slots[index]
    }

    fn index(&self, offset: Duration) -> usize {
        usize::try_from(offset.as_secs() >> self.exponent).unwrap_or(usize::MAX)
    }

    /// Makes one slot of each two.
    fn coarsen(&mut self) {
        self.exponent += 1;
        let mut slots = std::mem::take(&mut self.slots).into_iter();
        while let Some(mut slot) = slots.next() {
            if let Some(next) = slots.next() {
                slot.merge(&next);
            }
            self.slots.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_run_has_few_slots_and_loses_nothing() {
        let mut series = Series::default();
        for second in 0..10_000 {
            series.sent(Duration::from_secs(second));
            series.answered(Duration::from_secs(second), Duration::from_micros(second + 1));
        }
        assert!(series.slots().len() <= SLOTS_MAX);
        assert_eq!(series.length(), Duration::from_secs(64));
        assert_eq!(series.slots()[0].sent, 64);
        assert_eq!(series.slots().iter().map(|slot| slot.latency.len()).sum::<u64>(), 10_000);
    }

    /// Issue 11, item 38: a silence at the end of a run is part of its series.
    #[test]
    fn regression_silent_seconds_at_the_end_are_slots() {
        let mut series = Series::default();
        series.answered(Duration::from_millis(200), Duration::from_micros(9));
        series.cover(Duration::ZERO);
        assert_eq!(series.slots().len(), 1);
        series.cover(Duration::from_secs(4));
        assert_eq!(series.slots().len(), 4);
        series.cover(Duration::from_secs(2));
        assert_eq!(series.slots().len(), 4);
        series.cover(Duration::from_millis(4001));
        assert_eq!(series.slots().len(), 5);
        series.cover(Duration::from_secs(301));
        assert_eq!((series.length(), series.slots().len()), (Duration::from_secs(2), 151));
    }

    #[test]
    fn what_cannot_be_a_series_is_refused() {
        let seconds = Duration::from_secs;
        assert!(Series::from_slots(seconds(3), Vec::new()).is_none());
        assert!(Series::from_slots(Duration::from_millis(2500), Vec::new()).is_none());
        assert!(Series::from_slots(seconds(2), vec![Slot::default(); SLOTS_MAX + 1]).is_none());
        assert!(Series::from_slots(seconds(2), vec![Slot::default(); SLOTS_MAX]).is_some());
    }

    #[test]
    fn a_later_run_comes_after_an_earlier_one() {
        let series = |seconds: u64| {
            let mut series = Series::default();
            (0..seconds).for_each(|second| series.sent(Duration::from_secs(second)));
            series
        };
        let mut both = series(3);
        both.append(&series(2));
        assert_eq!((both.slots().len(), both.length()), (5, Duration::from_secs(1)));
        both.append(&series(500));
        assert_eq!(both.length(), Duration::from_secs(2));
        assert_eq!(both.slots().iter().map(|slot| slot.sent).sum::<u64>(), 505);
        both.append(&series(599));
        assert_eq!(both.length(), Duration::from_secs(4));
        assert_eq!(both.slots().iter().map(|slot| slot.sent).sum::<u64>(), 1104);
    }

    proptest! {
        /// Two workers' series merged are the series of one that saw it all.
        #[test]
        fn merging_is_exact(events in prop::collection::vec((0u64..2000, any::<bool>()), 0..50)) {
            let mut whole = Series::default();
            let mut halves = [Series::default(), Series::default()];
            for &(second, which) in &events {
                let offset = Duration::from_secs(second);
                let latency = Duration::from_micros(second);
                whole.answered(offset, latency);
                halves[usize::from(which)].answered(offset, latency);
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            prop_assert_eq!(merged.length(), whole.length());
            let counts = |series: &Series| -> Vec<_> {
                series.slots().iter().map(|slot| (slot.ok, slot.latency.clone())).collect()
            };
            prop_assert_eq!(counts(&merged), counts(&whole));
        }
    }
}
