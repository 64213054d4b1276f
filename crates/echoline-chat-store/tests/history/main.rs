//! Tests of the chat's store through its public interface: limits, recovery, and events.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod child;
mod damaged;
#[path = "../disk/mod.rs"]
mod disk;
mod full;
mod kept;
mod killed;
mod measured;
mod model;
mod starts;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use echoline_chat_store::{
    LineKind, RestoredHistory, SharedFolder, Store, StoreChange, StoreEvent, StoreOptions,
    StoredLine, SyncPolicy,
};

/// The time after which a test gives up. Only failing tests wait this long.
const NEVER: Duration = Duration::from_secs(30);

const EACH: StoreOptions = StoreOptions {
    keep_lines: 10_000,
    keep_bytes: 64 << 20,
    sync: SyncPolicy::Each,
    queue: 16_384,
    shared: SharedFolder::Refuse,
};

/// A store, and the receiver of its events.
struct Rig {
    store: Store,
    events: Receiver<StoreEvent>,
    restored: RestoredHistory,
}

impl Rig {
    fn open(folder: &Path, options: StoreOptions) -> Self {
        let (tell, events) = channel();
        let (store, restored) =
            Store::open(folder, options, 10_000, move |event| drop(tell.send(event))).unwrap();
        Self { store, events, restored }
    }

    /// Writes the lines of a room with these numbers.
    fn write(&self, room: &str, numbers: std::ops::RangeInclusive<u64>) {
        numbers.for_each(|number| self.store.write(said(room, number)));
    }

    /// Waits for the next event for which `wanted` returns a value. Skips all other events.
    #[track_caller]
    fn await_event<T>(&self, mut wanted: impl FnMut(StoreEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(NEVER).expect("the event is reported in time");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    #[track_caller]
    fn await_committed(&self, room: &str, number: u64) {
        self.await_event(|event| match event {
            StoreEvent::Committed(rooms) => {
                rooms.iter().any(|(name, last)| &**name == room && *last >= number).then_some(())
            }
            _ => None,
        });
    }
}

/// Returns the line with this number in this room. It is the same in every test and every process.
fn line(room: &str, number: u64) -> StoredLine {
    let kind = LineKind::ALL[(number % 7) as usize];
    let text = format!("{room} {number} {}", "привет ".repeat((number % 11) as usize));
    let (name, text) = (format!("user{}", number % 5).into(), text.into());
    // Sometimes the time goes back, as on real clocks.
    StoredLine { number, time_ms: 1_700_000_000_000 + number * 7919 % 100_000, kind, name, text }
}

fn said(room: &str, number: u64) -> StoreChange {
    StoreChange::Line { room: Arc::from(room), line: line(room, number) }
}

/// A generator of pseudo-random numbers (xorshift64).
struct Random(u64);

impl Random {
    /// Takes the seed from `ECHOLINE_SEED`, or from the system if that is not set. Prints the seed,
    /// so that a failure can be repeated.
    fn new(test: &str) -> Self {
        let given = std::env::var("ECHOLINE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(test)) | 1;
        say(&format!("{test}: ECHOLINE_SEED={seed}"));
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound.max(1)
    }
}

/// Creates a folder, in memory if possible. Most tests do not need real syncs, because the writes
/// of a killed process survive in memory too.
fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Returns the number of repetitions of a randomised test: `ECHOLINE_ROUNDS`, or `usual` if that is
/// not set.
fn rounds(usual: u64) -> u64 {
    std::env::var("ECHOLINE_ROUNDS").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

/// Prints a line. `eprintln!` is not enough, because the test harness hides its output if the test
/// passes.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[expect(clippy::disallowed_methods, reason = "these tests run in real time")]
fn now() -> Instant {
    Instant::now()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
