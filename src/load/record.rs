//! What happened: the ledger, the latency, and the reasons of failures. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::ledger::{End, Ledger, Outcome};

/// Different reasons that are kept apart; a server can make up any number of them.
const REASONS_MAX: usize = 20;

/// A percentile is shown when so many samples lie beyond it; with fewer it is chance.
const BEYOND_MIN: u64 = 10;

/// A percentile that reports show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile {
    per_mille: u32,
}

impl Percentile {
    /// The percentiles of a report: p50, p90, p99, p99.9.
    pub const SHOWN: [Self; 4] = [
        Self { per_mille: 500 },
        Self { per_mille: 900 },
        Self { per_mille: 990 },
        Self { per_mille: 999 },
    ];

    fn quantile(self) -> f64 {
        f64::from(self.per_mille) / 1000.0
    }

    /// In whole numbers: 100 × (1 − 0.9) is not 10 in binary fractions.
    fn is_certain(self, samples: u64) -> bool {
        samples * u64::from(1000 - self.per_mille) >= BEYOND_MIN * 1000
    }
}

impl std::fmt::Display for Percentile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.per_mille / 10, self.per_mille % 10) {
            (percent, 0) => f.pad(&format!("p{percent}")),
            (percent, tenths) => f.pad(&format!("p{percent}.{tenths}")),
        }
    }
}

/// Everything that a run has to say about its messages and clients.
#[derive(Clone, Debug)]
pub struct Record {
    /// The account of all planned messages.
    pub ledger: Ledger,
    /// Clients all of whose messages were answered right.
    pub clients_ok: u32,
    /// From before a message is sent until its reply is complete, in nanoseconds.
    latency: Histogram<u64>,
    latency_max: Duration,
    reasons: BTreeMap<String, u64>,
    reasons_dropped: u64,
    wrong_example: Option<String>,
}

impl Record {
    /// For `planned` messages that may take up to `timeout` each.
    #[must_use]
    pub fn new(planned: u64, timeout: Duration) -> Self {
        // From 1 ns, so that a value of a few microseconds still has three digits.
        let high = nanos(timeout).clamp(2, u64::MAX / 2);
        let latency = Histogram::new_with_bounds(1, high, 3)
            .expect("1 is at least 1, twice 1 is at most high, and 3 is at most 5");
        Self {
            ledger: Ledger::new(planned),
            clients_ok: 0,
            latency,
            latency_max: Duration::ZERO,
            reasons: BTreeMap::new(),
            reasons_dropped: 0,
            wrong_example: None,
        }
    }

    /// A message was answered right after this time.
    pub fn answer(&mut self, latency: Duration) {
        self.ledger.settle(Outcome::Ok);
        self.latency.saturating_record(nanos(latency));
        self.latency_max = self.latency_max.max(latency);
    }

    /// A message was not answered right, because of `reason`.
    pub fn fail(&mut self, outcome: Outcome, reason: String) {
        self.ledger.settle(outcome);
        self.note_reason(reason);
    }

    /// Keeps the first wrong reply, beside what was sent, to be shown.
    pub fn note_wrong(&mut self, example: impl FnOnce() -> String) {
        self.wrong_example.get_or_insert_with(example);
    }

    /// The first wrong reply, beside what was sent.
    #[must_use]
    pub fn wrong_example(&self) -> Option<&str> {
        self.wrong_example.as_deref()
    }

    /// A client ends with so many messages unsent.
    pub fn end_client(&mut self, unsent: u64, end: End) {
        self.ledger.skip(unsent, end);
        self.clients_ok += u32::from(end == End::Finished);
    }

