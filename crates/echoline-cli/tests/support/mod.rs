//! The common part of the tests of whole programs: a server that is a real process, and its
//! clients.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test may")]
#![allow(clippy::print_stderr, reason = "the harness shows it where a test fails")]

pub(crate) mod client;
pub(crate) mod process;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) use client::Client;

/// The time limit of every wait. Only a failing test waits this long.
pub(crate) const NEVER: Duration = Duration::from_secs(30);

/// `echoline echo` as a separate process. Dropping this value kills it.
pub(crate) struct Server {
    child: Child,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    folder: TempDir,
}

/// The end of a server: its exit code and the counts in the last line of its log.
#[derive(Debug)]
pub(crate) struct End {
    /// `None` if a signal killed the server.
    pub(crate) code: Option<i32>,
    pub(crate) after: Duration,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) log: String,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1, unless `flags` contain an address. Waits until
    /// the server is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_as(program(&[]), flags)
    }

    /// Starts the server through another command, such as `prlimit …`, which then executes the
    /// server.
    pub(crate) fn start_behind(words: &[&str], flags: &[&str]) -> Self {
        Self::start_as(program(words), flags)
    }

    /// Starts a server with this stderr instead of the file that [`log`](Self::log) reads.
    pub(crate) fn start_with_stderr(stderr: Stdio, flags: &[&str]) -> Self {
        let mut command = program(&[]);
        command.stderr(stderr);
        Self::launch(command, flags, tempfile::tempdir().unwrap())
    }

    fn start_as(mut command: Command, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        command.stderr(File::create(folder.path().join("log")).unwrap());
        Self::launch(command, flags, folder)
    }

    /// Starts without waiting, for tests whose start fails or is interrupted.
    pub(crate) fn spawn(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program(&[]);
        command.stderr(File::create(folder.path().join("log")).unwrap());
        Self::spawn_as(command, flags, folder)
    }

    fn spawn_as(mut command: Command, flags: &[&str], folder: TempDir) -> Self {
        command.arg("echo").args(flags);
        if !flags.contains(&"--ready-file") {
            command.arg("--ready-file").arg(folder.path().join("ready"));
        }
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Self { child: command.spawn().unwrap(), addresses: Vec::new(), admin: None, folder }
    }

    fn launch(command: Command, flags: &[&str], folder: TempDir) -> Self {
        let mut server = Self::spawn_as(command, flags, folder);
        let ready = server.ready_file();
        until("the server is ready", || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", server.log());
            }
            // Waits until the ready file is closed, because tests count the descriptors of an idle
            // server.
            ready.exists() && !process::has_open(server.id(), &ready)
        });
        let lines = fs::read_to_string(ready).unwrap();
        for line in lines.lines() {
            match line.strip_prefix("admin ") {
                Some(admin) if admin.starts_with("unix:") => {}
                Some(admin) => server.admin = Some(admin.parse().unwrap()),
                None => server.addresses.push(line.parse().unwrap()),
            }
        }
        server
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address of `--admin`.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("the server was started with --admin")
    }

    pub(crate) fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready")
    }

    /// Returns everything that the server has written to stderr so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits for `text` in the log, which a separate thread writes.
    #[track_caller]
    pub(crate) fn await_log(&self, text: &str) {
        until(text, || self.log().contains(text));
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// Sends a signal by its short name: `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the server ends.
    pub(crate) fn wait(self) -> End {
        self.wait_since(now())
    }

    fn wait_since(mut self, start: Instant) -> End {
        let mut status: Option<ExitStatus> = None;
        until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let log = self.log();
        let counts = counts(&log);
        End { code: status.unwrap().code(), after: start.elapsed(), counts, log }
    }

    /// Stops the server with SIGTERM and waits until it ends.
    pub(crate) fn stop(self) -> End {
        // The measured time begins before the signal, because sending the signal may take long.
        let start = now();
        self.signal("TERM");
        self.wait_since(start)
    }

    /// Waits until all connections have ended, and then stops the server. So no connection is
    /// counted as drained.
    pub(crate) fn stop_when_empty(self, descriptors_before: usize) -> End {
        self.await_descriptors(descriptors_before);
        self.stop()
    }

    #[track_caller]
    pub(crate) fn await_descriptors(&self, wanted: usize) {
        until("every descriptor is closed", || process::descriptors(self.id()) == wanted);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped or stuck server must not outlive its test. It is no error if it has ended
        // already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(4000);
            eprintln!("the server's log: {}", log.get(tail..).unwrap_or(&log));
        }
    }
}

impl End {
    /// Returns the number of connections that ended as `label`.
    pub(crate) fn count(&self, label: &str) -> u64 {
        self.counts.get(label).copied().unwrap_or_default()
    }
}

/// Returns the command of the program under test. If `words` is not empty, the command in `words`
/// executes the program.
pub(crate) fn program(words: &[&str]) -> Command {
    let path = env!("CARGO_BIN_EXE_echoline");
    let mut command = match words {
        [] => Command::new(path),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(path);
            command
        }
    };
    // The environment of the caller must not change the test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHOLINE_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Returns the numbers of the report, `… ended; end_of_stream=3 reset=1 connections=4
/// still_open=0`.
fn counts(log: &str) -> BTreeMap<String, u64> {
    let report = log.lines().rfind(|line| line.contains("ended; ")).unwrap_or_default();
    report
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect()
}

/// Returns the current time. The tests read the clock only here.
#[expect(clippy::disallowed_methods, reason = "a whole program lives in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Checks repeatedly until `holds` returns true. Fails the test after [`NEVER`].
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = now();
    while !holds() {
        assert!(start.elapsed() < NEVER, "not within {NEVER:?}: {what}");
        pause(Duration::from_millis(2));
    }
}

/// Sleeps. Use it only for the pace of a slow client, or for a duration that is itself tested.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Returns whether a program is installed. If it is not, prints that the test is skipped.
pub(crate) fn has(name: &str) -> bool {
    let found = Command::new(name).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        // `eprintln!` is not used, because the harness hides its output if the test passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, not passed: this test needs {name}, which is not installed"
        );
    }
    found.is_ok()
}
