//! Tests of a chat with `--data` whose disk fails, and of the history after a restart.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../../echoline-chat-store/tests/disk/mod.rs"]
mod disk;
mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use disk::Disk;
use programs::{Program, echoline, run, wait_for, write_secret};

/// A user at a terminal.
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

    /// Reads up to a line that ends with `end`. Returns the lines before it.
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

    /// Reads up to a line that contains these words, and returns it.
    fn hear_of(&mut self, words: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(words) {
                return line;
            }
        }
    }
}

/// Starts a chat that keeps its history in `data`.
fn start(data: &Path, flags: &[&str]) -> (Program, String) {
    let ready = tempfile::tempdir().unwrap().keep().join("ready");
    let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--flood", "off", "--data"]);
    command.arg(data).arg("--ready-file").arg(&ready).args(flags);
    let program = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let address = fs::read_to_string(&ready).unwrap().trim().to_owned();
    (program, address)
}

/// Fault 63: the disk is full. The chat continues and reports this once. It reports when there is
/// space again, and no line is missing from the history.
#[test]
fn a_full_disk_does_not_stop_the_chat() {
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
    let mut before = said(&heard, "cannot be saved now");
    if before == 0 {
        ben.hear("*** The history cannot be saved now; the chat continues without it ***");
        before = 1;
    }
    assert_eq!(before, 1, "said once");
    assert_eq!(said(&heard, &long), 200, "ben has received every line");

    disk.clear();
    ben.hear("*** The history is saved again; nothing was lost ***");
    ben.say("/search 199");
    ben.hear_of("ann: 199 xxx");
    drop(program);
}

/// Promise P11: after a restart the lines, topics and bans are the same, and a token restores its
/// user's rights.
#[test]
fn a_restart_restores_lines_topics_bans_and_rights() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    write_secret(&password, "open sesame\n");
    let flags = ["--operator-password-file", password.to_str().unwrap()];
    let data = folder.path().join("data");

    let (program, address) = start(&data, &flags);
    let mut ann = Guest::enter(&address, "ann");
    ann.say("/join garden");
    ann.say("/topic bees");
    ann.say("honey");
    ann.say("/private on");
    ann.say("/token");
    let told = ann.hear_of("restores this session");
    let token = told.trim_start_matches("*** ").split(" restores").next().unwrap().to_owned();
    let mut root = Guest::enter(&address, "warden");
    root.say("/oper open sesame");
    root.hear("your commands ***");
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
    // The date is shown too, because a ban may last for weeks.
    let today = refusal.split("until ").nth(1).unwrap();
    assert!(today.starts_with("20") && today.contains('-'), "{refusal}");

    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut ann = Guest(BufReader::new(stream));
    ann.say(&token);
    ann.say("/join garden");
    ann.hear("You are now talking in garden ***");
    ann.say("/topic");
    ann.hear("*** Topic: bees ***");
    ann.say("/search honey");
    ann.hear("ann: honey");
    // Only an operator of the room may do this, so ann has her rights back.
    ann.say("/private off");
    ann.hear("*** All users can join this room now ***");
    drop(program);
}

/// Runs a subcommand of `echoline chat` on `data`. Returns its stdout.
fn over(data: &Path, command: &str, arguments: &[&str]) -> Result<String, String> {
    let data = data.to_str().unwrap();
    let ended = run(&[&["chat", command, "--data", data], arguments].concat(), b"");
    match ended.code() {
        Some(0) => Ok(ended.text()),
        _ => Err(ended.stderr),
    }
}

/// Starts a chat, and sends 50 lines as ann and one as bob. The chat still runs when this returns.
fn with_lines(data: &Path) -> (Program, String, Guest, Guest) {
    let (program, address) = start(data, &["--history-sync", "each"]);
    let (mut ann, mut bob) = (Guest::enter(&address, "ann"), Guest::enter(&address, "bob"));
    for number in 1..=50 {
        ann.say(&format!("secret {number}"));
    }
    bob.hear("ann: secret 50");
    bob.say("I like ann");
    ann.hear("bob: I like ann");
    (program, address, ann, bob)
}

