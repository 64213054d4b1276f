//! Tests of the program `echoline load`, against good servers and bad ones.

#![allow(clippy::unwrap_used)]

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use programs::{EchoServer, Ended, Program, echoline, nobody, read_to_end, run, serve};

fn load(address: &str, flags: &[&str]) -> Ended {
    let mut arguments = vec!["load", address];
    arguments.extend_from_slice(flags);
    run(&arguments, b"")
}

fn assert_line(ended: &Ended, line: &str) {
    let text = ended.text();
    assert!(text.lines().any(|shown| shown.trim() == line), "no line '{line}' in {ended:?}");
}

#[test]
fn every_mode_of_the_echo_answers_right() {
    for mode in ["raw", "line", "command"] {
        let server = EchoServer::start(&["--mode", mode]);
        for eol in ["lf", "crlf"] {
            let flags = ["--clients", "5", "--messages", "50", "--eol", eol];
            let ended = load(&server.address, &flags);
            assert_eq!(ended.code(), Some(0), "{mode} {eol}: {ended:?}");
            assert_line(&ended, "Successful clients: 5/5");
            assert_line(&ended, "Messages: 250");
            assert_line(&ended, "Planned 250 = sent 250 + skipped 0");
            assert_line(
                &ended,
                "Sent 250 = ok 250 + wrong 0 + timed out 0 + reset 0 + lost 0 + in flight 0",
            );
            assert!(ended.text().contains("seed 1") && ended.text().contains("service time"));
            assert_eq!(ended.stderr, "");
        }
    }
}

