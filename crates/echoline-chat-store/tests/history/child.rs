//! A child process that writes lines and prints the store's events until it is killed. It is this
//! test program, started again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use echoline_chat_store::{Store, StoreEvent, StoreOptions, SyncPolicy};

use super::{NEVER, Random, said};

pub(crate) const ROOMS: [&str; 3] = ["lobby", "кухня", "dev"];
/// The number of lines that a room keeps. It is so low that lines are trimmed all the time.
pub(crate) const KEEP_LINES: u64 = 700;
/// The maximum number of lines that are sent ahead of the last commit. It is more than half of the
/// queue, so that no commit waits for its one-second timer. It is less than the seven eighths of
/// the queue that lines may use.
const AHEAD_MAX: u64 = 900;

/// A child process, and the lines that it prints.
pub(crate) struct Writer {
    process: Child,
    lines: Receiver<String>,
}

impl Writer {
    /// Starts the child through another program, which runs or traces the child. `words` is the
    /// command of that program.
    pub(crate) fn start(words: &[&str], folder: &Path, sync: SyncPolicy, seed: u64) -> Self {
        let me = std::env::current_exe().unwrap();
        let me = [me.to_str().unwrap(), "child::writes_until_it_is_killed", "--exact"];
        let words = [words, &me, &["--nocapture"]].concat();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .env("ECHOLINE_CHILD", folder)
            .env("ECHOLINE_CHILD_SYNC", if sync == SyncPolicy::Each { "each" } else { "second" })
            .env("ECHOLINE_SEED", seed.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test harness prints too, and may print on the same line as the child.
                if let Some((_, ours)) = line.split_once("child: ") {
                    let _ = tell.send(ours.to_owned());
                }
            }
        });
        Self { process, lines }
    }

    /// Returns the next line that the child prints, or `None` after its end.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.lines.recv_timeout(NEVER).ok()
    }

    /// Returns the next line, if the child prints it in time.
    pub(crate) fn next_within(&mut self, length: Duration) -> Option<String> {
        self.lines.recv_timeout(length).ok()
    }

    /// Kills the child, and records the commits that it has printed.
    pub(crate) fn kill(mut self, committed: &mut BTreeMap<String, u64>) {
        self.process.kill().unwrap();
        while let Some(line) = self.next() {
            note(&line, committed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Records the commits in a printed line.
pub(crate) fn note(line: &str, committed: &mut BTreeMap<String, u64>) {
    if let Some(rooms) = line.strip_prefix("committed ") {
        for (room, number) in rooms.split_whitespace().filter_map(|one| one.split_once('=')) {
            committed.insert(room.to_owned(), number.parse().unwrap());
        }
    }
}

/// The number of the last committed line, for each room.
static COMMITTED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Runs as the process that [`Writer`] starts. It does nothing in a normal run of the tests.
#[test]
fn writes_until_it_is_killed() {
    let Ok(folder) = std::env::var("ECHOLINE_CHILD") else { return };
    let mut random = Random::new("child");
    let each = std::env::var("ECHOLINE_CHILD_SYNC").unwrap() == "each";
    let sync = if each { SyncPolicy::Each } else { SyncPolicy::Second };
    let options = StoreOptions { keep_lines: KEEP_LINES, sync, queue: 1200, ..Default::default() };
    let (store, restored) = Store::open(Path::new(&folder), options, 0, tell).unwrap();
    let mut next = [1; 3];
    for room in &restored.rooms {
        let index = index(&room.name);
        next[index] = room.next_number;
        COMMITTED[index].fetch_max(room.next_number - 1, Ordering::Relaxed);
    }
    print(&format!("open {}", std::process::id()));
    loop {
        for _ in 0..random.below(40) {
            let index = random.below(3) as usize;
            store.write(said(ROOMS[index], next[index]));
            next[index] += 1;
        }
        let ahead = || -> u64 {
            let pairs = next.iter().zip(&COMMITTED);
            pairs.map(|(next, last)| next - 1 - last.load(Ordering::Relaxed)).sum()
        };
        while ahead() > AHEAD_MAX {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(random.below(400)));
    }
}

fn index(room: &str) -> usize {
    ROOMS.iter().position(|name| *name == room).unwrap()
}

fn tell(event: StoreEvent) {
    match event {
        StoreEvent::Committed(rooms) => {
            let mut text = "committed".to_owned();
            for (room, number) in rooms {
                let _ = write!(text, " {room}={number}");
                COMMITTED[index(&room)].fetch_max(number, Ordering::Relaxed);
            }
            print(&text);
        }
        StoreEvent::Failing(reason) => print(&format!("failing {reason}")),
        StoreEvent::Recovered { lost } => print(&format!("recovered {lost}")),
    }
}

fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("child: {text}\n").as_bytes()).and_then(|()| stdout.flush()).unwrap();
}
