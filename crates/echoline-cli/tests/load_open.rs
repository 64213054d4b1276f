//! Tests of `echoline load` with schedules, searches, and servers other than an echo.

#![allow(clippy::unwrap_used)]

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use programs::{EchoServer, Ended, Program, echoline, read_to_end, run, serve, wait_for};

fn load(address: &str, flags: &[&str]) -> Ended {
    let mut arguments = vec!["load", address];
    arguments.extend_from_slice(flags);
    run(&arguments, b"")
}

fn assert_clean(ended: &Ended, messages: u32) {
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let line = format!("Planned {messages} = sent {messages} + skipped 0");
    assert!(ended.text().contains(&line), "no '{line}' in {ended:?}");
}

/// Returns the number after `name` in the ledger's line that begins with `line`.
fn count(ended: &Ended, line: &str, name: &str) -> u64 {
    let text = ended.text();
    let line = text.lines().find(|shown| shown.starts_with(line)).unwrap();
    let rest = line.split_once(&format!("{name} ")).unwrap().1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Starts a server that sends `greeting`, then answers each line with the result of `reply`.
fn line_server(greeting: &'static [u8], reply: fn(&[u8]) -> Vec<u8>) -> String {
    serve(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = Vec::new();
        let _ = stream.write_all(greeting);
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            if stream.write_all(&reply(&line)).is_err() {
                return;
            }
            line.clear();
        }
    })
}

#[test]
fn open_loops_send_all_planned_messages() {
    let server = EchoServer::start(&[]);
    for (flags, messages) in [
        (&["--rate", "400/s", "--duration", "1s"][..], 400),
        (&["--rate", "400/s", "--duration", "1s", "--busy-poll", "100us", "--depth", "4"], 400),
        (&["--rate", "100..300/s", "--over", "1s"], 200),
        (&["--rate", "100..300/s", "--over", "1s", "--steps", "3", "--workers", "2"], 200),
        (&["--rate", "400/s", "--duration", "500ms", "--warmup", "500ms"], 200),
        (&["--rate", "400/s", "--messages", "20"], 200),
    ] {
        let ended = load(&server.address, &[flags, &["--clients", "10"]].concat());
        assert_clean(&ended, messages);
        assert!(ended.text().contains("open loop"), "{ended:?}");
    }
    let flags = ["--rate", "400/s", "--duration", "1s", "--arrival", "poisson", "--seed", "7"];
    let poisson = load(&server.address, &flags);
    let planned = count(&poisson, "Planned", "Planned");
    assert!((300..500).contains(&planned), "{poisson:?}");
    assert_eq!(poisson.code(), Some(0));
    let again = load(&server.address, &flags);
    assert_eq!(count(&again, "Planned", "Planned"), planned);
}

#[test]
fn a_closed_loop_may_last_for_a_time_and_think() {
    let server = EchoServer::start(&[]);
    let flags = ["--duration", "500ms", "--clients", "4", "--think", "50ms"];
    let ended = load(&server.address, &flags);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    // Each client sends at most 11 messages in 500 ms, because it pauses for 50 ms after each
    // reply.
    assert!((4..=44).contains(&count(&ended, "Planned", "Planned")), "{ended:?}");
    let flags = ["--messages", "300", "--clients", "3", "--depth", "32"];
    assert_clean(&load(&server.address, &flags), 900);
}

/// Fault 7: each message has its own connection, from four addresses, closed by FIN or reset.
#[test]
fn churn_opens_a_connection_for_each_exchange() {
    let server = EchoServer::start(&["--mode", "raw"]);
    let sources = "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5";
    for rst in [&[][..], &["--rst"]] {
        let flags = ["--messages-per-connection", "1", "--messages", "100", "--source", sources];
        let flags = [&flags[..], &["--clients", "8"], rst].concat();
        let ended = load(&server.address, &flags);
        assert_clean(&ended, 800);
    }
    let accepted = Arc::new(AtomicU32::new(0));
    let address = serve({
        let accepted = Arc::clone(&accepted);
        move |mut stream| {
            accepted.fetch_add(1, Ordering::Relaxed);
            let mut line = [0; 64];
            while stream.read_exact(&mut line).is_ok() && stream.write_all(&line).is_ok() {}
        }
    });
    let churn = ["--messages-per-connection", "3", "--messages", "10", "--clients", "2"];
    assert_clean(&load(&address, &churn), 20);
    assert_eq!(accepted.load(Ordering::Relaxed), 8);
    let open = ["--messages-per-connection", "1", "--rate", "100/s", "--duration", "500ms"];
    assert_clean(&load(&address, &open), 50);
    assert_eq!(accepted.load(Ordering::Relaxed), 58);
}

