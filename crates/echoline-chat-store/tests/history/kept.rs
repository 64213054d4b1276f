//! Tests that written data is restored, within the limits of the store.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use echoline_chat_store::{
    LineKind, Store, StoreChange, StoreError, StoreEvent, StoreOptions, StoredBan, StoredLine,
    StoredToken, SyncPolicy,
};

use super::{EACH, Rig, block_on, line, now};

fn ban(subject: &str, until_ms: Option<u64>) -> StoredBan {
    let (shown, by, reason) = (subject.to_uppercase(), "op".to_owned(), "flood".to_owned());
    let more = "{\"lineage\":7}".to_owned();
    StoredBan { subject: subject.to_owned(), shown, by, reason, until_ms, more }
}

fn token(token: &str) -> StoredToken {
    let rooms = vec![("dev".to_owned(), 3, false), ("lobby".to_owned(), 42, true)];
    let (name, more) = ("Ирина".to_owned(), "{\"current\":\"dev\"}".to_owned());
    StoredToken { token: token.to_owned(), name, rooms, until_ms: 9_999, more }
}

fn room(name: &str, topic: Option<&str>) -> StoreChange {
    let (topic, password) = (topic.map(str::to_owned), Some("$argon2id$x".to_owned()));
    StoreChange::Room { name: name.to_owned(), topic, private: true, password, more: String::new() }
}

#[test]
fn every_kind_of_change_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), StoreOptions::default());
    assert_eq!(rig.restored, echoline_chat_store::RestoredHistory::default());
    rig.store.write(room("dev", None));
    rig.write("lobby", 1..=5);
    for change in [
        room("dev", Some("rust")),
        StoreChange::Ban(ban("10.0.0.0/8", None)),
        StoreChange::Ban(ban("mallory", Some(5))),
        StoreChange::Ban(ban("mallory", Some(7))),
        StoreChange::Ban(ban("eve", Some(5))),
        StoreChange::Unban("eve".to_owned()),
        StoreChange::Token(token("ab12")),
        StoreChange::Token(token("cd34")),
        StoreChange::TokenUsed("ab12".to_owned()),
    ] {
        rig.store.write(change);
    }
    rig.write("gone", 1..=5);
    rig.store.write(StoreChange::RoomRemoved("gone".to_owned()));
    assert_eq!(rig.store.close(), 0);

    let restored = Rig::open(folder.path(), StoreOptions::default()).restored;
    let [dev, lobby] = &restored.rooms[..] else { panic!("{:?}", restored.rooms) };
    assert_eq!((dev.name.as_str(), dev.topic.as_deref()), ("dev", Some("rust")));
    assert_eq!((dev.private, dev.password.as_deref()), (true, Some("$argon2id$x")));
    assert_eq!((dev.next_number, dev.last_time_ms, dev.lines.len()), (1, 0, 0));
    assert_eq!((lobby.private, lobby.topic.as_deref(), lobby.next_number), (false, None, 6));
    assert_eq!(lobby.lines, (1..=5).map(|number| line("lobby", number)).collect::<Vec<_>>());
    assert_eq!(lobby.last_time_ms, lobby.lines[4].time_ms);
    assert_eq!(restored.bans, [ban("10.0.0.0/8", None), ban("mallory", Some(7))]);
    assert_eq!(restored.tokens, [token("cd34")]);
    assert_eq!(restored.notices, [""; 0]);
}

