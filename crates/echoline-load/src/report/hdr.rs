//! The histograms as an interval log of HdrHistogram, version 1.3, for its plotters and analysers.
//!
//! Lines with a tag are the whole run, kept to three digits: `latency`, `service`, `connect`,
//! `handshake`, `lag`, `timed_out` …. Lines without one are the latency second by second, to two
//! digits.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};

use super::{Report, histogram};
use crate::ledger::Outcome;
use crate::times::Times;

/// The longest value of a line is there for people: in milliseconds.
const NANOS_PER_MILLI: f64 = 1e6;

impl Report {
    /// The histograms as an interval log: values in nanoseconds, time from the start of what was
    /// measured.
    #[must_use]
    pub fn to_hdr_log(&self) -> String {
        let mut log = Log(self.header());
        for (tag, times) in self.tagged() {
            if times.count() > 0 {
                log.line(Some(&tag), Duration::ZERO, self.elapsed, times.histogram());
            }
        }
        let series = &self.record.series;
        for (index, slot) in (0u32..).zip(series.slots()) {
            if !slot.latency.is_empty() {
                log.line(None, series.length() * index, series.length(), &slot.latency);
            }
        }
        log.0
    }

    fn header(&self) -> String {
        let began = match self.started.escape_debug().to_string() {
            began if began.is_empty() => began,
            began => format!("#[Run began {began}]\n"),
        };
        format!(
            "#[Logged with echoline {}; values in nanoseconds, times from the start of the run]\n\
             #[Histogram log format version 1.3]\n\
             {began}\
             #[BaseTime: 0.000 (seconds since epoch)]\n\
             #[MaxValueDivisor: {NANOS_PER_MILLI:.1}]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
             \"Interval_Compressed_Histogram\"\n",
            self.version.escape_debug(),
        )
    }

    fn tagged(&self) -> Vec<(String, &Times)> {
        let record = &self.record;
        let mut tagged = vec![
            ("latency".to_owned(), &record.latency),
            ("service".to_owned(), &record.service),
            ("connect".to_owned(), &record.connect),
            ("handshake".to_owned(), &record.handshake),
            ("lag".to_owned(), &record.lag),
        ];
        for outcome in Outcome::ALL {
            tagged.push((outcome.name().replace(' ', "_"), record.failures(outcome)));
        }
        tagged
    }
}

struct Log(String);

impl Log {
    fn line<C: Counter>(
        &mut self,
        tag: Option<&str>,
        start: Duration,
        length: Duration,
        histogram: &Histogram<C>,
    ) {
        let tag = tag.map_or(String::new(), |tag| format!("Tag={tag},"));
        let max = histogram.max() as f64 / NANOS_PER_MILLI;
        let (start, length) = (start.as_secs_f64(), length.as_secs_f64());
        let encoded = histogram::encode(histogram);
        writeln!(self.0, "{tag}{start:.3},{length:.3},{max:.3},{encoded}")
            .expect("a text takes all that is written");
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::super::sample;
    use super::*;

    #[test]
    fn the_log_is_read_as_what_was_recorded() {
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
        assert_eq!(seconds, 9980);
        assert_eq!(tags, ["latency", "service", "connect", "lag", "wrong", "timed_out"]);
    }
}
