//! The histograms as an interval log of HdrHistogram, version 1.3, for plotting and analysis tools.
//!
//! Lines with a tag such as `latency`, `service` or `lag` contain histograms of the whole run, with
//! three significant digits. Lines without a tag contain the latency of each interval, with two
//! digits.

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::LoadReport;
use crate::statistics::{DurationHistogram, MessageOutcome};

/// The divisor of the maximum in each line, which is in milliseconds.
const NANOS_PER_MILLI: f64 = 1e6;

/// The names of the columns. Readers expect them after all comments of the header.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
                      \"Interval_Compressed_Histogram\"\n";

impl LoadReport {
    /// Returns the histograms as an interval log. Values are in nanoseconds, and times count from
    /// the start of the measured time.
    #[must_use]
    pub fn to_hdr_log(&self) -> String {
        let written = "a vector takes all bytes, and counts come from a u64 below 2^63";
        let (builder, mut serializer) = (self.log_builder(), V2DeflateSerializer::new());
        // The library writes no legend. So the header is written separately, and the legend is
        // inserted after it.
        let mut header = Vec::new();
        drop(builder.begin_log_with(&mut header, &mut serializer).expect(written));
        let mut log = Vec::new();
        let mut writer = builder.begin_log_with(&mut log, &mut serializer).expect(written);
        for (tag, times) in self.tagged() {
            if times.count() > 0 {
                let tag = Tag::new(&tag);
                let line =
                    writer.write_histogram(times.histogram(), Duration::ZERO, self.elapsed, tag);
                line.expect(written);
            }
        }
        let series = &self.record.series;
        for (index, interval) in (0u32..).zip(series.intervals()) {
            if !interval.latency.is_empty() {
                let (start, length) = (series.length() * index, series.length());
                writer.write_histogram(&interval.latency, start, length, None).expect(written);
            }
        }
        let text = [&header, LEGEND.as_bytes(), &log[header.len()..]].concat();
        String::from_utf8(text).expect("comments are text, and all else is ASCII")
    }

    fn log_builder(&self) -> IntervalLogWriterBuilder {
        let mut builder = IntervalLogWriterBuilder::new();
        builder.add_comment(&format!(
            "[Logged with echoline {}; values in nanoseconds, times from the start of the run]",
            self.version.escape_debug(),
        ));
        builder.add_comment("[Histogram log format version 1.3]");
        if !self.started.is_empty() {
            builder.add_comment(&format!("[Run began {}]", self.started.escape_debug()));
        }
        builder.with_base_time(UNIX_EPOCH).with_max_value_divisor(NANOS_PER_MILLI);
        builder
    }

    fn tagged(&self) -> Vec<(String, &DurationHistogram)> {
        let record = &self.record;
        let mut tagged = vec![
            ("latency".to_owned(), &record.latency),
            ("service".to_owned(), &record.service),
            ("connect".to_owned(), &record.connect),
            ("handshake".to_owned(), &record.handshake),
            ("lag".to_owned(), &record.lag),
        ];
        for outcome in MessageOutcome::ALL {
            tagged.push((outcome.key(), record.failures(outcome)));
        }
        tagged
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::sample;
    use super::*;

    #[test]
    fn the_log_contains_the_recorded_histograms() {
        let report = sample::open();
        let log = report.to_hdr_log();
        let mut seconds = 0;
        let mut tags = Vec::new();
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            let LogEntry::Interval(interval) = entry.unwrap() else { continue };
            let text = interval.encoded_histogram();
            let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).unwrap();
            let found: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            match interval.tag() {
                None => seconds += found.len(),
                Some(tag) => {
                    tags.push(tag.as_str().to_owned());
                    let all = report.tagged();
                    let (_, times) = all.iter().find(|(name, _)| name == tag.as_str()).unwrap();
                    assert_eq!(&found, times.histogram());
                    assert_eq!(interval.duration().as_secs(), 10);
                }
            }
        }
        let legend = log.lines().position(|line| line == LEGEND.trim_end());
        assert_eq!(legend, log.lines().position(|line| !line.starts_with('#')));
        assert_eq!(seconds, 9980);
        assert_eq!(tags, ["latency", "service", "connect", "lag", "wrong", "timed_out"]);
    }
}