    /// Something went wrong, because of `reason`.
    pub fn note_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        } else {
            self.reasons_dropped += 1;
        }
    }

    /// Each different reason and how often there was one, the most frequent first.
    #[must_use]
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        let mut reasons: Vec<_> =
            self.reasons.iter().map(|(text, &n)| (text.as_str(), n)).collect();
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        if self.reasons_dropped > 0 {
            reasons.push(("other reasons", self.reasons_dropped));
        }
        reasons
    }

    /// The latency that this share of the answered messages did not exceed; `None` where fewer
    /// than ten samples lie beyond it.
    #[must_use]
    pub fn latency(&self, percentile: Percentile) -> Option<Duration> {
        percentile.is_certain(self.latency.len()).then(|| {
            let value = self.latency.value_at_quantile(percentile.quantile());
            // The histogram answers with the end of a bucket, which may lie beyond all samples.
            Duration::from_nanos(value).min(self.latency_max)
        })
    }

    /// The longest latency; `None` where nothing was answered.
    #[must_use]
    pub fn latency_max(&self) -> Option<Duration> {
        (!self.latency.is_empty()).then_some(self.latency_max)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn outcome() -> impl Strategy<Value = Outcome> {
        use Outcome::{Lost, Ok, TimedOut, Wrong};
        prop_oneof![8 => Just(Ok), 1 => Just(Wrong), 1 => Just(TimedOut), 1 => Just(Lost)]
    }

    #[test]
    fn percentiles_need_ten_samples_beyond() {
        let mut record = Record::new(200, SECOND);
        assert_eq!(record.latency_max(), None);
        for count in 1..=100 {
            record.answer(Duration::from_micros(count));
            let shown = |index: usize| record.latency(Percentile::SHOWN[index]).is_some();
            assert_eq!(shown(0), count >= 20, "p50 of {count}");
            assert_eq!(shown(1), count >= 100, "p90 of {count}");
            assert!(!shown(2) && !shown(3));
        }
        assert_eq!(record.latency_max(), Some(Duration::from_micros(100)));
        assert_eq!(Percentile::SHOWN.map(|p| p.to_string()), ["p50", "p90", "p99", "p99.9"]);
    }

    #[test]
    fn reasons_are_counted_and_bounded() {
        let mut record = Record::new(100, SECOND);
        for number in 0..100 {
            record.fail(Outcome::Wrong, format!("reason {}", number % 25));
        }
        let reasons = record.reasons();
        assert_eq!(reasons.len(), REASONS_MAX + 1);
        assert_eq!(reasons.last(), Some(&("other reasons", 20)));
        assert_eq!(reasons.iter().map(|(_, count)| count).sum::<u64>(), 100);
    }

    #[test]
    fn the_shortest_and_the_longest_times_are_kept_to_three_digits() {
        for micros in [1, 2, 3, 900, 4_999_999] {
            let mut record = Record::new(1, Duration::from_secs(5));
            (0..20).for_each(|_| record.answer(Duration::from_micros(micros)));
            let median = record.latency(Percentile::SHOWN[0]).unwrap();
            assert_eq!(median, Duration::from_micros(micros));
        }
        Record::new(1, Duration::MAX).answer(Duration::MAX);
        Record::new(1, Duration::ZERO).answer(SECOND);
    }

    proptest! {
        /// Whatever becomes of the messages of each client, as `worker` records it.
        #[test]
        fn the_ledger_adds_up_for_any_sequence_of_outcomes(
            clients in prop::collection::vec(
                (prop::collection::vec(outcome(), 0..20), any::<bool>()), 0..8,
            ),
        ) {
            let planned = 20 * clients.len() as u64;
            let mut record = Record::new(planned, SECOND);
            for (outcomes, connected) in &clients {
                let mut sent = 0;
                let mut end = if *connected { End::Stopped } else { End::NotConnected };
                for &outcome in outcomes.iter().filter(|_| *connected) {
                    sent += 1;
                    match outcome {
                        Outcome::Ok => record.answer(SECOND),
                        other => {
                            record.fail(other, String::new());
                            end = other.into();
                            break;
                        }
                    }
                }
                record.end_client(20 - sent, end);
            }
            let ledger = &record.ledger;
            prop_assert!(ledger.adds_up());
            prop_assert_eq!(ledger.planned(), planned);
            let parts = ledger.ok() + ledger.wrong() + ledger.timed_out() + ledger.lost();
            prop_assert_eq!(ledger.sent(), parts);
            let skipped: u64 = ledger.skipped_by_end().map(|(_, messages)| messages).sum();
            prop_assert_eq!(ledger.planned() - ledger.sent(), skipped);
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_samples(
            mut samples in prop::collection::vec(1_000u64..5_000_000_000, 20..2000),
        ) {
            let mut record = Record::new(0, Duration::from_secs(5));
            for &sample in &samples {
                record.answer(Duration::from_nanos(sample));
            }
            samples.sort_unstable();
            for percentile in Percentile::SHOWN {
                let Some(shown) = record.latency(percentile) else { continue };
                let rank = (percentile.quantile() * samples.len() as f64).ceil() as usize;
                let exact = samples[rank.clamp(1, samples.len()) - 1] as f64;
                let error = (shown.as_nanos() as f64 - exact).abs() / exact;
                prop_assert!(error <= 0.001, "{percentile}: {shown:?} for {exact} ns");
            }
            prop_assert_eq!(record.latency_max(), samples.last().map(|&n| Duration::from_nanos(n)));
        }
    }
}
