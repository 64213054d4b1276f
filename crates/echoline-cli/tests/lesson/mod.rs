//! Runs the lesson's Python programs, and other programs, for tests that compare them.
//!
//! The programs are in the folder `$ECHOLINE_LESSON`, or else beside this repository.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

/// The maximum wait, far more than any step takes on a busy machine. Only a failing test waits this
/// long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Prints a sentence. The test harness hides the output of `println!` if the test passes.
pub(crate) fn say(sentence: &str) {
    // A closed stderr must not fail the test.
    let _ = writeln!(io::stderr(), "{sentence}");
}

/// Polls until `found` returns a value.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A running program, which is ended on drop.
pub(crate) struct Running {
    pub(crate) child: Child,
    directory: TempDir,
}

impl Running {
    /// Starts `command` with its standard output in a file, so that no full pipe can block it.
    pub(crate) fn start(mut command: Command, directory: TempDir) -> Self {
        let output = File::create(directory.path().join("stdout")).expect("a file can be made");
        let child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, directory }
    }

    /// Returns the output of the program so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("stdout")).expect("the output is text")
    }

    /// Returns the first line that the program prints; `None` if it ends before.
    pub(crate) fn first_line(&mut self) -> Option<String> {
        eventually("a first line of output", || {
            // Checks the process first, so that output before its end is not missed.
            let ended = self.child.try_wait().expect("a child can be waited for").is_some();
            match self.output().split_once('\n') {
                Some((line, _)) => Some(Some(line.to_owned())),
                None => ended.then_some(None),
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The call fails only if the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the folder of the lesson's programs. If they cannot be run, prints why and returns
/// `None`.
pub(crate) fn programs() -> Option<PathBuf> {
    let beside =
        || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("../shared/seed/programs");
    let folder = std::env::var_os("ECHOLINE_LESSON").map_or_else(beside, PathBuf::from);
    let has_python = || {
        let mut command = Command::new("python3");
        let status = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !folder.join("s1_simple_echo.py").is_file() {
        say(&format!("skipped: no lesson programs in {}", folder.display()));
    } else if !has_python() {
        say("skipped: the lesson's programs need python3, which is not on PATH");
    } else {
        return Some(folder);
    }
    None
}

/// Returns the command that runs a lesson program with parts of its source replaced.
pub(crate) fn python(program: &Path, parts: &[(&str, &str)], directory: &TempDir) -> Command {
    let mut source = fs::read_to_string(program).expect("the lesson's program can be read");
    for (old, new) in parts {
        assert!(source.contains(old), "{} has changed: no {old}", program.display());
        source = source.replace(old, new);
    }
    let copy = directory.path().join("program.py");
    fs::write(&copy, source).expect("the program can be written");
    let mut command = Command::new("python3");
    // Python then writes without buffering, and uses UTF-8 in any locale.
    command.arg("-u").arg("-X").arg("utf8").arg(copy);
    command
}

/// Starts a server of the lesson on a free port.
pub(crate) fn serve(program: &Path, parts: &[(&str, &str)]) -> (Running, SocketAddr) {
    // Another program may take the port before the server binds it.
    for _ in 0..5 {
        let address = free_address();
        let port = address.port().to_string();
        let mut parts = parts.to_vec();
        parts.push(("8080", &port));
        let directory = TempDir::new().expect("a directory can be made");
        let command = python(program, &parts, &directory);
        let mut running = Running::start(command, directory);
        // Each server prints a line once it listens.
        if running.first_line().is_some() {
            return (running, address);
        }
    }
    panic!("{} does not start", program.display());
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}
