//! Faults 14 and 62: tests with a process that is killed at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use echoline_chat_store::{StoreOptions, SyncPolicy};

use super::child::{self, KEEP_LINES, ROOMS, Writer};
use super::{EACH, Random, Rig, folder_in_memory, line, rounds, say};

/// Fault 62: a process is killed with `kill -9` at random moments, repeatedly with the same file.
/// All committed lines are there, every line is unchanged, and no number is missing before the last
/// line. Fault 14: the OOM killer has the same effect.
#[test]
fn committed_lines_survive_kill_9() {
    let mut random = Random::new("committed_lines_survive_kill_9");
    let folder = folder_in_memory();
    let mut committed = BTreeMap::new();
    for round in 0..rounds(60) {
        let sync = if round % 2 == 0 { SyncPolicy::Each } else { SyncPolicy::Second };
        let writer = Writer::start(&[], folder.path(), sync, random.0);
        kill_at_random(writer, &mut random, &mut committed);
        check(folder.path(), &committed, round);
    }
    let lines: u64 = committed.values().sum();
    assert!(lines > 0, "nothing was written");
    say(&format!("{lines} lines committed: {committed:?}"));
}

/// Kills the writer while it opens the file, or after some commits and a random time.
fn kill_at_random(mut writer: Writer, random: &mut Random, committed: &mut BTreeMap<String, u64>) {
    let commits = random.below(12);
    for _ in 0..commits {
        child::note(&writer.next().expect("the child continues"), committed);
    }
    let most = if commits == 0 { 60_000 } else { 3000 };
    std::thread::sleep(Duration::from_micros(random.below(most)));
    writer.kill(committed);
}

/// Returns the numbers below `next` that a room keeps. These are the last said lines, and the last
/// other lines. Other lines are kept only if they come after the last trimmed said line.
fn kept(room: &str, next: u64) -> Vec<u64> {
    let is_said = |number: &u64| line(room, *number).kind.is_said();
    let most = KEEP_LINES as usize;
    let mut said = (1..next).rev().filter(is_said);
    let mut numbers: Vec<u64> = said.by_ref().take(most).collect();
    let trimmed = said.next().unwrap_or(0);
    let others = (trimmed + 1..next).rev().filter(|number| !is_said(number));
    numbers.extend(others.take(most));
    numbers.sort_unstable();
    numbers
}

/// Checks that every committed line is there, and that the start reports no damage. An interrupted
/// transaction does not count as damage, because SQLite drops it.
pub(crate) fn check(folder: &Path, committed: &BTreeMap<String, u64>, round: u64) {
    let rig = Rig::open(folder, StoreOptions { keep_lines: KEEP_LINES, ..EACH });
    for (room, number) in committed {
        let found = rig.restored.rooms.iter().find(|one| one.name == *room);
        let found = found.unwrap_or_else(|| panic!("round {round}: room {room} is gone"));
        assert!(found.next_number > *number, "round {round}: {room} {number} was committed");
    }
    for room in &rig.restored.rooms {
        assert!(ROOMS.contains(&room.name.as_str()));
        let numbers = kept(&room.name, room.next_number);
        assert_eq!(room.lines.len(), numbers.len(), "round {round}, {}", room.name);
        for (stored, number) in room.lines.iter().zip(numbers) {
            assert_eq!(*stored, line(&room.name, number), "round {round}");
        }
    }
    assert_eq!(rig.restored.notices, [""; 0], "round {round}");
    assert_eq!(rig.store.close(), 0);
}

const CALLS: &str = "trace=openat,fsync,fdatasync";

/// Fault 62: after a failed fsync nothing is reported as committed, because the system may mark the
/// data as written although it is not. When the disk works again, nothing is missing.
#[test]
fn nothing_is_committed_after_a_failed_sync() {
    if !super::full::has("strace") {
        return;
    }
    for (when, recovers) in [("when=9+", false), ("when=9", true)] {
        let folder = tempfile::tempdir().unwrap();
        // The file is created first, because its creation needs syncs that succeed.
        assert_eq!(Rig::open(folder.path(), EACH).store.close(), 0);
        let inject = format!("inject=fsync,fdatasync:error=EIO:{when}");
        let trace = format!("-o{}", folder.path().join("trace").display());
        let words = ["strace", "-f", "-qq", &trace, "-e", CALLS, "-e", &inject];
        let mut writer = Writer::start(&words, folder.path(), SyncPolicy::Each, 7);
        let mut committed = BTreeMap::new();
        let open = writer.next().expect("the child has opened the store");
        let id = open.strip_prefix("open ").unwrap();
        // Issue 11, item 46: if commits were not synced, the injected failure would never occur.
        let mut commits = 0;
        let failing = loop {
            commits += 1;
            assert!(commits < 100, "commits are not synced");
            let line = writer.next().expect("the child continues");
            child::note(&line, &mut committed);
            if line.starts_with("failing") {
                break line;
            }
        };
        assert!(failing.contains("disk I/O error"), "{failing}");
        if recovers {
            assert!(writer.next().is_some_and(|line| line.starts_with("committed")));
            assert_eq!(writer.next().unwrap(), "recovered 0");
            // If a sync of a descriptor fails, a later sync of the same descriptor may succeed
            // without writing the data. The store must therefore open the file again.
            let trace = fs::read_to_string(folder.path().join("trace")).unwrap();
            let (_, after) = trace.split_once("(INJECTED)").unwrap();
            assert!(after.contains("chat.sqlite3\""), "not opened again:\n{after}");
        } else {
            let after = writer.next_within(Duration::from_secs(2));
            assert_eq!(after, None, "nothing is reported after a failed sync");
        }
        // The child continues when strace ends, so it is killed by its process id.
        Command::new("kill").args(["-9", id]).status().unwrap();
        writer.kill(&mut committed);
        check(folder.path(), &committed, 0);
    }
}
