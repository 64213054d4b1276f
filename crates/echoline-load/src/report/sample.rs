//! Reports to test with: what they hold is made up, and what comes from outside is hostile.

use std::time::Duration;

use super::{Mode, Report, Summary};
use crate::ledger::{End, Outcome};
use crate::record::{Answer, Record};
use crate::strays::Stray;
use crate::times::Percentile;
use crate::trust::{Distrust, Processor};
use crate::walk::{Purpose, Step, Walk};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Ten seconds of a thousand messages; the server stops for half a second in the sixth.
pub(crate) fn open() -> Report {
    Report {
        version: "0.1.0".to_owned(),
        started: "2026-11-23T17:00:00+01:00".to_owned(),
        measuring_began: Some(millis(1_795_449_600_250)),
        settings: Summary {
            mode: Mode::Open,
            clients: 20,
            rate: Some(1000.0),
            duration: Some(millis(10_000)),
            targets: vec!["127.0.0.1:8080".to_owned(), "[::1]:8080".to_owned()],
            bytes: 64,
            seed: 7,
            percentiles: Percentile::SHOWN.into(),
            listed: [("rate", "1000/s"), ("clients", "20"), ("message", "<script>&\"'</script>")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        },
        elapsed: millis(10_000),
        record: stalled(),
        warm_up: Some(Record::new(0)),
        processor: Some(Processor {
            user: millis(500),
            system: millis(2000),
            elapsed: millis(10_000),
        }),
        distrust: vec![Distrust::FewerConnections { wanted: 20, opened: 19 }],
        walk: None,
    }
}

fn stalled() -> Record {
    let mut record = Record::new(10_000);
    record.note_stray(Stray::Duplicated, millis(1000));
    record.note_stray(Stray::Late, millis(9999));
    for number in 0..9990u64 {
        let at = millis(number);
        record.series.sent(at);
        record.lag.record(Duration::from_micros(5 + number % 40));
        match number {
            6000 => record.fail(Outcome::Wrong, at, millis(1)),
            6001..=6009 => record.fail(Outcome::TimedOut, at + millis(500), millis(500)),
            _ => {
                let wait = if (5000..5500).contains(&number) { 5500 - number } else { 0 };
                let service = Duration::from_micros(100 + number * number % 211);
                let latency = Some(service + millis(wait));
                record.answer(Answer { at: at + service + millis(wait), latency, service });
            }
        }
    }
    (0..19).for_each(|number| record.connect.record(Duration::from_micros(80 + number)));
    record.connections = 19;
    record.ledger.skip(10, End::Late);
    record.clients_ok = 18;
    record.note_reasons("no reply within 500ms", 9);
    record.note_reason("wrong: <img src=x onerror=alert(1)> \x1b[31m");
    record.note_wrong(|| "sent \"a\", got \"<b>\"".to_owned());
    record
}

/// One client, thirty messages, no time for anything else.
pub(crate) fn closed() -> Report {
    let mut record = Record::new(30);
    for number in 0..30 {
        let service = Duration::from_micros(100 + number);
        record.series.sent(millis(number));
        record.answer(Answer { at: millis(number), latency: None, service });
    }
    record.clients_ok = 1;
    let open = open();
    Report {
        settings: Summary {
            mode: Mode::Closed,
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
        distrust: Vec::new(),
        ..open
    }
}

/// A search that found 18,000 per second.
pub(crate) fn search() -> Report {
    let step = |rate: f64, purpose, p99: f64, broken: &[&str]| Step {
        rate,
        achieved: rate * 0.97,
        purpose,
        p50: Some(Duration::from_secs_f64(p99 * 0.3)),
        p99: Some(Duration::from_secs_f64(p99)),
        p999: (p99 < 0.009).then(|| Duration::from_secs_f64(p99 * 2.0)),
        errors: if broken.is_empty() { 0.0 } else { 0.004 },
        broken: broken.iter().map(|&sentence| sentence.to_owned()).collect(),
    };
    let walk = Walk {
        objective: "p99<5ms,errors<0.1%".to_owned(),
        steps: vec![
            step(1000.0, Purpose::Bracket, 0.0005, &[]),
            step(8000.0, Purpose::Bracket, 0.0009, &[]),
            step(64000.0, Purpose::Bracket, 0.3, &["p99<5ms does not hold: measured 300 ms"]),
            step(20000.0, Purpose::Bisect, 0.0091, &["p99<5ms does not hold: measured 9.10 ms"]),
            step(14000.0, Purpose::Bisect, 0.0017, &[]),
            step(18000.0, Purpose::Confirm, 0.0041, &[]),
        ],
        highest: Some(18_000.0),
        verdict: "held three times".to_owned(),
    };
    Report { walk: Some(walk), ..open() }
}
