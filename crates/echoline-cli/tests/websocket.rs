//! Tests of WebSocket: clients of other libraries, faulty clients, and pages of other sites.
#![allow(clippy::unwrap_used)]

mod programs;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use programs::{EchoServer, Program, echoline, run, serve, wait_for};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

const LIMIT: Duration = Duration::from_secs(60);

fn connect(address: &str) -> WebSocket<TcpStream> {
    let host = host(address);
    let stream = TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    tungstenite::client(address, stream).unwrap().0
}

/// Returns the host and port of an address.
fn host(address: &str) -> String {
    address.trim_start_matches("ws://").split('/').next().unwrap().to_owned()
}

fn hear(client: &mut WebSocket<TcpStream>) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Reads up to the Close frame that ends the connection. Returns the messages before it, and the
/// frame.
fn hear_close(client: &mut WebSocket<TcpStream>) -> (Vec<Message>, Option<CloseFrame>) {
    let mut before = Vec::new();
    loop {
        match client.read().unwrap() {
            Message::Close(frame) => return (before, frame),
            other => before.push(other),
        }
    }
}

fn code(frame: Option<CloseFrame>) -> u16 {
    frame.map_or(0, |frame| frame.code.into())
}

/// A hand-written WebSocket, for frames that no library sends.
struct Bare(TcpStream);

impl Bare {
    fn connect(address: &str) -> Self {
        let mut stream = TcpStream::connect(host(address)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request(&host(address), "").as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn rest(mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        self.0.read_to_end(&mut heard).unwrap();
        heard
    }
}

/// Returns a frame whose mask is zero.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..=125 => vec![0x80 | short as u8],
        long => [&[0xFE], &(long as u16).to_be_bytes()[..]].concat(),
    };
    [&[first], &length[..], &[0; 4], payload].concat()
}

fn request(host: &str, more: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Sends a request, and returns everything that the server sends until it closes the connection.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host(address)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Messages of another library come back unchanged, of any kind and size.
#[test]
fn the_raw_echo_returns_messages() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "raw"]);
    let mut client = connect(&server.address);
    for message in [
        Message::text("Hello, Wörld"),
        Message::text(""),
        Message::text("two\nlines\n"),
        Message::binary(vec![0, 255, 10, 13]),
        Message::binary(vec![7; 200_000]),
        Message::text("ä".repeat(100_000)),
    ] {
        client.send(message.clone()).unwrap();
        assert!(client.read().unwrap() == message);
    }
    client.send(Message::Ping("?".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("?".into()));
    client.close(None).unwrap();
    let (before, _) = hear_close(&mut client);
    assert!(before.is_empty());
}

/// Fault 23: a message is a line; a message with line ends in it is several lines.
#[test]
fn in_line_mode_a_message_is_a_line() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "line"]);
    let mut client = connect(&server.address);
    client.send(Message::text("hello")).unwrap();
    assert_eq!(hear(&mut client), "Echo: hello");
    client.send(Message::text("two\nlines\n")).unwrap();
    assert_eq!((hear(&mut client), hear(&mut client)), ("Echo: two".into(), "Echo: lines".into()));
    client.send(Message::binary(vec![0xFF])).unwrap();
    assert_eq!(client.read().unwrap(), Message::binary(b"Echo: \xff".to_vec()));
    let long = "x".repeat(65_536);
    client.send(Message::text(long.clone())).unwrap();
    assert_eq!(hear(&mut client), format!("Echo: {long}"));
}

/// The dialogue of command mode: greeting and answers are messages, and QUIT causes Close 1000.
#[test]
fn command_mode_answers_quit_with_a_close() {
    let server = EchoServer::start_at("ws://127.0.0.1:0/echo", &["--mode", "command"]);
    assert!(server.address.ends_with("/echo"), "{}", server.address);
    let mut client = connect(&server.address);
    assert_eq!(hear(&mut client), "Welcome to Echo Server!");
    assert_eq!(hear(&mut client), "Commands: TIME, QUIT, or any text for echo");
    client.send(Message::text("QUIT")).unwrap();
    assert_eq!(hear(&mut client), "Goodbye!");
    assert_eq!(code(hear_close(&mut client).1), 1000);
}

