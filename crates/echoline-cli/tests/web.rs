//! Tests of `echoline chat --web`: the files, headers and messages of the page, and access checks.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod programs;
#[path = "web/protocol.rs"]
mod protocol;
mod web_harness;

use std::io::{Read, Write};

use programs::{Program, echoline, run, wait_for, write_secret};
use serde_json::{Value, json};
use web_harness::{Socket, WebChat, ask, connect};

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn status(head: &str) -> &str {
    head.lines().next().unwrap().split_once(' ').unwrap().1.split_once(' ').unwrap().0
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// Fault 65: every answer has the headers that prevent user text from running as a script.
#[test]
fn every_answer_has_its_headers() {
    let chat = WebChat::start(&[]);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let kinds = [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/nothing", "text/plain; charset=utf-8"),
    ];
    for (path, kind) in kinds {
        let (head, body) = chat.get(path, "");
        assert_eq!(status(&head), if path == "/nothing" { "404" } else { "200" });
        assert_eq!(header(&head, "content-type"), Some(kind));
        assert_eq!(header(&head, "content-security-policy"), Some(policy), "{path}");
        assert_eq!(header(&head, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&head, "x-frame-options"), Some("DENY"));
        assert_eq!(header(&head, "referrer-policy"), Some("no-referrer"));
        assert_eq!(header(&head, "cache-control"), Some("no-cache"));
        let length = header(&head, "content-length").unwrap();
        assert_eq!(length.parse(), Ok(body.len()));
    }
}

#[test]
fn a_file_that_a_browser_has_is_not_sent_again() {
    let chat = WebChat::start(&[]);
    let (head, body) = chat.get("/", "");
    let tag = header(&head, "etag").unwrap();
    assert!(body.contains("<title>echoline</title>"));
    let (head, body) = chat.get("/", &format!("If-None-Match: \"x\", W/{tag}\r\n"));
    assert_eq!((status(&head), body.as_str()), ("304", ""));
    assert_eq!(header(&head, "etag"), Some(tag));
    let (head, _) = chat.get("/", "If-None-Match: \"other\"\r\n");
    assert_eq!(status(&head), "200");
    let web = chat.web;
    let (head, body) =
        chat.ask(&format!("HEAD / HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n"));
    assert_eq!((status(&head), body.as_str()), ("200", ""));
}

#[test]
fn several_files_come_over_one_connection() {
    let chat = WebChat::start(&[]);
    let one = format!("GET /icon.svg HTTP/1.1\r\nHost: {}\r\n\r\n", chat.web);
    let last = one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let mut stream = connect(chat.web);
    stream.write_all(format!("{one}{one}{last}").as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3);
}

/// Fault 65: no file of the page creates elements or code from text.
#[test]
fn the_page_shows_text_as_text() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .join("crates/echoline-chat/web");
    let mut scripts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
            "createContextualFragment",
            "javascript:",
            "srcdoc",
            "setHTMLUnsafe",
        ] {
            assert!(!text.contains(way), "{}: {way}", path.display());
        }
        // Nothing is loaded from another site. The namespace of SVG is not an address.
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("//cdn"), "{path:?}");
        let is_page = path.extension().is_some_and(|ending| ending == "html");
        assert!(!is_page || (!text.contains("<style") && !text.contains(" style=")), "{path:?}");
        scripts += usize::from(path.extension().is_some_and(|ending| ending == "js"));
    }
    assert!(scripts > 5);
}

