//! `echoline load` as a whole program, against good servers and bad ones.

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
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

/// Fault 37: a message that is larger than all buffers on the way.
#[test]
fn large_messages_do_not_lock() {
    let server = EchoServer::start(&["--mode", "raw"]);
    let flags = ["--clients", "2", "--messages", "3", "--size", "16MiB", "--timeout", "30s"];
    let ended = load(&server.address, &flags);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
}

/// Defect 7 of the lesson: what a failed client has finished counts.
#[test]
fn a_server_that_closes_mid_run_costs_only_what_it_lost() {
    let address = serve(|mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        for _ in 0..3 {
            line.clear();
            lines.read_line(&mut line).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
        // Takes the fourth, so that the end is a FIN and no reset.
        lines.read_line(&mut line).unwrap();
    });
    let ended = load(&address, &["--clients", "2", "--messages", "10"]);
    assert_eq!(ended.code(), Some(1));
    assert_line(&ended, "Successful clients: 0/2");
    assert_line(&ended, "Messages: 6");
    assert_line(&ended, "Planned 20 = sent 8 + skipped 12");
    assert_line(&ended, "Sent 8 = ok 6 + wrong 0 + timed out 0 + reset 0 + lost 2 + in flight 0");
    assert_line(&ended, "Skipped 12: the connection had ended");
    assert_line(&ended, "2 × the server closed the connection before the reply");
}

#[test]
fn a_wrong_reply_is_shown_beside_what_was_sent() {
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
    assert_line(&ended, "Skipped 8: a wrong reply came before, which closes the connection");
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
    // A socket that is closed over what it has not read resets the connection.
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
    assert!(ended.text().contains("said: \"Server is busy. Try again later.\""), "{ended:?}");
}

#[test]
fn nobody_there_is_one_reason_with_its_count() {
    let ended = load(&nobody().to_string(), &["--clients", "3", "--messages", "2"]);
    assert_eq!(ended.code(), Some(1));
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
        program.wait_for_stderr("SIGINT: sends no more");
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
        assert_line(&ended, "Planned 9 = sent 2 + skipped 7");
    }
}

#[test]
fn wrong_usage_says_what_would_be_right() {
    for (flags, wanted) in [
        (&["--size", "3"][..], "at least 6 bytes"),
        (&["--clients", "0"], "--clients"),
        (&["--timeout", "0s"], "write for example 5s"),
        (&["--connect-rate", "5"], "1000/s"),
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
fn a_reader_that_has_had_enough_is_no_error() {
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
