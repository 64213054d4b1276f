//! The series as CSV (RFC 4180): one line per interval, which is a second unless the run is long.

use std::fmt::Write;
use std::time::Duration;

use super::LoadReport;
use super::encoding::rfc_3339;
use crate::statistics::{DatagramAnomalies, Percentile, SeriesInterval};

const HEADER: &str = "offset_s,length_s,sent,ok,failed,p50_ns,p90_ns,p99_ns,p99.9_ns,max_ns,\
                      late,duplicated,reordered,unasked,began";

impl LoadReport {
    /// Returns the series as CSV. A percentile is empty if too few samples lie beyond it. After the
    /// default columns come the wall-clock time at which the interval began (RFC 3339, in UTC;
    /// empty if unknown) and the additional percentiles.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let series = &self.record.series;
        let length = series.length().as_secs();
        let mut text = HEADER.to_owned();
        self.settings
            .extra_percentiles()
            .for_each(|percentile| text.push_str(&format!(",{percentile}_ns")));
        text.push_str("\r\n");
        for (index, interval) in (0u64..).zip(series.intervals()) {
            let SeriesInterval { sent, ok, failed, anomalies, .. } = interval;
            write!(text, "{},{length},{sent},{ok},{failed}", index * length)
                .expect("a text takes all that is written");
            let percentiles =
                Percentile::DEFAULTS.map(|percentile| interval_percentile(interval, percentile));
            let times = percentiles.into_iter().chain([interval_max(interval)]);
            times.for_each(|time| text.push_str(&cell(time)));
            let DatagramAnomalies { late, duplicated, reordered, unasked } = anomalies;
            let offset = Duration::from_secs(index * length);
            let began = self.measuring_began.and_then(|began| began.checked_add(offset));
            let began = began.map_or_else(String::new, rfc_3339);
            write!(text, ",{late},{duplicated},{reordered},{unasked},{began}")
                .expect("a text takes all that is written");
            let extra = self.settings.extra_percentiles();
            extra.for_each(|percentile| {
                text.push_str(&cell(interval_percentile(interval, percentile)))
            });
            text.push_str("\r\n");
        }
        text
    }
}

/// Returns a comma, and the time in nanoseconds if there is one.
fn cell(time: Option<Duration>) -> String {
    time.map_or_else(|| ",".to_owned(), |time| format!(",{}", time.as_nanos()))
}

/// Returns a percentile of the latency in an interval; `None` if too few samples lie beyond it.
pub(super) fn interval_percentile(
    interval: &SeriesInterval,
    percentile: Percentile,
) -> Option<Duration> {
    let value =
        || interval.latency.value_at_quantile(percentile.quantile()).min(interval.latency.max());
    percentile.is_certain(interval.latency.len()).then(|| Duration::from_nanos(value()))
}

/// Returns the longest latency in an interval; `None` without a sample.
pub(super) fn interval_max(interval: &SeriesInterval) -> Option<Duration> {
    (!interval.latency.is_empty()).then(|| Duration::from_nanos(interval.latency.max()))
}

#[cfg(test)]
mod tests {
    use super::super::sample;

    #[test]
    fn writes_a_line_per_second_and_only_certain_percentiles() {
        let report = sample::open();
        let csv = report.to_csv();
        let lines: Vec<Vec<&str>> =
            csv.trim_end().split("\r\n").map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 1 + report.record.series.intervals().len());
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{csv}");
        let column = |name: &str| lines[0].iter().position(|found| *found == name).unwrap();
        let sum = |name: &str| -> u64 {
            lines[1..].iter().map(|line| line[column(name)].parse::<u64>().unwrap()).sum()
        };
        assert_eq!((sum("sent"), sum("ok"), sum("failed")), (9990, 9980, 10));
        assert_eq!(lines[2][column("offset_s")], "1");
        // A thousand samples are enough for the 99th percentile, but not for the 99.9th.
        assert!(lines[2][column("p99_ns")].parse::<u64>().unwrap() > 300_000);
        assert_eq!(lines[2][column("p99.9_ns")], "");
    }

    /// Issue 11, item 38: each row contains the time at which its interval began. The column is the
    /// last one, so that readers that count columns still find the others.
    #[test]
    fn regression_rows_have_wall_clock_time() {
        let mut report = sample::open();
        let last = |csv: String, line: usize| {
            let line = csv.lines().nth(line).unwrap().to_owned();
            line.rsplit(',').next().unwrap().to_owned()
        };
        assert_eq!(last(report.to_csv(), 0), "began");
        assert_eq!(last(report.to_csv(), 1), "2026-11-23T16:00:00.250Z");
        assert_eq!(last(report.to_csv(), 3), "2026-11-23T16:00:02.250Z");
        report.measuring_began = None;
        assert_eq!(last(report.to_csv(), 1), "");
    }
}
