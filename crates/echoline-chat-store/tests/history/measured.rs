//! Measures the cost of the store. Run it by hand on an idle machine:
//! `cargo test --release -p echoline-chat-store --test history measured -- --ignored --nocapture`.

use std::fs;

use echoline_chat_store::{
    LineKind, StoreChange, StoreEvent, StoreOptions, StoredLine, SyncPolicy,
};

use super::{EACH, Rig, now, say};

const LINES: u64 = 200_000;

/// Returns a line with a text of 64 bytes and a name of eight bytes.
fn line(number: u64) -> StoreChange {
    let text = format!("{number:064}").into();
    let (kind, name, time_ms) = (LineKind::Said, "somebody".into(), 1_700_000_000_000 + number);
    StoreChange::Line {
        room: "lobby".into(),
        line: StoredLine { number, time_ms, kind, name, text },
    }
}

/// Writes lines. At most `ahead` of them are not committed yet at any time.
fn run(sync: SyncPolicy, ahead: u64, lines: u64, keep_lines: u64) {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), StoreOptions { sync, keep_lines, ..EACH });
    let begun = now();
    let mut committed = 0;
    for number in 1..=lines {
        rig.store.write(line(number));
        while number - committed >= ahead {
            committed = rig.await_event(|event| match event {
                StoreEvent::Committed(rooms) => Some(rooms[0].1),
                _ => None,
            });
        }
    }
    assert_eq!(rig.store.close(), 0);
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = fs::metadata(folder.path().join("chat.sqlite3")).unwrap().len();
    say(&format!(
        "{sync:?}, {ahead} ahead, {keep_lines} kept: {:.0} lines/s, {:.1} bytes a line on disk",
        lines as f64 / seconds,
        bytes as f64 / lines.min(keep_lines) as f64,
    ));
}

#[test]
#[ignore = "a measurement"]
fn measured_lines_per_second() {
    run(SyncPolicy::Each, 1, 1000, LINES);
    run(SyncPolicy::Each, 100, 50_000, LINES);
    run(SyncPolicy::Each, 10_000, LINES, LINES);
    run(SyncPolicy::Second, 10_000, LINES, LINES);
    run(SyncPolicy::Second, 10_000, LINES, 10_000);
}

#[test]
#[ignore = "a measurement"]
fn measured_start_with_a_million_lines() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { keep_lines: 1_000_000, ..EACH };
    let rig = Rig::open(folder.path(), options);
    for number in 1..=1_000_000 {
        rig.store.write(line(number));
        if number % 10_000 == 0 {
            rig.await_committed("lobby", number);
        }
    }
    rig.store.close();
    let begun = now();
    drop(Rig::open(folder.path(), options));
    say(&format!("a million lines are opened and checked in {:?}", begun.elapsed()));
}