/// Issue 11, item 14: deleted text is completely removed from the disk. The line keeps its number,
/// and the next start finds no damage.
#[test]
fn regression_deleted_text_is_removed_from_the_disk() {
    let folder = super::folder_in_memory();
    let rig = Rig::open(folder.path(), EACH);
    let secret = |number| format!("secret-{number}-{}", "words ".repeat(number as usize * 7 % 900));
    // Writing to the rooms in turn splits pages, which leaves copies of lines.
    for number in 1..=400 {
        for room in ["a", "b", "c"] {
            let line = StoredLine {
                text: secret(number).into(),
                kind: LineKind::Said,
                ..line(room, number)
            };
            rig.store.write(StoreChange::Line { room: room.into(), line });
        }
    }
    rig.await_committed("c", 400);
    let on_disk = |numbers: std::ops::RangeInclusive<u64>| {
        let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let bytes = files.flat_map(|path| fs::read(path).unwrap()).collect::<Vec<u8>>();
        let text = String::from_utf8_lossy(&bytes);
        numbers.filter(|number| text.contains(&format!("secret-{number}-"))).count()
    };
    assert_eq!(on_disk(200..=240), 41);
    for number in 200..=240 {
        for room in ["a", "b", "c", "unknown"] {
            rig.store.write(StoreChange::LineDeleted { room: room.into(), number });
        }
    }
    rig.store.write(StoreChange::LineDeleted { room: "a".into(), number: 9999 });
    // The text disappears while the store is open, not only when it is closed.
    let begun = now();
    while on_disk(200..=240) > 0 {
        assert!(begun.elapsed() < super::NEVER);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let lines = block_on(rig.store.lines("b", 199..=241, 1000)).unwrap();
    assert!(lines.iter().map(|line| line.number).eq(199..=241));
    assert!(lines[1..42].iter().all(|line| &*line.text == "[deleted]"));
    assert_eq!(*lines[0].text, secret(199));
    let found = block_on(rig.store.search("b", "secret-220-", u64::MAX, 9)).unwrap();
    assert!(found.lines.is_empty());
    assert_eq!(rig.store.close(), 0);
    let restored = Rig::open(folder.path(), EACH).restored;
    assert_eq!((restored.notices, restored.rooms.len()), (Vec::new(), 3));
    assert!(restored.rooms.iter().all(|room| room.next_number == 401));
}

/// Issue 11, item 14: if another program has removed rows, this is reported once. Everything else
/// is kept.
#[test]
fn regression_missing_rows_do_not_count_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    rig.write("lobby", 1..=300);
    rig.write("dev", 1..=5);
    rig.store.close();
    let connection = rusqlite::Connection::open(folder.path().join("chat.sqlite3")).unwrap();
    let gone = "DELETE FROM line WHERE number BETWEEN 100 AND 102 AND room = 1";
    assert_eq!(connection.execute(gone, ()).unwrap(), 3);
    drop(connection);
    let rig = Rig::open(folder.path(), EACH);
    let [notice] = &rig.restored.notices[..] else { panic!("{:?}", rig.restored.notices) };
    assert!(notice.contains(r#"room "lobby""#) && notice.contains("297 lines instead of 300"));
    let [dev, lobby] = &rig.restored.rooms[..] else { panic!("{:?}", rig.restored.rooms) };
    assert_eq!((dev.lines.len(), lobby.lines.len(), lobby.next_number), (5, 297, 301));
    assert!(!folder.path().join("chat.sqlite3.damaged-1").exists());
    rig.store.close();
    assert_eq!(Rig::open(folder.path(), EACH).restored.notices, [""; 0], "said once");
}

#[test]
fn tokens_keep_the_positions_of_a_removed_room() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    rig.write("lobby", 1..=50);
    rig.store.write(StoreChange::Token(token("ab12")));
    rig.store.write(StoreChange::RoomRemoved("lobby".to_owned()));
    // A new room with the same name counts its lines from 1.
    rig.write("lobby", 1..=2);
    rig.store.close();
    let restored = Rig::open(folder.path(), EACH).restored;
    assert_eq!(restored.rooms[0].next_number, 3);
    assert_eq!(restored.tokens, [token("ab12")]);
}

#[test]
fn files_belong_to_their_owner_and_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let rig = Rig::open(&path, EACH);
    rig.write("lobby", 1..=1);
    rig.await_committed("lobby", 1);
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
    let error = Store::open(&path, EACH, 1, drop).unwrap_err();
    assert!(
        matches!(error, StoreError::InUse { process: Some(id), .. } if id == std::process::id())
    );
    // The folder can be used again as soon as the store is closed.
    rig.store.close();
    assert_eq!(Rig::open(&path, EACH).restored.rooms[0].next_number, 2);
}

#[test]
fn lines_are_found_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), StoreOptions::default());
    rig.write("lobby", 1..=100);
    let numbers = |lines: Vec<StoredLine>| lines.iter().map(|line| line.number).collect::<Vec<_>>();
    let lines =
        |room: &str, range, most| numbers(block_on(rig.store.lines(room, range, most)).unwrap());
    let last = |before, count| numbers(block_on(rig.store.last("lobby", before, count)).unwrap());
    // Lines that were just written are found, whether they are durable or not.
    assert_eq!(lines("lobby", 98..=200, 10), [98, 99, 100]);
    assert_eq!(lines("lobby", 0..=u64::MAX, 2), [1, 2]);
    #[expect(clippy::reversed_empty_ranges, reason = "a caller may pass a reversed range")]
    let reversed = lines("lobby", 50..=40, 2);
    assert_eq!(reversed, [0; 0]);
    assert_eq!(lines("nowhere", 1..=9, 9), [0; 0]);
    assert_eq!(last(u64::MAX, 2), [99, 100]);
    assert_eq!(last(3, 10), [1, 2]);
    assert_eq!(last(0, 10), [0; 0]);
    assert_eq!(last(50, 0), [0; 0]);
    assert_eq!(block_on(rig.store.lines("lobby", 7..=7, 1)).unwrap(), [line("lobby", 7)]);
}

