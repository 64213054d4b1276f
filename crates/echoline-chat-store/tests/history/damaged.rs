//! Fault 62: tests with files that were truncated or got flipped bits while no store was open.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use echoline_chat_store::{
    HistoryReader, RestoredHistory, RestoredRoom, SharedFolder, Store, StoreError, StoreOptions,
    SyncPolicy, restore,
};

use super::{EACH, Random, Rig, folder_in_memory, line, rounds};

const ROOMS: [(&str, u64); 3] = [("lobby", 300), ("кухня", 40), ("dev", 120)];

/// The files of a store, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

fn files(folder: &Path) -> Files {
    let names = ["chat.sqlite3", "chat.sqlite3-wal"].into_iter();
    let read = names.filter_map(|name| Some((name.to_owned(), fs::read(folder.join(name)).ok()?)));
    read.collect()
}

/// Returns the files of a closed store. Everything is in the database.
fn closed() -> Files {
    closed_with(&ROOMS)
}

pub(crate) fn closed_with(rooms: &[(&str, u64)]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    rooms.iter().for_each(|(room, count)| rig.write(room, 1..=*count));
    assert_eq!(rig.store.close(), 0);
    files(folder.path())
}

/// Returns the files of a killed store. Everything is in the log, in many transactions.
fn killed() -> Files {
    killed_with(&ROOMS)
}

pub(crate) fn killed_with(rooms: &[(&str, u64)]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    for (room, count) in rooms {
        for first in (1..=*count).step_by(20) {
            rig.write(room, first..=first + 19);
            rig.await_committed(room, first + 19);
        }
    }
    files(folder.path())
}

pub(crate) fn put(files: &Files) -> tempfile::TempDir {
    let folder = folder_in_memory();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Opens damaged files. The start may fail with an error of one line. Otherwise the lines must be
/// right, notices must report the missing lines, and the store must work. Returns the notices or
/// the error.
///
/// SQLite drops the end of a damaged log without an error. If there is a log, a room may therefore
/// lack its last lines without a notice. A gap before an existing line always has a notice.
fn open(files: &Files, what: &str) -> Vec<String> {
    open_and_count(files, what).0
}

/// Like `open`, but also returns the number of missing lines.
fn open_and_count(files: &Files, what: &str) -> (Vec<String>, u64) {
    let folder = put(files);
    let restored = match Store::open(folder.path(), EACH, 10_000, drop) {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains("chat.sqlite3"), "{what}: {text}");
            return (vec![text], 0);
        }
        Ok((store, restored)) => {
            store.close();
            restored
        }
    };
    let missing = missing(&restored, what);
    let is_tail = files.contains_key("chat.sqlite3-wal") && restored.rooms.iter().all(is_whole);
    let is_said = !restored.notices.is_empty();
    assert!(
        missing == 0 || is_tail || is_said,
        "{what}: {missing} lines are missing without a notice"
    );
    if restored.notices.iter().any(|notice| notice.contains("set aside")) {
        let aside = fs::read(folder.path().join("chat.sqlite3.damaged-1"));
        assert!(aside.is_ok() || files.len() < 2, "{what}: a file was deleted");
    }
    let rig = Rig::open(folder.path(), EACH);
    rig.write("after", 1..=3);
    rig.store.close();
    let again = Rig::open(folder.path(), EACH).restored;
    let after = again.rooms.iter().find(|room| room.name == "after").unwrap();
    assert_eq!(after.next_number, 4, "{what}");
    (restored.notices, missing)
}

/// Returns whether a room has all lines from number 1 to the last one.
fn is_whole(room: &RestoredRoom) -> bool {
    room.lines.iter().map(|line| line.number).eq(1..room.next_number)
}

/// Returns the number of missing lines. Checks that all other lines are correct, except in rooms
/// whose name is damaged and reported.
fn missing(restored: &RestoredHistory, what: &str) -> u64 {
    let mut found = 0;
    for room in &restored.rooms {
        match ROOMS.iter().find(|(name, _)| *name == room.name) {
            Some(_) => {
                found += room.lines.len() as u64;
                for stored in &room.lines {
                    assert_eq!(*stored, line(&room.name, stored.number), "{what}");
                }
            }
            None => assert!(
                restored.notices.iter().any(|notice| notice.contains(&format!("{:?}", room.name))),
                "{what}: {:?} without a notice",
                room.name
            ),
        }
    }
    ROOMS.iter().map(|(_, count)| count).sum::<u64>() - found
}

