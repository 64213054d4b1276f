//! Tests that a page that loses its connection gets exactly the missed lines: each of them once.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may")]

mod programs;
mod web_harness;

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use web_harness::{Socket, WebChat};

/// A client that behaves like the script of the page: it keeps the token and the last line of each
/// room.
struct Page {
    socket: Socket,
    token: String,
    /// The number and time of the last line of the lobby.
    last: (u64, u64),
    /// The lines of other users, in order of arrival.
    said: Vec<String>,
    /// The number of lines that the chat has just reported as missed.
    missed: u64,
}

/// The number of lines by which the speaker may be ahead of the page. The chat keeps more lines
/// than this.
const AHEAD_MAX: usize = 1000;

impl Page {
    fn new(chat: &WebChat, name: &str) -> Self {
        let mut socket = chat.socket();
        socket.send(&json!({ "name": name }));
        let mut page =
            Self { socket, token: String::new(), last: (0, 0), said: Vec::new(), missed: 0 };
        page.welcome();
        page
    }

    fn welcome(&mut self) {
        let welcome = self.socket.next();
        assert_eq!(welcome["kind"], "welcome", "{welcome}");
        self.token = welcome["token"].as_str().unwrap().to_owned();
    }

    /// Reconnects. Returns the old connection, which the caller drops or keeps open.
    fn come_back(&mut self, chat: &WebChat) -> TcpStream {
        let old = std::mem::replace(&mut self.socket, chat.socket());
        let (number, time) = self.last;
        self.socket.send(&json!({ "token": self.token, "after": { "lobby": [number, time] } }));
        self.welcome();
        old.0.get_ref().try_clone().unwrap()
    }

    /// Handles one message. Returns an error if the connection has ended.
    fn take(&mut self) -> Result<(), String> {
        let message = self.socket.try_next()?;
        let Some(number) = message["number"].as_u64() else {
            assert_ne!(message["kind"], "renewed", "{message}");
            self.missed += message["count"].as_u64().unwrap_or_default();
            return Ok(());
        };
        if self.last.0 > 0 {
            assert_eq!(self.missed, 0, "the chat keeps all lines that the page may miss");
            assert_eq!(number, self.last.0 + 1, "after {:?}: {message}", self.last);
        }
        self.last = (number, message["time_ms"].as_u64().unwrap());
        if message["kind"] == "said" && message["own"] == false {
            self.said.push(message["text"].as_str().unwrap().to_owned());
        }
        Ok(())
    }
}