/// Issue 11, item 17: a backup of a running chat contains every line that users have seen. The
/// backup file is either complete or absent, and never replaces another file. Restoring it restores
/// all lines.
#[test]
fn regression_a_backup_of_a_running_chat_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (program, _, mut ann, mut bob) = with_lines(&data);
    // All lines are in the write-ahead log, which a copy of the database file alone would miss.
    let copied = fs::read(data.join("chat.sqlite3")).unwrap();
    assert!(!String::from_utf8_lossy(&copied).contains("secret 50"));

    let backup = folder.path().join("backup");
    let file = backup.to_str().unwrap();
    let wrote = over(&data, "backup", &[file]).unwrap();
    assert!(wrote.starts_with(&format!("Wrote {file} (")), "{wrote}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&backup).unwrap();
    let error = over(&data, "backup", &[file]).unwrap_err();
    assert!(error.contains("already exists") && error.contains("--force"), "{error}");
    assert_eq!(fs::read(&backup).unwrap(), before);
    ann.say("later");
    bob.hear("ann: later");
    _ = over(&data, "backup", &[file, "--force"]).unwrap();
    let error = over(&folder.path().join("none"), "backup", &[file, "--force"]).unwrap_err();
    assert!(error.contains("there is no chat history in"), "{error}");
    let error = over(&data, "backup", &["/no/such/folder/file"]).unwrap_err();
    assert!(error.contains("cannot write the backup /no/such/folder/file"), "{error}");
    // No unfinished files are left.
    let names = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(names().all(|name| name == "data" || name == "backup"), "{:?}", names().next());

    let error = over(&data, "restore", &[file]).unwrap_err();
    assert!(error.contains("in use by process"), "{error}");
    program.signal("TERM");
    ann.hear("Goodbye! ***");
    drop(program);
    let error = over(&data, "restore", &[file]).unwrap_err();
    assert!(error.contains("chat.sqlite3 already exists"), "{error}");
    let restored = folder.path().join("restored");
    let (other, missing) = (folder.path().join("other"), folder.path().join("missing"));
    fs::write(&other, "no database\n".repeat(100)).unwrap();
    let error = over(&restored, "restore", &[other.to_str().unwrap()]).unwrap_err();
    assert!(error.contains(&format!("{} is damaged: ", other.display())), "{error}");
    let error = over(&restored, "restore", &[missing.to_str().unwrap()]).unwrap_err();
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
    _ = over(&restored, "restore", &[file]).unwrap();
    let (program, address) = start(&restored, &[]);
    let mut cat = Guest::enter(&address, "cat");
    cat.say("/search later");
    cat.hear("ann: later");
    cat.say("/history 3-52");
    assert_eq!(cat.hear("ann: secret 50").len(), 49);
    assert!(!program.stderr().contains("WARN"), "{}", program.stderr());
}

/// Issue 11, item 17: `--force` replaces a backup, but never a file of the history or a device. If
/// the name is a symbolic link, `--force` replaces its target. Errors name the file that the user
/// gave, once.
#[test]
fn regression_a_backup_never_replaces_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (_program, _, mut ann, mut bob) = with_lines(&data);
    let path = |name: &str| folder.path().join(name);
    let try_file = |file: &Path| over(&data, "backup", &[file.to_str().unwrap(), "--force"]);
    symlink(data.join("chat.sqlite3"), path("link")).unwrap();
    symlink(&data, path("folder")).unwrap();
    for file in [
        data.join("chat.sqlite3"),
        data.join("chat.sqlite3-wal"),
        data.join("chat.sqlite3-journal"),
        data.join("chat.lock"),
        path("folder/chat.sqlite3"),
        path("link"),
    ] {
        let error = try_file(&file).unwrap_err();
        assert!(error.contains("a file of the history itself"), "{error}");
    }
    ann.say("still kept");
    bob.hear("ann: still kept");
    assert!(over(&data, "export", &["lobby"]).unwrap().contains("ann: still kept"));

    symlink(path("none"), path("dangling")).unwrap();
    for file in [Path::new("/dev/null"), &path("dangling")] {
        let error = try_file(file).unwrap_err();
        assert!(error.contains("is not a regular file"), "{error}");
    }
    fs::write(path("old"), b"old backup").unwrap();
    symlink(path("old"), path("latest")).unwrap();
    _ = try_file(&path("latest")).unwrap();
    assert!(fs::symlink_metadata(path("latest")).unwrap().is_symlink());
    assert!(fs::read(path("old")).unwrap().starts_with(b"SQLite format 3"));

    fs::write(path("text"), b"no database").unwrap();
    let try_restore =
        |file: &Path| over(&path("restored"), "restore", &[file.to_str().unwrap()]).unwrap_err();
    let (text, none) = (path("text"), path("none"));
    let error = try_restore(&text);
    assert!(error.contains(&format!("{} is damaged", text.display())), "{error}");
    let error = try_restore(&none);
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
    assert!(error.contains(none.to_str().unwrap()), "{error}");
}