/// Fault 37: a message that is larger than all buffers on the path does not cause a deadlock.
#[test]
fn large_messages_do_not_lock() {
    let server = EchoServer::start(&["--mode", "raw"]);
    let flags = ["--clients", "2", "--messages", "3", "--size", "16MiB", "--timeout", "30s"];
    let ended = load(&server.address, &flags);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Defect 7 of the lesson: the messages that a failed client has completed count.
#[test]
fn a_server_that_closes_mid_run_fails_only_the_lost_messages() {
    let address = serve(|mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        for _ in 0..3 {
            line.clear();
            lines.read_line(&mut line).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
        // Reads the fourth line too. Otherwise the close would send a reset instead of a FIN.
        lines.read_line(&mut line).unwrap();
    });
    let ended = load(&address, &["--clients", "2", "--messages", "10"]);
    assert_eq!(ended.code(), Some(1));
    assert_line(&ended, "Successful clients: 0/2");
    assert_line(&ended, "Messages: 6");
    assert_line(&ended, "Planned 20 = sent 8 + skipped 12");
    assert_line(&ended, "Sent 8 = ok 6 + wrong 0 + timed out 0 + reset 0 + lost 2 + in flight 0");
    assert_line(&ended, "Skipped 12: the connection had closed");
    assert_line(&ended, "2 × the server closed the connection before the reply");
}

#[test]
fn a_wrong_reply_is_shown_beside_its_message() {
    let address = serve(|mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.write_all(b"\x1b[31mnonsense\n").unwrap();
        read_to_end(&mut stream);
    });
    let ended = load(&address, &["--clients", "1", "--messages", "10", "--size", "7"]);
    assert_eq!(ended.code(), Some(1));
    assert_line(&ended, "Sent 2 = ok 1 + wrong 1 + timed out 0 + reset 0 + lost 0 + in flight 0");
    assert_line(&ended, "Skipped 8: an earlier wrong reply closed the connection");
    assert!(ended.text().contains(r#"got "\x1b[31mnonsense""#), "{ended:?}");
    assert!(!ended.stdout.contains(&0x1b));
}

#[test]
fn a_server_that_never_answers_times_out() {
    let address = serve(|mut stream| read_to_end(&mut stream));
    let ended = load(&address, &["--clients", "3", "--messages", "10", "--timeout", "300ms"]);
    assert_eq!(ended.code(), Some(1));
    assert_line(&ended, "Sent 3 = ok 0 + wrong 0 + timed out 3 + reset 0 + lost 0 + in flight 0");
    assert_line(&ended, "3 × no reply within 300ms");
}

#[test]
fn hostile_servers_end_in_the_ledger() {
    let endless = |mut stream: TcpStream| while stream.write_all(&[b'x'; 4096]).is_ok() {};
    let newlines = |mut stream: TcpStream| while stream.write_all(&[b'\n'; 4096]).is_ok() {};
    let garbage = |mut stream: TcpStream| {
        let noise: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let _ = stream.write_all(&noise);
        read_to_end(&mut stream);
    };
    for address in [serve(endless), serve(newlines), serve(garbage)] {
        let ended = load(&address, &["--clients", "2", "--messages", "2", "--timeout", "20s"]);
        assert_eq!(ended.code(), Some(1));
        assert_line(
            &ended,
            "Sent 2 = ok 0 + wrong 2 + timed out 0 + reset 0 + lost 0 + in flight 0",
        );
    }
    // A socket that is closed with unread input resets the connection.
    let ended = load(&serve(drop), &["--clients", "2", "--messages", "2"]);
    assert_line(&ended, "Planned 4 = sent 2 + skipped 2");
    let text = ended.text();
    let gone =
        |reset: u32| format!("timed out 0 + reset {reset} + lost {} + in flight 0", 2 - reset);
    assert!((0..=2).any(|reset| text.contains(&gone(reset))), "{ended:?}");
}

#[test]
fn a_busy_server_is_quoted() {
    let address = serve(|mut stream| {
        stream.write_all(b"Server is busy. Try again later.\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(&mut stream);
    });
    let ended = load(&address, &["--clients", "1", "--messages", "2"]);
    assert_eq!(ended.code(), Some(1));
    assert!(
        ended.text().contains("its last line was \"Server is busy. Try again later.\""),
        "{ended:?}"
    );
}

#[test]
fn a_missing_server_is_one_reason_with_its_count() {
    let ended = load(&nobody().to_string(), &["--clients", "3", "--messages", "2"]);
    assert_eq!(ended.code(), Some(1));
    let start = "No client could connect to 127.0.0.1:";
    assert!(ended.text().starts_with(start), "{ended:?}");
    assert_line(&ended, "Planned 6 = sent 0 + skipped 6");
    assert_line(&ended, "3 × cannot connect: connection refused");
    assert_line(&ended, "Skipped 6: their clients could not connect");
}

#[test]
fn the_first_interrupt_stops_sending_and_the_second_reports_at_once() {
    let (came, second) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut message = [0; 64];
        stream.read_exact(&mut message).unwrap();
        stream.write_all(&message).unwrap();
        stream.read_exact(&mut message).unwrap();
        came.send(()).unwrap();
        read_to_end(&mut stream);
    });
    for (signals, timeout) in [(1, "2s"), (2, "1h")] {
        let flags = ["load", &address, "--clients", "1", "--messages", "9", "--timeout", timeout];
        let program = Program::start(&mut echoline(&flags));
        second.recv_timeout(Duration::from_secs(60)).expect("a second message");
        program.signal("INT");
        program.wait_for_stderr("SIGINT: stops sending");
        if signals == 2 {
            program.signal("INT");
        }
        let ended = program.finish();
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        let text = match signals {
            1 => "Sent 2 = ok 1 + wrong 0 + timed out 1 + reset 0 + lost 0 + in flight 0",
            _ => "Sent 2 = ok 1 + wrong 0 + timed out 0 + reset 0 + lost 0 + in flight 1",
        };
        assert_line(&ended, text);
        assert_line(&ended, "Planned 9 = sent 2 + skipped 0 + stopped 7");
    }
}

/// Starts an echo server for this number of connections, with this number of messages on each.
/// After that, no server listens at the address.
fn mortal_echo(connections: usize, messages: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let accept = || listener.accept().unwrap().0;
        let streams: Vec<_> = std::iter::repeat_with(accept).take(connections).collect();
        drop(listener);
        for mut stream in streams {
            thread::spawn(move || {
                let mut message = [0; 64];
                for _ in 0..messages {
                    stream.read_exact(&mut message).unwrap();
                    stream.write_all(&message).unwrap();
                }
            });
        }
    });
    address
}

/// Issue 11, item 33: a client that cannot connect, or loses its server, counts in `errors` and in
/// the exit code, in each kind of run.
#[test]
fn regression_a_server_that_is_not_there_fails_every_kind_of_run() {
    let kinds: [&[&str]; 7] = [
        &["--duration", "400ms"],
        &["--duration", "400ms", "--reconnect", "never"],
        &["--duration", "400ms", "--messages", "1000"],
        &["--duration", "400ms", "--warmup", "100ms", "--think", "1ms"],
        &["--messages", "1000"],
        &["--messages", "1000", "--reconnect", "always", "--timeout", "200ms"],
        &["--rate", "500/s", "--duration", "400ms", "--grace", "100ms"],
    ];
    for kind in kinds {
        for address in [nobody().to_string(), mortal_echo(2, 10)] {
            let condition = ["--clients", "2", "--quiet", "--fail-if", "errors>20%"];
            let ended = load(&address, &[kind, &condition].concat());
            assert_eq!(ended.code(), Some(3), "{kind:?}: {ended:?}");
            assert!(ended.text().contains("Without a server: 2 clients at the end"), "{ended:?}");
        }
        let plain = load(&nobody().to_string(), &[kind, &["--clients", "2"]].concat());
        assert_eq!(plain.code(), Some(1), "{kind:?}: {plain:?}");
    }
}

