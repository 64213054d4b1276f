//! What a chat with `--data` does when its disk fails, and what a restart brings back.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod disk;
mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use disk::Disk;
use programs::{Program, echoline, wait_for};

/// Somebody at a terminal.
struct Guest(BufReader<TcpStream>);

impl Guest {
    fn enter(address: &str, name: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut guest = Self(BufReader::new(stream));
        guest.say(name);
        guest.hear(&format!("*** {name} joined the chat ***"));
        guest
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// Reads on to the line that ends so; returns all that came before.
    fn hear(&mut self, end: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = self.line();
            if line.ends_with(end) {
                return before;
            }
            before.push(line);
        }
    }

    /// Reads on to the line that has these words in it.
    fn hear_of(&mut self, words: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(words) {
                return line;
            }
        }
    }
}

/// A chat that keeps what is said in `data`.
fn start(data: &Path, flags: &[&str]) -> (Program, String) {
    let ready = tempfile::tempdir().unwrap().keep().join("ready");
    let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--flood", "off", "--data"]);
    command.arg(data).arg("--ready-file").arg(&ready).args(flags);
    let program = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let address = fs::read_to_string(&ready).unwrap().trim().to_owned();
    (program, address)
}

/// Fault 63: the disk is full. The chat goes on and says so once; when there is space again it
/// says that too, and nothing is missing from the history.
#[test]
fn a_full_disk_stops_nobody() {
    let Some(disk) = Disk::mount("8m") else { return };
    let data = disk.path().join("data");
    let (program, address) = start(&data, &["--history-sync", "each"]);
    let (mut ann, mut ben) = (Guest::enter(&address, "ann"), Guest::enter(&address, "ben"));
    disk.fill();

    let long = "x".repeat(2000);
    for number in 0..200 {
        ann.say(&format!("{number} {long}"));
    }
    ann.say("the last one");
    let heard = ben.hear("ann: the last one");
    let said =
        |lines: &[String], words: &str| lines.iter().filter(|line| line.contains(words)).count();
    let mut before = said(&heard, "is not being kept now");
    if before == 0 {
        ben.hear("*** What is said is not being kept now; the chat goes on ***");
        before = 1;
    }
    assert_eq!(before, 1, "said once");
    assert_eq!(said(&heard, &long), 200, "everything was heard");

    disk.clear();
    ben.hear("*** What is said is kept again; nothing was lost ***");
    ben.say("/search 199");
    ben.hear_of("ann: 199 xxx");
    drop(program);
}

/// P11: after a restart there are the same lines, topics and bans, and a token brings its owner's
/// rights back.
#[test]
fn a_restart_brings_back_lines_topics_bans_and_rights() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "open sesame\n").unwrap();
    let flags = ["--operator-password-file", password.to_str().unwrap()];
    let data = folder.path().join("data");

    let (program, address) = start(&data, &flags);
    let mut ann = Guest::enter(&address, "ann");
    ann.say("/join garden");
    ann.say("/topic bees");
    ann.say("honey");
    ann.say("/private on");
    ann.say("/token");
    let told = ann.hear_of("brings you back");
    let token = told.trim_start_matches("*** ").split(" brings").next().unwrap().to_owned();
    let mut root = Guest::enter(&address, "warden");
    root.say("/oper open sesame");
    root.hear("what you can do ***");
    root.say("/ban mallory 1h");
    root.hear_of("You banned mallory");
    program.signal("TERM");
    ann.hear("Goodbye! ***");
    assert_eq!(program.finish().code(), Some(0));

    let (program, address) = start(&data, &flags);
    let mut mallory = TcpStream::connect(&address).unwrap();
    mallory.write_all(b"mallory\n").unwrap();
    let mut lines = BufReader::new(mallory).lines();
    let refusal = lines.next().unwrap().unwrap();
    assert!(refusal.contains("You are banned from this chat until"), "{refusal}");
    // The day too: a ban may last for weeks.
    let today = refusal.split("until ").nth(1).unwrap();
    assert!(today.starts_with("20") && today.contains('-'), "{refusal}");

    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut ann = Guest(BufReader::new(stream));
    ann.say(&token);
    ann.say("/join garden");
    ann.hear("You speak in garden now ***");
    ann.say("/topic");
    ann.hear("*** Topic: bees ***");
    ann.say("/search honey");
    ann.hear("ann: honey");
    // Only an operator of the room may do this; and only she could come in.
    ann.say("/private off");
    ann.hear("*** Everybody can join this room now ***");
    drop(program);
}
