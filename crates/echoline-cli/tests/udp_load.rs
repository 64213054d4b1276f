//! Tests of the load tester and the client over UDP, with peers that lose, duplicate, delay and
//! reorder datagrams.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use echoline::{Eol, Shutdown};
use echoline_load::statistics::{DatagramAnomalies, SkipReason};
use echoline_load::{LoadReport, LoadSettings, Objectives, Pacer, Plan, Rate};

use programs::{Program, echoline, run, wait_for};

mod programs;

/// A datagram server that handles each datagram with `treat`, by its number from 1. Dropping this
/// value stops it.
struct Peer {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Sends a datagram back.
type Back<'a> = dyn FnMut(&[u8]) + 'a;

impl Peer {
    fn start(mut treat: impl FnMut(u64, &[u8], &mut Back<'_>) + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let (mut datagram, mut number) = ([0; 2000], 0);
            while !told.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut datagram) else { continue };
                number += 1;
                treat(number, &datagram[..length], &mut |bytes| {
                    socket.send_to(bytes, from).unwrap();
                });
            }
        });
        Self { address, over, thread: Some(thread) }
    }

    /// Returns the address of the peer as a target.
    fn target(&self) -> String {
        format!("udp://{}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "the peer panicked");
    }
}

/// Returns the settings for one client that sends `messages` messages to `peer`.
fn settings(peer: &Peer, messages: u32, depth: u32) -> LoadSettings {
    let plan = Plan::new(NonZero::<u32>::MIN, NonZero::new(messages), 64, Eol::Lf, 1).unwrap();
    let mut settings = LoadSettings::new(peer.target().parse().unwrap(), plan);
    settings.depth = NonZero::new(depth).unwrap();
    settings.timeout = Duration::from_secs(2);
    settings
}

fn load(settings: &LoadSettings) -> LoadReport {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stop = Shutdown::new();
    let report = runtime.block_on(echoline_load::run(settings, &stop, |_| ())).unwrap();
    assert!(report.record.ledger.adds_up(), "{:?}", report.record.ledger);
    report
}

#[test]
fn lost_and_duplicate_answers_are_counted_exactly() {
    let peer = Peer::start(|number, datagram, back| {
        if number % 10 != 0 {
            back(datagram);
        }
        if number % 7 == 0 && number % 10 != 0 {
            back(datagram);
        }
    });
    let report = load(&settings(&peer, 200, 50));
    let record = &report.record;
    assert_eq!((record.ledger.ok(), record.ledger.timed_out()), (180, 20));
    // Replies to multiples of 7 are duplicated, and replies to multiples of 10 are lost. Up to 200
    // there are 28 multiples of 7, and 2 of them are multiples of 10.
    assert_eq!(
        record.anomalies,
        DatagramAnomalies { duplicated: 26, ..DatagramAnomalies::default() }
    );
    assert_eq!(record.unanswered(), 20);
    assert_eq!(
        record.series.intervals().iter().map(|interval| interval.anomalies.duplicated).sum::<u64>(),
        26
    );
    let account =
        "Datagrams: never answered 20, answered late 0, answered twice 26, out of order 0";
    assert!(report.to_string().contains(account), "{report}");
}

/// A loss does not stop a closed loop: the next message is sent after the time-out.
#[test]
fn a_closed_loop_continues_after_a_loss() {
    let peer = Peer::start(|number, datagram, back| {
        if number != 2 {
            back(datagram);
        }
    });
    let report = load(&settings(&peer, 5, 1));
    let ledger = &report.record.ledger;
    assert_eq!((ledger.ok(), ledger.timed_out(), ledger.skipped()), (4, 1, 0));
    assert_eq!(report.record.reasons(), [("no reply within 2s", 1)]);
    assert_eq!(report.record.clients_ok, 0);
}

#[test]
fn reordered_answers_are_counted_exactly() {
    let mut held = Vec::new();
    let peer = Peer::start(move |number, datagram, back| {
        if number % 2 == 1 {
            held = datagram.to_vec();
        } else {
            back(datagram);
            back(&held);
        }
    });
    let report = load(&settings(&peer, 200, 50));
    assert_eq!(report.record.ledger.ok(), 200);
    assert_eq!(
        report.record.anomalies,
        DatagramAnomalies { reordered: 100, ..DatagramAnomalies::default() }
    );
    assert!(report.is_clean());
}

