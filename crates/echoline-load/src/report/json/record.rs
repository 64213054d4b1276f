//! The record of a run as JSON, and back.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{CLIENTS_MAX, Percentile, ReadError, bounded, nanos, time};
use crate::ledger::{End, Ledger, Outcome};
use crate::outage::Outage;
use crate::record::Record;
use crate::report::histogram;
use crate::series::{SLOTS_MAX, Series, Slot};
use crate::strays::Strays;
use crate::times::Times;

/// Digits of the histograms of a whole run, and of one slot of the series.
const DIGITS: u8 = 3;
const SLOT_DIGITS: u8 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct RecordDocument {
    ledger: LedgerDocument,
    clients_ok: u32,
    connections: u64,
    /// Only if there was an outage, or a closed loop for a time.
    #[serde(default, skip_serializing_if = "OutageDocument::is_none")]
    outage: OutageDocument,
    latency: TimesDocument,
    service: TimesDocument,
    connect: TimesDocument,
    /// Only where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handshake: Option<TimesDocument>,
    lag: TimesDocument,
    #[serde(default)]
    strays: StraysDocument,
    /// The ages of what failed, by outcome; only of what there was.
    failures: BTreeMap<String, TimesDocument>,
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
    /// Messages that were never sent, by reason.
    skipped: BTreeMap<String, u64>,
    /// The part of `skipped` that a stop of the run cut off: no error.
    #[serde(skip_deserializing)]
    stopped: u64,
    /// Of what was planned.
    #[serde(skip_deserializing)]
    error_share: f64,
}

/// Clients without a server. Microseconds, because the time of many clients is added up.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct OutageDocument {
    clients: u32,
    time_us: u64,
    client_time_us: u64,
}

/// Beside the ledger; reports from before there was UDP have none.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct StraysDocument {
    late: u64,
    duplicated: u64,
    reordered: u64,
    unasked: u64,
}

/// Percentiles are null where too few samples lie beyond them.
#[derive(Serialize, Deserialize)]
struct TimesDocument {
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
    slots: Vec<SlotDocument>,
}

#[derive(Serialize, Deserialize)]
struct SlotDocument {
    sent: u64,
    ok: u64,
    failed: u64,
    /// Left out where there is none.
    #[serde(default, skip_serializing_if = "StraysDocument::is_none")]
    strays: StraysDocument,
    /// Null where nothing was answered.
    hdr: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ReasonDocument {
    reason: String,
    count: u64,
}

impl RecordDocument {
    /// Each time has the usual percentiles and the `extra` ones.
    pub(super) fn new(record: &Record, extra: &[Percentile]) -> Self {
        let document = |times| TimesDocument::new(times, extra);
        let failures = Outcome::ALL.into_iter().filter_map(|outcome| {
            let ages = record.failures(outcome);
            (ages.count() > 0).then(|| (key(outcome.name()), document(ages)))
        });
        let reason =
            |(reason, count): (&str, u64)| ReasonDocument { reason: reason.to_owned(), count };
        Self {
            ledger: LedgerDocument::new(&record.ledger, record.error_share()),
            clients_ok: record.clients_ok,
            connections: record.connections,
            outage: OutageDocument::from(&record.outage),
            latency: document(&record.latency),
            service: document(&record.service),
            connect: document(&record.connect),
            handshake: (record.handshake.count() > 0).then(|| document(&record.handshake)),
            lag: document(&record.lag),
            strays: StraysDocument::from(&record.strays),
            failures: failures.collect(),
            series: SeriesDocument::from(&record.series),
            reasons: record.reasons().into_iter().map(reason).collect(),
            wrong_example: record.wrong_example().map(str::to_owned),
        }
    }