#[test]
fn a_search_finds_the_newest_lines_first_in_a_room_of_any_size() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), StoreOptions::default());
    for number in 1..=3500_u64 {
        let text = if number % 1100 == 7 { "Привет, 100% WORLD" } else { "100 words" };
        let line = StoredLine { text: text.into(), ..line("lobby", number) };
        rig.store.write(StoreChange::Line { room: "lobby".into(), line });
    }
    let search = |words: &str, most| -> Vec<u64> {
        let found = block_on(rig.store.search("lobby", words, u64::MAX, most)).unwrap();
        found.lines.iter().map(|line| line.number).collect()
    };
    assert_eq!(search("привет world", 10), [3307, 2207, 1107, 7]);
    assert_eq!(search("100%", 2), [3307, 2207]);
    assert_eq!(search("w_r", 10), [0; 0]);
    assert_eq!(search("' OR 1=1 --", 10), [0; 0]);
    assert_eq!(search(" ", 10), [0; 0]);
    assert_eq!(search("USER2 привет", 10), [3307, 2207, 1107, 7]);
}

/// Issue 12, item 13: one search reads at most 20,000 lines, even if it finds nothing.
#[test]
fn attack_a_search_reads_a_bounded_part_of_a_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { keep_lines: 100_000, queue: 100_000, ..StoreOptions::default() };
    let rig = Rig::open(folder.path(), options);
    rig.write("lobby", 1..=45_000);
    let search = |words: &str, before| {
        let found = block_on(rig.store.search("lobby", words, before, 2)).unwrap();
        (found.lines.iter().map(|line| line.number).collect::<Vec<_>>(), found.before)
    };
    let (none, Some(first)) = search("absent", u64::MAX) else { panic!("there are more") };
    assert!(none.is_empty() && (24_000..=25_001).contains(&first), "{first}");
    let (_, Some(second)) = search("absent", first) else { panic!("there are more") };
    assert_eq!(search("absent", second), (Vec::new(), None));
    assert_eq!(search("44999", u64::MAX).0, [44_999]);
    assert_eq!(search("absent", 0), (Vec::new(), None));
}

#[test]
fn actions_of_operators_are_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..2 {
        let rig = Rig::open(folder.path(), EACH);
        for number in 0..3 {
            let (by, what) = (format!("op{run}"), format!("kick {number}"));
            rig.store.write(StoreChange::Audit { is_of_chat: true, time_ms: 7, by, what });
        }
        let newest = block_on(rig.store.audit(2)).unwrap();
        let entry = |number| (7, format!("op{run}"), format!("kick {number}"));
        assert_eq!(newest, [entry(2), entry(1)]);
        assert_eq!(block_on(rig.store.audit(99)).unwrap().len(), 3 * (run + 1));
        rig.store.close();
    }
}

/// Old lines are trimmed in the same transaction that adds new ones. The newest line always stays.
#[test]
fn a_room_keeps_lines_up_to_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { keep_lines: 100, ..EACH };
    let rig = Rig::open(folder.path(), options);
    for first in (1..1000).step_by(50) {
        rig.write("lobby", first..=first + 49);
        let lines = block_on(rig.store.lines("lobby", 1..=u64::MAX, 1000)).unwrap();
        // Lines are trimmed only at the end of a transaction. Lines that users said have a limit of
        // their own.
        assert!(lines.len() <= 250 && lines[lines.len() - 1].number == first + 49);
    }
    rig.store.close();
    let rig = Rig::open(folder.path(), StoreOptions { keep_bytes: 1, ..EACH });
    assert_eq!(rig.restored.rooms[0].lines.len(), 200);
    // The limits are lower now, so the room is trimmed even without a new line.
    let begun = now();
    while block_on(rig.store.lines("lobby", 1..=u64::MAX, 1000)).unwrap().len() > 2 {
        assert!(begun.elapsed() < super::NEVER);
    }
    rig.store.close();
    let rig = Rig::open(folder.path(), StoreOptions { keep_lines: 0, ..EACH });
    assert_eq!(rig.restored.rooms[0].lines, [line("lobby", 995), line("lobby", 1000)]);
    assert_eq!(rig.restored.rooms[0].next_number, 1001);
}

