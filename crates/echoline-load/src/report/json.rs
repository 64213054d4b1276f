//! The report as JSON, and back: everything that was recorded, so that runs can be compared and
//! merged exactly. `docs/load-report.md` describes it, `docs/load-report.schema.json` checks it.
//!
//! Times are whole nanoseconds (`…_ns`). Figures that follow from others (percentiles, sums) are
//! written for whoever reads the file, and not believed when it is read back.

mod format;
mod record;
mod search;
mod seed;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::format::FormatName;
use self::record::RecordDocument;
use self::search::WalkDocument;
use super::wall_clock::{rfc_3339, since_epoch};
use super::{Mode, Report, Summary};
use crate::times::{Percentile, nanos};
use crate::trust::{Distrust, Processor};
use crate::walk::Walk;
use echoline_base::printable::printable_json;

/// What the first field of every file says; the number changes with the meaning of a field.
pub const FORMAT: &str = "echoline-load/1";

/// Numbers of a file, at most: what JSON readers everywhere tell apart.
const NUMBER_MAX: u64 = 1 << 53;

/// Connections of a file, at most; there are not more descriptors.
const CLIENTS_MAX: u32 = 1 << 24;

/// Percentiles that are shown of a file, at most.
const PERCENTILES_MAX: usize = 12;

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON, or something is missing in it.
    #[error("it is no report of echoline load ({0})")]
    Json(#[from] serde_json::Error),
    /// It is JSON of something else.
    #[error("it is no report of echoline load: its \"format\" is {0}, not \"{FORMAT}\"")]
    Format(String),
    /// A field says what cannot be.
    #[error("its field {field} is wrong: {problem}")]
    Field {
        /// Where, as `measured.service.hdr`.
        field: String,
        /// What.
        problem: &'static str,
    },
}

impl ReadError {
    fn field(field: impl Into<String>, problem: &'static str) -> Self {
        Self::Field { field: field.into(), problem }
    }
}

/// All that is read of a file before it is known what it is.
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
    /// Wall-clock time in UTC; older reports have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measuring_began: Option<String>,
    #[serde(rename = "loop")]
    mode: ModeDocument,
    settings: SettingsDocument,
    elapsed_ns: u64,
    /// Right answers per second.
    #[serde(skip_deserializing)]
    ok_per_second: f64,
    measured: RecordDocument,
    warm_up: Option<RecordDocument>,
    processor: Option<ProcessorDocument>,
    distrust: Vec<DistrustDocument>,
    search: Option<WalkDocument>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Mode")]
