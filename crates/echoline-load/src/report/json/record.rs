//! The record of a run as JSON, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::super::encoding;
use super::values::{CLIENTS_MAX, ReadError, bounded, time};
use crate::statistics::nanos::nanos;
use crate::statistics::series::INTERVALS_MAX;
use crate::statistics::{
    DatagramAnomalies, DurationHistogram, Ledger, MessageOutcome, Percentile, RunRecord, Series,
    SeriesInterval, ServerOutage, SkipReason,
};

/// The significant digits of the histograms of a run, and of an interval of the series.
const DIGITS: u8 = 3;
const INTERVAL_DIGITS: u8 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct RecordDocument {
    ledger: LedgerDocument,
    clients_ok: u32,
    connections: u64,
    /// This field is omitted unless there was an outage or the run was a closed loop with a
    /// duration.
    #[serde(default, skip_serializing_if = "OutageDocument::is_none")]
    outage: OutageDocument,
    latency: HistogramDocument,
    /// Only in open loop; older reports have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_without_lag: Option<HistogramDocument>,
    service: HistogramDocument,
    connect: HistogramDocument,
    /// This field is omitted if there were no handshakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handshake: Option<HistogramDocument>,
    lag: HistogramDocument,
    /// Irregular replies, which are not part of the ledger. Reports of early versions do not have
    /// this field.
    #[serde(default, rename = "strays")]
    anomalies: DatagramAnomalies,
    /// The ages of failed messages, for each outcome that occurred.
    failures: BTreeMap<MessageOutcome, HistogramDocument>,
    series: SeriesDocument,
    reasons: Vec<ReasonDocument>,
    wrong_example: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct LedgerDocument {
    planned: u64,
    #[serde(skip_deserializing)]
    sent: u64,
    ok: u64,
    wrong: u64,
    timed_out: u64,
    reset: u64,
    lost: u64,
    in_flight: u64,
    /// The number of messages that were never sent, for each reason.
    skipped: BTreeMap<SkipReason, u64>,
    /// The messages of `skipped` that were not sent because the run was stopped. They are not
    /// errors.
    #[serde(skip_deserializing)]
    stopped: u64,
    /// The errors as a share of the planned messages.
    #[serde(skip_deserializing)]
    error_share: f64,
}

/// The time that clients were without a server. It is in microseconds, because the sum over many
/// clients could be too large in nanoseconds.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct OutageDocument {
    clients: u32,
    time_us: u64,
    client_time_us: u64,
}

/// Percentiles are null if too few samples lie beyond them.
#[derive(Serialize, Deserialize)]
struct HistogramDocument {
    #[serde(skip_deserializing)]
    count: u64,
    #[serde(skip_deserializing)]
    min_ns: Option<u64>,
    #[serde(skip_deserializing)]
    mean_ns: Option<u64>,
    #[serde(skip_deserializing, flatten)]
    percentiles: BTreeMap<String, Option<u64>>,
    max_ns: Option<u64>,
    hdr: String,
}

#[derive(Serialize, Deserialize)]
struct SeriesDocument {
    length_s: u64,
    #[serde(rename = "slots")]
    intervals: Vec<IntervalDocument>,
}

#[derive(Serialize, Deserialize)]
struct IntervalDocument {
    sent: u64,
    ok: u64,
    failed: u64,
    /// This field is omitted if all counts are zero.
    #[serde(default, rename = "strays", skip_serializing_if = "is_empty")]
    anomalies: DatagramAnomalies,
    /// Null if there are no replies.
    hdr: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ReasonDocument {
    reason: String,
    count: u64,
}

impl RecordDocument {
    /// Converts a record. Each histogram has the default percentiles and the `extra` ones.
    pub(super) fn new(record: &RunRecord, extra: &[Percentile]) -> Self {
        let document = |times| HistogramDocument::new(times, extra);
        let failures = MessageOutcome::ALL.into_iter().filter_map(|outcome| {
            let ages = record.failures(outcome);
            (ages.count() > 0).then(|| (outcome, document(ages)))
        });
        let reason =
            |(reason, count): (&str, u64)| ReasonDocument { reason: reason.to_owned(), count };
        Self {
            ledger: LedgerDocument::new(&record.ledger, record.error_share()),
            clients_ok: record.clients_ok,
            connections: record.connections,
            outage: OutageDocument::from(&record.outage),
            latency: document(&record.latency),
            latency_without_lag: (record.latency_without_lag.count() > 0)
                .then(|| document(&record.latency_without_lag)),
            service: document(&record.service),
            connect: document(&record.connect),
            handshake: (record.handshake.count() > 0).then(|| document(&record.handshake)),
            lag: document(&record.lag),
            anomalies: record.anomalies,
            failures: failures.collect(),
            series: SeriesDocument::from(&record.series),
            reasons: record.reasons().into_iter().map(reason).collect(),
            wrong_example: record.wrong_example().map(str::to_owned),
        }
    }

