//! Writes and reads the report as JSON. The JSON contains everything that was recorded, so that
//! runs can be compared and merged exactly. `docs/load-report.md` describes the format, and
//! `docs/load-report.schema.json` is its schema.
//!
//! Times are whole nanoseconds (`…_ns`). Derived figures (percentiles, sums) are written for other
//! programs, and ignored when a file is read.

mod format;
mod record;
mod values;

use serde::{Deserialize, Serialize};

use self::format::FormatName;
use self::record::RecordDocument;
use self::values::{CLIENTS_MAX, bounded_time, deserialize_seed, serialize_seed, time};
use super::encoding::{rfc_3339, since_epoch};
use super::{LoadReport, LoopMode, RunSummary, SearchStep, SearchTrace};
use crate::statistics::Percentile;
use crate::statistics::nanos::nanos;
use crate::verdict::{MeasurementWarning, ProcessorTime};
use echoline_base::printable::printable_json;

pub use self::values::{FORMAT, ReadError};

/// The maximum number of percentiles that a file may list.
const PERCENTILES_MAX: usize = 12;

/// The part of a file that is read first, to find out its format.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    format: FormatName,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: String,
    started: String,
    /// The wall-clock time in UTC. Older reports have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measuring_began: Option<String>,
    #[serde(rename = "loop")]
    mode: LoopMode,
    settings: SettingsDocument,
    elapsed_ns: u64,
    /// The number of correct replies per second.
    #[serde(skip_deserializing)]
    ok_per_second: f64,
    measured: RecordDocument,
    warm_up: Option<RecordDocument>,
    processor: Option<ProcessorDocument>,
    #[serde(rename = "distrust")]
    warnings: Vec<WarningDocument>,
    search: Option<SearchDocument>,
}

#[derive(Serialize, Deserialize)]
struct SettingsDocument {
    clients: u32,
    rate: Option<f64>,
    duration_ns: Option<u64>,
    targets: Vec<String>,
    bytes: usize,
    #[serde(serialize_with = "serialize_seed", deserialize_with = "deserialize_seed")]
    seed: u64,
    /// The percentiles to show, from 0 to 100. Omitted if they are the default ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percentiles: Option<Vec<f64>>,
    listed: Vec<SettingDocument>,
}

#[derive(Serialize, Deserialize)]
struct SettingDocument {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct ProcessorDocument {
    #[serde(flatten)]
    time: ProcessorTime,
    #[serde(skip_deserializing)]
    cores: f64,
}

#[derive(Serialize, Deserialize)]
struct WarningDocument {
    #[serde(flatten)]
    warning: MeasurementWarning,
    #[serde(skip_deserializing)]
    sentence: String,
}

#[derive(Serialize, Deserialize)]
struct SearchDocument {
    objective: String,
    highest: Option<f64>,
    verdict: String,
    steps: Vec<StepDocument>,
}

#[derive(Serialize, Deserialize)]
struct StepDocument {
    #[serde(flatten)]
    step: SearchStep,
    #[serde(skip_deserializing)]
    held: bool,
}

impl LoadReport {
    /// Returns the report as JSON, indented for people.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&Document::from(self))
            .expect("names are texts and numbers are finite or become null");
        text.push('\n');
        printable_json(&text).into_owned()
    }

    /// Parses the output of [`to_json`](Self::to_json).
    ///
    /// # Errors
    /// If the text is not a report, has another version of the format, or has an impossible value.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        let head: Head = serde_json::from_str(text)?;
        if head.format != FormatName::of(FORMAT) {
            return Err(ReadError::Format(head.format.into_text()));
        }
        serde_json::from_str::<Document>(text)?.report()
    }
}

impl From<&LoadReport> for Document {
    fn from(report: &LoadReport) -> Self {
        let LoadReport { settings, processor, .. } = report;
        let extra: Vec<_> = settings.extra_percentiles().collect();
        let record = |record| RecordDocument::new(record, &extra);
        Self {
            format: FORMAT.to_owned(),
            version: report.version.clone(),
            started: report.started.clone(),
            measuring_began: report.measuring_began.map(rfc_3339),
            mode: settings.mode,
            settings: SettingsDocument::from(settings),
            elapsed_ns: nanos(report.elapsed),
            ok_per_second: report.messages_per_second(),
            measured: record(&report.record),
            warm_up: report.warm_up.as_ref().map(record),
            processor: processor.map(|time| ProcessorDocument { time, cores: time.cores() }),
            warnings: report.warnings.iter().map(WarningDocument::from).collect(),
            search: report.search.as_ref().map(SearchDocument::from),
        }
    }
}