enum ModeRemote {
    Closed,
    Open,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct ModeDocument(#[serde(with = "ModeRemote")] Mode);

#[derive(Serialize, Deserialize)]
struct SettingsDocument {
    clients: u32,
    rate: Option<f64>,
    duration_ns: Option<u64>,
    targets: Vec<String>,
    bytes: usize,
    #[serde(with = "seed")]
    seed: u64,
    /// From 0 to 100; only if they are not the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percentiles: Option<Vec<f64>>,
    listed: Vec<Setting>,
}

#[derive(Serialize, Deserialize)]
struct Setting {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct ProcessorDocument {
    user_ns: u64,
    system_ns: u64,
    elapsed_ns: u64,
    #[serde(skip_deserializing)]
    cores: f64,
}

#[derive(Serialize, Deserialize)]
struct DistrustDocument {
    #[serde(flatten)]
    reason: DistrustReason,
    #[serde(skip_deserializing)]
    sentence: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
enum DistrustReason {
    Lag { p99_ns: u64, median_ns: u64 },
    ProcessorSaturated { cores: f64, workers: usize },
    PortsUsedUp { times: u64 },
    FewerConnections { wanted: u32, opened: u32 },
    PartlyTogether { together_ns: u64, shortest_ns: u64 },
    NotTogether,
}

impl Report {
    /// The report as JSON, in lines that a person can read.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&Document::from(self))
            .expect("names are texts and numbers are finite or become null");
        text.push('\n');
        printable_json(&text).into_owned()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Where it is something else, of another version, or says what cannot be.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        let head: Head = serde_json::from_str(text)?;
        if head.format != FormatName::of(FORMAT) {
            return Err(ReadError::Format(head.format.into_text()));
        }
        serde_json::from_str::<Document>(text)?.report()
    }
}

impl From<&Report> for Document {
    fn from(report: &Report) -> Self {
        let Report { settings, processor, .. } = report;
        let extra: Vec<_> = settings.extra_percentiles().collect();
        let record = |record| RecordDocument::new(record, &extra);
        Self {
            format: FORMAT.to_owned(),
            version: report.version.clone(),
            started: report.started.clone(),
            measuring_began: report.measuring_began.map(rfc_3339),
            mode: ModeDocument(settings.mode),
            settings: SettingsDocument::from(settings),
            elapsed_ns: nanos(report.elapsed),
            ok_per_second: report.messages_per_second(),
            measured: record(&report.record),
            warm_up: report.warm_up.as_ref().map(record),
            processor: processor.as_ref().map(|processor| ProcessorDocument {
                user_ns: nanos(processor.user),
                system_ns: nanos(processor.system),
                elapsed_ns: nanos(processor.elapsed),
                cores: processor.cores(),
            }),
            distrust: report.distrust.iter().map(DistrustDocument::from).collect(),
            search: report.walk.as_ref().map(WalkDocument::from),
        }
    }
}

impl Document {
    fn report(self) -> Result<Report, ReadError> {
        // A report from before this field says only when the command began.
        let began = match self.measuring_began {
            Some(text) => Some(since_epoch(&text).ok_or_else(|| {
                ReadError::field("measuring_began", "it is no time as RFC 3339 writes it")
            })?),
            None => since_epoch(&self.started),
        };
        Ok(Report {
            version: self.version,
            started: self.started,
            measuring_began: began,
            settings: self.settings.summary(self.mode.0)?,
            elapsed: time(self.elapsed_ns, "elapsed_ns")?,
            record: self.measured.record("measured")?,
            warm_up: self.warm_up.map(|record| record.record("warm_up")).transpose()?,
            processor: self.processor.map(ProcessorDocument::processor).transpose()?,
            distrust: self.distrust.into_iter().map(|distrust| distrust.reason.into()).collect(),
            walk: self.search.map(Walk::from),
        })
    }
}

impl From<&Summary> for SettingsDocument {
    fn from(settings: &Summary) -> Self {
        let setting =
            |(name, value): &(String, String)| Setting { name: name.clone(), value: value.clone() };
        Self {
            clients: settings.clients,
            rate: settings.rate,
            duration_ns: settings.duration.map(nanos),
            targets: settings.targets.clone(),
            bytes: settings.bytes,
            seed: settings.seed,
            percentiles: (settings.percentiles != Percentile::SHOWN)
                .then(|| settings.percentiles.iter().map(|shown| shown.percent()).collect()),
            listed: settings.listed.iter().map(setting).collect(),
        }
    }
}

impl SettingsDocument {
    fn summary(self, mode: Mode) -> Result<Summary, ReadError> {
        if self.clients > CLIENTS_MAX {
            return Err(ReadError::field("settings.clients", "there cannot be so many"));
        }
        let duration = self.duration_ns.map(|nanos| time(nanos, "settings.duration_ns"));
        Ok(Summary {
            mode,
            clients: self.clients,
            rate: self.rate,
            duration: duration.transpose()?,
            targets: self.targets,
            bytes: self.bytes,
            seed: self.seed,
            percentiles: percentiles(self.percentiles)?,
            listed: self.listed.into_iter().map(|Setting { name, value }| (name, value)).collect(),
        })
    }
}

impl ProcessorDocument {
    fn processor(self) -> Result<Processor, ReadError> {
        Ok(Processor {
            user: time(self.user_ns, "processor.user_ns")?,
            system: time(self.system_ns, "processor.system_ns")?,
            elapsed: time(self.elapsed_ns, "processor.elapsed_ns")?,
        })
    }
}

impl From<&Distrust> for DistrustDocument {
    fn from(distrust: &Distrust) -> Self {
        let reason = match *distrust {
            Distrust::Lag { p99, median } => {
                DistrustReason::Lag { p99_ns: nanos(p99), median_ns: nanos(median) }
            }
            Distrust::ProcessorSaturated { cores, workers } => {
                DistrustReason::ProcessorSaturated { cores, workers }
            }
            Distrust::PortsUsedUp { times } => DistrustReason::PortsUsedUp { times },
            Distrust::FewerConnections { wanted, opened } => {
                DistrustReason::FewerConnections { wanted, opened }
            }
            Distrust::PartlyTogether { together, shortest } => DistrustReason::PartlyTogether {
                together_ns: nanos(together),
                shortest_ns: nanos(shortest),
            },
            Distrust::NotTogether => DistrustReason::NotTogether,
        };
        Self { reason, sentence: distrust.to_string() }
    }
}

impl From<DistrustReason> for Distrust {
    fn from(reason: DistrustReason) -> Self {
        match reason {
            DistrustReason::Lag { p99_ns, median_ns } => Self::Lag {
                p99: Duration::from_nanos(p99_ns),
                median: Duration::from_nanos(median_ns),
            },
            DistrustReason::ProcessorSaturated { cores, workers } => {
                Self::ProcessorSaturated { cores, workers }
            }
            DistrustReason::PortsUsedUp { times } => Self::PortsUsedUp { times },
            DistrustReason::FewerConnections { wanted, opened } => {
                Self::FewerConnections { wanted, opened }
            }
            DistrustReason::PartlyTogether { together_ns, shortest_ns } => Self::PartlyTogether {
                together: Duration::from_nanos(together_ns),
                shortest: Duration::from_nanos(shortest_ns),
            },
            DistrustReason::NotTogether => Self::NotTogether,
        }
    }
}

fn percentiles(written: Option<Vec<f64>>) -> Result<Vec<Percentile>, ReadError> {
    let Some(written) = written else { return Ok(Percentile::SHOWN.into()) };
    let known = written.into_iter().take(PERCENTILES_MAX).map(Percentile::new);
    let known: Option<Vec<_>> = known.collect();
    known.ok_or_else(|| ReadError::field("settings.percentiles", "they go from 0 to 100"))
}

/// A number that may be added to others of its kind.
fn bounded(number: u64, field: &str) -> Result<u64, ReadError> {
    let fits = number <= NUMBER_MAX;
    fits.then_some(number).ok_or_else(|| ReadError::field(field, "it is over 2^53"))
}

fn time(nanos: u64, field: &str) -> Result<Duration, ReadError> {
    bounded(nanos, field).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::sample;
    use super::*;

    fn changed(report: &Report, pointer: &str, value: Value) -> String {
        let mut document: Value = serde_json::from_str(&report.to_json()).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        document.to_string()
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for report in [sample::open(), sample::closed(), sample::search()] {
            let json = report.to_json();
            let read = Report::from_json(&json).unwrap();
            assert_eq!(read.to_json(), json);
            assert_eq!(read.to_string(), report.to_string());
            assert_eq!(read.record.service.histogram(), report.record.service.histogram());
        }
    }

    #[test]
    fn figures_are_where_people_look_for_them() {
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
    fn what_cannot_be_is_refused_in_one_sentence() {
        let report = sample::open();
        let error = |text: &str| Report::from_json(text).unwrap_err().to_string();
        assert!(error("").contains("is no report of echoline load (EOF"));
        assert!(error("{}").contains("its \"format\" is null, not \"echoline-load/1\""));
        assert!(error(r#"{"format": "echoline-load/1"}"#).contains("missing field `version`"));
        for (pointer, value, wanted) in [
            ("/format", json!("echoline-load/2"), "is \"echoline-load/2\", not"),
            ("/elapsed_ns", json!(u64::MAX), "its field elapsed_ns is wrong: it is over 2^53"),
            ("/measured/ledger/ok", json!(1), "measured.ledger is wrong: it does not add up"),
            ("/measuring_began", json!("noon"), "measuring_began is wrong: it is no time as RFC"),
            ("/measured/ledger/ok", json!("many"), "invalid type: string \"many\""),
            ("/measured/service/hdr", json!("!"), "measured.service.hdr is wrong: it is no base64"),
            ("/measured/service/max_ns", json!(1), "the histogram holds another"),
            ("/measured/service/max_ns", json!(null), "it is missing"),
            ("/measured/series/length_s", json!(3), "no run of ours is cut like that"),
            ("/measured/series/slots/0/hdr", json!(""), "measured.series.slots.hdr is wrong"),
            ("/settings/clients", json!(u32::MAX), "there cannot be so many"),
            ("/loop", json!("spiral"), "unknown variant `spiral`"),
        ] {
            let sentence = error(&changed(&report, pointer, value));
            assert!(sentence.contains(wanted), "{pointer}: {sentence}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Recorded on several machines, written, read and merged: still the percentiles of all
        /// samples, as sorting them gives, within the histogram's error of one in a thousand.
        #[test]
        fn percentiles_survive_files_and_merging(
            samples in prop::collection::vec(1_000u64..5_000_000_000, 20..600),
            machines in 1usize..4,
        ) {
            let reports = (0..machines).map(|machine| {
                let mut report = sample::closed();
                report.record = crate::Record::new(0);
                for &sample in samples.iter().skip(machine).step_by(machines) {
                    report.record.service.record(Duration::from_nanos(sample));
                }
                Report::from_json(&report.to_json()).unwrap()
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
            for percentile in Percentile::SHOWN {
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
            if let Ok(mut report) = Report::from_json(std::str::from_utf8(&bytes).unwrap()) {
                report.record.merge(&sample::open().record);
                let shown = [report.to_string(), report.to_html(), report.to_csv()];
                prop_assert!(shown.iter().all(|text| text.len() < 1 << 20));
                let _ = report.to_hdr_log();
            }
        }
    }
}
