//! What a run is judged by: `p99`, `errors`, `rate`. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::units;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The latency that this share of the answers did not exceed, in millionths: `p99`, `p99.9`.
    /// In open loop from the intended time, in closed loop the service time. In seconds.
    Percentile(u32),
    /// The longest latency: `max`. In seconds.
    Max,
    /// The average latency: `mean`. In seconds.
    Mean,
    /// The share of messages sent that were not answered right: `errors`. From 0 to 1.
    Errors,
    /// The share of messages planned that were never sent: `skipped`. From 0 to 1.
    Skipped,
    /// Right answers per second: `rate`.
    Rate,
}

impl Metric {
    /// A limit as it is typed for this metric, in its unit; `None` where it is none.
    pub(super) fn read_limit(self, text: &str) -> Option<f64> {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                units::parse_time(text).map(|time| time.as_secs_f64())
            }
            Self::Errors | Self::Skipped => units::parse_percent(text),
            Self::Rate => {
                let (number, unit) = units::split_unit(text)?;
                (unit == "/s").then_some(number)
            }
        }
    }

    /// The same limit as it would be typed.
    pub(super) fn write_limit(self, limit: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                format!("{:?}", Duration::try_from_secs_f64(limit).unwrap_or_default())
            }
            Self::Errors | Self::Skipped => {
                // Ten decimals are more than anybody types, and coarser than a fraction's error.
                let percent = format!("{:.10}", limit * 100.0);
                format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Rate => format!("{limit}/s"),
        }
    }

    /// An objective of this kind that is right.
    pub(super) fn example(self, is_upper: bool) -> &'static str {
        match (self, is_upper) {
            (Self::Percentile(_) | Self::Max | Self::Mean, true) => "p99<5ms",
            (Self::Percentile(_) | Self::Max | Self::Mean, false) => "p99>5ms",
            (Self::Errors | Self::Skipped, true) => "errors<0.1%",
            (Self::Errors | Self::Skipped, false) => "errors>0.1%",
            (Self::Rate, true) => "rate<1000/s",
            (Self::Rate, false) => "rate>1000/s",
        }
    }

    /// A figure of this metric for people.
    #[must_use]
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Percentile(_) | Self::Max | Self::Mean => {
                units::time(Duration::try_from_secs_f64(figure).unwrap_or_default())
            }
            Self::Errors | Self::Skipped => units::percent(figure),
            Self::Rate => units::rate(figure),
        }
    }
}

impl FromStr for Metric {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            "errors" => Ok(Self::Errors),
            "skipped" => Ok(Self::Skipped),
            "rate" => Ok(Self::Rate),
            _ => text.strip_prefix('p').and_then(percentile).ok_or(()),
        }
    }
}

/// `99.9` in millionths of one; in whole numbers, because 99.9 is no binary fraction.
fn percentile(text: &str) -> Option<Metric> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, 2) || !digits(fraction, 3) {
        return None;
    }
    let millionths = format!("{whole}{fraction:0<4}").parse().ok()?;
    (millionths > 0).then_some(Metric::Percentile(millionths))
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(millionths) => {
                let (whole, fraction) = (millionths / 10_000, millionths % 10_000);
                let text = format!("p{whole}.{fraction:04}");
                f.pad(text.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Max => f.pad("max"),
            Self::Mean => f.pad("mean"),
            Self::Errors => f.pad("errors"),
            Self::Skipped => f.pad("skipped"),
            Self::Rate => f.pad("rate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_read_and_shown() {
        for (text, metric) in [
            ("p50", Metric::Percentile(500_000)),
            ("p99.9", Metric::Percentile(999_000)),
            ("p99.999", Metric::Percentile(999_990)),
            ("max", Metric::Max),
            ("rate", Metric::Rate),
        ] {
            assert_eq!(text.parse(), Ok(metric));
            assert_eq!(metric.to_string(), text);
        }
        for wrong in ["", "p", "p100", "p0", "p.9", "p99.", "p99.9999", "p+9", "P99", "max "] {
            assert_eq!(wrong.parse::<Metric>(), Err(()), "{wrong}");
        }
    }
}
