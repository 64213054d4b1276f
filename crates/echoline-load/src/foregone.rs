//! Whether a condition of a run is certain to come true before the run has ended. Pure.

use std::time::Duration;

use super::metric::Metric;
use super::objective::{Comparison, Objective};
use super::record::Record;

impl Objective {
    /// Counts the messages in `record` that speak for an alarm; for `max`, 1 if it came true.
    ///
    /// Records of several workers are asked one by one and the numbers added, so that no histogram
    /// is copied while the run goes on.
    pub(super) fn count_for(&self, record: &Record) -> u64 {
        let ledger = &record.ledger;
        let limit = || Duration::try_from_secs_f64(self.limit).unwrap_or(Duration::MAX);
        match self.metric {
            Metric::Percentile(_) => record.slower_than(limit()),
            Metric::Max => u64::from(record.slowest().is_some_and(|slowest| slowest > limit())),
            Metric::Errors => ledger.sent() - ledger.ok() - ledger.in_flight() + ledger.skipped(),
            Metric::Skipped => ledger.skipped(),
            Metric::Late => record.strays.late,
            Metric::Duplicated => record.strays.duplicated,
            Metric::Reordered => record.strays.reordered,
            // A late answer takes a loss back, and a mean or a rate can recover.
            Metric::Lost | Metric::Mean | Metric::Rate => 0,
        }
    }

    /// Whether an alarm comes true in every case in a run of at most `planned` messages; `None` if
    /// their number is not known.
    pub(super) fn is_foregone(&self, count: u64, planned: Option<u64>) -> bool {
        let is_upper = matches!(self.comparison, Comparison::Above | Comparison::AtLeast);
        let share = planned.filter(|&planned| planned > 0).map(|all| count as f64 / all as f64);
        match self.metric {
            _ if count == 0 || !is_upper => false,
            Metric::Max => true,
            // More samples lie above the limit than may lie beyond the percentile.
            Metric::Percentile(p) => share.is_some_and(|share| share > 1.0 - p.quantile()),
            _ => share.is_some_and(|share| self.is_true(share)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, End, Objectives, Outcome};

    fn record() -> Record {
        let mut record = Record::new(1000);
        for number in 0..100 {
            let service = Duration::from_millis(if number < 20 { 9 } else { 1 });
            record.answer(Answer { at: Duration::ZERO, latency: None, service });
        }
        record.fail(Outcome::TimedOut, Duration::ZERO, Duration::from_millis(500));
        record.fail(Outcome::InFlight, Duration::ZERO, Duration::from_millis(1));
        record.ledger.skip(9, End::Lost);
        record.strays.duplicated = 3;
        record
    }

    /// Issue 11, item 44: what can no longer hold is seen before the end, and nothing else.
    #[test]
    fn regression_a_condition_that_is_certain_is_seen_before_the_end() {
        let foregone = |text: &str, planned| {
            let alarm = Objectives::alarms(text).unwrap().list()[0];
            alarm.is_foregone(alarm.count_for(&record()), planned)
        };
        for (text, planned, wanted) in [
            // 1 timed out and 9 skipped of 1000, whatever comes.
            ("errors>0.9%", Some(1000), true),
            ("errors>=1%", Some(1000), true),
            ("errors>1%", Some(1000), false),
            ("errors>0.9%", None, false),
            ("skipped>0.8%", Some(1000), true),
            ("skipped>0.9%", Some(1000), false),
            ("duplicated>0.2%", Some(1000), true),
            // 21 of 1000 took longer than 5 ms: p97 can still be below, p98 cannot.
            ("p97>5ms", Some(1000), false),
            ("p98>5ms", Some(1000), true),
            ("p98>5ms", None, false),
            ("p98>10ms", Some(1000), false),
            ("max>400ms", None, true),
            ("max>600ms", Some(1000), false),
            ("mean>1us", Some(1000), false),
            ("rate<1000/s", Some(1000), false),
            ("lost>0%", Some(1000), false),
        ] {
            assert_eq!(foregone(text, planned), wanted, "{text} of {planned:?}");
        }
    }
}