/// Issue 14, item 0: the short flags of ab, hey and wrk, -c, -n and -d, are accepted.
#[test]
fn the_short_flags_of_other_programs_are_accepted() {
    let server = EchoServer::start(&[]);
    let ended = load(&server.address, &["-c", "2", "-n", "7", "-d", "30"]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_line(&ended, "Planned 7 = sent 7 + skipped 0");
    assert!(ended.text().contains(" for 30s, 2 clients\n"), "{ended:?}");
}

/// Issue 11, item 33: if one of two servers is dead, half of the clients' time counts as errors.
#[test]
fn regression_one_dead_server_of_two_is_half_of_the_errors() {
    let server = EchoServer::start(&[]);
    let dead = nobody().to_string();
    for (condition, code) in
        [("errors>40%", 3), ("errors>70%", 0), ("p50>9m", 1), ("p50>9m,skipped>99%", 0)]
    {
        let flags = ["--duration", "400ms", "--clients", "2", "--quiet", "--fail-if", condition];
        let ended = run(&[&["load", &server.address, &dead], &flags[..]].concat(), b"");
        assert_eq!(ended.code(), Some(code), "{condition}: {ended:?}");
        assert!(
            ended.text().contains("1 client at the end of the run, 50.0 % of all client time"),
            "{ended:?}"
        );
    }
}

/// Issue 11, item 34: the measured time ends with the last answer, not with the planned duration.
#[test]
fn regression_the_time_ends_with_the_last_answer() {
    let server = EchoServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json").to_str().unwrap().to_owned();
    let flags = ["--messages", "20", "--duration", "170s", "--clients", "2", "--json", &json];
    let ended = load(&server.address, &flags);
    let merged = run(&["merge", &json], b"");
    for text in [ended.text(), merged.text()] {
        let time = text.lines().find_map(|line| line.strip_prefix("Time: ")).unwrap();
        let seconds: f64 = time.strip_suffix(" s").unwrap().parse().unwrap();
        assert!(seconds < 100.0, "{text}");
    }
    // The plan of an open loop lasts for its duration. The last message is due before its end.
    let slow = load(&server.address, &["--rate", "1.5/s", "--duration", "2s", "--clients", "1"]);
    assert!(slow.text().contains("Messages per second: 1.50"), "{slow:?}");
}

/// Issue 11, item 36: messages that a stop cuts off are no errors, although the last message timed
/// out.
#[test]
fn regression_a_stop_is_not_charged_to_the_server() {
    let (came, stuck) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut message = [0; 64];
        for _ in 0..80 {
            stream.read_exact(&mut message).unwrap();
            stream.write_all(&message).unwrap();
        }
        stream.read_exact(&mut message).unwrap();
        came.send(()).unwrap();
        read_to_end(&mut stream);
    });
    let flags = ["--messages", "1000", "--timeout", "2s", "--fail-if", "errors>5%"];
    let program = Program::start(&mut echoline(
        &[&["load", &address, "--clients", "1"], &flags[..]].concat(),
    ));
    stuck.recv_timeout(Duration::from_secs(60)).expect("message 81");
    program.signal("INT");
    let ended = program.finish();
    assert_line(&ended, "Planned 1000 = sent 81 + skipped 0 + stopped 919");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Issue 11, item 36: a closed loop that is stopped early fails, because it did not complete its
/// plan.
#[test]
fn regression_a_closed_loop_that_is_stopped_fails() {
    for (condition, code) in [(&[][..], 1), (&["--fail-if", "errors>5%"], 0)] {
        let (came, second) = mpsc::channel();
        let address = serve(move |mut stream| {
            let mut message = [0; 64];
            while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {
                _ = came.send(());
            }
        });
        let flags = [&["load", &address, "--duration", "1h", "--clients", "1"], condition];
        let program = Program::start(&mut echoline(&flags.concat()));
        second.recv_timeout(Duration::from_secs(60)).expect("a message");
        program.signal("INT");
        let ended = program.finish();
        assert_eq!(ended.code(), Some(code), "{ended:?}");
    }
}