#[test]
fn the_error_names_a_foreign_source_address() {
    let server = EchoServer::start(&[]);
    let ended = load(&server.address, &["--source", "192.0.2.1", "--clients", "2"]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.text().contains("--source 192.0.2.1"), "{ended:?}");
    let ended = load(&server.address, &["--source", "::1", "--clients", "2"]);
    assert!(ended.text().contains("no --source has the address family"), "{ended:?}");
}

#[test]
fn any_line_server_can_be_a_target() {
    fn pong(_: &[u8]) -> Vec<u8> {
        b"+PONG\r\n".to_vec()
    }
    /// Answers like Redis to an inline command: the length, then the text.
    fn bulk(line: &[u8]) -> Vec<u8> {
        let text = line.trim_ascii().strip_prefix(b"PING ").unwrap();
        let mut reply = format!("${}\r\n", text.len()).into_bytes();
        reply.extend_from_slice(text);
        reply.extend_from_slice(b"\r\n");
        reply
    }
    fn echo(line: &[u8]) -> Vec<u8> {
        [b"> ", line].concat()
    }
    let pong = line_server(b"", pong);
    let greeted = line_server(b"hello\r\nthere\r\n", echo);
    let bulk = line_server(b"", bulk);
    let redis = ["--message", "PING {seq}", "--eol", "crlf", "--reply-lines", "2"];
    let redis = [&redis[..], &["--expect", "text:{seq}"]].concat();
    for (address, flags) in [
        (&pong, &["--message", "PING", "--expect", "line"][..]),
        (&pong, &["--message", "PING", "--expect", r"regex:^\+PONG$", "--depth", "5"]),
        (&pong, &["--message", r"PING\x21", "--expect", "any"]),
        (&greeted, &["--prefix", "> ", "--skip-greeting", "2"]),
        (
            &greeted,
            &["--expect", "text:> {client}", "--message", "{client}", "--skip-greeting", "2"],
        ),
        (&bulk, &redis),
    ] {
        let ended = load(address, &[flags, &["--clients", "3", "--messages", "20"]].concat());
        assert_clean(&ended, 60);
    }
    let flags = ["--message", "PING", "--expect", "regex:OK", "--clients", "1"];
    let ended = load(&pong, &flags);
    assert_eq!(ended.code(), Some(1));
    let reason = "wrong reply: it does not match the pattern";
    assert!(ended.text().contains(reason), "{ended:?}");
    assert!(ended.text().contains(r#"sent "PING\n", got "+PONG""#), "{ended:?}");
}

#[test]
fn messages_come_from_a_file() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("messages");
    std::fs::write(&file, "one\r\n\ntwo\nthree").unwrap();
    let flags = ["--messages-from", file.to_str().unwrap(), "--clients", "2"];
    assert_clean(&load(&server.address, &flags), 200);
    std::fs::write(&file, "\n\n").unwrap();
    let ended = load(&server.address, &flags);
    assert!(ended.stderr.contains("it contains no message"), "{ended:?}");
}

/// Fault 28: resets in the middle of replies are counted as resets. A client that may reconnect
/// continues.
#[test]
fn resets_end_in_the_ledger() {
    let address = serve(|mut stream| {
        let mut line = [0; 64];
        for _ in 0..3 {
            stream.read_exact(&mut line).unwrap();
            stream.write_all(&line).unwrap();
        }
        stream.read_exact(&mut line).unwrap();
        stream.write_all(&line[..32]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let ended = load(&address, &["--clients", "2", "--messages", "10"]);
    assert_eq!((count(&ended, "Sent", "ok"), count(&ended, "Sent", "reset")), (6, 2), "{ended:?}");
    assert!(ended.text().contains("connection reset"), "{ended:?}");
    let flags = ["--clients", "2", "--messages", "10", "--reconnect", "always"];
    let ended = load(&address, &flags);
    // Every fourth message is lost.
    assert_eq!((count(&ended, "Sent", "ok"), count(&ended, "Sent", "reset")), (16, 4), "{ended:?}");
    assert!(ended.text().contains("skipped 0"), "{ended:?}");
}

#[test]
fn a_server_that_speaks_something_else_is_quoted() {
    let http = serve(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        let _ = stream.shutdown(Shutdown::Write);
        read_to_end(&mut stream);
    });
    let ended = load(&http, &["--clients", "1", "--expect", "line", "--depth", "4"]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let ended = load(&http, &["--clients", "1", "--prefix", ""]);
    assert!(ended.text().contains(r#"got "HTTP/1.1 400 Bad Request""#), "{ended:?}");
    let tls = serve(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(&[0x15, 3, 1, 0, 2, 2, 0x46]);
    });
    let ended = load(&tls, &["--clients", "1", "--duration", "300ms"]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.text().contains("the server closed the connection"), "{ended:?}");
}

/// No server listens in the first part of the run. The messages of that time are sent later.
#[test]
fn a_server_that_starts_late_is_found() {
    // Only the report shows whether a connection was refused. On a busy machine the server may
    // start before the first attempt. Then the test tries again with a later start.
    for seconds in [1, 4, 16] {
        let ended = load_that_finds_a_server_after(seconds);
        assert_clean(&ended, 50 * (seconds + 2));
        if ended.text().contains("cannot connect: connection refused") {
            return;
        }
    }
    panic!("no client was refused although no server listened for 16 s");
}

fn load_that_finds_a_server_after(seconds: u32) -> Ended {
    let address = programs::nobody();
    let (at, duration) = (address.to_string(), format!("{}s", seconds + 2));
    let flags = ["load", &at, "--rate", "50/s", "--duration", &duration, "--clients", "2"];
    let program = Program::start(&mut echoline(&flags));
    thread::sleep(Duration::from_millis(500 * u64::from(seconds)));
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut from = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut from, &mut { stream });
            });
        }
    });
    program.finish()
}