/// Fault 29: a Close right after the messages loses no answer.
#[test]
fn all_answers_come_before_the_close_is_answered() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "line"]);
    let mut client = Bare::connect(&server.address);
    let messages: Vec<u8> =
        (0..1000).flat_map(|n| frame(0x81, format!("{n:04}").as_bytes())).collect();
    client.send(&[messages, frame(0x88, b"\x03\xe8")].concat());
    let wanted: Vec<u8> =
        (0..1000).flat_map(|n| format!("\x0aEcho: {n:04}").into_bytes()).collect();
    let mut heard: Vec<u8> = client.rest();
    assert!(heard.ends_with(b"\x88\x02\x03\xe8"), "{:x?}", &heard[heard.len() - 8..]);
    heard.truncate(heard.len() - 4);
    heard.retain(|byte| *byte != 0x81);
    assert!(heard == wanted, "{}", String::from_utf8_lossy(&heard));
}

/// Faults 21, 22, 66: a client that breaks a rule gets the close code for it, and loses no earlier
/// answer.
#[test]
fn each_violation_has_its_close_code() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "line", "--max-line", "100"]);
    let good = frame(0x81, b"a");
    let big = frame(0x82, &[b'x'; 200]);
    let huge = [&b"\x82\xff\x3f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"[..], &[b'x'; 5000]].concat();
    for (what, bytes, code) in [
        ("without a mask", b"\x81\x01a".to_vec(), 1002_u16),
        ("compressed", frame(0xC1, b"a"), 1002),
        ("a control frame of 126 bytes", frame(0x89, &[0; 126]), 1002),
        ("no UTF-8", frame(0x81, b"\xff"), 1007),
        ("too long a line", big, 1009),
        ("a frame of 4 EiB", huge, 1009),
        ("too many pings", frame(0x89, b"").repeat(500), 1008),
    ] {
        let mut client = Bare::connect(&server.address);
        client.send(&[good.clone(), bytes].concat());
        let heard = client.rest();
        let answered = heard.windows(9).any(|at| at == b"\x81\x07Echo: a");
        assert!(answered, "{what}: {heard:x?}");
        let close = heard.windows(4).position(|at| at[0] == 0x88 && at[2..] == code.to_be_bytes());
        assert!(close.is_some(), "{what}: {heard:x?}");
        let said = String::from_utf8_lossy(&heard).contains("Line too long (limit 100 bytes)");
        assert_eq!(said, code == 1009, "{what}");
    }
    server.program.signal("TERM");
    assert_eq!(server.program.finish().code(), Some(0));
}

/// Fault 64: pages of other sites, and foreign names that resolve to this machine, are refused.
#[test]
fn a_page_of_another_site_is_refused() {
    let allowed = ["--allow-origin", "https://good.example"];
    let server = EchoServer::start_at("ws://127.0.0.1:0", &allowed);
    let own = host(&server.address);
    let (_, port) = own.split_once(':').unwrap();
    for (name, origin, status) in [
        (own.as_str(), format!("http://{own}"), "101"),
        ("localhost:1", "http://localhost:1".to_owned(), "101"),
        (own.as_str(), "https://good.example".to_owned(), "101"),
        (own.as_str(), "https://evil.example".to_owned(), "403"),
        (own.as_str(), "null".to_owned(), "403"),
        (own.as_str(), "http://127.0.0.1:1".to_owned(), "403"),
        (&format!("evil.example:{port}"), format!("http://evil.example:{port}"), "403"),
    ] {
        let mut stream = TcpStream::connect(&own).unwrap();
        stream.write_all(request(name, &format!("Origin: {origin}\r\n")).as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[9..], status.as_bytes(), "{name} {origin}");
    }
}

/// Returns the HTTP status that a page under the name `evil.example` gets when it requests a
/// WebSocket.
fn asked_by_evil(bound: &str, path: &str) -> String {
    asked_by("evil.example", bound, path)
}

