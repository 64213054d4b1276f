//! Sample reports for tests, with hostile text.

use std::time::Duration;

use super::{LoadReport, LoopMode, RunSummary};
use crate::report::{SearchStep, SearchTrace, TrialPurpose};
use crate::statistics::{
    CorrectReply, DatagramAnomaly, MessageOutcome, Percentile, RunRecord, SkipReason,
};
use crate::verdict::{MeasurementWarning, ProcessorTime};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Returns the report of an open loop of ten seconds with a thousand messages per second. In the
/// sixth second the server stops for half a second.
pub(crate) fn open() -> LoadReport {
    LoadReport {
        version: "0.1.0".to_owned(),
        started: "2026-11-23T17:00:00+01:00".to_owned(),
        measuring_began: Some(millis(1_795_449_600_250)),
        settings: RunSummary {
            mode: LoopMode::Open,
            clients: 20,
            rate: Some(1000.0),
            duration: Some(millis(10_000)),
            targets: vec!["127.0.0.1:8080".to_owned(), "[::1]:8080".to_owned()],
            bytes: 64,
            seed: 7,
            percentiles: Percentile::DEFAULTS.into(),
            listed: [("rate", "1000/s"), ("clients", "20"), ("message", "<script>&\"'</script>")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        },
        elapsed: millis(10_000),
        record: stalled(),
        warm_up: Some(RunRecord::new(0)),
        processor: Some(ProcessorTime {
            user: millis(500),
            system: millis(2000),
            elapsed: millis(10_000),
            ..ProcessorTime::default()
        }),
        warnings: vec![MeasurementWarning::FewerConnections { wanted: 20, opened: 19 }],
        search: None,
    }
}

fn stalled() -> RunRecord {
    let mut record = RunRecord::new(10_000);
    record.note_anomaly(DatagramAnomaly::Duplicated, millis(1000));
    record.note_anomaly(DatagramAnomaly::Late, millis(9999));
    for number in 0..9990u64 {
        let at = millis(number);
        record.series.sent(at);
        record.lag.record(Duration::from_micros(5 + number % 40));
        match number {
            6000 => record.fail(MessageOutcome::Wrong, at, millis(1)),
            6001..=6009 => record.fail(MessageOutcome::TimedOut, at + millis(500), millis(500)),
            _ => {
                let wait = if (5000..5500).contains(&number) { 5500 - number } else { 0 };
                let service = Duration::from_micros(100 + number * number % 211);
                let latency = Some(service + millis(wait));
                record.reply(CorrectReply { at: at + service + millis(wait), latency, service });
            }
        }
    }
    (0..19).for_each(|number| record.connect.record(Duration::from_micros(80 + number)));
    record.connections = 19;
    record.ledger.skip(10, SkipReason::Late);
    record.clients_ok = 18;
    record.note_reasons("no reply within 500ms", 9);
    record.note_reason("wrong: <img src=x onerror=alert(1)> \x1b[31m");
    record.note_wrong(|| "sent \"a\", got \"<b>\"".to_owned());
    record
}

/// Returns the report of a closed loop of one client with thirty messages.
pub(crate) fn closed() -> LoadReport {
    let mut record = RunRecord::new(30);
    for number in 0..30 {
        let service = Duration::from_micros(100 + number);
        record.series.sent(millis(number));
        record.reply(CorrectReply { at: millis(number), latency: None, service });
    }
    record.clients_ok = 1;
    let open = open();
    LoadReport {
        settings: RunSummary {
            mode: LoopMode::Closed,
            clients: 1,
            rate: None,
            duration: None,
            targets: vec!["127.0.0.1:8080".to_owned()],
            listed: Vec::new(),
            ..open.settings
        },
        elapsed: millis(500),
        record,
        warm_up: None,
        processor: None,
        warnings: Vec::new(),
        ..open
    }
}

/// Returns a search that found a rate of 18,000 messages per second.
pub(crate) fn search() -> LoadReport {
    let step = |rate: f64, purpose, p99: f64, broken: &[&str]| SearchStep {
        rate,
        achieved: rate * 0.97,
        purpose,
        p50: Some(Duration::from_secs_f64(p99 * 0.3)),
        p99: Some(Duration::from_secs_f64(p99)),
        p999: (p99 < 0.009).then(|| Duration::from_secs_f64(p99 * 2.0)),
        errors: if broken.is_empty() { 0.0 } else { 0.004 },
        broken: broken.iter().map(|&sentence| sentence.to_owned()).collect(),
    };
    let search = SearchTrace {
        objective: "p99<5ms,errors<0.1%".to_owned(),
        steps: vec![
            step(1000.0, TrialPurpose::Bracket, 0.0005, &[]),
            step(8000.0, TrialPurpose::Bracket, 0.0009, &[]),
            step(64000.0, TrialPurpose::Bracket, 0.3, &["p99<5ms does not hold: measured 300 ms"]),
            step(
                20000.0,
                TrialPurpose::Bisect,
                0.0091,
                &["p99<5ms does not hold: measured 9.10 ms"],
            ),
            step(14000.0, TrialPurpose::Bisect, 0.0017, &[]),
            step(18000.0, TrialPurpose::Confirm, 0.0041, &[]),
        ],
        highest: Some(18_000.0),
        verdict: "held three times".to_owned(),
    };
    LoadReport { search: Some(search), ..open() }
}
