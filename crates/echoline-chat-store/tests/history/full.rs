//! Fault 63: tests with a disk that is full or read-only.

use std::process::{Command, Stdio};

use echoline_chat_store::{StoreEvent, StoreOptions, SyncPolicy};

use super::child::{self, Writer};
use super::disk::Disk;
use super::{EACH, Rig, block_on, line, say};

/// Returns whether a program is installed. If it is not, prints that the test is skipped.
pub(crate) fn has(name: &str) -> bool {
    let found = Command::new(name).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        say(&format!("SKIPPED, not passed: this test needs {name}, which is not installed"));
    }
    found.is_ok()
}

fn failing(event: StoreEvent) -> Option<String> {
    match event {
        StoreEvent::Failing(reason) => Some(reason),
        _ => None,
    }
}

/// Returns the number of lost changes after the recovery. Panics if `Failing` is reported again
/// before.
fn recovered(event: StoreEvent) -> Option<u64> {
    match event {
        StoreEvent::Recovered { lost } => Some(lost),
        StoreEvent::Failing(reason) => panic!("reported twice: {reason}"),
        StoreEvent::Committed(_) => None,
    }
}

/// Fault 63: a full disk is reported once. Changes during the outage wait, and are written as soon
/// as there is space again.
#[test]
fn changes_wait_for_space_on_a_full_disk() {
    let Some(disk) = Disk::mount("1m") else { return };
    for sync in [SyncPolicy::Each, SyncPolicy::Second] {
        let rig = Rig::open(&disk.path().join(format!("{sync:?}")), StoreOptions { sync, ..EACH });
        rig.write("lobby", 1..=10);
        rig.await_committed("lobby", 10);
        disk.fill();
        // The existing log has no space for so many lines.
        rig.write("lobby", 11..=1000);
        let reason = rig.await_event(failing);
        assert!(reason.contains("full"), "{reason}");
        // Queries are answered during the outage too.
        let durable = block_on(rig.store.last("lobby", u64::MAX, 1)).unwrap();
        assert!(durable[0].number >= 10);
        rig.write("lobby", 1001..=1100);
        disk.clear();
        assert_eq!(rig.await_event(recovered), 0);
        let lines = block_on(rig.store.lines("lobby", 1..=u64::MAX, 10_000)).unwrap();
        assert!(lines.iter().eq(&(1..=1100).map(|n| line("lobby", n)).collect::<Vec<_>>()));
        assert_eq!(rig.store.close(), 0);
    }
}

/// Fault 63: changes that do not fit in the queue are counted, and only those are lost.
#[test]
fn lost_changes_on_a_full_disk_are_counted() {
    let Some(disk) = Disk::mount("1m") else { return };
    let folder = disk.path().join("data");
    let rig = Rig::open(&folder, StoreOptions { queue: 400, ..EACH });
    rig.write("lobby", 1..=1);
    rig.await_committed("lobby", 1);
    disk.fill();
    rig.write("lobby", 2..=3001);
    rig.await_event(failing);
    disk.clear();
    let lost = rig.await_event(recovered);
    assert!(lost > 0);
    let lines = block_on(rig.store.lines("lobby", 1..=u64::MAX, 10_000)).unwrap();
    assert_eq!(lines.len() as u64, 3001 - lost);
    assert_eq!(rig.store.close(), 0);
}

/// Fault 63: closing does not wait for space for ever. It returns the number of changes that were
/// not written. Committed changes are there afterwards.
#[test]
fn closing_on_a_full_disk_is_bounded() {
    let Some(disk) = Disk::mount("1m") else { return };
    let folder = disk.path().join("data");
    let rig = Rig::open(&folder, EACH);
    rig.write("lobby", 1..=10);
    rig.await_committed("lobby", 10);
    disk.fill();
    rig.write("lobby", 11..=3000);
    rig.await_event(failing);
    let begun = super::now();
    let left = rig.store.close();
    assert!(left > 0 && left <= 2990, "{left}");
    assert!(begun.elapsed().as_secs() < 10);
    disk.clear();
    let rig = Rig::open(&folder, EACH);
    assert_eq!(rig.restored.rooms[0].next_number - 1, 3000 - left);
}

/// Fault 63: the file may not grow any further. This test needs no special rights.
#[test]
fn changes_wait_while_the_file_may_not_grow() {
    if !has("prlimit") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Above this limit a write fails. It does not end the process, because the signal is ignored.
    // 512 KiB are enough for the start.
    let shell = "trap '' XFSZ; exec \"$@\"";
    let words = ["prlimit", "--fsize=524288:unlimited", "bash", "-c", shell, "bash"];
    let mut writer = Writer::start(&words, folder.path(), SyncPolicy::Each, 7);
    let open = writer.next().expect("the child has opened the store");
    let id = open.strip_prefix("open ").unwrap();
    let mut committed = std::collections::BTreeMap::new();
    loop {
        let line = writer.next().expect("the child continues");
        child::note(&line, &mut committed);
        if line.starts_with("failing") {
            break;
        }
    }
    let prlimit = Command::new("prlimit").args(["--pid", id, "--fsize=unlimited"]).status();
    assert!(prlimit.unwrap().success());
    let recovered = loop {
        let line = writer.next().expect("the child continues");
        child::note(&line, &mut committed);
        if let Some(lost) = line.strip_prefix("recovered ") {
            break lost.to_owned();
        }
    };
    assert_eq!(recovered, "0");
    writer.kill(&mut committed);
    super::killed::check(folder.path(), &committed, 0);
}

/// Fault 63: a read-only folder is refused with an error of one sentence.
#[test]
fn a_read_only_disk_is_refused_in_one_sentence() {
    let Some(disk) = Disk::mount("1m") else { return };
    let rig = Rig::open(disk.path(), EACH);
    rig.write("lobby", 1..=10);
    rig.store.close();
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
    assert!(remount.unwrap().success());
    let error = echoline_chat_store::Store::open(disk.path(), EACH, 10, drop).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("Read-only file system") && !error.contains('\n'), "{error}");
}
