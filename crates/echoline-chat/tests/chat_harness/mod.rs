//! A chat over pipes, for tests that script the input and check the output of each client.
#![allow(dead_code, reason = "each test file uses only a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../pipes/mod.rs"]
pub(crate) mod pipes;

use std::sync::Arc;
use std::time::Duration;

use echoline::{Closed, Limits};
use echoline_chat::{self, Chat, ChatSettings, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A time that is longer than any pause of the chat. With a paused clock, waiting costs no time.
const NEVER: Duration = Duration::from_secs(100);

/// A chat under test.
pub(crate) struct ChatHarness {
    pub(crate) chat: Arc<Chat>,
    pub(crate) limits: Limits,
    /// The capacity of a new client's pipe, in bytes.
    pub(crate) pipe: usize,
}

/// A client of the chat, with the session that serves it.
pub(crate) struct Guest {
    pub(crate) stream: DuplexStream,
    pub(crate) session: JoinHandle<Result<(), Closed>>,
    unread: Vec<u8>,
}

/// Returns the settings of most tests: a stopped clock and no rate limit.
pub(crate) fn settings() -> ChatSettings {
    ChatSettings {
        flood: None,
        clock: || 1_000_000,
        time: |_| "09:30".into(),
        moment: |_| "tomorrow".into(),
        operator_password: Some("open sesame".into()),
        ..ChatSettings::default()
    }
}

impl ChatHarness {
    pub(crate) fn new(settings: ChatSettings) -> Self {
        let limits = Limits { max_line: 4096, ..Limits::default() };
        Self { chat: Arc::new(Chat::new(settings)), limits, pipe: 64 * 1024 }
    }

    pub(crate) fn open() -> Self {
        Self::new(settings())
    }

    /// Connects a client. It has not sent anything yet.
    pub(crate) fn knock(&self, role: Role) -> Guest {
        let (near, far) = pipes::connect(self.pipe, self.limits.clone());
        let session = tokio::spawn(echoline_chat::serve(far, Arc::clone(&self.chat), role));
        Guest { stream: near, session, unread: Vec::new() }
    }

    /// Logs a user in, and reads the confirmation.
    pub(crate) async fn enter(&self, name: &str) -> Guest {
        let mut guest = self.knock(Role::User);
        guest.say(name).await;
        guest.hear(&format!("Enter your name: *** {name} joined the chat ***")).await;
        guest
    }

    /// Logs in several users. Each of them has read the joins of all others.
    pub(crate) async fn all<const N: usize>(&self, names: [&str; N]) -> [Guest; N] {
        let mut guests = Vec::new();
        for (index, name) in names.iter().enumerate() {
            guests.push(self.enter(name).await);
            for guest in &mut guests[..index] {
                guest.hear(&format!("*** {name} joined the chat ***")).await;
            }
        }
        guests.try_into().unwrap_or_else(|_| unreachable!("there is one guest for each name"))
    }

    /// Logs a program in.
    pub(crate) async fn program(&self, hello: &str) -> Guest {
        let mut guest = self.knock(Role::Bot);
        guest.say(hello).await;
        let welcome = guest.line().await;
        assert!(welcome.contains("\"kind\":\"welcome\""), "{welcome}");
        guest
    }
}

impl Guest {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = timeout(NEVER, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the chat reads its input").unwrap();
    }

    pub(crate) async fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n")).await;
    }

    /// Reads the next line. Checks that its line end is CR LF, and removes it. Returns an empty
    /// text at the end of the stream.
    #[track_caller]
    pub(crate) fn line(&mut self) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let read = timeout(NEVER, self.try_line()).await;
            read.unwrap_or_else(|_| panic!("{caller} waits too long, after {:?}", self.unread))
        }
    }

    async fn try_line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let line = String::from_utf8(line).expect("the chat sends text");
                let line = line.strip_suffix("\r\n").expect("lines end with CR LF");
                assert!(echoline_chat::is_clean(line), "{line:?}");
                return line.to_owned();
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                return String::from_utf8(std::mem::take(&mut self.unread)).unwrap();
            }
        }
    }

    /// Reads the next line, and checks that it is exactly `expected`.
    #[track_caller]
    pub(crate) fn hear(&mut self, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let line = self.line();
        async move { assert_eq!(line.await, expected, "at {caller}") }
    }

    /// Reads the next line, checks that it contains these words, and returns it.
    #[track_caller]
    pub(crate) fn hear_of(&mut self, words: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        let line = self.line();
        async move {
            let line = line.await;
            assert!(line.contains(words), "{line:?} has no {words:?} at {caller}");
            line
        }
    }

    /// Sends a line, and checks that the next line is exactly `expected`.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str, expected: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.say(line).await;
            assert_eq!(self.line().await, expected, "{line} at {caller}");
        }
    }

    /// Reads everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        let read = timeout(NEVER, self.stream.read_to_end(&mut rest)).await;
        read.expect("the chat ends the stream").unwrap();
        rest
    }

    /// Sends a line, unless it is empty. Then reads until a line contains `words`, or to the end of
    /// the stream if `words` is empty. Telnet commands are removed from the output.
    pub(crate) async fn ask_past_telnet(&mut self, line: &str, words: &str) {
        if !line.is_empty() {
            self.say(line).await;
        }
        loop {
            let whole =
                self.unread.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = self.unread.drain(..whole).collect();
            let lines = without_telnet(&lines);
            let text = String::from_utf8(lines).expect("the chat sends text");
            for line in text.split_terminator("\r\n") {
                assert!(echoline_chat::is_clean(line), "{line:?}");
            }
            if !words.is_empty() && text.contains(words) {
                return;
            }
            let read = timeout(NEVER, self.stream.read_buf(&mut self.unread)).await;
            if read.expect("the chat answers").unwrap_or(0) == 0 {
                assert!(words.is_empty(), "the stream ends before {words}");
                return;
            }
        }
    }
}

/// Removes IAC WONT x and IAC DONT x, the only Telnet commands with which the server answers.
fn without_telnet(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (0xff, [0xfc | 0xfe, _, after @ ..]) => after,
            _ => {
                text.push(byte);
                after
            }
        };
    }
    text
}
