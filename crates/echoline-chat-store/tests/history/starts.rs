//! Tests of a start while the disk fails. The start is refused with one sentence, or it is
//! complete. Nothing is lost in either case.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use echoline_chat_store::Store;

use super::damaged::{Files, closed_with, killed_with, put};
use super::{EACH, Rig, line};

const LINES: u64 = 300;

/// The system calls with which a start examines, opens, reads and changes files.
const CALLS: [&str; 4] = [
    "stat,lstat,newfstatat,statx,access,faccessat,faccessat2",
    "fstat,fcntl,flock,lseek",
    "read,pread64,open,openat,mmap",
    "write,pwrite64,ftruncate,fsync,fdatasync,unlink,unlinkat,link,linkat,rename,renameat2",
];

/// Runs as a separate process that opens the given folder and prints the result. It does nothing in
/// a normal run of the tests.
#[test]
fn opens_once() {
    let Ok(folder) = std::env::var("ECHOLINE_OPENS_ONCE") else { return };
    let text = match Store::open(Path::new(&folder), EACH, 10_000, drop) {
        Ok((store, restored)) => {
            assert_eq!(store.close(), 0);
            format!("opened {} {:?}", restored.rooms.len(), restored.notices)
        }
        Err(error) => format!("refused {error}"),
    };
    let _ = fs::write(Path::new(&folder).with_extension("said"), text);
}

/// Starts with these files, and lets the call number `when` fail. Returns the output of the start,
/// or `None` if there are fewer calls.
fn start_with(files: &Files, calls: &str, error: &str, when: usize) -> Option<(String, String)> {
    let parent = put(&Files::new());
    let folder = parent.path().join("data");
    fs::create_dir(&folder).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let trace = parent.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(&trace);
    strace.args(["-e", &format!("trace={calls}"), "-e"]);
    strace.arg(format!("inject={calls}:error={error}:when={when}"));
    for name in ["", "chat.sqlite3", "chat.sqlite3-wal", "chat.sqlite3-shm", "chat.sqlite3.new"] {
        strace.arg("-P").arg(folder.join(name));
    }
    let ended = strace
        .arg(std::env::current_exe().unwrap())
        .args(["starts::opens_once", "--exact"])
        .env("ECHOLINE_OPENS_ONCE", &folder)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let trace = fs::read_to_string(trace).unwrap();
    let injected = trace.lines().find(|line| line.contains("(INJECTED)"))?.to_owned();
    let said = fs::read_to_string(folder.with_extension("said")).unwrap_or_default();
    let what = format!("{injected}\n{said}");
    assert!(ended.success(), "{what}");
    assert!(said.starts_with("opened 1 []") || said.starts_with("refused "), "{what}");
    assert!(!said.contains('\n') && (said.contains("chat") || said.contains("opened")), "{what}");
    check(&folder, &what);
    Some((injected, said))
}

/// Checks that every line is there, that no file was renamed, and that a later start has no
/// notices.
fn check(folder: &Path, what: &str) {
    for file in fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name();
        assert!(!name.to_str().unwrap().contains("damaged"), "{name:?} after {what}");
    }
    let rig = Rig::open(folder, EACH);
    let [room] = &rig.restored.rooms[..] else { panic!("{:?} after {what}", rig.restored) };
    let lines = (1..=LINES).map(|number| line("lobby", number));
    assert!(room.lines.iter().cloned().eq(lines), "{} lines after {what}", room.lines.len());
    assert_eq!(rig.restored.notices, [""; 0], "{what}");
}

/// Issue 11, items A and B: if any system call of a start fails, the start is refused with one
/// sentence, or all lines are there. A failing disk must cause neither an empty history nor a
/// renamed one.
fn sweep(files: &Files) {
    if !super::full::has("strace") {
        return;
    }
    let (mut points, mut refused) = (0, 0);
    for (index, calls) in CALLS.into_iter().enumerate() {
        // EACCES is the error if the process may not enter a folder.
        let errors = if index == 0 { &["EIO", "EACCES"][..] } else { &["EIO"] };
        for error in errors {
            for when in 1.. {
                let Some((_, said)) = start_with(files, calls, error, when) else { break };
                points += 1;
                refused += u32::from(said.starts_with("refused"));
            }
        }
    }
    assert!(points > 30 && refused > 15, "{points} points, {refused} refused");
}

/// Issue 11, items A and B: most lines are in the database.
#[test]
fn regression_a_failing_call_over_a_closed_folder_loses_no_line() {
    sweep(&closed_with(&[("lobby", LINES)]));
}

/// Issue 11, items A and B: most lines are in the write-ahead log.
#[test]
fn regression_a_failing_call_over_a_killed_folder_loses_no_line() {
    sweep(&killed_with(&[("lobby", LINES)]));
}