#[test]
fn invalid_requests_are_refused() {
    let chat = WebChat::start(&[]);
    let web = chat.web;
    let close = "Connection: close\r\n";
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: {web}\r\n{close}\r\n");
        let (head, _) = chat.ask(&request);
        assert_eq!((status(&head), header(&head, "allow")), ("405", Some("GET, HEAD")), "{method}");
    }
    for path in ["/app.js/", "/../Cargo.toml", "/%2e%2e/x", "//", "/WS"] {
        assert_eq!(status(&chat.get(path, "").0), "404", "{path}");
    }
    assert_eq!(status(&chat.ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0), "400");
    let (head, _) = chat.ask("nonsense\r\n\r\n");
    assert_eq!(status(&head), "400");
    let many = "x".repeat(20_000);
    let (head, _) = chat.get("/", &format!("X: {many}\r\n"));
    assert_eq!(status(&head), "431");
    let (head, _) = chat.get("/ws", &format!("Origin: http://{web}\r\n"));
    assert_eq!((status(&head), header(&head, "sec-websocket-version")), ("426", Some("13")));
}

/// Fault 64: pages of other sites, and foreign names that resolve to this address, get no
/// WebSocket.
#[test]
fn only_the_pages_own_origin_gets_a_socket() {
    let chat = WebChat::start(&["--allow-origin", "https://chat.example"]);
    let web = chat.web;
    let open = |host: &str, origins: &str| {
        let request = format!("GET /ws HTTP/1.1\r\nHost: {host}\r\n{origins}{UPGRADE}\r\n");
        let mut stream = connect(web);
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        String::from_utf8_lossy(&first[9..]).into_owned()
    };
    let own = web.to_string();
    let port = web.port();
    assert_eq!(open(&own, &format!("Origin: http://{own}\r\n")), "101");
    assert_eq!(open(&own, &format!("Origin: https://{own}\r\n")), "101", "a proxy ended TLS");
    assert_eq!(open(&own, "Origin: https://chat.example\r\n"), "101");
    assert_eq!(open("chat.example", "Origin: https://chat.example\r\n"), "101");
    let foreign = [
        "null".to_owned(),
        String::new(),
        "http://evil.example".to_owned(),
        format!("http://127.0.0.1:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        format!("http://localhost:{port}"),
        format!("http://{own}.evil.example"),
        format!("ftp://{own}"),
        "http://chat.example".to_owned(),
    ];
    for origin in foreign {
        assert_eq!(open(&own, &format!("Origin: {origin}\r\n")), "403", "{origin:?}");
    }
    assert_eq!(open(&own, ""), "403", "a browser always sends the Origin header");
    assert_eq!(open(&own, &format!("Origin: http://{own}\r\nOrigin: http://{own}\r\n")), "403");
    for host in ["evil.example", "192.0.2.1:80", "localhost.evil.example"] {
        let host = format!("{host}:{port}");
        assert_eq!(open(&host, &format!("Origin: http://{host}\r\n")), "403", "{host}");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&ask(web, &request).0), "403", "{host}");
    }
}

#[test]
fn a_full_server_answers_pages_in_http() {
    let chat = WebChat::start(&["--max-connections", "1"]);
    let mut first = chat.terminal("ann");
    let (head, body) = chat.get("/", "");
    assert_eq!((status(&head), header(&head, "retry-after")), ("503", Some("5")));
    assert_eq!(body, "Server is busy. Try again later.\n");
    first.say("/quit");
    wait_for("a place", || status(&chat.get("/", "").0) == "200");
}

/// Pages and terminals are in the same room: both see every line, in the same order and with the
/// same number.
#[test]
fn pages_and_terminals_share_rooms() {
    let chat = WebChat::start(&["--flood", "off"]);
    let mut ben = chat.terminal("ben");
    ben.say("/numbers on");
    ben.hear("*** numbers on ***");
    let mut ann = chat.page("ann");
    ben.hear("#2 *** ann joined the chat ***");
    let mut told = Vec::new();
    for count in 0..50 {
        ann.send(&json!({ "say": format!("a{count}") }));
        ben.say(&format!("b{count}"));
    }
    while told.len() < 100 {
        let line = ann.until_kind("said");
        told.push(format!("#{} {}: {}", line["number"], name(&line), text(&line)));
    }
    for line in &told {
        ben.hear(line);
    }
    ann.send(&json!({ "say": "/help is said as it is" }));
    ben.hear("#103 ann: /help is said as it is");
}