    /// `at` names this record in sentences.
    pub(super) fn record(self, at: &str) -> Result<Record, ReadError> {
        if self.clients_ok > CLIENTS_MAX {
            return Err(ReadError::field(format!("{at}.clients_ok"), "there cannot be so many"));
        }
        let mut record = Record::new(0);
        record.ledger = self.ledger.ledger(at)?;
        record.clients_ok = self.clients_ok;
        record.connections = bounded(self.connections, &format!("{at}.connections"))?;
        record.outage = self.outage.outage(&format!("{at}.outage"))?;
        record.latency = self.latency.times(&format!("{at}.latency"))?;
        record.service = self.service.times(&format!("{at}.service"))?;
        record.connect = self.connect.times(&format!("{at}.connect"))?;
        if let Some(handshake) = self.handshake {
            record.handshake = handshake.times(&format!("{at}.handshake"))?;
        }
        record.lag = self.lag.times(&format!("{at}.lag"))?;
        record.strays = self.strays.strays(&format!("{at}.strays"))?;
        record.series = self.series.series(at)?;
        for (name, ages) in self.failures {
            let field = format!("{at}.failures.{name}");
            let outcome = outcome(&name)
                .ok_or_else(|| ReadError::field(&field, "there is no such outcome"))?;
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
        let skipped =
            ledger.skipped_by_end().map(|(end, messages)| (end_key(end).to_owned(), messages));
        Self {
            planned: ledger.planned(),
            sent: ledger.sent(),
            ok: ledger.ok(),
            wrong: ledger.wrong(),
            timed_out: ledger.timed_out(),
            reset: ledger.reset(),
            lost: ledger.lost(),
            in_flight: ledger.in_flight(),
            skipped: skipped.collect(),
            stopped: ledger.stopped(),
            error_share,
        }
    }

    fn ledger(self, at: &str) -> Result<Ledger, ReadError> {
        let mut ledger = Ledger::new(bounded(self.planned, &format!("{at}.ledger.planned"))?);
        for (outcome, messages) in [
            (Outcome::Ok, self.ok),
            (Outcome::Wrong, self.wrong),
            (Outcome::TimedOut, self.timed_out),
            (Outcome::Reset, self.reset),
            (Outcome::Lost, self.lost),
            (Outcome::InFlight, self.in_flight),
        ] {
            let field = format!("{at}.ledger.{}", key(outcome.name()));
            ledger.settle_many(outcome, bounded(messages, &field)?);
        }
        for (name, messages) in self.skipped {
            let field = format!("{at}.ledger.skipped.{name}");
            let end = End::ALL.into_iter().find(|&end| end_key(end) == name);
            let end = end.ok_or_else(|| ReadError::field(&field, "there is no such reason"))?;
            ledger.skip(bounded(messages, &field)?, end);
        }
        let adds_up = ledger.adds_up().then_some(ledger);
        adds_up.ok_or_else(|| ReadError::field(format!("{at}.ledger"), "it does not add up"))
    }
}

impl From<&Outage> for OutageDocument {
    fn from(outage: &Outage) -> Self {
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

    fn outage(self, at: &str) -> Result<Outage, ReadError> {
        if self.clients > CLIENTS_MAX {
            return Err(ReadError::field(format!("{at}.clients"), "there cannot be so many"));
        }
        Ok(Outage {
            clients: self.clients,
            time: Duration::from_micros(bounded(self.time_us, at)?),
            client_time: Duration::from_micros(bounded(self.client_time_us, at)?),
        })
    }
}

impl From<&Strays> for StraysDocument {
    fn from(strays: &Strays) -> Self {
        let Strays { late, duplicated, reordered, unasked } = *strays;
        Self { late, duplicated, reordered, unasked }
    }
}

impl StraysDocument {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn strays(self, at: &str) -> Result<Strays, ReadError> {
        Ok(Strays {
            late: bounded(self.late, at)?,
            duplicated: bounded(self.duplicated, at)?,
            reordered: bounded(self.reordered, at)?,
            unasked: bounded(self.unasked, at)?,
        })
    }
}

impl TimesDocument {
    fn new(times: &Times, extra: &[Percentile]) -> Self {
        let percentile = |percentile: Percentile| {
            (format!("{percentile}_ns"), times.percentile(percentile).map(nanos))
        };
        Self {
            count: times.count(),
            min_ns: times.min().map(nanos),
            mean_ns: times.mean().map(nanos),
            percentiles: Percentile::SHOWN.iter().chain(extra).copied().map(percentile).collect(),
            max_ns: times.max().map(nanos),
            hdr: histogram::encode(times.histogram()),
        }
    }

