//! Finds alarms that are certain to be met, before the run has ended. Pure.

use std::time::Duration;

use crate::statistics::RunRecord;
use crate::verdict::{ComparisonOperator, Metric, Objective};

impl Objective {
    /// Returns the number of messages in `record` that count towards an alarm. For `max`, returns 1
    /// if the alarm is met.
    ///
    /// The counts of several workers are added, so that no histogram is copied during the run.
    pub(crate) fn count_for(&self, record: &RunRecord) -> u64 {
        let ledger = &record.ledger;
        let limit = || Duration::try_from_secs_f64(self.limit).unwrap_or(Duration::MAX);
        match self.metric {
            Metric::Percentile(_) => record.slower_than(limit()),
            Metric::Max => u64::from(record.slowest().is_some_and(|slowest| slowest > limit())),
            Metric::Errors => ledger.sent() - ledger.ok() - ledger.in_flight() + ledger.skipped(),
            Metric::Skipped => ledger.skipped(),
            Metric::Late => record.anomalies.late,
            Metric::Duplicated => record.anomalies.duplicated,
            Metric::Reordered => record.anomalies.reordered,
            // Alarms on these metrics are never certain: a late reply reverts a loss, and a mean or
            // a rate can recover.
            Metric::Lost | Metric::Mean | Metric::Rate => 0,
        }
    }

    /// Returns whether an alarm is certain to be met in a run of at most `planned` messages.
    /// `planned` is `None` if the number is unknown.
    pub(crate) fn is_certain(&self, count: u64, planned: Option<u64>) -> bool {
        let is_upper =
            matches!(self.comparison, ComparisonOperator::Above | ComparisonOperator::AtLeast);
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
    use crate::statistics::{CorrectReply, MessageOutcome, SkipReason};
    use crate::verdict::Objectives;

    fn record() -> RunRecord {
        let mut record = RunRecord::new(1000);
        for number in 0..100 {
            let service = Duration::from_millis(if number < 20 { 9 } else { 1 });
            record.reply(CorrectReply { at: Duration::ZERO, latency: None, service });
        }
        record.fail(MessageOutcome::TimedOut, Duration::ZERO, Duration::from_millis(500));
        record.fail(MessageOutcome::InFlight, Duration::ZERO, Duration::from_millis(1));
        record.ledger.skip(9, SkipReason::Lost);
        record.anomalies.duplicated = 3;
        record
    }

    /// Issue 11, item 44: an objective that can no longer be met is found before the end.
    #[test]
    fn regression_a_certain_alarm_is_found_before_the_end() {
        let certain_alarm = |text: &str, planned| {
            let alarm = Objectives::alarms(text).unwrap().list()[0];
            alarm.is_certain(alarm.count_for(&record()), planned)
        };
        for (text, planned, wanted) in [
            // 1 of 1000 timed out and 9 were skipped, so the alarm is certain.
            ("errors>0.9%", Some(1000), true),
            ("errors>=1%", Some(1000), true),
            ("errors>1%", Some(1000), false),
            ("errors>0.9%", None, false),
            ("skipped>0.8%", Some(1000), true),
            ("skipped>0.9%", Some(1000), false),
            ("duplicated>0.2%", Some(1000), true),
            // 21 of 1000 took longer than 5 ms. So p97 can still be below 5 ms, and p98 cannot.
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
            assert_eq!(certain_alarm(text, planned), wanted, "{text} of {planned:?}");
        }
    }
}
