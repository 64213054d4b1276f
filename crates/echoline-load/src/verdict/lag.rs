//! The effect of the tester's own lag on the reported percentiles. Pure.

use std::time::Duration;

use crate::statistics::{Percentile, RunRecord};

/// The percentiles that decide whether a run is trusted. Higher ones are often decided by a single
/// pause of the machine.
const JUDGED: [Percentile; 3] = [Percentile::P50, Percentile::P90, Percentile::P99];

/// A percentile is shown with and without lag if the lag adds more than this part of it (1 / this).
const SHOWN_DIVISOR: u32 = 10;

/// A run is not trusted if a percentile with lag is above this multiple of the one without.
const TRUSTED_FACTOR: u32 = 2;

/// A percentile of the latency, with and without the tester's own lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LagEffect {
    pub(crate) percentile: Percentile,
    /// As it is reported.
    pub(crate) latency: Duration,
    /// As if the tester had sent every message in time.
    pub(crate) without_lag: Duration,
}

impl LagEffect {
    fn of(record: &RunRecord, percentile: Percentile) -> Option<Self> {
        let latency = record.latency.percentile(percentile)?;
        let without_lag = record.latency_without_lag.percentile(percentile)?;
        Some(Self { percentile, latency, without_lag })
    }

    /// Returns whether both values differ by more than a tenth of the smaller one.
    fn is_visible(&self) -> bool {
        self.latency > self.without_lag + self.without_lag / SHOWN_DIVISOR
    }

    /// Returns whether more than half of the reported value is the tester's own delay.
    fn is_dominant(&self) -> bool {
        self.latency > self.without_lag * TRUSTED_FACTOR
    }
}

/// Returns whether the lag changes one of the `percentiles` by more than a tenth.
pub(crate) fn is_visible(record: &RunRecord, percentiles: &[Percentile]) -> bool {
    percentiles
        .iter()
        .filter_map(|&percentile| LagEffect::of(record, percentile))
        .any(|effect| effect.is_visible())
}

/// Returns the lowest judged percentile of which more than half is the tester's own delay. Judges
/// from 1,000 messages on.
pub(crate) fn find_dominant(record: &RunRecord) -> Option<LagEffect> {
    record.latency.percentile(Percentile::P99)?;
    JUDGED
        .iter()
        .filter_map(|&percentile| LagEffect::of(record, percentile))
        .find(LagEffect::is_dominant)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// A record of messages with these times without lag, and these lags, in microseconds.
    fn record(messages: impl IntoIterator<Item = (u32, u32)>) -> RunRecord {
        let mut record = RunRecord::default();
        for (without_lag, lag) in messages {
            record.latency.record((without_lag + lag) * MICRO);
            record.latency_without_lag.record(without_lag * MICRO);
            record.lag.record(lag * MICRO);
        }
        record
    }

    #[test]
    fn a_lag_of_more_than_a_tenth_is_shown_and_of_more_than_half_distrusted() {
        for (lag, is_shown, is_distrusted) in [
            (0, false, false),
            (9, false, false),
            (12, true, false),
            (99, true, false),
            (103, true, true),
        ] {
            let record = record((0..1000).map(|_| (100, lag)));
            assert_eq!(is_visible(&record, &Percentile::DEFAULTS), is_shown, "{lag} µs");
            assert_eq!(find_dominant(&record).is_some(), is_distrusted, "{lag} µs");
        }
    }

    /// A ratio of the lag to the latency would not tell these two runs apart: the lag is the same.
    #[test]
    fn the_effect_on_the_result_is_judged_and_not_the_lag_alone() {
        // The messages with a lag are fast, so they stay below p99: the server is slow for 2 %.
        let harmless = record((0..1000).map(|n| if n % 50 == 0 { (900, 0) } else { (100, 90) }));
        assert_eq!(find_dominant(&harmless), None);
        let slow = (0..1000).map(|n| if n % 50 == 0 { (100, 900) } else { (100, 0) });
        let effect = find_dominant(&record(slow)).unwrap();
        assert_eq!(effect.percentile, Percentile::P99);
        assert_eq!((effect.latency, effect.without_lag), (1000 * MICRO, 100 * MICRO));
    }

    #[test]
    fn few_messages_are_not_judged() {
        let late = |count| record((0..count).map(|_| (10, 1000)));
        assert_eq!(find_dominant(&late(999)), None);
        assert_eq!(find_dominant(&late(1000)).unwrap().percentile, Percentile::P50);
        assert_eq!(find_dominant(&RunRecord::default()), None);
        assert!(!is_visible(&RunRecord::default(), &Percentile::DEFAULTS));
    }

    proptest! {
        /// A run without lag is never distrusted, and a distrusted run shows both values.
        #[test]
        fn a_distrusted_run_shows_both_values(
            messages in prop::collection::vec((1u32..10_000, 0u32..10_000), 1000..1100),
        ) {
            let on_time = record(messages.iter().map(|&(time, _)| (time, 0)));
            prop_assert_eq!(find_dominant(&on_time), None);
            prop_assert!(!is_visible(&on_time, &Percentile::DEFAULTS));
            let late = record(messages);
            if find_dominant(&late).is_some() {
                prop_assert!(is_visible(&late, &Percentile::DEFAULTS));
            }
        }
    }
}
