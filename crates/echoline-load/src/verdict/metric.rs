//! The metrics of a run, as objectives name them: `p99`, `errors`, `rate`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::statistics::{Percentile, RunRecord};
use echoline_base::amount::{self, figures};

/// A metric of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A percentile of the latency in seconds, for example `p99`. It is computed from correct
    /// replies, and from timed-out messages with their age. The time counts from the intended time
    /// in open loop, and from sending in closed loop.
    Percentile(Percentile),
    /// The longest latency, `max`, in seconds.
    Max,
    /// The mean latency, `mean`, in seconds.
    Mean,
    /// The share of planned messages without a correct reply, `errors`, from 0 to 1. In a closed
    /// loop with a duration, the time without a server counts too.
    Errors,
    /// The share of planned messages that were never sent, `skipped`, from 0 to 1. Messages that
    /// were not sent because the run was stopped are not counted.
    Skipped,
    /// The share of sent messages that were never answered, neither in time nor late, `lost`, from
    /// 0 to 1.
    Lost,
    /// Over UDP: the share of sent messages with a late reply, `late`.
    Late,
    /// Over UDP: the number of further replies to a message, as a share of the sent messages,
    /// `duplicated`.
    Duplicated,
    /// Over UDP: the share of sent messages whose reply arrived after the reply to a later message,
    /// `reordered`.
    Reordered,
    /// The number of correct replies per second, `rate`.
    Rate,
}

/// The names of the metrics other than percentiles.
const NAMES: [(Metric, &str); 9] = [
    (Metric::Max, "max"),
    (Metric::Mean, "mean"),
    (Metric::Errors, "errors"),
    (Metric::Skipped, "skipped"),
    (Metric::Lost, "lost"),
    (Metric::Late, "late"),
    (Metric::Duplicated, "duplicated"),
    (Metric::Reordered, "reordered"),
    (Metric::Rate, "rate"),
];

impl Metric {
    /// Computes the metric of a run; `None` without enough samples.
    #[must_use]
    pub fn of(self, record: &RunRecord, elapsed: Duration) -> Option<f64> {
        let ledger = &record.ledger;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        match self {
            Self::Percentile(percentile) => seconds(record.response_times().percentile(percentile)),
            Self::Max => seconds(record.response_times().max()),
            Self::Mean => seconds(record.response_times().mean()),
            Self::Errors => Some(record.error_share()),
            Self::Skipped => Some(share(ledger.skipped(), ledger.counted())),
            Self::Lost => Some(share(record.unanswered(), ledger.sent())),
            Self::Late => Some(share(record.anomalies.late, ledger.sent())),
            Self::Duplicated => Some(share(record.anomalies.duplicated, ledger.sent())),
            Self::Reordered => Some(share(record.anomalies.reordered, ledger.sent())),
            Self::Rate if elapsed.is_zero() => None,
            Self::Rate => Some(ledger.ok() as f64 / elapsed.as_secs_f64()),
        }
    }

    /// Parses a limit for this metric.
    pub(crate) fn read_limit(self, text: &str) -> Option<f64> {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                amount::time(text).map(|time| time.as_secs_f64())
            }
            share if share.is_share() => amount::share(text).filter(|&share| share <= 1.0),
            _ => amount::events_per_second(text),
        }
    }

    /// Formats a limit so that the text parses to the same limit.
    pub(crate) fn write_limit(self, limit: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                format!("{:?}", Duration::try_from_secs_f64(limit).unwrap_or_default())
            }
            share if share.is_share() => {
                // Ten decimals are enough for any input, and hide the rounding error of
                // floating-point numbers.
                let percent = format!("{:.10}", limit * 100.0);
                format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => format!("{limit}/s"),
        }
    }

    /// Returns a valid objective for this metric.
    pub(crate) fn example(self, is_upper: bool) -> &'static str {
        match (self, is_upper) {
            (Self::Percentile(_) | Self::Max | Self::Mean, true) => "p99<5ms",
            (Self::Percentile(_) | Self::Max | Self::Mean, false) => "p99>5ms",
            (Self::Rate, true) => "rate<1000/s",
            (Self::Rate, false) => "rate>1000/s",
            (_, true) => "errors<0.1%",
            (_, false) => "errors>0.1%",
        }
    }

    /// Formats a figure of this metric for people.
    #[must_use]
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                figures::time(Duration::try_from_secs_f64(figure).unwrap_or_default())
            }
            share if share.is_share() => figures::percent(figure),
            _ => figures::rate(figure),
        }
    }

    /// Returns whether the metric is a share, which is written in percent.
    fn is_share(self) -> bool {
        !matches!(self, Self::Percentile(_) | Self::Max | Self::Mean | Self::Rate)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl FromStr for Metric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match NAMES.iter().find(|(_, name)| *name == text) {
            Some(&(metric, _)) => Ok(metric),
            None => text.strip_prefix('p').and_then(percentile).ok_or(()),
        }
    }
}

/// Parses a percentile such as `99.9`: above 0, below 100, with up to three decimals.
fn percentile(text: &str) -> Option<Metric> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(fraction, 3) {
        return None;
    }
    let percentile = Percentile::new(text.parse().ok()?)?;
    (percentile.quantile() > 0.0).then_some(Metric::Percentile(percentile))
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percentile) => percentile.fmt(f),
            metric => {
                let name = NAMES.iter().find(|(known, _)| known == metric);
                f.pad(name.map_or("", |&(_, name)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{CorrectReply, DatagramAnomalies, MessageOutcome, SkipReason};

    #[test]
    fn parses_and_formats_a_metric() {
        let texts =
            "p50 p99.9 p99.999 p7 max mean errors skipped lost late duplicated reordered rate";
        for text in texts.split(' ') {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        for wrong in ["", "p", "p100", "p0", "p.9", "p99.", "p99.9999", "p+9", "P99", "max "] {
            assert_eq!(wrong.parse::<Metric>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn computes_each_metric_of_a_record() {
        let mut record = RunRecord::new(40);
        let millis = Duration::from_millis;
        for number in 1..=20 {
            record.reply(CorrectReply { at: millis(1), latency: None, service: millis(number) });
        }
        record.fail(MessageOutcome::TimedOut, millis(1), millis(300));
        record.end_client(19, SkipReason::TimedOut);
        record.anomalies = DatagramAnomalies { late: 0, duplicated: 3, reordered: 2, unasked: 1 };
        let of = |text: &str| text.parse::<Metric>().unwrap().of(&record, millis(500));
        assert!(of("p50").is_some_and(|p50| (p50 - 0.011).abs() < 1e-4));
        assert_eq!((of("p99"), of("max")), (None, Some(0.3)));
        assert_eq!((of("errors"), of("skipped")), (Some(0.5), Some(19.0 / 40.0)));
        assert_eq!(of("rate"), Some(40.0));
        assert_eq!((of("lost"), of("late")), (Some(1.0 / 21.0), Some(0.0)));
        assert_eq!((of("duplicated"), of("reordered")), (Some(3.0 / 21.0), Some(2.0 / 21.0)));
        record.anomalies.late = 1;
        let of = |text: &str| text.parse::<Metric>().unwrap().of(&record, millis(500));
        assert_eq!((of("lost"), of("late")), (Some(0.0), Some(1.0 / 21.0)));
        assert_eq!(Metric::Rate.of(&record, Duration::ZERO), None);
        assert_eq!(Metric::Max.of(&RunRecord::default(), millis(500)), None);
    }
}