fn name(line: &Value) -> &str {
    line["name"].as_str().unwrap()
}

fn text(line: &Value) -> &str {
    line["text"].as_str().unwrap()
}

#[test]
fn a_page_gets_the_people_and_the_rooms() {
    let chat = WebChat::start(&[]);
    let mut ben = chat.terminal("ben");
    ben.say("/away lunch");
    ben.hear("*** You are marked as away: lunch ***");
    let mut ann = chat.socket();
    ann.send(&json!({ "name": "ben" }));
    let error = ann.next();
    assert_eq!((&error["kind"], &error["about"]), (&json!("error"), &json!("name")));
    ann.send(&json!({ "name": "ann" }));
    let welcome = ann.next();
    assert_eq!((&welcome["kind"], name(&welcome)), (&json!("welcome"), "ann"));
    let seats = ann.next();
    assert_eq!(seats["current"], "lobby");
    assert_eq!(seats["rooms"][0]["next"], 2);
    ann.send(&json!({ "ask": "people", "room": "lobby" }));
    let people = ann.until_kind("people");
    assert_eq!((&people["count"], &people["number"]), (&json!(2), &json!(2)));
    let ids = [0, 1].map(|place| people["people"][place]["person"].clone());
    assert!(ids[0].is_string() && ids[1].is_string() && ids[0] != ids[1], "{people}");
    let who = json!([
        { "name": "ben", "away": "lunch", "person": ids[0] },
        { "name": "ann", "person": ids[1] },
    ]);
    assert_eq!(people["people"], who);
    ann.send(&json!({ "do": "/join garden" }));
    let seats = ann.until_kind("seats");
    assert_eq!(
        (&seats["current"], &seats["rooms"][1]["room"]),
        (&json!("garden"), &json!("garden"))
    );
    assert_eq!(seats["rooms"][1]["operator"], true);
    ann.send(&json!({ "do": "/topic bees", "room": "garden" }));
    assert_eq!(ann.until_kind("topic")["text"], "bees");
    ann.send(&json!({ "ask": "rooms" }));
    let rooms = ann.until_kind("rooms")["rooms"].clone();
    assert_eq!(rooms[0]["room"], "lobby");
    assert_eq!(
        rooms[1],
        json!({
            "room": "garden", "count": 1, "topic": "bees", "password": false, "in": true,
        })
    );
    ann.send(&json!({ "ask": "commands" }));
    let commands = ann.until_kind("commands")["commands"].clone();
    let message = |c: &&Value| c["usage"] == "/msg NAME WORDS";
    let message = commands.as_array().unwrap().iter().find(message).unwrap();
    assert!(message["aliases"].as_array().unwrap().contains(&json!("tell")), "{message}");
    ann.send(&json!({ "do": "/msg ben hi" }));
    let sent = ann.until_kind("private");
    assert_eq!((&sent["to"], &sent["own"], text(&sent)), (&json!("ben"), &json!(true), "hi"));
    ben.hear("[ann -> you] hi");
    ben.say("/reply ho");
    let got = ann.until_kind("private");
    assert_eq!((name(&got), text(&got), got["own"].is_null()), ("ben", "ho", true));
    ann.send(&json!({ "ping": 7 }));
    assert_eq!(ann.until_kind("pong")["ping"], 7);
    ann.send(&json!({ "ask": "people", "room": "nowhere" }));
    assert_eq!(ann.until_kind("error")["text"], "You are not in that room");
    ann.send(&json!({ "do": "/leave garden" }));
    assert_eq!(ann.until_kind("seats")["rooms"].as_array().unwrap().len(), 1);
}

