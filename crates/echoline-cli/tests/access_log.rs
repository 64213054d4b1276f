//! Tests of the access log and the log of messages, of an echo server and of a chat.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use programs::{EchoServer, Program, echoline, run, wait_for};
use serde_json::Value;

/// Sends `text`, closes the sending side, and returns everything that the server sends.
fn talk(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

fn end(server: EchoServer) -> programs::Ended {
    server.program.signal("TERM");
    server.program.finish()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Issue 11, item 48: each connection has a line when it ends, also a refused one. The line has the
/// source, the client of a proxy, the time, the bytes and lines of each direction, and the reason.
#[test]
fn regression_each_connection_has_a_line_in_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let flags = ["--access-log", log.to_str().unwrap()];
    let more = ["--proxy-from", "127.0.0.1", "--max-connections", "1"];
    let server = EchoServer::start(&[&flags[..], &more].concat());
    let header = "PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n";
    let mut stream = TcpStream::connect(&server.address).unwrap();
    writeln!(stream, "{header}one").unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert!(talk(&server.address, "").starts_with("Server is busy."));
    writeln!(stream, "two").unwrap();
    stream.read_exact(&mut answer).unwrap();
    let own = stream.local_addr().unwrap();
    drop(stream);
    wait_for("two lines", || lines(&log).len() == 2);
    let [busy, served] = &lines(&log)[..] else { panic!() };
    assert!(busy.contains(" source=127.0.0.1:") && busy.ends_with(" reason=busy"), "{busy}");
    let (address, start) = (&server.address, format!(" connection=1 listener={}", server.address));
    assert!(served.contains(&format!("{start} source={own} client=192.0.2.1:4711 ")), "{address}");
    let amounts = " bytes_received=8 lines_received=2 bytes_sent=20 lines_sent=2 ";
    assert!(served.contains(amounts), "{served}");
    assert!(served.ends_with(" reason=end_of_stream"), "{served}");
    assert_eq!(end(server).code(), Some(0));
}

/// Issue 11, item 48: raw bytes and large answers are counted to the last byte, in JSON and on
/// standard output too.
#[test]
fn regression_the_access_log_counts_every_byte() {
    let flags = ["--mode", "raw", "--access-log", "-", "--access-log-format", "json"];
    let server = EchoServer::start(&flags);
    let text = "0123456789abcdef\n".repeat(50_000);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).unwrap();
        heard.len()
    });
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reading.join().unwrap(), text.len());
    server.program.wait_for_stdout("end_of_stream");
    let line: Value = serde_json::from_str(&server.program.stdout()).unwrap();
    for key in ["bytes_received", "bytes_sent"] {
        assert_eq!(line[key], text.len(), "{line}");
    }
    assert_eq!((&line["lines_received"], &line["lines_sent"]), (&50_000.into(), &50_000.into()));
    assert!(line["duration"].as_f64().unwrap() > 0.0, "{line}");
    assert_eq!(end(server).code(), Some(0));
}

/// Issue 11, item 48: SIGHUP reopens the file under its name after it was renamed.
#[test]
fn regression_a_renamed_access_log_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let (log, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let server = EchoServer::start(&["--access-log", log.to_str().unwrap()]);
    talk(&server.address, "one\n");
    wait_for("the first line", || lines(&log).len() == 1);
    fs::rename(&log, &old).unwrap();
    server.program.signal("HUP");
    wait_for("the new file", || log.exists());
    talk(&server.address, "two\n");
    assert_eq!(end(server).code(), Some(0));
    assert_eq!((lines(&old).len(), lines(&log).len()), (1, 1), "the queue is written");
}