/// Lowering the limits of a large room does not delay the writer: the room is trimmed in many small
/// transactions.
#[test]
fn trimming_takes_small_steps() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    rig.write("lobby", 1..=9000);
    rig.store.close();
    let rig = Rig::open(folder.path(), StoreOptions { keep_lines: 10, ..EACH });
    rig.write("dev", 1..=1);
    rig.await_committed("dev", 1);
    let begun = now();
    while block_on(rig.store.lines("lobby", 1..=u64::MAX, 10_000)).unwrap().len() > 20 {
        assert!(begun.elapsed() < super::NEVER);
    }
    // The progress of the trimming depends on the speed of the machine. Only the number of steps is
    // checked.
    let log = fs::read(folder.path().join("chat.sqlite3-wal")).unwrap();
    let steps = commits(&log);
    assert!(steps > 30, "8,980 lines were trimmed in {steps} steps");
}

/// Returns the number of transactions in a write-ahead log.
fn commits(log: &[u8]) -> usize {
    // If a frame ends a transaction, its header contains the size of the database.
    let frames = log[32..].chunks_exact(24 + 4096);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn a_second_passes_between_two_transactions() {
    // The folder is in memory, because the time for a sync to a disk would disturb the measurement.
    let folder = super::folder_in_memory();
    let rig =
        Rig::open(folder.path(), StoreOptions { sync: SyncPolicy::Second, queue: 400, ..EACH });
    // The time is measured from before the first write. That write does not wait, so a delay of
    // this thread cannot shorten the time.
    let begun = now();
    rig.write("lobby", 1..=1);
    rig.await_committed("lobby", 1);
    rig.write("lobby", 2..=100);
    let committed = rig.await_event(Some);
    assert_eq!(committed, StoreEvent::Committed(vec![(Arc::from("lobby"), 100)]));
    let length = begun.elapsed().as_millis();
    assert!((1000..5000).contains(&length), "{length} ms");
    // If the queue is half full, the commit does not wait for the end of the second.
    let begun = now();
    rig.write("lobby", 101..=340);
    rig.await_event(Some);
    assert!(begun.elapsed().as_millis() < 900);
    assert_eq!(rig.store.close(), 0);
}

/// A line that can never be written does not stop other lines, and is counted as lost.
#[test]
fn changes_that_can_never_be_written_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    rig.write("lobby", 1..=3);
    let beyond = StoredLine { number: u64::MAX, ..line("lobby", 4) };
    rig.store.write(StoreChange::Line { room: "lobby".into(), line: beyond });
    rig.write("lobby", 4..=6);
    let reason = rig.await_event(|event| match event {
        StoreEvent::Failing(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("can never be written"), "{reason}");
    let recovered = |event| matches!(event, StoreEvent::Recovered { lost: 1 }).then_some(());
    rig.await_event(recovered);
    assert_eq!(block_on(rig.store.lines("lobby", 1..=9, 9)).unwrap().len(), 6);
}

/// If there are more changes than the queue holds, this is an outage and is reported once. A ban
/// still fits when lines do not.
#[test]
fn a_flood_is_counted_and_does_not_keep_a_ban_out() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), StoreOptions { queue: 80, ..EACH });
    let mut lost = 0;
    rig.write("lobby", 1..=50_000);
    rig.store.write(StoreChange::Ban(ban("mallory", None)));
    let mut told = 0;
    rig.await_event(|event| match event {
        StoreEvent::Failing(_) => {
            told += 1;
            None
        }
        StoreEvent::Recovered { lost: count } => {
            lost = count;
            Some(())
        }
        StoreEvent::Committed(_) => None,
    });
    assert_eq!(told, 1);
    rig.store.close();
    let restored = Rig::open(folder.path(), EACH).restored;
    let room = &restored.rooms[0];
    let kept = block_on(async { room.lines.len() as u64 });
    assert!(lost > 0 && kept == (50_000 - lost).min(10_000), "{lost} lost, {kept} kept");
    assert_eq!(restored.bans, [ban("mallory", None)]);
}

