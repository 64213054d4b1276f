//! Tests of `echoline load` about the polling before planned times.

#![allow(clippy::unwrap_used)]

mod programs;

use std::process::{Child, Command, Stdio};

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
    let (nanos, text) = polled(&[]);
    assert!(nanos > 0 && text.contains("busy-poll auto"), "{text}");
    let (nanos, text) = polled(&["--busy-poll", "0s"]);
    assert!(nanos == 0 && !text.contains("busy-poll"), "{text}");
    let (nanos, text) = polled(&["--busy-poll", "50us"]);
    assert!(nanos > 0 && text.contains("busy-poll 50µs"), "{text}");
}

/// A program that needs the core of the tester gets it: the tester sleeps instead of polling.
/// Without that it would poll for as long as the scheduler lets it, about half of the time.
#[test]
fn a_tester_on_a_busy_core_stops_polling() {
    let server = EchoServer::start(&[]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let core: String = cores.trim().chars().take_while(char::is_ascii_digit).collect();
    let busy = ["-c", &core, "sh", "-c", "while :; do :; done"];
    let _hog = Hog(Command::new("taskset").args(busy).spawn().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let mut tester = Command::new("taskset");
    tester.args(["-c", &core, env!("CARGO_BIN_EXE_echoline"), "load", &server.address]);
    tester.args(["--rate", "2000/s", "--duration", "3s", "--clients", "20", "--workers", "1"]);
    tester.arg("--json").arg(&file);
    let ended = tester.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let polled = report["processor"]["polled_ns"].as_u64().unwrap_or(0);
    assert!(polled < 600_000_000, "{polled} ns of 3 s; {text}");
    let paused = report["processor"]["polling_pauses"].as_u64().unwrap_or(0);
    assert_eq!(text.contains("Polling paused"), paused > 0, "{text}");
}

/// A process that uses a core until it is dropped.
struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