/// Issue 11, item 17: the lines of a killed chat are still in the log. Reading and copying them
/// changes neither file.
#[test]
fn regression_a_killed_history_is_read_and_copied() {
    for before in [closed(), killed()] {
        let folder = put(&before);
        let reader = HistoryReader::open(folder.path()).unwrap();
        let mut count = 0;
        let gaps = reader.lines("lobby", |stored| {
            count += 1;
            assert_eq!(stored, line("lobby", count));
            Ok::<_, StoreError>(())
        });
        assert_eq!((gaps.unwrap(), count), (0, 300));
        assert_eq!(reader.rooms().unwrap(), ["dev", "lobby", "кухня"]);
        let copy = folder.path().join("copy");
        fs::write(&copy, b"").unwrap();
        reader.back_up(&copy).unwrap();
        drop(reader);
        // If there is no log, SQLite creates an empty one for a reader.
        let mut after = files(folder.path());
        after.retain(|_, bytes| !bytes.is_empty());
        assert!(after == before, "the files have changed");
        let whole = folder_in_memory();
        restore(whole.path(), SharedFolder::Refuse, &copy).unwrap();
        let restored = Rig::open(whole.path(), EACH).restored;
        assert_eq!((missing(&restored, "restored"), restored.notices), (0, Vec::new()));
    }
}

#[test]
fn undamaged_files_cause_no_notice() {
    for files in [closed(), killed()] {
        assert_eq!(open(&files, "whole"), [""; 0]);
    }
}

/// Fault 62: the database is truncated to any length, even to zero bytes.
#[test]
fn a_truncated_database_is_renamed() {
    let whole = closed();
    let mut random = Random::new("a_truncated_database_is_renamed");
    let length = whole["chat.sqlite3"].len() as u64;
    let edges = [0, 1, 99, 511, 512, 4095, 4096, length - 4096, length - 1];
    let cuts =
        edges.into_iter().chain((0..rounds(60)).map(|_| random.below(length)).collect::<Vec<_>>());
    for cut in cuts {
        let mut files = whole.clone();
        files.get_mut("chat.sqlite3").unwrap().truncate(cut as usize);
        let said = open(&files, &format!("database cut to {cut}"));
        assert!(said.iter().any(|text| text.contains("damaged")), "cut to {cut}: {said:?}");
    }
}

/// Fault 62: SQLite's own check finds damage outside of the lines. (Issue 11, item 46: the other
/// tests do not need that check, because checksums find damaged lines too.)
#[test]
fn regression_damage_outside_of_the_lines_is_found() {
    let mut files = closed();
    // The header contains the number of unused pages. This file has none.
    let unused = &mut files.get_mut("chat.sqlite3").unwrap()[32..40];
    assert_eq!(unused, [0; 8]);
    unused[7] = 5;
    let said = open(&files, "a wrong count of unused pages");
    assert!(said.iter().any(|text| text.contains("set aside")), "{said:?}");
}

/// Fault 62: the log is truncated to any length. SQLite recovers all transactions before the cut.
/// This does not count as damage and needs no notice.
#[test]
fn a_truncated_log_gives_its_complete_transactions() {
    let whole = killed();
    let mut random = Random::new("a_truncated_log_gives_its_complete_transactions");
    let log = &whole["chat.sqlite3-wal"];
    let mut before = None;
    // Half of the cuts are at the end of a frame, mostly within a transaction.
    let cut = |round| {
        let anywhere = random.below(log.len() as u64);
        if round % 2 == 0 { anywhere } else { 32 + anywhere / 4120 * 4120 }
    };
    let mut cuts: Vec<u64> = (0..rounds(60)).map(cut).collect();
    cuts.sort_unstable();
    for cut in cuts {
        let mut files = whole.clone();
        files.get_mut("chat.sqlite3-wal").unwrap().truncate(cut as usize);
        let folder = put(&files);
        let restored = Rig::open(folder.path(), EACH).restored;
        let missing = missing(&restored, &format!("log cut to {cut}"));
        // A longer log never has fewer lines, and rooms have no gaps.
        assert!(before.is_none_or(|before| missing <= before), "cut to {cut}");
        for room in &restored.rooms {
            assert!(is_whole(room), "cut to {cut}");
        }
        assert_eq!(restored.notices, [""; 0], "cut to {cut}");
        before = Some(missing);
    }
}