    /// Converts the document. `at` is its path for errors.
    pub(super) fn record(self, at: &str) -> Result<RunRecord, ReadError> {
        if self.clients_ok > CLIENTS_MAX {
            return Err(ReadError::field(format!("{at}.clients_ok"), "it is too large"));
        }
        let mut record = RunRecord::new(0);
        record.ledger = self.ledger.ledger(at)?;
        record.clients_ok = self.clients_ok;
        record.connections = bounded(self.connections, &format!("{at}.connections"))?;
        record.outage = self.outage.outage(&format!("{at}.outage"))?;
        record.latency = self.latency.times(&format!("{at}.latency"))?;
        if let Some(times) = self.latency_without_lag {
            record.latency_without_lag = times.times(&format!("{at}.latency_without_lag"))?;
        }
        record.service = self.service.times(&format!("{at}.service"))?;
        record.connect = self.connect.times(&format!("{at}.connect"))?;
        if let Some(handshake) = self.handshake {
            record.handshake = handshake.times(&format!("{at}.handshake"))?;
        }
        record.lag = self.lag.times(&format!("{at}.lag"))?;
        record.anomalies = checked(self.anomalies, &format!("{at}.strays"))?;
        record.series = self.series.series(at)?;
        for (outcome, ages) in self.failures {
            let field = format!("{at}.failures.{}", outcome.key());
            record.set_failures(outcome, ages.times(&field)?);
        }
        for ReasonDocument { reason, count } in self.reasons {
            record.note_reasons(&reason, bounded(count, &format!("{at}.reasons"))?);
        }
        if let Some(example) = self.wrong_example {
            record.note_wrong(|| example);
        }
        Ok(record)
    }
}

impl LedgerDocument {
    fn new(ledger: &Ledger, error_share: f64) -> Self {
        Self {
            planned: ledger.planned(),
            sent: ledger.sent(),
            ok: ledger.ok(),
            wrong: ledger.wrong(),
            timed_out: ledger.timed_out(),
            reset: ledger.reset(),
            lost: ledger.lost(),
            in_flight: ledger.in_flight(),
            skipped: ledger.skipped_by_reason().collect(),
            stopped: ledger.stopped(),
            error_share,
        }
    }

    fn ledger(self, at: &str) -> Result<Ledger, ReadError> {
        let mut ledger = Ledger::new(bounded(self.planned, &format!("{at}.ledger.planned"))?);
        for (outcome, messages) in [
            (MessageOutcome::Ok, self.ok),
            (MessageOutcome::Wrong, self.wrong),
            (MessageOutcome::TimedOut, self.timed_out),
            (MessageOutcome::Reset, self.reset),
            (MessageOutcome::Lost, self.lost),
            (MessageOutcome::InFlight, self.in_flight),
        ] {
            let field = format!("{at}.ledger.{}", outcome.key());
            ledger.settle_many(outcome, bounded(messages, &field)?);
        }
        for (reason, messages) in self.skipped {
            ledger.skip(bounded(messages, &format!("{at}.ledger.skipped"))?, reason);
        }
        let adds_up = ledger.adds_up().then_some(ledger);
        adds_up.ok_or_else(|| ReadError::field(format!("{at}.ledger"), "its counts do not add up"))
    }
}

impl From<&ServerOutage> for OutageDocument {
    fn from(outage: &ServerOutage) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            clients: outage.clients,
            time_us: micros(outage.time),
            client_time_us: micros(outage.client_time),
        }
    }
}

impl OutageDocument {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn outage(self, at: &str) -> Result<ServerOutage, ReadError> {
        if self.clients > CLIENTS_MAX {
            return Err(ReadError::field(format!("{at}.clients"), "it is too large"));
        }
        Ok(ServerOutage {
            clients: self.clients,
            time: Duration::from_micros(bounded(self.time_us, at)?),
            client_time: Duration::from_micros(bounded(self.client_time_us, at)?),
        })
    }
}

fn is_empty(anomalies: &DatagramAnomalies) -> bool {
    *anomalies == DatagramAnomalies::default()
}

fn checked(anomalies: DatagramAnomalies, at: &str) -> Result<DatagramAnomalies, ReadError> {
    let DatagramAnomalies { late, duplicated, reordered, unasked } = anomalies;
    for count in [late, duplicated, reordered, unasked] {
        bounded(count, at)?;
    }
    Ok(anomalies)
}

impl HistogramDocument {
    fn new(times: &DurationHistogram, extra: &[Percentile]) -> Self {
        let percentile = |percentile: Percentile| {
            (format!("{percentile}_ns"), times.percentile(percentile).map(nanos))
        };
        Self {
            count: times.count(),
            min_ns: times.min().map(nanos),
            mean_ns: times.mean().map(nanos),
            percentiles: Percentile::DEFAULTS
                .iter()
                .chain(extra)
                .copied()
                .map(percentile)
                .collect(),
            max_ns: times.max().map(nanos),
            hdr: encoding::encode(times.histogram()),
        }
    }