#[test]
fn a_missing_server_skips_the_whole_plan() {
    let address = programs::nobody().to_string();
    let ended = load(&address, &["--rate", "100/s", "--duration", "300ms", "--clients", "2"]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.text().contains("Planned 30 = sent 0 + skipped 30"), "{ended:?}");
    assert!(ended.text().contains("do not trust this run"), "{ended:?}");
}

/// A message in flight at the end counts as a time-out with its age. Unsent messages are reported.
#[test]
fn waits_no_longer_than_the_grace_for_a_silent_server() {
    let address = serve(|mut stream: TcpStream| {
        let mut line = [0; 64];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(&line).unwrap();
        read_to_end(&mut stream);
    });
    let flags = ["--rate", "20/s", "--duration", "500ms", "--grace", "300ms", "--clients", "1"];
    let ended = load(&address, &flags);
    assert_eq!(ended.code(), Some(1));
    assert_eq!(count(&ended, "Sent", "timed out"), 1, "{ended:?}");
    assert!(ended.text().contains("Planned 10 = sent 2 + skipped 8"), "{ended:?}");
}

#[test]
fn an_interrupt_accounts_for_the_whole_plan() {
    static HEARD: AtomicU32 = AtomicU32::new(0);
    let address = line_server(b"", |line| {
        HEARD.fetch_add(1, Ordering::Relaxed);
        line.to_vec()
    });
    let flags = ["load", &address, "--rate", "100/s", "--duration", "1h", "--clients", "5"];
    let program = Program::start(&mut echoline(&flags));
    wait_for("fifty messages", || HEARD.load(Ordering::Relaxed) >= 50);
    program.signal("INT");
    let ended = program.finish();
    assert_eq!(count(&ended, "Planned", "Planned"), 360_000, "{ended:?}");
    let sent = count(&ended, "Planned", "sent");
    assert_eq!(count(&ended, "Planned", "skipped"), 0, "{ended:?}");
    assert_eq!(sent + count(&ended, "Planned", "stopped"), 360_000);
    assert_eq!(count(&ended, "Sent", "ok"), sent);
}