impl Document {
    fn report(self) -> Result<LoadReport, ReadError> {
        // Reports of earlier versions do not have this field.
        let began = match self.measuring_began {
            Some(text) => Some(since_epoch(&text).ok_or_else(|| {
                ReadError::field("measuring_began", "it is not an RFC 3339 time")
            })?),
            None => since_epoch(&self.started),
        };
        Ok(LoadReport {
            version: self.version,
            started: self.started,
            measuring_began: began,
            settings: self.settings.summary(self.mode)?,
            elapsed: time(self.elapsed_ns, "elapsed_ns")?,
            record: self.measured.record("measured")?,
            warm_up: self.warm_up.map(|record| record.record("warm_up")).transpose()?,
            processor: self.processor.map(ProcessorDocument::processor).transpose()?,
            warnings: self.warnings.into_iter().map(|document| document.warning).collect(),
            search: self.search.map(SearchTrace::from),
        })
    }
}

impl From<&RunSummary> for SettingsDocument {
    fn from(settings: &RunSummary) -> Self {
        let setting = |(name, value): &(String, String)| SettingDocument {
            name: name.clone(),
            value: value.clone(),
        };
        Self {
            clients: settings.clients,
            rate: settings.rate,
            duration_ns: settings.duration.map(nanos),
            targets: settings.targets.clone(),
            bytes: settings.bytes,
            seed: settings.seed,
            percentiles: (settings.percentiles != Percentile::DEFAULTS)
                .then(|| settings.percentiles.iter().map(|shown| shown.percent()).collect()),
            listed: settings.listed.iter().map(setting).collect(),
        }
    }
}

impl SettingsDocument {
    fn summary(self, mode: LoopMode) -> Result<RunSummary, ReadError> {
        if self.clients > CLIENTS_MAX {
            return Err(ReadError::field("settings.clients", "it is too large"));
        }
        let duration = self.duration_ns.map(|nanos| time(nanos, "settings.duration_ns"));
        Ok(RunSummary {
            mode,
            clients: self.clients,
            rate: self.rate,
            duration: duration.transpose()?,
            targets: self.targets,
            bytes: self.bytes,
            seed: self.seed,
            percentiles: percentiles(self.percentiles)?,
            listed: self
                .listed
                .into_iter()
                .map(|SettingDocument { name, value }| (name, value))
                .collect(),
        })
    }
}

impl ProcessorDocument {
    fn processor(self) -> Result<ProcessorTime, ReadError> {
        bounded_time(self.time.user, "processor.user_ns")?;
        bounded_time(self.time.system, "processor.system_ns")?;
        bounded_time(self.time.elapsed, "processor.elapsed_ns")?;
        Ok(self.time)
    }
}

impl From<&MeasurementWarning> for WarningDocument {
    fn from(warning: &MeasurementWarning) -> Self {
        Self { warning: warning.clone(), sentence: warning.to_string() }
    }
}

impl From<&SearchTrace> for SearchDocument {
    fn from(trace: &SearchTrace) -> Self {
        let SearchTrace { objective, steps, highest, verdict } = trace.clone();
        let steps = steps.into_iter().map(|step| StepDocument { held: step.held(), step });
        Self { objective, highest, verdict, steps: steps.collect() }
    }
}

impl From<SearchDocument> for SearchTrace {
    fn from(document: SearchDocument) -> Self {
        let SearchDocument { objective, highest, verdict, steps } = document;
        let steps = steps.into_iter().map(|document| document.step).collect();
        Self { objective, steps, highest, verdict }
    }
}

