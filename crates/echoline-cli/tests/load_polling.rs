//! Tests of `echoline load` about the polling before planned times.

#![allow(clippy::unwrap_used)]

mod programs;

use programs::{EchoServer, run};

/// The default polls before due times, says so, and keeps the account of it.
#[test]
fn an_open_loop_polls_by_default_and_reports_it() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let rate = ["--rate", "500/s", "--duration", "1s", "--clients", "2"];
    let polled = |flags: &[&str]| {
        let json = ["--json", file.to_str().unwrap()];
        let ended = run(&[&["load", &*server.address], &rate[..], flags, &json].concat(), b"");
        assert!(ended.text().contains("Planned 500 = sent 500 + skipped 0"), "{ended:?}");
        let report: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let latency = &report["measured"]["latency"];
        let without_lag = &report["measured"]["latency_without_lag"];
        assert_eq!(latency["count"], without_lag["count"]);
        assert!(latency["max_ns"].as_u64() >= without_lag["max_ns"].as_u64(), "{report}");
        let polled = report["processor"]["polled_ns"].as_u64().unwrap_or(0);
        assert_eq!(ended.text().contains("polled to send on time"), polled > 0, "{ended:?}");
        (polled, ended.text())
    };
    let (_, text) = polled(&[]);
    assert!(text.contains("busy-poll auto"), "{text}");
    let (nanos, text) = polled(&["--busy-poll", "0s"]);
    assert!(nanos == 0 && !text.contains("busy-poll"), "{text}");
    // Longer than the time between two messages, so that even a busy machine polls.
    let (nanos, text) = polled(&["--busy-poll", "100ms"]);
    assert!(nanos > 0 && text.contains("busy-poll 100ms"), "{text}");
}