/// Fault 56: a full disk behind stdout causes a sentence and no panic.
#[test]
fn a_full_disk_is_reported() {
    let server = EchoServer::start(&[]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = echoline(&["load", &server.address, "--clients", "2", "--messages", "2"]);
    let ended = command.stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot write the report to stdout") && !said.contains("panic"),
        "{said}"
    );
}

/// A server that takes 10 ms for each message sustains a rate of 100 per second. On a busy machine
/// it takes longer and sustains a lower rate.
#[test]
fn the_highest_rate_that_holds_is_found() {
    fn slowly(line: &[u8]) -> Vec<u8> {
        thread::sleep(Duration::from_millis(10));
        line.to_vec()
    }
    let address = line_server(b"", slowly);
    let flags = ["--find-max", "--slo", "p50<150ms,errors<1%", "--rate", "50/s", "--clients", "1"];
    let ended = load(&address, &[&flags[..], &["--duration", "1s"]].concat());
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let text = ended.text();
    let verdict = text.lines().find(|line| line.contains("held in 3 of 3 runs")).unwrap();
    let rate = verdict.split("/s held").next().unwrap().rsplit(' ').next().unwrap();
    let rate: f64 = rate.replace(',', "").parse().unwrap();
    // At more than 130 per second, messages in the middle of a second wait for over 150 ms.
    assert!((10.0..=135.0).contains(&rate), "{text}");
}

/// Issue 11, item 44: clients send a given total number of messages, in closed and open loop.
#[test]
fn regression_a_total_of_messages_is_sent() {
    let server = EchoServer::start(&[]);
    for (flags, total, clients) in [
        (&["--total-messages", "7", "--clients", "3"][..], 7, "3/3"),
        (&["--total-messages", "5"], 5, "5/5"),
        (&["--total-messages", "30", "--rate", "200/s", "--clients", "4"], 30, "4/4"),
    ] {
        let ended = load(&server.address, &[flags, &["--percentiles", "50,p95,99.9"]].concat());
        assert_clean(&ended, total);
        let text = ended.text();
        assert!(text.contains(&format!("total-messages {total},")), "{text}");
        assert!(text.contains(&format!("Successful clients: {clients}\n")), "{text}");
        assert!(text.contains("samples       p50       p95     p99.9       max"), "{text}");
    }
}

/// Issue 11, item 44: a run ends when a condition of --fail-if is certain to be met, unless
/// --keep-going is set.
#[test]
fn regression_a_run_that_is_certain_to_fail_ends_early() {
    let server = EchoServer::start(&[]);
    let hopeless = ["--rate", "50/s", "--clients", "2", "--fail-if", "max>1ns"];
    let ended = load(&server.address, &[&hopeless[..], &["--duration", "1h"]].concat());
    assert_eq!(ended.code(), Some(3), "{ended:?}");
    let said = "--fail-if max>1ns is certain to be met: the run stops sending";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{ended:?}");
    let sent = count(&ended, "Planned", "sent");
    assert_eq!(sent + count(&ended, "Planned", "stopped"), 180_000, "{ended:?}");
    let patient = ["--duration", "2s", "--keep-going"];
    let ended = load(&server.address, &[&hopeless[..], &patient].concat());
    assert_eq!((ended.code(), count(&ended, "Planned", "sent")), (Some(3), 100), "{ended:?}");
}

