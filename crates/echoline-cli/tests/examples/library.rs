//! Tests of the examples that are not in the lesson. They show typical programs that use the
//! library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lesson::Running;
use super::{Client, start, wait};

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