    fn times(self, at: &str) -> Result<DurationHistogram, ReadError> {
        let histogram: Histogram<u64> = encoding::decode(&self.hdr, DIGITS)
            .map_err(|problem| ReadError::field(format!("{at}.hdr"), problem))?;
        let field = format!("{at}.max_ns");
        let max = self.max_ns.map(|max| time(max, &field)).transpose()?;
        // A maximum that differs from the histogram's would lower the percentiles.
        match max {
            Some(max) if !histogram.equivalent(nanos(max), histogram.max()) => {
                Err(ReadError::field(field, "the histogram has another count"))
            }
            None if !histogram.is_empty() => Err(ReadError::field(field, "it is missing")),
            max => Ok(DurationHistogram::from_histogram(histogram, max)),
        }
    }
}

impl From<&Series> for SeriesDocument {
    fn from(series: &Series) -> Self {
        let interval = |interval: &SeriesInterval| IntervalDocument {
            sent: interval.sent,
            ok: interval.ok,
            failed: interval.failed,
            anomalies: interval.anomalies,
            hdr: (!interval.latency.is_empty()).then(|| encoding::encode(&interval.latency)),
        };
        Self {
            length_s: series.length().as_secs(),
            intervals: series.intervals().iter().map(interval).collect(),
        }
    }
}

impl SeriesDocument {
    fn series(self, at: &str) -> Result<Series, ReadError> {
        let field = format!("{at}.series");
        let length = time(self.length_s.saturating_mul(1_000_000_000), &field)?;
        // The number is checked before the histograms are decoded, because a decoded histogram
        // takes hundreds of times the memory of its text.
        if self.intervals.len() > INTERVALS_MAX {
            return Err(ReadError::field(field, "echoline load does not write such intervals"));
        }
        let intervals: Result<_, _> =
            self.intervals.into_iter().map(|interval| interval.interval(&field)).collect();
        Series::from_intervals(length, intervals?)
            .ok_or_else(|| ReadError::field(field, "echoline load does not write such intervals"))
    }
}

impl IntervalDocument {
    fn interval(self, field: &str) -> Result<SeriesInterval, ReadError> {
        let mut interval = SeriesInterval {
            sent: bounded(self.sent, field)?,
            ok: bounded(self.ok, field)?,
            failed: bounded(self.failed, field)?,
            anomalies: checked(self.anomalies, field)?,
            ..SeriesInterval::default()
        };
        if let Some(text) = self.hdr {
            interval.latency = encoding::decode(&text, INTERVAL_DIGITS)
                .map_err(|problem| ReadError::field(format!("{field}.slots.hdr"), problem))?;
        }
        Ok(interval)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::super::sample;
    use super::*;
    use crate::report::LoadReport;

    /// Issue 11, items 33 and 36: an outage and a stop are written and read. A file of an earlier
    /// version, without these fields, is read too.
    #[test]
    fn regression_an_outage_and_a_stop_are_kept() {
        let mut report = sample::closed();
        report.record.ledger.plan(70);
        report.record.ledger.skip(70, SkipReason::Stopped);
        let (time, client_time) = (Duration::from_millis(1500), Duration::from_secs(6));
        report.record.outage = ServerOutage { clients: 1, time, client_time };
        let json = report.to_json();
        let mut document: Value = serde_json::from_str(&json).unwrap();
        let ledger = &document["measured"]["ledger"];
        assert_eq!((&ledger["stopped"], &ledger["skipped"]["stopped"]), (&70.into(), &70.into()));
        assert_eq!(ledger["error_share"], 0.25);
        let read = LoadReport::from_json(&json).unwrap();
        assert_eq!(read.record.outage, report.record.outage);
        assert_eq!((read.record.ledger.stopped(), read.to_json()), (70, json));
        document["measured"].as_object_mut().unwrap().remove("outage");
        document["measured"]["ledger"].as_object_mut().unwrap().remove("stopped");
        let old = LoadReport::from_json(&document.to_string()).unwrap();
        assert_eq!((old.record.ledger.stopped(), old.record.error_share()), (70, 0.0));
    }

    /// Issue 12: a file with too many intervals is refused before any of their histograms is
    /// decoded.
    #[test]
    fn attack_too_many_small_histograms_are_refused_before_they_are_decoded() {
        let mut document: Value = serde_json::from_str(&sample::open().to_json()).unwrap();
        // This histogram cannot be decoded. An attempt to decode it would return another error.
        let interval = serde_json::json!({ "sent": 0, "ok": 0, "failed": 0, "hdr": "damaged" });
        document["measured"]["series"]["slots"] = vec![interval; INTERVALS_MAX + 1].into();
        let error = LoadReport::from_json(&document.to_string()).unwrap_err().to_string();
        assert!(
            error.contains("measured.series is wrong: echoline load does not write such intervals"),
            "{error}"
        );
    }
}