/// Issue 11, item 48: an access log without a reader delays no connection. Lost lines are counted
/// and reported.
#[test]
fn regression_a_blocked_access_log_delays_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let server = EchoServer::start(&["--access-log", fifo.to_str().unwrap()]);
    for _ in 0..600 {
        assert_eq!(talk(&server.address, "a\n"), "Echo: a\n");
    }
    let mut read = Vec::new();
    // The read ends with an error, because the pipe is empty now.
    let _ = (&reader).read_to_end(&mut read);
    let written = String::from_utf8_lossy(&read).matches("connection=").count();
    assert!((100..600).contains(&written), "the pipe holds {written} lines");
    assert_eq!(talk(&server.address, "a\n"), "Echo: a\n");
    assert_eq!(end(server).code(), Some(0));
    let mut rest = String::new();
    (&reader).read_to_string(&mut rest).unwrap();
    assert!(rest.contains(" lines_lost="), "{rest}");
}

/// Issue 11, item 48: the lines of clients are logged, escaped and bounded, without the secrets of
/// a chat. The event `closed` at level debug has the duration and the amounts.
#[test]
fn regression_messages_are_logged() {
    let flags = ["--log-messages", "--log-level", "debug"];
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let start = |command: &str| {
        let _ = fs::remove_file(&ready);
        let mut command = echoline(&[command, "--listen", "127.0.0.1:0", "--ready-file"]);
        let program = Program::start(command.arg(&ready).args(flags));
        wait_for("the ready file", || ready.exists());
        (program, fs::read_to_string(&ready).unwrap().trim().to_owned())
    };
    let (echo, address) = start("echo");
    talk(&address, &format!("it's \x1b[2J ü\n{}\n", "x".repeat(5000)));
    echo.wait_for_stderr("INFO received: it's \\u{1b}[2J ü slot=1 client=127.0.0.1:");
    echo.wait_for_stderr(&format!("received: {}… slot=1", "x".repeat(256)));
    echo.wait_for_stderr("closed slot=1 reason=\"end_of_stream\" duration=");
    echo.wait_for_stderr(" bytes_received=5014 lines_received=2 bytes_sent=");
    let (chat, address) = start("chat");
    talk(&address, "ann\n/oper sesame\nhello\n/join den sesame\n");
    for shown in ["received: ann ", "received: /oper … ", "received: hello ", "/join den … "] {
        chat.wait_for_stderr(shown);
    }
    chat.signal("TERM");
    assert!(!chat.finish().stderr.contains("sesame"));
}

/// Issue 11, item 48: the lines that a chat sends without copying are counted too.
#[test]
fn regression_the_access_log_counts_the_lines_of_a_chat() {
    let folder = tempfile::tempdir().unwrap();
    let (ready, log) = (folder.path().join("ready"), folder.path().join("access.log"));
    let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--ready-file"]);
    command.arg(&ready).args(["--flood", "off", "--access-log"]).arg(&log);
    let chat = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let address = fs::read_to_string(&ready).unwrap().trim().to_owned();
    let mut listener = TcpStream::connect(&address).unwrap();
    listener.write_all(b"ann\n").unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains("ann joined") {
        let length = listener.read(&mut chunk).unwrap();
        heard.extend_from_slice(&chunk[..length]);
    }
    talk(&address, &format!("bob\n{}", "hello\n".repeat(100)));
    listener.shutdown(std::net::Shutdown::Write).unwrap();
    listener.read_to_end(&mut heard).unwrap();
    wait_for("two lines", || lines(&log).len() == 2);
    let lines = lines(&log);
    let of_ann = lines.iter().find(|line| line.contains(" connection=1 ")).unwrap();
    let feeds = heard.iter().filter(|byte| **byte == b'\n').count();
    let amounts = format!(" bytes_sent={} lines_sent={feeds} ", heard.len());
    assert!(feeds > 100 && of_ann.contains(&amounts), "{amounts}: {of_ann}");
    chat.signal("TERM");
    assert_eq!(chat.finish().code(), Some(0));
    let ended = run(&["echo", "--access-log", "/no/such/folder/log"], b"");
    let sentence = "cannot write --access-log /no/such/folder/log";
    assert!(ended.code() == Some(1) && ended.stderr.contains(sentence), "{}", ended.stderr);
}