/// Returns the HTTP status that a page under this name gets when it requests a WebSocket from its
/// own server.
fn asked_by(name: &str, bound: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(bound).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let (_, port) = bound.rsplit_once(':').unwrap();
    let own = format!("{name}:{port}");
    let request = request(&own, &format!("Origin: http://{own}\r\n"));
    let request = request.replacen("GET / ", &format!("GET {path} "), 1);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

/// Issue 11, item 2: a foreign name that resolves to this machine (DNS rebinding) is refused in the
/// echo and at the page of a chat, in whatever form the loopback address was given. The bound
/// address decides.
#[test]
fn regression_loopback_is_judged_by_the_bound_address() {
    for (listen, status) in [
        ("LOCALHOST:0", "403"),
        ("localhost:0", "403"),
        ("127.1:0", "403"),
        ("0x7f.1:0", "403"),
        ("[::ffff:127.0.0.1]:0", "403"),
        // Issue 12, item 19: the name is also refused at an address that other hosts can reach.
        ("0.0.0.0:0", "403"),
    ] {
        let server = EchoServer::start_at(&format!("ws://{listen}"), &[]);
        for address in server.address.lines() {
            let bound = host(address).replace("0.0.0.0", "127.0.0.1");
            assert_eq!(asked_by_evil(&bound, "/"), status, "{listen}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let listen = ["chat", "--listen", "127.0.0.1:0", "--web", "LOCALHOST:0"];
    let _chat = Program::start(echoline(&listen).arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let text = std::fs::read_to_string(ready).unwrap();
    for page in text.lines().skip(1) {
        assert_eq!(asked_by_evil(page, "/ws"), "403", "the socket at {page}");
        assert_eq!(asked_by_evil(page, "/"), "403", "the page at {page}");
    }
}

/// Issue 12, item 19: at an address that other machines can reach, a foreign name that resolves to
/// this server (DNS rebinding) gets neither the page of the chat nor its WebSocket. The names of
/// the server work, and the answer says how to add another name.
#[test]
fn attack_a_rebound_name_reaches_no_chat_at_a_public_address() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let flags =
        ["chat", "--listen", "127.0.0.1:0", "--web", "0.0.0.0:0", "--web-host", "a.example"];
    let _chat = Program::start(echoline(&flags).arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let text = std::fs::read_to_string(ready).unwrap();
    let page = text.lines().nth(1).unwrap().replace("0.0.0.0", "127.0.0.1");
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (name, socket, file) in [
        ("evil.example", "403", "403"),
        ("a.example.evil.example", "403", "403"),
        ("a.example", "101", "200"),
        ("127.0.0.1", "101", "200"),
        ("192.0.2.7", "101", "200"),
        ("[2001:db8::7]", "101", "200"),
        ("localhost", "101", "200"),
        (machine.trim(), "101", "200"),
    ] {
        assert_eq!(asked_by(name, &page, "/ws"), socket, "the socket at {name}");
        assert_eq!(asked_by(name, &page, "/"), file, "the page at {name}");
    }
    let answer = ask(&page, "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n");
    let remedy = "'b.example' is not a name of this server; --web-host with that name allows it.";
    assert!(answer.contains(remedy), "{answer}");
}

/// Fault 66: a client that does not speak WebSocket gets an HTTP response with one sentence.
#[test]
fn a_plain_http_request_gets_an_explanation() {
    let server = EchoServer::start_at("ws://127.0.0.1:0/echo", &[]);
    let answer = ask(&server.address, "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(answer.ends_with("open ws:// with a WebSocket client.\n"), "{answer}");
    assert!(ask(&server.address, "\r\n\r\nhello\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

/// Fault 2: a client over the limit gets status 503 with the time to retry.
#[test]
fn a_full_server_answers_503() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--max-connections", "1"]);
    let _first = connect(&server.address);
    let answer = ask(&server.address, &request("localhost", ""));
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nServer is busy. Try again later.\n"), "{answer}");
}

/// Fault 51: a server that ends sends close code 1001.
#[test]
fn a_draining_server_closes_with_1001() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "raw"]);
    let mut client = connect(&server.address);
    client.send(Message::text("a")).unwrap();
    assert_eq!(hear(&mut client), "a");
    server.program.signal("TERM");
    assert_eq!(code(hear_close(&mut client).1), 1001);
    drop(client);
    assert_eq!(server.program.finish().code(), Some(0));
}

#[test]
fn send_and_load_speak_it() {
    for mode in ["raw", "line", "command"] {
        let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", mode]);
        let sent = run(&["send", &server.address, "one", "zwölf"], b"");
        assert_eq!(sent.code(), Some(0), "{}", sent.stderr);
        assert!(sent.text().ends_with("zwölf\n"), "{}", sent.text());
        let load = ["load", &server.address, "--clients", "3", "--messages", "50", "--quiet"];
        let load = run(&load, b"");
        assert_eq!(load.code(), Some(0), "{}", load.text());
        assert!(load.text().contains("Sent 150 = ok 150"), "{}", load.text());
    }
}

/// A large input, whose last line has no line end, comes back without a lost answer.
#[test]
fn a_large_input_comes_back() {
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "raw"]);
    let input: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    let sent = run(&["send", &server.address], input.trim_end().as_bytes());
    assert_eq!(sent.code(), Some(0), "{}", sent.stderr);
    assert!(sent.text() == input);
}

#[test]
fn a_client_reports_a_wrong_server() {
    let echo = EchoServer::start(&["--mode", "line"]);
    let other = EchoServer::start_at("ws://127.0.0.1:0/echo", &[]);
    let gone = serve(drop);
    for (address, wanted) in [
        (format!("ws://{}", echo.address), "the server is not an HTTP server"),
        (format!("ws://{}", host(&other.address)), "the server answered 404 Not Found"),
        (format!("ws://{gone}"), "before a WebSocket was open"),
    ] {
        let sent = run(&["send", &address, "hello"], b"");
        assert_eq!(sent.code(), Some(1));
        assert!(sent.stderr.contains(wanted), "{}", sent.stderr);
        let load = run(&["load", &address, "--clients", "1", "--messages", "1", "--quiet"], b"");
        assert_eq!(load.code(), Some(1));
    }
}

/// Fault 23: in a chat too, a line end within a message starts another line of the same author.
#[test]
fn a_chat_over_websocket_attributes_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let listen = "ws://127.0.0.1:0/chat,127.0.0.1:0";
    let mut command = echoline(&["chat", "--listen", listen, "--log-level", "error"]);
    let chat = Program::start(command.arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let addresses = std::fs::read_to_string(ready).unwrap();
    let mut bob = connect(addresses.lines().next().unwrap());
    assert_eq!(hear(&mut bob), "Enter your name: ");
    bob.send(Message::text("bob")).unwrap();
    while hear(&mut bob) != "*** bob joined the chat ***" {}
    let mut eve = connect(addresses.lines().next().unwrap());
    eve.send(Message::text("eve")).unwrap();
    while hear(&mut bob) != "*** eve joined the chat ***" {}
    eve.send(Message::text("hi\nbob: I owe eve 100")).unwrap();
    assert_eq!(hear(&mut bob), "eve: hi");
    assert_eq!(hear(&mut bob), "eve: bob: I owe eve 100");
    chat.signal("TERM");
    let (_, frame) = hear_close(&mut bob);
    assert_eq!(code(frame), 1001);
}

const PYTHON_CLIENT: &str = r#"
import asyncio, sys, websockets

async def main():
    async with websockets.connect(sys.argv[1], compression="deflate") as client:
        assert not client.protocol.extensions, "nothing was agreed on"
        for message in ["Hello", "", "ä" * 70000, b"\x00\xff", b"x" * 300000]:
            await client.send(message)
            assert await client.recv() == message, len(message)
        await client.send(["in ", "three ", "fragments"])
        assert await client.recv() == "in three fragments"
        await asyncio.wait_for(await client.ping(), 30)
    assert client.close_code == 1000, client.close_code
    print("all right")

asyncio.run(main())
"#;

/// Python's `websockets` works with the echo server. Prints that it is skipped if it is not
/// installed.
#[test]
fn the_client_of_python_works() {
    let python =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("target/python/bin/python3");
    let has_it = Command::new(&python).args(["-c", "import websockets"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no websockets in target/python (scripts/test.sh installs it)");
        return;
    }
    let server = EchoServer::start_at("ws://127.0.0.1:0", &["--mode", "raw"]);
    let mut command = Command::new(python);
    let ended = Program::start(command.args(["-c", PYTHON_CLIENT, &server.address])).finish();
    assert_eq!(ended.text(), "all right\n", "{}", ended.stderr);
}