#[test]
fn the_history_comes_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for flags in [&["--flood", "off"][..], &["--flood", "off", "--data", data, "--replay", "0"]] {
        let chat = WebChat::start(flags);
        let mut ben = chat.terminal("ben");
        for count in 0..230 {
            ben.say(&format!("line {count}"));
        }
        ben.say("/nick bea");
        ben.hear("*** ben is now bea ***");
        let mut ann = chat.page("ann");
        let first = ann.until_kind("joined")["number"].as_u64().unwrap();
        let (mut before, mut numbers) = (first, Vec::new());
        loop {
            ann.send(&json!({ "ask": "history", "before": before, "count": 60 }));
            let past = ann.until_kind("history");
            let lines = past["lines"].as_array().unwrap();
            let here: Vec<u64> = lines.iter().map(|l| l["number"].as_u64().unwrap()).collect();
            before = here[0];
            numbers.splice(0..0, here);
            if past["more"] == false {
                break;
            }
        }
        assert_eq!(numbers, (1..first).collect::<Vec<_>>());
    }
}

/// A user who sends too fast is slowed down, on a page as on a terminal.
#[test]
fn a_page_is_slowed_down_as_a_terminal_is() {
    let chat = WebChat::start(&["--flood", "20/s", "--burst", "3"]);
    let mut ann = chat.page("ann");
    for count in 0..40 {
        ann.send(&json!({ "say": count.to_string() }));
    }
    let warned = ann.until_kind("reply");
    assert_eq!(warned["text"], "*** Slow down, or you will be muted ***");
}

#[test]
fn a_removed_page_is_told_not_to_reconnect() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    write_secret(&file, "correct horse\n");
    let chat = WebChat::start(&["--operator-password-file", file.to_str().unwrap()]);
    let mut ben = chat.terminal("ben");
    let mut ann = chat.page("ann");
    ben.say("/oper correct horse");
    ben.say("/kick ann calm down");
    ann.until("the words", |said| said["text"].as_str().is_some_and(|t| t.contains("calm down")));
    let end = ann.until_kind("end");
    let words = "You were kicked from lobby by ben: calm down";
    assert_eq!((&end["final"], text(&end)), (&json!(true), words));
    assert_eq!(ann.try_next().unwrap_err(), "1000");
}

/// When the server ends, the page is told to reconnect.
#[test]
fn an_ending_server_lets_pages_reconnect() {
    let chat = WebChat::start(&[]);
    let mut ann = chat.page("ann");
    ann.until_kind("joined");
    chat.program.signal("TERM");
    let end = ann.until_kind("end");
    assert!(end["final"].is_null(), "{end}");
    assert_eq!(ann.try_next().unwrap_err(), "1001");
    assert_eq!(chat.program.finish().code(), Some(0));
}

/// Builds a frame by hand, with FIN and a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        middle @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Sends `bytes` on an open WebSocket, reads to the end, and returns the close code.
fn abuse(chat: &WebChat, bytes: &[u8]) -> Option<u16> {
    let Socket(socket) = chat.socket();
    let mut stream = socket.get_ref().try_clone().unwrap();
    // The server may have closed the connection before everything was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let close = answer.windows(2).rposition(|pair| pair[0] == 0x88)?;
    let code = answer.get(close + 2..close + 4)?;
    Some(u16::from_be_bytes([code[0], code[1]]))
}

/// Fault 66: a frame that breaks the rules of WebSocket ends its own connection, with the close
/// code for the violation.
#[test]
fn abuse_ends_one_connection() {
    let chat = WebChat::start(&[]);
    let mut ann = chat.page("ann");
    let unmasked = [0x81, 2, b'{', b'}'];
    assert_eq!(abuse(&chat, &unmasked), Some(1002));
    assert_eq!(abuse(&chat, &frame(0x89, &[b'x'; 126])), Some(1002), "a ping of 126 bytes");
    assert_eq!(abuse(&chat, &frame(0x83, b"{}")), Some(1002), "an undefined opcode");
    assert_eq!(abuse(&chat, &frame(0xc1, b"{}")), Some(1002), "a compressed message");
    assert_eq!(abuse(&chat, &frame(0x80, b"{}")), Some(1002), "a continuation alone");
    assert_eq!(abuse(&chat, &frame(0x81, &[0xff, 0xfe])), Some(1007), "not UTF-8");
    assert_eq!(abuse(&chat, &frame(0x88, &1000_u16.to_be_bytes())), Some(1000));
    // A frame header that announces 2^63 bytes reserves no memory.
    let endless = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, b'x'];
    let Socket(socket) = chat.socket();
    socket.get_ref().write_all(&endless).unwrap();
    ann.send(&json!({ "say": "still here" }));
    ann.until_said("still here");
}