fn percentiles(written: Option<Vec<f64>>) -> Result<Vec<Percentile>, ReadError> {
    let Some(written) = written else { return Ok(Percentile::DEFAULTS.into()) };
    let known = written.into_iter().take(PERCENTILES_MAX).map(Percentile::new);
    let known: Option<Vec<_>> = known.collect();
    known.ok_or_else(|| ReadError::field("settings.percentiles", "a percentile is from 0 to 100"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;
    use crate::statistics::RunRecord;

    fn changed(report: &LoadReport, pointer: &str, value: Value) -> String {
        let mut document: Value = serde_json::from_str(&report.to_json()).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        document.to_string()
    }

    #[test]
    fn parses_its_own_output_as_the_same() {
        for report in [sample::open(), sample::closed(), sample::search()] {
            let json = report.to_json();
            let read = LoadReport::from_json(&json).unwrap();
            assert_eq!(read.to_json(), json);
            assert_eq!(read.to_string(), report.to_string());
            assert_eq!(read.record.service.histogram(), report.record.service.histogram());
        }
    }

    #[test]
    fn writes_each_figure_at_its_documented_place() {
        let document: Value = serde_json::from_str(&sample::open().to_json()).unwrap();
        assert_eq!(document["format"], "echoline-load/1");
        assert_eq!(document["loop"], "open");
        assert_eq!(document["measured"]["ledger"]["timed_out"], 9);
        assert_eq!(document["measured"]["ledger"]["skipped"]["late"], 10);
        assert_eq!(document["measured"]["failures"]["timed_out"]["count"], 9);
        assert_eq!(document["measured"]["failures"]["timed_out"]["p50_ns"], Value::Null);
        assert_eq!(document["measured"]["latency"]["p99.9_ns"], Value::Null);
        assert!(document["measured"]["latency"]["p99_ns"].as_u64().unwrap() > 390_000_000);
        assert_eq!(document["distrust"][0]["reason"], "fewer_connections");
    }

    #[test]
    fn rejects_impossible_values_in_one_sentence() {
        let report = sample::open();
        let error = |text: &str| LoadReport::from_json(text).unwrap_err().to_string();
        assert!(error("").contains("not a report of echoline load (EOF"));
        assert!(error("{}").contains("its \"format\" is missing, not \"echoline-load/1\""));
        assert!(error(r#"{"format": "echoline-load/1"}"#).contains("missing field `version`"));
        for (pointer, value, wanted) in [
            ("/format", json!("echoline-load/2"), "is \"echoline-load/2\", not"),
            ("/elapsed_ns", json!(u64::MAX), "its field elapsed_ns is wrong: it is over 2^53"),
            ("/measured/ledger/ok", json!(1), "measured.ledger is wrong: its counts do not add up"),
            (
                "/measuring_began",
                json!("noon"),
                "measuring_began is wrong: it is not an RFC 3339 time",
            ),
            ("/measured/ledger/ok", json!("many"), "invalid type: string \"many\""),
            (
                "/measured/service/hdr",
                json!("!"),
                "measured.service.hdr is wrong: it is not base64",
            ),
            ("/measured/service/max_ns", json!(1), "the histogram has another count"),
            ("/measured/service/max_ns", json!(null), "it is missing"),
            ("/measured/series/length_s", json!(3), "echoline load does not write such intervals"),
            ("/measured/series/slots/0/hdr", json!(""), "measured.series.slots.hdr is wrong"),
            ("/settings/clients", json!(u32::MAX), "it is too large"),
            ("/loop", json!("spiral"), "unknown variant `spiral`"),
        ] {
            let sentence = error(&changed(&report, pointer, value));
            assert!(sentence.contains(wanted), "{pointer}: {sentence}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Samples are recorded on several machines, written, read and merged. The percentiles are
        /// still those of all samples, within the histogram's error of 0.1 %.
        #[test]
        fn percentiles_survive_files_and_merging(
            samples in prop::collection::vec(1_000u64..5_000_000_000, 20..600),
            machines in 1usize..4,
        ) {
            let reports = (0..machines).map(|machine| {
                let mut report = sample::closed();
                report.record = RunRecord::new(0);
                for &sample in samples.iter().skip(machine).step_by(machines) {
                    report.record.service.record(Duration::from_nanos(sample));
                }
                LoadReport::from_json(&report.to_json()).unwrap()
            });
            let merged = reports.reduce(|mut merged, report| {
                merged.merge(&report).unwrap();
                merged
            });
            let times = merged.unwrap().record.service;
            let mut sorted = samples;
            sorted.sort_unstable();
            prop_assert_eq!(times.count(), sorted.len() as u64);
            prop_assert_eq!(times.max().map(nanos), sorted.last().copied());
            for percentile in Percentile::DEFAULTS {
                let Some(shown) = times.percentile(percentile) else { continue };
                let rank = (percentile.quantile() * sorted.len() as f64).ceil() as usize;
                let exact = sorted[rank.clamp(1, sorted.len()) - 1] as f64;
                let error = (nanos(shown) as f64 - exact).abs() / exact;
                prop_assert!(error <= 0.001, "{percentile}: {shown:?} for {exact} ns");
            }
        }

        #[test]
        fn a_damaged_file_never_panics(at in 0usize..20_000, byte in 0x20u8..0x7f, cut: bool) {
            let mut bytes = sample::closed().to_json().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            if let Ok(mut report) = LoadReport::from_json(std::str::from_utf8(&bytes).unwrap()) {
                report.record.merge(&sample::open().record);
                let shown = [report.to_string(), report.to_html(), report.to_csv()];
                prop_assert!(shown.iter().all(|text| text.len() < 1 << 20));
                let _ = report.to_hdr_log();
            }
        }
    }
}