/// Issue 11, item 35: a missing server is reported at once, and no rate is tried.
#[test]
fn regression_a_search_without_a_server_reports_connection_refused() {
    let nobody = programs::nobody().to_string();
    let server = EchoServer::start(&[]);
    let search = ["--find-max", "--slo", "p99<5ms", "--quiet"];
    for targets in [&[&*nobody][..], &[&server.address, &nobody]] {
        let ended = run(&[&["load"], targets, &search[..]].concat(), b"");
        assert_eq!((ended.code(), ended.text().as_str()), (Some(1), ""), "{ended:?}");
        let wanted = format!("cannot connect to {nobody}: connection refused");
        assert!(ended.stderr.contains(&wanted), "{ended:?}");
    }
    // Over UDP only the first answer, or its absence, shows whether there is a server.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = format!("udp://{}", udp.local_addr().unwrap());
    let quick = ["--find-max", "--slo", "p50<5ms", "--duration", "300ms", "--timeout", "100ms"];
    let ended = load(&silent, &[&quick[..], &["--clients", "2"]].concat());
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert_eq!(ended.text().matches("(bracket)").count(), 1, "{ended:?}");
    let text = ended.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("without a server (no reply within 100ms)"), "{ended:?}");
}

#[test]
fn errors_of_conflicting_flags_say_what_to_type() {
    for (flags, wanted) in [
        (&["--rate", "soon"][..], "1000..20000/s"),
        (&["--rate", "1..5/s"], "--over 60s"),
        (&["--rate", "5/s", "--steps", "3"], "1000..20000/s"),
        (&["--rate", "5/s", "--think", "1s"], "--think"),
        (&["--arrival", "poisson"], "--rate 1000/s"),
        (&["--depth", "0"], "from 1 to 65536"),
        (&["--duration", "soon"], "write for example 500ms"),
        (&["--message", "{x}"], "{seq}"),
        (&["--expect", "nothing"], "regex:PATTERN"),
        (&["--expect", "regex:("], "not a regular expression"),
        (&["--expect", "any", "--depth", "2"], "--expect line"),
        (&["--expect", "line", "--prefix", "x"], "remove --expect"),
        (&["--source", "here"], "127.0.0.2"),
        (&["--busy-poll", "always"], "write auto, or a time such as 100us"),
        (&["--find-max"], "--slo"),
        (&["--slo", "p99<5ms"], "--find-max"),
        (&["--slo", "p99<5ms", "--messages", "5"], "--messages"),
        (&["--find-max", "--slo", "fast"], "p99<5ms"),
        (&["--find-max", "--slo", "p99.9<5ms", "--rate", "5/s"], "start at --rate 20/s or more"),
        (&["--send-buffer", "5GiB"], "256KiB"),
        (&["--total-messages", "5", "--messages", "5"], "--messages"),
        (&["--percentiles", "50,100"], "50,95,99.9"),
        (&["--percentiles", "1,2,3,4,5,6,7,8,9,10,11,12,13"], "at most 12"),
        (&["--keep-going"], "--fail-if"),
    ] {
        let ended = load("127.0.0.1:1", flags);
        assert_eq!(ended.code(), Some(2), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(wanted), "{flags:?}: {ended:?}");
    }
    for (flags, wanted) in [
        (&["--messages-from", "/nowhere"][..], "--messages-from /nowhere"),
        (&["--clients", "1", "-6"], "no address of the requested family"),
    ] {
        let ended = load("127.0.0.1:1", flags);
        assert_eq!(ended.code(), Some(1), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(wanted), "{flags:?}: {ended:?}");
    }
}

#[test]
fn several_servers_get_their_share() {
    let counts = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
    let servers = counts.clone().map(|count| {
        serve(move |stream| {
            count.fetch_add(1, Ordering::Relaxed);
            let mut from = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut from, &mut { stream });
        })
    });
    let ended = run(&["load", &servers[0], &servers[1], "--clients", "6"], b"");
    assert_clean(&ended, 600);
    wait_for("three clients of each", || {
        counts.iter().all(|count| count.load(Ordering::Relaxed) == 3)
    });
}