/// Fault 66: messages that are too long are refused, in however many frames they arrive. A message
/// whose bytes arrive one by one is accepted.
#[test]
fn long_messages_and_small_pieces() {
    let chat = WebChat::start(&[]);
    let mut ben = chat.terminal("ben");
    let mut ann = chat.page("ann");
    let long = json!({ "say": "x".repeat(5000) }).to_string();
    ann.0.send(tungstenite::Message::text(long)).unwrap();
    let reply = ann.until_kind("reply");
    assert!(text(&reply).contains("too long"), "{reply}");
    let message = json!({ "say": "in pieces" }).to_string();
    let mut bytes = Vec::new();
    for (place, byte) in message.bytes().enumerate() {
        let is_last = place + 1 == message.len();
        let first = if place == 0 { 1 } else { 0 } | if is_last { 0x80 } else { 0 };
        bytes.extend(frame(first, &[byte]));
        bytes.extend(frame(0x89, b"between"));
    }
    ann.0.get_mut().write_all(&bytes).unwrap();
    ben.hear("ann: in pieces");
    ann.until_said("in pieces");
}

#[test]
fn wrong_flags_are_refused() {
    for (flags, words) in [
        (["--web", "ws://127.0.0.1:1"], "write HOST:PORT"),
        (["--web", "nonsense"], "--web"),
        (["--allow-origin", "chat.example"], "not an origin"),
        (["--web-host", "http://chat.example"], "not a host name"),
    ] {
        let ended = run(&[&["chat", "--listen", "127.0.0.1:0"], &flags[..]].concat(), b"");
        assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let ended = run(&["chat", "--check", "--web", "127.0.0.1:8081"], b"");
    let text = ended.text();
    assert!(text.contains("The web page is at http://127.0.0.1:8081/\n"), "{text}");
}

/// `echoline` accepts every command of docs/web.md.
#[test]
fn the_documented_commands_are_right() {
    let docs = include_str!("../../../docs/web.md");
    let quoted = docs.split('`').filter(|part| part.starts_with("echoline chat"));
    let typed = docs.lines().filter(|line| line.starts_with("echoline chat"));
    let commands: Vec<&str> = quoted.chain(typed).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        let words = command.split('#').next().unwrap().split_whitespace().skip(1);
        let arguments: Vec<&str> = words.chain(["--check"]).collect();
        let ended = run(&arguments, b"");
        assert_eq!(ended.code(), Some(0), "{command}: {}", ended.stderr);
        assert!(ended.text().contains("The web page is at http://127.0.0.1:8081/"), "{command}");
    }
}

/// The log of a chat with a page shows the link to type into a browser, with the actual port. Page
/// requests do not appear in the log.
#[test]
fn the_log_shows_the_link_for_browsers() {
    let flags = ["chat", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0"];
    let program = Program::start(echoline(&flags).args(["--admin", "127.0.0.1:0"]));
    program.wait_for_stderr(" ready ");
    let log = program.stderr();
    let get = |link: &str, path: &str| {
        let host = log.split_once(link).unwrap().1.split_once("/\n").unwrap().0;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close");
        ask(host.parse().unwrap(), &format!("{head}\r\n\r\n"))
    };
    assert_eq!(status(&get("web page at http://", "/").0), "200");
    // The browser may have received the page before the server closes the connection.
    wait_for("the connection of the browser to end", || {
        get("admin on http://", "/metrics").1.contains("\necholine_connections_open 0\n")
    });
    program.signal("TERM");
    let ended = program.finish();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.stderr.contains("finished=1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("the handler ended the dialogue"), "{}", ended.stderr);
}
