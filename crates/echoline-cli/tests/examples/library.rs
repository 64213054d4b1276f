//! Tests of the examples that are not in the lesson. They show typical programs that use the
//! library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lesson::{Running, eventually};
use super::{Client, run, start, wait};

/// Ends the program in order, and returns what it printed.
fn stop(mut running: Running) -> String {
    let pid = Pid::from_raw(running.child.id().try_into().expect("it is a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert!(wait(&mut running).success());
    running.output()
}

#[test]
fn shared_counters_counts_for_all_clients() {
    let (running, address) = start("shared_counters", &[]);
    let (mut one, mut other) = (Client::connect(address), Client::connect(address));
    assert_eq!(one.ask("ADD apples\n"), "1\n");
    assert_eq!(other.ask("ADD apples 41\r\n"), "42\n");
    assert_eq!(one.ask("GET apples\n"), "42\n");
    assert_eq!(one.ask("GET pears\n"), "0\n");
    assert_eq!(one.ask("ADD pears -3\n"), "-3\n");
    assert_eq!(other.ask("LIST\n"), "apples pears\n");
    assert_eq!(one.ask("ADD apples many\n"), "ERROR invalid digit found in string\n");
    assert_eq!(one.ask("EAT apples\n"), "ERROR unknown command; try ADD, GET, LIST or QUIT\n");
    assert_eq!(one.ask("QUIT\n"), "BYE\n");
    assert_eq!((one.hear(), other.leave()), (String::new(), String::new()));
    stop(running);
}

#[test]
fn length_prefixed_reverses_each_frame() {
    let (running, address) = start("length_prefixed", &[]);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"\0\0\0\x05hello\0\0\0\0\0\0\0\x02ab").expect("it reads");
    let mut frames = [0; 19];
    stream.read_exact(&mut frames).expect("it answers");
    assert_eq!(&frames, b"\0\0\0\x05olleh\0\0\0\0\0\0\0\x02ba");
    // A frame that is longer than the limit ends the connection without a frame.
    stream.write_all(&[0xff; 4]).expect("it reads");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends in order");
    assert_eq!(rest, b"");
    stop(running);
}

#[test]
fn tcp_proxy_passes_bytes_and_ends_on() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = upstream.local_addr().expect("it is bound").to_string();
    let (running, address) = start("tcp_proxy", &[&target]);
    let serving = thread::spawn(move || {
        // This server answers only after its client has closed the sending side.
        let (mut stream, _) = upstream.accept().expect("the proxy connects");
        let mut question = String::new();
        stream.read_to_string(&mut question).expect("the proxy passes the end on");
        stream.write_all(question.to_uppercase().as_bytes()).expect("the proxy reads");
    });
    let client = Client::connect(address);
    client.send("first\nsecond\n");
    assert_eq!(client.leave(), "FIRST\nSECOND\n");
    serving.join().expect("the upstream server does not panic");
    // The upstream server has ended.
    let mut client = Client::connect(address);
    assert_eq!(client.hear(), "Upstream server is unavailable. Try again later.\n");
    drop(client);
    let report = stop(running);
    assert!(report.ends_with("2 tunnels, end_of_stream: 1, application: 1\n"), "{report}");
}

/// Returns the output of a program of the package redis-tools with the port of `address`; `None` if
/// the program is not installed.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn redis(program: &str, address: SocketAddr, arguments: &[&str]) -> Option<String> {
    if Command::new(program).arg("--version").output().is_err() {
        eprintln!("SKIPPED, not passed: this needs {program} (package redis-tools)");
        return None;
    }
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]).args(arguments);
    let (status, output) = run(command);
    assert!(status.success(), "{output}");
    Some(output)
}

#[test]
fn key_value_passes_redis_benchmark() {
    let (running, address) = start("key_value", &[]);
    let tests = "ping_inline,ping_mbulk,set,get";
    // It ends with an error at the first reply that is an error or no RESP.
    let arguments = ["-t", tests, "-n", "4000", "-c", "20", "-P", "16", "-r", "100", "--csv"];
    if let Some(output) = redis("redis-benchmark", address, &arguments) {
        let mut lines = output.lines().filter(|line| line.starts_with('"')).skip(1);
        for name in ["PING_INLINE", "PING_MBULK", "SET", "GET"] {
            let line = lines.next().unwrap_or_default();
            assert!(line.starts_with(&format!("\"{name}\",")), "{output}");
        }
        assert!(!output.contains("WARNING"), "{output}");
    }
    stop(running);
}

#[test]
fn key_value_answers_redis_cli() {
    let (running, address) = start("key_value", &[]);
    for (arguments, reply) in [
        (&["SET", "fruit", "two words\r\n"][..], "OK\n"),
        (&["GET", "fruit"], "two words\r\n\n"),
        (&["DEL", "fruit", "pears"], "1\n"),
        (&["GET", "fruit"], "\n"),
        (&["INCR", "fruit"], "ERR unknown command 'INCR'\n\n"),
    ] {
        let Some(output) = redis("redis-cli", address, arguments) else { break };
        assert_eq!(output, reply, "{arguments:?}");
    }
    stop(running);
}

#[test]
fn chat_room_frees_a_name_when_its_user_leaves() {
    let (running, address) = start("chat_room", &[]);
    for _ in 0..2 {
        let mut client = Client::connect(address);
        assert_eq!(client.hear(), "Your name? (1 to 20 letters or digits)\n");
        assert_eq!(client.ask("Ann\n"), "* Ann joined\n");
        assert_eq!(client.ask("hello\n"), "Ann: hello\n");
        assert_eq!(client.ask("/quit\n"), "");
    }
    stop(running);
}

#[test]
fn beside_axum_shares_state_and_drains_both_servers() {
    let (mut running, address) = start("beside_axum", &["127.0.0.1:0"]);
    let web = eventually("the second address", || {
        let output = running.output();
        let (_, web) = output.split_once("web pages on ")?;
        Some(web.strip_suffix('\n')?.to_owned())
    });
    let mut client = Client::connect(address);
    client.send("load 0.5\nload 1.5\nusers 7\n");
    assert_eq!(client.ask("users many\n"), "ERROR the value is not a number\n");
    assert_eq!(client.ask("users\n"), "ERROR expected NAME VALUE\n");
    let mut page = TcpStream::connect(&web).expect("it listens");
    page.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut response = String::new();
    page.read_to_string(&mut response).expect("it answers");
    assert!(response.ends_with("\r\n\r\nload 1.5\nusers 7\n"), "{response}");
    // The head of a request arrives before the signal, and its body after it. The client that
    // expects `100 Continue` knows that the server has read the head.
    let mut request = TcpStream::connect(&web).expect("it listens");
    let head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
    request.write_all(head.as_bytes()).expect("it reads");
    let mut interim = [0; 25];
    request.read_exact(&mut interim).expect("it answers");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    let pid = Pid::from_raw(running.child.id().try_into().expect("it is a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(client.hear(), "", "a drain ends an idle line connection");
    drop(client);
    // The line server is the first that ends; the web server still waits for the body.
    eventually("the report", || {
        running.output().ends_with("\n1 line connections ended\n").then_some(())
    });
    request.write_all(b"users 8").expect("it reads");
    let mut response = String::new();
    request.read_to_string(&mut response).expect("it ends in order");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(wait(&mut running).success());
}