/// Issue 11, item 36: a missing server stays an error when the run is stopped.
#[test]
fn regression_a_stop_does_not_hide_a_dead_server() {
    let flags = ["--rate", "100/s", "--duration", "1h", "--clients", "2", "--json", "-"];
    let condition = ["--fail-if", "errors>5%"];
    let address = nobody().to_string();
    let program =
        Program::start(&mut echoline(&[&["load", &address], &flags[..], &condition].concat()));
    program.wait_for_stderr("0 right");
    program.signal("INT");
    let ended = program.finish();
    assert_eq!(ended.code(), Some(3), "{ended:?}");
    assert!(ended.text().contains("\"not_connected\": "), "{ended:?}");
}

/// Issue 11, item 36: a client without an answer fails one message, not its whole plan.
#[test]
fn regression_a_slow_client_fails_only_the_unanswered_message() {
    let number = Arc::new(AtomicU32::new(0));
    let address = serve(move |mut stream| {
        let silent = number.fetch_add(1, Ordering::Relaxed) == 0;
        let mut message = [0; 64];
        while !silent && stream.read_exact(&mut message).is_ok() {
            stream.write_all(&message).unwrap();
        }
        read_to_end(&mut stream);
    });
    let plan =
        ["--messages", "100000", "--duration", "500ms", "--clients", "2", "--grace", "100ms"];
    let ended = load(&address, &[&plan[..], &["--fail-if", "errors>20%"]].concat());
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.text().contains("timed out 1 + reset 0 + lost 0"), "{ended:?}");
    assert!(ended.text().contains(" + skipped 0\n"), "{ended:?}");
}

/// Issue 11, item 37: an open loop of a number of messages connects again, as its help says.
#[test]
fn regression_a_rate_with_messages_reconnects() {
    let address = serve(|mut stream| {
        let mut message = [0; 64];
        for _ in 0..3 {
            stream.read_exact(&mut message).unwrap();
            stream.write_all(&message).unwrap();
        }
    });
    let ended = load(&address, &["--rate", "100/s", "--messages", "20", "--clients", "1"]);
    assert_line(&ended, "Planned 20 = sent 20 + skipped 0");
    let never = ["--rate", "100/s", "--messages", "20", "--clients", "1", "--reconnect", "never"];
    assert!(!load(&address, &never).text().contains("skipped 0"));
}

/// Issue 11, item 37: clients that a busy server refuses reconnect with growing delays.
#[test]
fn regression_refused_clients_back_off() {
    let accepted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&accepted);
    let address = serve(move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        let _ = stream.write_all(b"Server is busy. Try again later.\n");
    });
    let ended = load(&address, &["--clients", "2", "--duration", "1s"]);
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    // The delays are at least 5, 10, 20 … 320 ms: at most eight connections of each fit.
    let accepted = accepted.load(Ordering::Relaxed);
    assert!((4..=16).contains(&accepted), "{accepted} connections");
}

/// Issue 11, item 39: a run with one message per client is too short for a warning.
#[test]
fn regression_tiny_runs_cause_no_warning() {
    let server = EchoServer::start(&[]);
    for clients in ["1"; 16].into_iter().chain(["200"; 4]) {
        let flags = ["--clients", clients, "--messages", "1", "--connect-rate", "max", "--quiet"];
        let ended = load(&server.address, &flags);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert!(!ended.text().contains("do not trust"), "{ended:?}");
    }
}

#[test]
fn errors_of_usage_say_what_to_type() {
    for (flags, wanted) in [
        (&["--size", "3"][..], "at least 6 bytes"),
        (&["--clients", "0"], "--clients"),
        (&["--timeout", "0s"], "write for example 5s"),
        (&["--connect-rate", "soon"], "1000/s"),
    ] {
        let ended = load("127.0.0.1:1", flags);
        assert_eq!(ended.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(wanted), "{ended:?}");
    }
    let ended = load("127.0.0.1:1", &["--clients", "400000000"]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("ulimit -n"), "{ended:?}");
}

#[test]
fn flags_come_from_the_environment_too() {
    let server = EchoServer::start(&[]);
    let mut command = echoline(&["load", &server.address]);
    command.env("ECHOLINE_CLIENTS", "2").env("ECHOLINE_MESSAGES", "3");
    let ended = Program::start(&mut command).finish();
    assert_line(&ended, "Messages: 6");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let server = EchoServer::start(&[]);
    let mut command = echoline(&["load", &server.address, "--clients", "2"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}
