//! Tests of planned faults in the real program.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use programs::{EchoServer, Program, echoline, run, wait_for};

/// Every kind of stream fault is used in a command of docs/faults.md.
#[test]
fn every_kind_is_on_the_page() {
    let page = include_str!("../../../docs/faults.md");
    let commands = page.lines().filter(|line| line.starts_with("$ echoline echo"));
    for kind in echoline::faults::FaultKind::ALL.into_iter().filter(|kind| kind.is_for_streams()) {
        let rule = format!("--fault '{kind}");
        assert!(commands.clone().any(|line| line.contains(&rule)), "{kind}");
    }
}

/// Sends `input` on a new connection. Returns the output and how the connection ended.
fn converse(address: &str, input: &[u8]) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let sent = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    let result = stream.read_to_end(&mut heard).and(sent);
    // The kernel reports a reset only once: either to the write as EPIPE or to the read as
    // ECONNRESET.
    let kind = result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ErrorKind::ConnectionReset,
        kind => kind,
    });
    (heard, kind)
}

const CHANCY: &[&str] = &[
    "drop p=0.1",
    "duplicate p=0.1",
    "corrupt=3 p=0.1 offset=4",
    "truncate=5 p=0.1",
    "delay=1ms..3ms p=0.1",
    "split=7 p=0.1 gap=0ms",
    "drop p=0.05 direction=in",
    "reset p=0.3 after=2KiB",
    "reset p=0.2 after=3KiB direction=in",
    "refuse p=0.2",
    "half-close p=0.3 after=1KiB",
];

/// Returns the output that twelve clients, in turn, get from a server with this seed.
fn outcomes(seed: &str) -> Vec<(Vec<u8>, Result<(), ErrorKind>)> {
    let mut flags = vec!["--fault-seed", seed];
    flags.extend(CHANCY.iter().flat_map(|rule| ["--fault", rule]));
    let server = EchoServer::start(&flags);
    let lines: String = (0..200).map(|number| format!("line {number} of some length\n")).collect();
    (0..12).map(|_| converse(&server.address, lines.as_bytes())).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let ours = outcomes("42");
    for (number, (again, ours)) in (1..).zip(outcomes("42").iter().zip(&ours)) {
        let text = |heard: &[u8]| String::from_utf8_lossy(heard).into_owned();
        let (again, ours) = ((text(&again.0), again.1), (text(&ours.0), ours.1));
        let lengths = (ours.0.len(), again.0.len());
        assert!(again == ours, "client {number}: {lengths:?}, {:?}, then {:?}", ours.1, again.1);
    }
    assert!(outcomes("43") != ours);
    let ended = |kind| ours.iter().filter(|(_, end)| *end == kind).count();
    assert!(ended(Ok(())) > 0 && ended(Err(ErrorKind::ConnectionReset)) > 0);
    let is_half = |(heard, end): &(Vec<u8>, _)| *end == Ok(()) && heard.len() < 2000;
    assert!(ours.iter().any(is_half), "no connection was half-closed");
}

#[test]
fn a_connection_is_cut_to_the_byte() {
    let server = EchoServer::start(&["--mode", "raw", "--fault", "reset after=1KiB at=2"]);
    let bytes = [b'x'; 1500];
    assert_eq!(converse(&server.address, &bytes), (bytes.to_vec(), Ok(())));
    let cut = (bytes[..1024].to_vec(), Err(ErrorKind::ConnectionReset));
    assert_eq!(converse(&server.address, &bytes), cut);
    assert_eq!(converse(&server.address, &bytes), (bytes.to_vec(), Ok(())));
}

/// A server with the default log, and its address.
struct Logged {
    program: Program,
    address: String,
}

fn with_a_log(flags: &[&str]) -> Logged {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0"]);
    let program = Program::start(command.arg("--ready-file").arg(&ready).args(flags));
    wait_for("the ready file", || ready.exists());
    let address = fs::read_to_string(ready).unwrap().trim().to_owned();
    Logged { program, address }
}