/// A random generator to choose where to interrupt the connection (from Numerical Recipes).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Fault 34 for a page: however the network fails, the page gets every line exactly once.
#[test]
fn an_interrupted_page_misses_nothing() {
    const BREAKS: u64 = 100;
    let seed = std::env::var("ECHOLINE_TEST_SEED").map_or(7, |seed| seed.parse().unwrap());
    eprintln!("seed {seed} (ECHOLINE_TEST_SEED)");
    let chat = WebChat::start(&["--flood", "off"]);
    let mut page = Page::new(&chat, "ann");
    let mut ben = chat.terminal("ben");
    let is_over = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicUsize::new(0));
    let (over, heard, mut spoken) = (Arc::clone(&is_over), Arc::clone(&seen), 0);
    let speaker = thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if spoken > heard.load(Ordering::Relaxed) + AHEAD_MAX {
                thread::yield_now();
                continue;
            }
            ben.say(&format!("line {spoken} {}", "x".repeat(spoken % 300)));
            spoken += 1;
        }
        ben.say("the last line");
        (spoken, ben)
    });
    let mut chance = Chance(seed);
    let mut hanging = Vec::new();
    for _ in 0..BREAKS {
        for _ in 0..chance.below(60) {
            page.take().unwrap();
        }
        seen.store(page.said.len(), Ordering::Relaxed);
        match chance.below(3) {
            // The network fails, and the server does not notice. Bytes in transit are lost.
            0 => hanging.push(page.come_back(&chat)),
            // The connection is reset, and received bytes that were not read are lost.
            1 => {
                let stream = page.socket.0.get_ref();
                socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
                drop(page.come_back(&chat));
            }
            // The connection is closed in the middle of a frame.
            _ => {
                let stream = page.socket.0.get_mut();
                let mut part = vec![0; 1 + chance.below(200) as usize];
                let _ = stream.read(&mut part).unwrap();
                stream.shutdown(Shutdown::Both).unwrap();
                drop(page.come_back(&chat));
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let (spoken, _ben) = speaker.join().unwrap();
    while page.said.last().is_none_or(|line| line != "the last line") {
        page.take().unwrap();
    }
    assert_eq!(page.said.len(), spoken + 1);
    for (count, line) in page.said[..spoken].iter().enumerate() {
        assert!(line.starts_with(&format!("line {count} ")) || line == &format!("line {count}"));
    }
}

/// If the room has dropped lines in the meantime, the page gets the number of missed lines instead.
#[test]
fn dropped_lines_are_counted() {
    let chat = WebChat::start(&["--flood", "off", "--history", "10"]);
    let mut page = Page::new(&chat, "ann");
    let mut ben = chat.terminal("ben");
    while page.last.0 < 2 {
        page.take().unwrap();
    }
    page.socket.0.get_ref().shutdown(Shutdown::Both).unwrap();
    ben.hear("*** ann left the chat ***");
    for count in 0..50 {
        ben.say(&format!("line {count}"));
    }
    ben.say("/nick bea");
    ben.hear("*** ben is now bea ***");
    page.socket = chat.socket();
    let (number, time) = page.last;
    page.socket.send(&json!({ "token": page.token, "after": { "lobby": [number, time] } }));
    page.welcome();
    let missed = page.socket.until_kind("missed");
    let first = page.socket.until("a line", |message| message["number"].is_u64());
    // Line 3 reports that ann left. It is followed by 50 lines and a notice of a new name.
    assert_eq!(missed["count"].as_u64().unwrap(), first["number"].as_u64().unwrap() - number - 1);
}

/// The token of a page can be used any number of times, so a lost answer does no harm.
#[test]
fn a_token_stays_with_its_page() {
    let chat = WebChat::start(&[]);
    let mut page = Page::new(&chat, "ann");
    let token = page.token.clone();
    for _ in 0..5 {
        page.come_back(&chat);
        assert_eq!(page.token, token);
    }
    // The old connection gets a message that its user has moved and that it must not reconnect.
    let mut other = chat.socket();
    other.send(&json!({ "token": token }));
    assert_eq!(other.next()["kind"], "welcome");
    let end = page.socket.until_kind("end");
    assert_eq!(
        (&end["final"], &end["text"]),
        (&Value::Bool(true), &json!("You continue in another connection"),)
    );
    let mut stranger = chat.socket();
    stranger.send(&json!({ "token": "aaaa-bbbb-cccc" }));
    let error = stranger.next();
    assert_eq!((&error["kind"], &error["about"]), (&json!("error"), &json!("token")));
    stranger.send(&json!({ "name": "eve" }));
    assert_eq!(stranger.next()["kind"], "welcome");
}

/// A restarted server numbers lines from 1 again. The page distinguishes its lines from earlier
/// ones.
#[test]
fn a_room_that_starts_again_is_recognised() {
    let chat = WebChat::start(&["--flood", "off"]);
    let mut ben = chat.terminal("ben");
    for count in 0..9 {
        ben.say(&format!("line {count}"));
    }
    ben.say("/nick bea");
    ben.hear("*** ben is now bea ***");
    for after in [json!([5, 12345]), json!([500, 12345])] {
        let mut ann = chat.socket();
        ann.send(&json!({ "name": "ann", "rooms": ["lobby"], "after": { "lobby": after } }));
        assert_eq!(ann.next()["kind"], "welcome");
        assert_eq!(ann.until_kind("renewed")["room"], "lobby");
        let first = ann.until("a line", |message| message["number"].is_u64());
        assert_eq!(first["number"], 1, "{first}");
        ann.send(&json!({ "do": "/quit" }));
        assert!(ann.try_next().is_ok_and(|_| true));
        while ann.try_next().is_ok() {}
    }
}