/// Fault 58: the clock jumps back and forth. The order is still that of the numbers.
#[test]
fn a_clock_that_jumps_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    let times = [5_000_000_000_000, 0, 1 << 62, 1, 1_700_000_000_000];
    for (number, time_ms) in (1..).zip(times) {
        let line = StoredLine { time_ms, kind: LineKind::Said, ..line("lobby", number) };
        rig.store.write(StoreChange::Line { room: "lobby".into(), line });
    }
    rig.store.close();
    let restored = Rig::open(folder.path(), StoreOptions { keep_lines: 3, ..EACH }).restored;
    let room = &restored.rooms[0];
    assert_eq!(room.lines.iter().map(|line| line.time_ms).collect::<Vec<_>>(), times);
    assert_eq!(room.last_time_ms, 1_700_000_000_000);
}

/// Empty texts, very long texts, and texts with quotes or NUL characters are restored unchanged.
#[test]
fn any_text_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), EACH);
    let long = "long ".repeat(100_000);
    let texts = ["", "\0", "a\0b", "'; DROP TABLE line; --", "\u{202E}\u{1F600}", &long];
    for (number, text) in (1..).zip(texts) {
        let line = StoredLine { text: text.into(), name: text.into(), ..line("lobby", number) };
        rig.store.write(StoreChange::Line { room: text.into(), line });
    }
    rig.store.close();
    let restored = Rig::open(folder.path(), EACH).restored;
    assert_eq!((restored.rooms.len(), restored.notices.len()), (texts.len(), 0));
    for room in restored.rooms {
        let line = &room.lines[0];
        assert!(room.name == *line.text && line.name == line.text);
    }
}

/// Issue 11, item C: if the thread of a store panics, an outage is reported, so that lines that
/// wait for the store are shown. Queries are refused.
#[test]
fn regression_a_store_whose_thread_panics_reports_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (told, events) = std::sync::mpsc::channel();
    let on_event = move |event| match event {
        StoreEvent::Committed(_) => panic!("as asked"),
        event => told.send(event).unwrap(),
    };
    let (store, _) = Store::open(folder.path(), EACH, 10, on_event).unwrap();
    store.write(super::said("lobby", 1));
    let event = events.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    let StoreEvent::Failing(reason) = event else { panic!("{event:?}") };
    assert!(reason.contains("panicked"), "{reason}");
    assert!(matches!(block_on(store.audit(1)), Err(StoreError::Closed)));
}

/// Issue 12, item 4: joins and leaves displace no said line, neither in the running store nor after
/// a restart. The store returns the number of the last trimmed line.
#[test]
fn attack_a_flood_of_joins_leaves_the_said_lines_in_the_store() {
    let folder = super::folder_in_memory();
    let options = StoreOptions { keep_lines: 50, ..EACH };
    let rig = Rig::open(folder.path(), options);
    let write = |number, kind| {
        let line = StoredLine { kind, ..line("lobby", number) };
        rig.store.write(StoreChange::Line { room: "lobby".into(), line });
    };
    (1..=40).for_each(|number| write(number, LineKind::Said));
    (41..=2000).for_each(|number| {
        write(number, if number % 2 == 0 { LineKind::Joined } else { LineKind::Left });
    });
    rig.await_committed("lobby", 2000);
    let begun = now();
    let lines = loop {
        let lines = block_on(rig.store.lines("lobby", 1..=u64::MAX, 9999)).unwrap();
        if lines.len() == 90 {
            break lines;
        }
        assert!(begun.elapsed() < super::NEVER, "{}", lines.len());
    };
    let numbers = |lines: &[StoredLine]| lines.iter().map(|line| line.number).collect::<Vec<_>>();
    let expected: Vec<u64> = (1..=40).chain(1951..=2000).collect();
    assert_eq!(numbers(&lines), expected);
    assert_eq!(block_on(rig.store.trimmed("lobby")).unwrap(), 1950);
    rig.store.close();
    // Only the ten newest lines are requested, and the ten newest lines that users said.
    let (store, restored) = Store::open(folder.path(), options, 10, |_| ()).unwrap();
    let room = &restored.rooms[0];
    let expected: Vec<u64> = (31..=40).chain(1991..=2000).collect();
    assert_eq!((numbers(&room.lines), room.trimmed, room.next_number), (expected, 1950, 2001));
    assert!(restored.notices.is_empty());
    store.close();
}
