//! A chat with a page, and clients for it: hand-written HTTP, WebSocket through another library,
//! and `nc`.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod browser;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::programs::{Program, echoline, wait_for};

/// A chat on free ports, for terminals and for browsers.
pub(crate) struct WebChat {
    pub(crate) program: Program,
    pub(crate) people: SocketAddr,
    pub(crate) web: SocketAddr,
    _folder: tempfile::TempDir,
}

impl WebChat {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0"]);
        command.arg("--ready-file").arg(&ready).args(flags);
        let mut program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists() || program.has_ended());
        assert!(ready.exists(), "the chat did not start: {}", program.stderr());
        let text = std::fs::read_to_string(ready).unwrap();
        let addresses: Vec<SocketAddr> = text.lines().map(|line| line.parse().unwrap()).collect();
        let [people, web] = addresses[..] else { panic!("two addresses: {text}") };
        Self { program, people, web, _folder: folder }
    }

    pub(crate) fn terminal(&self, name: &str) -> Terminal {
        let mut terminal = Terminal(BufReader::new(connect(self.people)));
        terminal.say(name);
        terminal.hear(&format!("*** {name} joined the chat ***"));
        terminal
    }

    /// Returns the head and body of the answer to a request.
    pub(crate) fn ask(&self, request: &str) -> (String, String) {
        ask(self.web, request)
    }

    /// Sends a `GET` with the usual headers and the additional `headers`.
    pub(crate) fn get(&self, path: &str, headers: &str) -> (String, String) {
        let web = self.web;
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n{headers}\r\n"
        ))
    }

    /// Opens the WebSocket of a page that has not entered yet.
    pub(crate) fn socket(&self) -> Socket {
        let mut request = format!("ws://{}/ws", self.web).into_client_request().unwrap();
        let origin = format!("http://{}", self.web).parse().unwrap();
        request.headers_mut().insert("Origin", origin);
        let (socket, _) = tungstenite::client(request, connect(self.web)).unwrap();
        Socket(socket)
    }

    /// Opens the WebSocket of a page and enters under this name.
    pub(crate) fn page(&self, name: &str) -> Socket {
        let mut page = self.socket();
        page.send(&json!({ "name": name }));
        assert_eq!(page.next()["kind"], "welcome");
        page
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

pub(crate) fn ask(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.to_owned(), body.to_owned())
}

/// A user at `nc`.
pub(crate) struct Terminal(BufReader<TcpStream>);

impl Terminal {
    pub(crate) fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().trim_start_matches("Enter your name: ").to_owned()
    }

    /// Reads up to this line.
    #[track_caller]
    pub(crate) fn hear(&mut self, expected: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "the chat ended before {expected:?}");
            if line == expected {
                return;
            }
        }
    }
}

/// The WebSocket of a page.
pub(crate) struct Socket(pub(crate) WebSocket<TcpStream>);

impl Socket {
    pub(crate) fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// Returns the next message of the chat.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        match self.try_next() {
            Ok(message) => message,
            Err(end) => panic!("the connection ended: {end}"),
        }
    }

    /// Returns the next message of the chat, or how it closed the connection.
    pub(crate) fn try_next(&mut self) -> Result<Value, String> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Err(frame.map_or("none".into(), |f| u16::from(f.code).to_string()));
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Reads up to the first message for which `holds`.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.try_next().unwrap_or_else(|end| panic!("{what}: ended: {end}"));
            if holds(&message) {
                return message;
            }
        }
    }

    #[track_caller]
    pub(crate) fn until_kind(&mut self, kind: &str) -> Value {
        self.until(kind, |message| message["kind"] == kind)
    }

    #[track_caller]
    pub(crate) fn until_said(&mut self, text: &str) -> Value {
        self.until(text, |message| message["kind"] == "said" && message["text"] == text)
    }
}
