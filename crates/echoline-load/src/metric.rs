//! What a run is judged by: `p99`, `errors`, `rate`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::record::Record;
use super::times::Percentile;
use echoline_base::amount::{self, figures};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The latency that this share of messages did not exceed: `p99`, `p99.9`. Of right answers
    /// and of time-outs with their age; in open loop from the intended time, in closed loop the
    /// service time. In seconds.
    Percentile(Percentile),
    /// The longest latency: `max`. In seconds.
    Max,
    /// The average latency: `mean`. In seconds.
    Mean,
    /// The share of messages planned that were not answered right: `errors`. In a closed loop for
    /// a time, the time without a server counts too. From 0 to 1.
    Errors,
    /// The share of messages planned that were never sent: `skipped`. Messages that a stop of
    /// the run cut off are not counted. From 0 to 1.
    Skipped,
    /// The share of messages sent that were never answered, neither in time nor late: `lost`. From
    /// 0 to 1.
    Lost,
    /// The share of messages sent whose right answer came after the time-out, over UDP: `late`.
    Late,
    /// Second answers, as a share of messages sent, over UDP: `duplicated`.
    Duplicated,
    /// The share of messages sent whose answer came after one to a later message, over UDP:
    /// `reordered`.
    Reordered,
    /// Right answers per second: `rate`.
    Rate,
}

impl Metric {
    /// What a run of this length shows; `None` where too few samples lie beyond a percentile, or
    /// where there are none at all.
    #[must_use]
    pub fn of(self, record: &Record, elapsed: Duration) -> Option<f64> {
        let ledger = &record.ledger;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        match self {
            Self::Percentile(percentile) => seconds(record.response_times().percentile(percentile)),
            Self::Max => seconds(record.response_times().max()),
            Self::Mean => seconds(record.response_times().mean()),
            Self::Errors => Some(record.error_share()),
            Self::Skipped => Some(share(ledger.skipped(), ledger.counted())),
            Self::Lost => Some(share(record.unanswered(), ledger.sent())),
            Self::Late => Some(share(record.strays.late, ledger.sent())),
            Self::Duplicated => Some(share(record.strays.duplicated, ledger.sent())),
            Self::Reordered => Some(share(record.strays.reordered, ledger.sent())),
            Self::Rate if elapsed.is_zero() => None,
            Self::Rate => Some(ledger.ok() as f64 / elapsed.as_secs_f64()),
        }
    }

    /// A limit as it is typed for this metric, in its unit; `None` where it is none.
    pub(super) fn read_limit(self, text: &str) -> Option<f64> {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                amount::time(text).map(|time| time.as_secs_f64())
            }
            share if share.is_share() => amount::share(text).filter(|&share| share <= 1.0),
            _ => amount::events_per_second(text),
        }
    }

    /// The same limit as it would be typed.
    pub(super) fn write_limit(self, limit: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                format!("{:?}", Duration::try_from_secs_f64(limit).unwrap_or_default())
            }
            share if share.is_share() => {
                // Ten decimals are more than anybody types, and coarser than a fraction's error.
                let percent = format!("{:.10}", limit * 100.0);
                format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => format!("{limit}/s"),
        }
    }

    /// An objective of this kind that is right.
    pub(super) fn example(self, is_upper: bool) -> &'static str {
        match (self, is_upper) {
            (Self::Percentile(_) | Self::Max | Self::Mean, true) => "p99<5ms",
            (Self::Percentile(_) | Self::Max | Self::Mean, false) => "p99>5ms",
            (Self::Rate, true) => "rate<1000/s",
            (Self::Rate, false) => "rate>1000/s",
            (_, true) => "errors<0.1%",
            (_, false) => "errors>0.1%",
        }
    }

    /// A figure of this metric for people.
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

    /// Whether it is a part of a whole, which is written in percent.
    fn is_share(self) -> bool {
        match self {
            Self::Errors
            | Self::Skipped
            | Self::Lost
            | Self::Late
            | Self::Duplicated
            | Self::Reordered => true,
            Self::Percentile(_) | Self::Max | Self::Mean | Self::Rate => false,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl FromStr for Metric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            "errors" => Ok(Self::Errors),
            "skipped" => Ok(Self::Skipped),
            "lost" => Ok(Self::Lost),
            "late" => Ok(Self::Late),
            "duplicated" => Ok(Self::Duplicated),
            "reordered" => Ok(Self::Reordered),
            "rate" => Ok(Self::Rate),
            _ => text.strip_prefix('p').and_then(percentile).ok_or(()),
        }
    }
}

/// `99.9`: from above 0 to below 100, with up to three decimals.
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
            Self::Max => f.pad("max"),
            Self::Mean => f.pad("mean"),
            Self::Errors => f.pad("errors"),
            Self::Skipped => f.pad("skipped"),
            Self::Lost => f.pad("lost"),
            Self::Late => f.pad("late"),
            Self::Duplicated => f.pad("duplicated"),
            Self::Reordered => f.pad("reordered"),
            Self::Rate => f.pad("rate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, End, Outcome, Strays};

    #[test]
    fn a_metric_is_read_and_shown() {
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
    fn a_record_is_measured() {
        let mut record = Record::new(40);
        let millis = Duration::from_millis;
        for number in 1..=20 {
            record.answer(Answer { at: millis(1), latency: None, service: millis(number) });
        }
        record.fail(Outcome::TimedOut, millis(1), millis(300));
        record.end_client(19, End::TimedOut);
        record.strays = Strays { late: 0, duplicated: 3, reordered: 2, unasked: 1 };
        let of = |text: &str| text.parse::<Metric>().unwrap().of(&record, millis(500));
        assert!(of("p50").is_some_and(|p50| (p50 - 0.011).abs() < 1e-4));
        assert_eq!((of("p99"), of("max")), (None, Some(0.3)));
        assert_eq!((of("errors"), of("skipped")), (Some(0.5), Some(19.0 / 40.0)));
        assert_eq!(of("rate"), Some(40.0));
        assert_eq!((of("lost"), of("late")), (Some(1.0 / 21.0), Some(0.0)));
        assert_eq!((of("duplicated"), of("reordered")), (Some(3.0 / 21.0), Some(2.0 / 21.0)));
        record.strays.late = 1;
        let of = |text: &str| text.parse::<Metric>().unwrap().of(&record, millis(500));
        assert_eq!((of("lost"), of("late")), (Some(0.0), Some(1.0 / 21.0)));
        assert_eq!(Metric::Rate.of(&record, Duration::ZERO), None);
        assert_eq!(Metric::Max.of(&Record::default(), millis(500)), None);
    }
}