/// A message whose reply arrives after the time-out counts as timed out. The reply does not count
/// for another message.
#[test]
fn late_answers_are_counted_exactly() {
    let mut held = Vec::new();
    let peer = Peer::start(move |number, datagram, back| match number {
        // The client sends a message every 10 ms, and 20 of them get their answer after 1 s to 2 s.
        ..=100 if number % 5 == 0 => held.push(datagram.to_vec()),
        200 => {
            held.drain(..).for_each(|late| back(&late));
            back(datagram);
        }
        _ => back(datagram),
    });
    let mut settings = settings(&peer, 300, 200);
    settings.messages = Pacer::constant(Rate::new(100, Duration::from_secs(1)).unwrap());
    settings.timeout = Duration::from_millis(500);
    let record = load(&settings).record;
    assert_eq!((record.ledger.ok(), record.ledger.timed_out()), (280, 20));
    assert_eq!(record.anomalies, DatagramAnomalies { late: 20, ..DatagramAnomalies::default() });
    assert_eq!(record.unanswered(), 0);
    assert_eq!(record.response_times().count(), 300);
}

#[test]
fn a_damaged_answer_is_wrong_and_ends_nothing() {
    let peer = Peer::start(|number, datagram, back| {
        let mut answer = datagram.to_vec();
        if number % 25 == 0 {
            answer[20] ^= 1;
        }
        back(&answer);
    });
    let record = load(&settings(&peer, 100, 10)).record;
    assert_eq!((record.ledger.ok(), record.ledger.wrong()), (96, 4));
    assert_eq!(record.anomalies, DatagramAnomalies::default());
    assert!(record.wrong_example().unwrap().starts_with("sent \"0:"));
}

#[test]
fn a_server_with_a_prefix_is_an_echo_too() {
    let peer = Peer::start(|_, datagram, back| back(&[b"Echo: ", datagram].concat()));
    assert_eq!(load(&settings(&peer, 50, 5)).record.ledger.ok(), 50);
}

/// Fault 43: a closed port is noticed at once, not by a time-out.
#[test]
fn a_closed_port_is_noticed_at_once() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Plan::new(NonZero::<u32>::MIN, NonZero::new(9), 64, Eol::Lf, 1).unwrap();
    let mut settings = LoadSettings::new(format!("udp://{nobody}").parse().unwrap(), plan);
    settings.timeout = Duration::from_secs(3600);
    let record = load(&settings).record;
    assert_eq!((record.ledger.lost(), record.ledger.skipped()), (1, 8));
    assert_eq!(
        record.ledger.skipped_by_reason().collect::<Vec<_>>(),
        [(SkipReason::NotConnected, 8)]
    );
    assert_eq!(record.reasons(), [("cannot send or receive: connection refused", 1)]);
}

#[test]
fn losses_can_fail_a_run() {
    let peer = Peer::start(|number, datagram, back| {
        if number != 10 {
            back(datagram);
        }
    });
    let mut settings = settings(&peer, 20, 5);
    settings.timeout = Duration::from_millis(500);
    let report = load(&settings);
    let alarms = Objectives::alarms("lost>1%,late>0%,duplicated>0%,reordered>0%").unwrap();
    let came_true = alarms.check(|metric| metric.of(&report.record, report.elapsed));
    assert_eq!(came_true.len(), 1);
    assert_eq!(came_true[0].objective.metric.to_string(), "lost");
    let arguments = ["load", &peer.target(), "--clients", "1", "--messages", "5", "-q"];
    let ended = run(&[&arguments[..], &["--fail-if", "lost>10%"]].concat(), b"");
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
}

/// Starts an echo over UDP. Returns it and its address.
fn echo(flags: &[&str]) -> (Program, String) {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["echo", "--listen", "udp://127.0.0.1:0"]);
    command.arg("--ready-file").arg(&ready).args(flags);
    let program = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let address = std::fs::read_to_string(&ready).unwrap().trim().to_owned();
    (program, address)
}

#[test]
fn send_sends_each_line_and_prints_each_answer() {
    let (program, address) = echo(&[]);
    let ended = run(&["send", &address, "one", "two words", ""], b"");
    assert_eq!((ended.code(), ended.text().as_str()), (Some(0), "one\ntwo words\n\n"));
    let lines: String = (0..5000).map(|number| format!("{number}\n")).collect();
    let ended = run(&["send", &address], lines.as_bytes());
    assert_eq!((ended.code(), ended.text() == lines), (Some(0), true));
    drop(program);
}

#[test]
fn send_reports_unanswered_lines() {
    let (program, address) = echo(&["--mode", "discard"]);
    let ended = run(&["send", "--timeout", "100ms", &address, "one", "two"], b"");
    assert_eq!(ended.code(), Some(4));
    assert!(ended.stderr.contains("2 of 2 lines were not answered"), "{}", ended.stderr);
    program.signal("TERM");
    assert_eq!(program.finish().code(), Some(0));
    let ended = run(&["send", "--timeout", "1h", &address, "anybody?"], b"");
    assert_eq!(ended.code(), Some(3));
    assert!(ended.stderr.contains("is the server running"), "{}", ended.stderr);
    let ended = run(&["send", &address], &[b'x'; 65_508]);
    assert!(ended.stderr.contains("does not fit into a datagram"), "{}", ended.stderr);
}