/// Issue 11, item 17: all lines of a room can be exported as text and as JSON while the chat runs.
#[test]
fn regression_a_room_is_exported_while_the_chat_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (_program, _, _ann, _bob) = with_lines(&data);
    let text = over(&data, "export", &["LOBBY"]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 53, "{text}");
    // The form of a line is `#3 2026-11-27 14:03 +00:00 ann: secret 1`.
    let moment = lines[2].strip_prefix("#3 ").and_then(|line| line.strip_suffix(" ann: secret 1"));
    let moment = moment.unwrap_or_else(|| panic!("{}", lines[2]));
    assert!(moment.starts_with("20") && moment[..16].matches(['-', ':', ' ']).count() == 4);
    let json = over(&data, "export", &["lobby", "--json"]).unwrap();
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["number"], &last["kind"]), (&53.into(), &"said".into()));
    assert_eq!((&last["name"], &last["text"]), (&"bob".into(), &"I like ann".into()));
    assert!(last["time"].as_str().unwrap().ends_with('Z') && last["time_ms"].is_u64(), "{last}");
    assert_eq!((json.lines().count(), &last["room"]), (53, &"lobby".into()));
    let error = over(&data, "export", &["attic"]).unwrap_err();
    assert!(error.contains("there is no room attic in") && error.contains("lobby"), "{error}");
}

/// Issue 11, item 14: a user can be erased from the history of a chat that is not running.
/// Afterwards the disk does not contain the user's texts, name and topic, and all other data is
/// unchanged.
#[test]
fn regression_a_user_is_erased_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (program, address, mut ann, mut bob) = with_lines(&data);
    ann.say("/topic secret bees");
    ann.hear("set the topic: secret bees ***");
    ann.say("/nick anna_2");
    bob.hear("*** ann is now anna_2 ***");
    ann.say("/nick ann");
    bob.hear("*** anna_2 is now ann ***");
    ann.say("/token");
    ann.hear_of("restores this session");
    ann.say("/quit secret reasons");
    bob.hear("*** ann left the chat (secret reasons) ***");
    let error = over(&data, "erase", &["ann"]).unwrap_err();
    assert!(error.contains("cannot erase ann") && error.contains("in use by process"), "{error}");
    program.signal("TERM");
    bob.hear("Goodbye! ***");
    assert_eq!(program.finish().code(), Some(0));
    assert!(address.starts_with("127."));

    let told = over(&data, "erase", &["Ann"]).unwrap();
    assert!(told.contains("55 lines in 1 room, 1 token"), "{told}");
    assert!(told.contains("Ann also used the name anna_2: erase that name too"), "{told}");
    let told = over(&data, "erase", &["anna_2"]).unwrap();
    assert!(told.contains("2 lines in 1 room, 0 tokens"), "{told}");
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("secret") && !text.contains("anna"), "{}", path.display());
    }
    let (program, address) = start(&data, &["--replay", "100"]);
    let stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut cat = Guest(BufReader::new(stream));
    cat.say("cat");
    let replayed = cat.hear("*** cat joined the chat ***");
    let lines = |text: &str| replayed.iter().filter(|line| line.ends_with(text)).count();
    assert_eq!(lines("[deleted]: [deleted]"), 50, "{replayed:?}");
    // The texts of other users stay unchanged.
    assert_eq!(lines("bob: I like ann"), 1);
    assert_eq!(lines("*** [deleted] joined the chat ***"), 1);
    assert_eq!(lines("*** [deleted] is now [deleted] ***"), 2);
    assert_eq!(lines("*** [deleted] left the chat ([deleted]) ***"), 1);
    cat.say("/topic");
    cat.hear("*** No topic is set ***");
    cat.say("/history 3-3");
    cat.hear("[deleted]: [deleted]");
    assert!(!program.stderr().contains("WARN"), "{}", program.stderr());
}

/// Issue 11, item F: another program locks the history. The shutdown takes no longer than
/// --drain-timeout allows, and reports the lost changes.
#[test]
fn regression_a_locked_history_does_not_delay_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (mut program, address) = start(&data, &["--drain-timeout", "1s"]);
    let (mut ann, mut bob) = (Guest::enter(&address, "ann"), Guest::enter(&address, "bob"));
    let locker = rusqlite::Connection::open(data.join("chat.sqlite3")).unwrap();
    locker.execute_batch("BEGIN IMMEDIATE").unwrap();
    ann.say("unwritten");
    bob.hear("ann: unwritten");
    program.signal("TERM");
    let mut waits = 0;
    while !program.has_ended() {
        std::thread::sleep(Duration::from_millis(50));
        waits += 1;
    }
    // Without the fix, the shutdown takes 5.9 s.
    assert!(waits < 4 * 20, "{waits} times 50 ms");
    let ended = program.finish();
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("changes could not be written to --data"), "{}", ended.stderr);
}