/// Fault 62: the log or the database is missing.
#[test]
fn opens_a_database_without_its_log_or_a_log_without_its_database() {
    let mut files = killed();
    files.remove("chat.sqlite3");
    let said = open(&files, "no database");
    assert!(said[0].contains("it is gone, and its log is there"), "{said:?}");
    // Issue 11, item 46: without its log, the database has an older consistent state. Rooms have no
    // gaps, and only their last lines are missing.
    let mut files = killed();
    files.remove("chat.sqlite3-wal").unwrap();
    let folder = put(&files);
    let restored = Rig::open(folder.path(), EACH).restored;
    assert!(missing(&restored, "no log") > 0, "the log held some lines");
    for room in &restored.rooms {
        assert!(room.lines.iter().map(|line| line.number).eq(1..room.next_number));
    }
}

/// Issue 12, item 16: a symbolic link in place of the log is an error, and its target is unchanged.
#[test]
fn attack_a_symlink_in_place_of_the_log_is_not_followed() {
    let whole = killed();
    let folder = put(&whole);
    let (log, target) = (folder.path().join("chat.sqlite3-wal"), folder.path().join("target"));
    fs::rename(&log, &target).unwrap();
    std::os::unix::fs::symlink(&target, &log).unwrap();
    let error = Store::open(folder.path(), EACH, 10_000, drop).unwrap_err();
    assert!(error.to_string().contains("chat.sqlite3"), "{error}");
    assert!(fs::read(&target).unwrap() == whole["chat.sqlite3-wal"], "the target was changed");
    // The history is unchanged too.
    fs::remove_file(&log).unwrap();
    fs::rename(&target, &log).unwrap();
    let restored = Rig::open(folder.path(), EACH).restored;
    assert_eq!((missing(&restored, "no link"), restored.notices), (0, Vec::new()));
}

/// Fault 62: one or more bits are flipped, at any positions.
#[test]
fn flipped_bits_are_never_returned() {
    let mut random = Random::new("flipped_bits_are_never_returned");
    for files in [closed(), killed()] {
        let (name, whole) = files.last_key_value().unwrap();
        let mut noticed = 0;
        for _ in 0..rounds(60) {
            let mut bytes = whole.clone();
            let mut flips = Vec::new();
            for _ in 0..=random.below(4) {
                let (position, bit) = (random.below(bytes.len() as u64), random.below(8));
                bytes[position as usize] ^= 1 << bit;
                flips.push((position, bit));
            }
            let damaged = Files::from([(name.clone(), bytes)]);
            let damaged = files.clone().into_iter().chain(damaged).collect();
            let (said, missing) = open_and_count(&damaged, &format!("{name}: bits {flips:?}"));
            noticed += u64::from(!said.is_empty() || missing > 0);
        }
        assert!(noticed > 0, "nothing was noticed in {name}");
    }
}

/// Fault 62: blocks are replaced by zeros or random bytes, as after a disk failure. Files of other
/// programs are used too.
#[test]
fn damaged_blocks_are_never_returned() {
    let mut random = Random::new("damaged_blocks_are_never_returned");
    for files in [closed(), killed()] {
        let (name, whole) = files.last_key_value().unwrap();
        for _ in 0..rounds(60) {
            let mut bytes = whole.clone();
            let start = random.below(bytes.len() as u64) as usize;
            let end = bytes.len().min(start + random.below(9000) as usize);
            let zeros = random.below(2) == 0;
            bytes[start..end].fill_with(|| if zeros { 0 } else { random.below(256) as u8 });
            let damaged = Files::from([(name.clone(), bytes)]);
            let damaged = files.clone().into_iter().chain(damaged).collect();
            open(&damaged, &format!("{name}: zeros {zeros} in {start}..{end}"));
        }
    }
    let said = open(&Files::from([("chat.sqlite3".to_owned(), vec![b'x'; 9000])]), "a text");
    assert!(said[0].contains("not a database"), "{said:?}");
}

/// If one line is damaged, each start reports it, and all other data is kept.
#[test]
fn a_flipped_bit_in_a_text_loses_one_line() {
    let mut files = closed();
    let bytes = files.get_mut("chat.sqlite3").unwrap();
    let text = line("dev", 60).text.to_string();
    // A page that was split may contain an old copy of the text, so a bit is flipped in each copy.
    for position in 0..bytes.len() - text.len() {
        if bytes[position..].starts_with(text.as_bytes()) {
            bytes[position] ^= 1;
        }
    }
    let folder = put(&files);
    for _ in 0..2 {
        let rig = Rig::open(folder.path(), StoreOptions { sync: SyncPolicy::Second, ..EACH });
        let [notice] = &rig.restored.notices[..] else { panic!("{:?}", rig.restored.notices) };
        assert!(notice.starts_with("1 line in "), "{notice}");
        assert_eq!(missing(&rig.restored, "one bit"), 1);
        rig.store.close();
    }
}