#[test]
fn the_log_shows_the_seed_and_the_counts_of_faults() {
    let server = with_a_log(&["--fault", "drop every=2", "--fault", "refuse at=2"]);
    server.program.wait_for_stderr("faults are planned; --fault-seed ");
    server.program.wait_for_stderr("fault: drop every=2");
    assert_eq!(converse(&server.address, b"1\n2\n3\n4\n").0, b"Echo: 1\nEcho: 3\n");
    assert_eq!(converse(&server.address, b"1\n").1, Err(ErrorKind::ConnectionReset));
    server.program.signal("TERM");
    let ended = server.program.finish();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("planned faults; drop=2 refuse=1\n"), "{}", ended.stderr);
}

#[test]
fn a_plan_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.txt");
    fs::write(&path, "# two rules\ndrop at=1 # the first\n\ntruncate=7 at=2\n").unwrap();
    let file = path.to_str().unwrap();
    let server = EchoServer::start(&["--fault-file", file, "--fault", "drop at=3"]);
    assert_eq!(converse(&server.address, b"1\n2x\n3\n4\n").0, b"Echo: 2\nEcho: 4\n");
    fs::write(&path, "drop\n\ndrop evry=2\n").unwrap();
    let ended = run(&["echo", "--listen", "127.0.0.1:0", "--fault-file", file], b"");
    let sentence = format!(
        "echoline: --fault-file {file}: line 3: 'drop evry=2': there is no 'evry'; did you mean \
         'every'?\n"
    );
    assert_eq!((ended.code(), ended.stderr), (Some(2), sentence));
    let ended = run(&["echo", "--fault-file", "/no/such/plan"], b"");
    let sentence = "echoline: cannot read --fault-file /no/such/plan: No such file or directory";
    assert!(ended.stderr.starts_with(sentence), "{}", ended.stderr);
    let ended = run(&["echo", "--fault", "drop p=2"], b"");
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("write a number from 0 to 1"), "{}", ended.stderr);
}

#[test]
fn a_reload_reads_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.txt");
    fs::write(&path, "drop at=1\n").unwrap();
    let server = with_a_log(&["--fault-file", path.to_str().unwrap()]);
    assert_eq!(converse(&server.address, b"1\n2\n3\n").0, b"Echo: 2\nEcho: 3\n");
    fs::write(&path, "drop at=2\ndorp\n").unwrap();
    server.program.signal("HUP");
    server.program.wait_for_stderr("line 2: 'dorp': there is no fault 'dorp'");
    assert_eq!(converse(&server.address, b"1\n2\n3\n").0, b"Echo: 2\nEcho: 3\n");
    fs::write(&path, "drop at=2\n").unwrap();
    server.program.signal("HUP");
    server.program.wait_for_stderr("faults: 1 rule");
    assert_eq!(converse(&server.address, b"1\n2\n3\n").0, b"Echo: 1\nEcho: 3\n");
}

#[test]
fn rules_may_come_from_the_environment() {
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.env("ECHOLINE_FAULT", "drop at=1; reorder").env("ECHOLINE_FAULT_SEED", "9");
    let program = Program::start(&mut command);
    program.wait_for_stderr("--fault-seed 9 repeats them");
    program.wait_for_stderr("fault: drop at=1");
    program.wait_for_stderr("'reorder=50ms' has no effect here: it is for datagrams only");
    program.wait_for_stderr("ready");
    program.signal("TERM");
    let ended = program.finish();
    assert!(ended.stderr.contains("planned faults; none took place"), "{}", ended.stderr);
}

/// A plan must not prevent the end of a server.
#[test]
fn a_draining_server_does_not_wait_for_a_stall() {
    let server = with_a_log(&["--fault", "stall after=12"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"hello\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    server.program.signal("TERM");
    let ended = server.program.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("planned faults; stall=1"), "{}", ended.stderr);
    let read = stream.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ConnectionReset));
}

/// The connection of a client that has left waits for the end of the stall. A drain does not.
#[test]
fn a_draining_server_does_not_wait_for_the_stall_of_a_client_that_has_left() {
    let server = with_a_log(&["--fault", "stall after=12", "--drain-timeout", "1h"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"hello\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    drop(stream);
    server.program.signal("TERM");
    let ended = server.program.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended; end_of_stream=1"), "{}", ended.stderr);
}
