//! A session of bash: runs commands one after another, and returns the output of each.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::programs::{Program, echoline};

/// The time limit of a page.
const SESSION_MAX: Duration = Duration::from_secs(120);

/// The maximum delay of the output of a job in the background.
const LATE_MAX: Duration = Duration::from_secs(5);

/// After a job in the background has been silent for this time, its first output counts as
/// complete.
const SILENCE: Duration = Duration::from_millis(100);

const POLL_EVERY: Duration = Duration::from_millis(5);

/// The command that gives a session its own users, network, mounts and processes. When `unshare`
/// ends, all processes of the session end.
const UNSHARE: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "bash",
    "-c",
    include_str!("namespaces.sh"),
    "bash",
];

/// Whether this machine lets the test create namespaces. The variable `WITHOUT_NAMESPACES` makes
/// the test run without them.
pub(crate) fn has_namespaces() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        if std::env::var_os("WITHOUT_NAMESPACES").is_some() {
            return false;
        }
        let made = Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true").output();
        made.is_ok_and(|ended| ended.status.success())
    })
}

/// A bash in an empty folder. Dropping this value ends the bash and all processes that it has
/// started.
#[derive(Debug)]
pub(crate) struct Session {
    program: Program,
    started: Instant,
    marker: String,
    /// The length of the output that belongs to earlier commands.
    seen: usize,
    commands: usize,
    folder: TempDir,
}

/// The output of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) output: String,
    /// `None` if the command did not end in time, or ended the session.
    pub(crate) status: Option<i32>,
    pub(crate) took: Duration,
}

/// The end of a command: its exit status (`None` if it ended the session), and the number of jobs
/// that run in the background.
#[derive(Debug)]
struct End {
    status: Option<i32>,
    jobs: i32,
}

impl Session {
    /// Starts a session, in namespaces or without.
    pub(crate) fn start(in_namespaces: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let marker = format!("\u{1e}{}", folder.path().display());
        for name in ["page", "home"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let bash = ["bash", "-c", include_str!("session.sh"), "bash", &marker];
        let words = if in_namespaces { [UNSHARE, &bash].concat() } else { bash.to_vec() };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).process_group(0).current_dir(folder.path().join("page"));
        let program = echoline(&[]);
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        let folder_of_program = Path::new(program.get_program()).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", folder_of_program.display()));
        command.env("HOME", folder.path().join("home"));
        for (name, value) in [("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("TERM", "dumb")] {
            command.env(name, value);
        }
        Self {
            program: Program::start(&mut command),
            started: now(),
            marker,
            seen: 0,
            commands: 0,
            folder,
        }
    }

    /// Runs a command, and waits until `is_expected` returns true for its output, but at most a few
    /// seconds.
    ///
    /// If the command starts a server in the background and names no ready file, this also waits
    /// until the server accepts connections. A reader of the page types so slowly that the server
    /// is ready.
    pub(crate) fn run(&mut self, command: &str, is_expected: impl Fn(&str) -> bool) -> Printed {
        self.commands += 1;
        let in_background = command.trim_end().ends_with('&');
        let is_server =
            ["echoline echo", "echoline chat"].iter().any(|name| command.starts_with(name));
        let mut ready = String::new();
        if in_background && is_server && !command.contains("--ready-file") {
            let name = format!("ready-{}", self.commands);
            ready = self.folder.path().join(name).display().to_string();
        }
        self.program.write(format!("{ready}\0{command}\0").as_bytes());
        let began = now();
        let (mut ended, mut length, mut changed) = (None, 0, began);
        loop {
            let all = self.program.stdout();
            let (output, end) = self.split(&all[self.seen..]);
            if all.len() != length {
                (length, changed) = (all.len(), now());
            }
            let (status, late_max) = match end {
                None => (None, SESSION_MAX.saturating_sub(self.started.elapsed())),
                Some(End { status, jobs: 0 }) => (status, Duration::ZERO),
                Some(End { status, .. }) => (status, LATE_MAX),
            };
            if end.is_some() && ended.is_none() {
                ended = Some(now());
            }
            let is_settled = !in_background || changed.elapsed() > SILENCE;
            let is_over = match ended {
                Some(at) => (is_expected(&output) && is_settled) || at.elapsed() > late_max,
                None => late_max.is_zero(),
            };
            if is_over {
                self.seen = all.len();
                return Printed { output, status, took: began.elapsed() };
            }
            thread::sleep(POLL_EVERY);
        }
    }

    /// Takes the marker out of the output.
    fn split(&self, output: &str) -> (String, Option<End>) {
        let marked = output.split_once(&self.marker).and_then(|(before, rest)| {
            let (end, behind) = rest.split_once('\u{1e}')?;
            Some((format!("{before}{behind}"), end))
        });
        let Some((output, end)) = marked else { return (output.to_owned(), None) };
        let mut numbers = end.split_whitespace().map(|word| word.parse().ok());
        let status = numbers.next().flatten();
        let jobs = numbers.next().flatten().unwrap_or(0);
        (without_line_numbers(&output), Some(End { status, jobs }))
    }

    /// Returns the jobs in the background that still run after a few seconds.
    pub(crate) fn jobs(&mut self) -> String {
        let wait = "for _ in {1..20}; do [ -z \"$(jobs -r)\" ] && break; sleep 0.1; done; jobs -r";
        self.run(wait, |_| true).output
    }
}

/// Changes `bash: line 3: …` to `bash: …`, as an interactive bash prints it.
fn without_line_numbers(output: &str) -> String {
    let shorter = output.split_inclusive('\n').map(|line| {
        let rest = line.strip_prefix("bash: line ").and_then(|rest| rest.split_once(": "));
        rest.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(line.to_owned(), |(_, rest)| format!("bash: {rest}"))
    });
    shorter.collect()
}

fn now() -> Instant {
    Instant::now()
}

impl Drop for Session {
    fn drop(&mut self) {
        // The session leads its process group until it is waited for, so the group id still belongs
        // to it.
        let group = format!("-{}", self.program.child.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
    }
}