    fn times(self, at: &str) -> Result<Times, ReadError> {
        let histogram: Histogram<u64> = histogram::decode(&self.hdr, DIGITS)
            .map_err(|problem| ReadError::field(format!("{at}.hdr"), problem))?;
        let field = format!("{at}.max_ns");
        let max = self.max_ns.map(|max| time(max, &field)).transpose()?;
        // A longest time that is not that of the histogram would lower the percentiles.
        match max {
            Some(max) if !histogram.equivalent(nanos(max), histogram.max()) => {
                Err(ReadError::field(field, "the histogram holds another"))
            }
            None if !histogram.is_empty() => Err(ReadError::field(field, "it is missing")),
            max => Ok(Times::from_histogram(histogram, max)),
        }
    }
}

impl From<&Series> for SeriesDocument {
    fn from(series: &Series) -> Self {
        let slot = |slot: &Slot| SlotDocument {
            sent: slot.sent,
            ok: slot.ok,
            failed: slot.failed,
            strays: StraysDocument::from(&slot.strays),
            hdr: (!slot.latency.is_empty()).then(|| histogram::encode(&slot.latency)),
        };
        Self {
            length_s: series.length().as_secs(),
            slots: series.slots().iter().map(slot).collect(),
        }
    }
}

impl SeriesDocument {
    fn series(self, at: &str) -> Result<Series, ReadError> {
        let field = format!("{at}.series");
        let length = time(self.length_s.saturating_mul(1_000_000_000), &field)?;
        // Before they are unpacked: a histogram takes hundreds of times the memory of its text.
        if self.slots.len() > SLOTS_MAX {
            return Err(ReadError::field(field, "no run of ours is cut like that"));
        }
        let slots: Result<_, _> = self.slots.into_iter().map(|slot| slot.slot(&field)).collect();
        Series::from_slots(length, slots?)
            .ok_or_else(|| ReadError::field(field, "no run of ours is cut like that"))
    }
}

impl SlotDocument {
    fn slot(self, field: &str) -> Result<Slot, ReadError> {
        let mut slot = Slot {
            sent: bounded(self.sent, field)?,
            ok: bounded(self.ok, field)?,
            failed: bounded(self.failed, field)?,
            strays: self.strays.strays(field)?,
            ..Slot::default()
        };
        if let Some(text) = self.hdr {
            slot.latency = histogram::decode(&text, SLOT_DIGITS)
                .map_err(|problem| ReadError::field(format!("{field}.slots.hdr"), problem))?;
        }
        Ok(slot)
    }
}

fn outcome(name: &str) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|outcome| key(outcome.name()) == name)
}

/// A name of the report as the key of a field.
fn key(name: &str) -> String {
    name.replace(' ', "_")
}

fn end_key(end: End) -> &'static str {
    match end {
        End::Finished => "finished",
        End::NotConnected => "not_connected",
        End::Wrong => "wrong",
        End::TimedOut => "timed_out",
        End::Lost => "lost",
        End::Stopped => "stopped",
        End::Late => "late",
        End::Overdue => "overdue",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::super::sample;
    use super::*;
    use crate::Report;

    /// Issue 11, items 33 and 36: an outage and a stop are written and read, and a file from before
    /// they were known is read too.
    #[test]
    fn regression_an_outage_and_a_stop_are_kept() {
        let mut report = sample::closed();
        report.record.ledger.plan(70);
        report.record.ledger.skip(70, End::Stopped);
        let (time, client_time) = (Duration::from_millis(1500), Duration::from_secs(6));
        report.record.outage = Outage { clients: 1, time, client_time };
        let json = report.to_json();
        let mut document: Value = serde_json::from_str(&json).unwrap();
        let ledger = &document["measured"]["ledger"];
        assert_eq!((&ledger["stopped"], &ledger["skipped"]["stopped"]), (&70.into(), &70.into()));
        assert_eq!(ledger["error_share"], 0.25);
        let read = Report::from_json(&json).unwrap();
        assert_eq!(read.record.outage, report.record.outage);
        assert_eq!((read.record.ledger.stopped(), read.to_json()), (70, json));
        document["measured"].as_object_mut().unwrap().remove("outage");
        document["measured"]["ledger"].as_object_mut().unwrap().remove("stopped");
        let old = Report::from_json(&document.to_string()).unwrap();
        assert_eq!((old.record.ledger.stopped(), old.record.error_share()), (70, 0.0));
    }

    /// Issue 12: a file cannot make the reader unpack a histogram for each of its lines: they are
    /// counted before the first is unpacked.
    #[test]
    fn attack_a_file_of_many_small_histograms_is_refused_before_they_are_unpacked() {
        let mut document: Value = serde_json::from_str(&sample::open().to_json()).unwrap();
        // A histogram that cannot be unpacked; unpacking it would give another error.
        let slot = serde_json::json!({ "sent": 0, "ok": 0, "failed": 0, "hdr": "damaged" });
        document["measured"]["series"]["slots"] = vec![slot; SLOTS_MAX + 1].into();
        let error = Report::from_json(&document.to_string()).unwrap_err().to_string();
        assert!(error.contains("measured.series is wrong: no run of ours is cut"), "{error}");
    }
}
