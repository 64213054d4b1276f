//! Tests of SIGHUP: a server reloads all of its settings or none, without affecting existing
//! connections.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../../echoline-chat-store/tests/disk/mod.rs"]
mod disk;
mod programs;
mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk::Disk;
use programs::{Program, echoline, write_secret};
use support::{Client, Server, has, until};

/// A folder with a configuration in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(config);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self) -> String {
        self.path("echoline.toml").to_str().unwrap().to_owned()
    }

    /// Replaces the file atomically, as an editor or a package manager does.
    fn write(&self, config: &str) {
        fs::write(self.path("new"), config).unwrap();
        fs::rename(self.path("new"), self.path("echoline.toml")).unwrap();
    }
}

/// Sends SIGHUP and waits until the log shows its result, which is returned.
#[track_caller]
fn reload(server: &Server) -> String {
    server.await_log(" ready ");
    let answers = |log: &str| log.matches("reloaded").count();
    let before = server.log();
    server.signal("HUP");
    until("the reload is over", || answers(&server.log()) > answers(&before));
    server.log()[before.len()..].to_owned()
}

/// Fault 53: reloadable settings apply to new connections; each change is a line of the log.
#[test]
fn limits_and_answers_change_for_new_connections() {
    let folder = Folder::new("[echo]\nmax-connections = 10\ngreeting = 'hi'\n");
    let server = Server::start(&["--config", &folder.config()]);
    let mut early = server.connect();
    assert_eq!(early.line(), "hi\n");
    early.ask("hello");
    folder.write("[echo]\nmax-connections = 2\nmax-line = 10\ngreeting = 'welcome'\nprefix = '> '");
    let log = reload(&server);
    for change in [
        "INFO greeting: hi → welcome",
        "INFO max-connections: 10 → 2",
        "INFO max-line: default → 10",
        "INFO prefix: default → > ",
    ] {
        assert!(log.contains(change), "{change}: {log}");
    }
    let mut late = server.connect();
    assert_eq!(late.line(), "welcome\n");
    late.send("hello\n");
    assert_eq!(late.line(), "> hello\n");
    early.ask("longer than ten bytes, which is what I came with");
    assert_eq!(server.connect().rest(), "Server is busy. Try again later.\n");
    late.send("longer than ten bytes\n");
    assert_eq!(late.rest(), "Line too long (limit 10 bytes). Goodbye!\n");
    assert_eq!(reload(&server).lines().count(), 1, "nothing has changed");
    drop((early, late));
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 53: each reload logs the settings that need a restart, and keeps their old values. Other
/// settings change nevertheless.
#[test]
fn settings_that_need_a_restart_are_logged() {
    let folder = Folder::new("[echo]\nmode = 'line'\n");
    let server = Server::start(&["--config", &folder.config()]);
    folder.write("[echo]\nmode = 'raw'\nworkers = 7\nidle-timeout = '1h'\n");
    for round in 0..2 {
        let log = reload(&server);
        assert!(log.contains("WARN mode: raw needs a restart"), "{log}");
        assert!(log.contains("upgrade (SIGUSR2); line stays"), "{log}");
        assert!(log.contains("WARN workers: 7 needs a restart"), "{log}");
        assert_eq!(log.contains("idle-timeout: off → 1h"), round == 0, "{log}");
    }
    server.connect().ask("a line still");
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 53: if the file has any error, all old settings stay, and one line of the log has the
/// reason.
#[test]
fn a_bad_file_changes_nothing() {
    let folder = Folder::new("[echo]\nprefix = 'a: '\n");
    let server = Server::start(&["--config", &folder.config()]);
    let bad = [
        ("[echo]\nprefix = 'b: '\nmax-connectons = 5\n", "did you mean 'max-connections'?"),
        ("[echo]\nprefix = 'b: '\nmax-connections = 'x'\n", "line 3: max-connections: 'x' is no"),
        ("[echo]\nprefix = 'b: '\nmode = 'raw'\n", "--prefix has no effect in --mode raw"),
        ("[echo]\nprefix = 'b: '\nlog-file = '/no/such/folder/log'\n", "cannot write --log-file"),
        ("[echo\nprefix = 'b: '\n", "line 1: "),
        ("prefix = 'b: '\n", "'prefix' is not in a table"),
        ("[ekko]\nprefix = 'b: '\n", "did you mean [echo]?"),
    ];
    for (config, sentence) in bad {
        folder.write(config);
        let log = reload(&server);
        assert!(
            log.contains("ERROR the settings were not reloaded, and none has changed: "),
            "{log}"
        );
        assert!(log.contains(sentence) && log.lines().count() == 1, "{config}: {log}");
    }
    fs::remove_file(folder.config()).unwrap();
    let log = reload(&server);
    assert!(log.contains("cannot read --config") && log.contains("No such file"), "{log}");
    let mut client = server.connect();
    client.send("x\n");
    assert_eq!(client.line(), "a: x\n");
    folder.write("[echo]\nprefix = 'c: '\n");
    assert!(reload(&server).contains("prefix: a:  → c: "));
    drop(client);
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 53: without a configuration file, SIGHUP changes nothing and affects no client.
#[test]
fn a_hangup_without_a_configuration_is_harmless() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.ask("before");
    assert_eq!(reload(&server).lines().count(), 1);
    client.ask("after");
    drop(client);
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 53: two hundred reloads under load, alternately valid and invalid, lose no message.
#[test]
fn reloads_under_load_lose_no_message() {
    const RELOADS: usize = 200;
    const RENAMED_EVERY: usize = 50;
    let folder = Folder::new("[echo]\nmax-line = 1000\n");
    let log_file = folder.path("log");
    let log_flag = log_file.to_str().unwrap();
    let server = Server::start(&["--config", &folder.config(), "--log-file", log_flag]);
    let address = server.address().to_string();
    // The connections are short, so that each reload affects new connections.
    let flags = ["--clients=20", "--duration=120s", "--messages-per-connection=5", "--rst"];
    let flags = [&flags[..], &["--fail-if=errors>0.0001%"]].concat();
    let arguments = [&["load", &address, "--source=127.0.0.2,127.0.0.3"][..], &flags].concat();
    let load = Program::start(&mut echoline(&arguments));
    let answers = || {
        let logs = fs::read_dir(folder.0.path()).unwrap().flatten();
        let logs = logs.filter(|file| file.file_name().to_string_lossy().starts_with("log"));
        let texts = logs.map(|file| fs::read_to_string(file.path()).unwrap());
        texts.map(|text| text.matches("reloaded").count()).sum::<usize>()
    };
    for number in 1..=RELOADS {
        match number % 4 {
            3 => folder.write("[echo]\nnonsense = 1\n"),
            rest => folder.write(&format!("[echo]\nmax-line = {}\n", 1000 + 500 * rest)),
        }
        if number % RENAMED_EVERY == 0 {
            fs::rename(&log_file, folder.path(&format!("log.{number}"))).unwrap();
        }
        server.signal("HUP");
        until("the reload is over", || answers() == number);
    }
    load.signal("INT");
    let ended = load.finish();
    let report = ended.text();
    assert_eq!(ended.code(), Some(0), "{report}\n{}", ended.stderr);
    assert!(!report.contains("Messages: 0\n"), "{report}");
    assert!(report.contains("wrong 0 + timed out 0 + reset 0 + lost 0"), "{report}");
    assert!(folder.path("log.200").exists() && log_file.exists());
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 53: a SIGHUP that arrives before the server is ready takes effect once it is. A
/// configuration file that never ends (a pipe) delays neither the clients nor the stop.
#[test]
fn a_hangup_before_the_server_is_ready_waits() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut server = Server::spawn(&["--config", pipe.to_str().unwrap()]);
    // `open` returns once the server has opened the other end, long before the server listens.
    let mut config = File::options().write(true).open(&pipe).unwrap();
    server.signal("HUP");
    config.write_all(b"[echo]\nprefix = 'first: '\n").unwrap();
    drop(config);
    until("the server is ready", || server.ready_file().exists());
    // Because of the pending SIGHUP the server opens the pipe once more and waits for a writer.
    let address = fs::read_to_string(server.ready_file()).unwrap().trim().parse().unwrap();
    let mut client = Client::connect(address);
    client.send("x\n");
    assert_eq!(client.line(), "first: x\n");
    let mut config = File::options().write(true).open(&pipe).unwrap();
    config.write_all(b"[echo]\nprefix = 'second: '\n").unwrap();
    drop(config);
    server.await_log("reloaded");
    server.signal("HUP");
    let config = File::options().write(true).open(&pipe).unwrap();
    drop(client);
    assert!(server.is_running());
    let end = server.stop();
    assert_eq!(end.code, Some(0), "{}", end.log);
    drop(config);
}

/// Fault 53: the server reopens a renamed log under its configured name, even if the configuration
/// is invalid, and loses no line.
#[test]
fn a_renamed_log_is_reopened() {
    let folder = Folder::new("[echo]\nlog-level = 'debug'\n");
    let (log, old) = (folder.path("echo.log"), folder.path("echo.log.1"));
    let flags = ["--config", &folder.config(), "--log-file", log.to_str().unwrap()];
    let server = Server::start(&flags);
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    server.connect().ask("one");
    until("the first connection has ended", || text(&log).contains("closed slot=1"));
    folder.write("[echo\n");
    fs::rename(&log, &old).unwrap();
    server.signal("HUP");
    until("there is a new log", || text(&log).contains("the settings were not reloaded"));
    server.connect().ask("two");
    until("the second connection has ended", || text(&log).contains("closed slot=2"));
    assert!(text(&old).contains("connected slot=1") && !text(&old).contains("slot=2"));
    assert!(!text(&log).contains("slot=1 "));
    // Another log level and another file take effect at once.
    let moved = folder.path("moved.log");
    let config = format!("[echo]\nlog-file = '{}'\n", moved.display());
    folder.write(&config);
    server.signal("HUP");
    until("the level has changed", || text(&log).contains("log-level: debug → default"));
    assert_eq!(server.log(), "", "a server with a log file is silent");
    assert_eq!(server.stop().code, Some(0));
    assert!(!moved.exists(), "the command line takes precedence for the log file");
}

/// Fault 56: a full disk loses lines of the log, which are counted, and has no other effect.
#[test]
fn a_full_disk_loses_only_lines_of_the_log() {
    let Some(disk) = Disk::mount("64k") else { return };
    let log = disk.path().join("log");
    let server = Server::start(&["--log-level=debug", "--log-file", log.to_str().unwrap()]);
    server.connect().ask("before");
    disk.fill();
    for _ in 0..200 {
        server.connect().ask("while there is no room");
    }
    disk.clear();
    let text = || fs::read_to_string(&log).unwrap();
    until("the loss is reported", || {
        server.connect().ask("after");
        text().contains("log lines lost")
    });
    assert_eq!(text().matches("log lines lost").count(), 1);
    let is_whole = |line: &str| line.starts_with("20") || line.is_empty();
    let torn = text().lines().filter(|line| !is_whole(line)).count();
    assert!(torn == 0, "{torn} lines are glued to others: {}", text());
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 12: a server that has given up root's rights cannot read a file of root again. The reload
/// logs that, and the old settings and the listeners stay.
#[test]
fn a_reload_without_root_rights_keeps_the_old_settings() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        let words = b"SKIPPED, not passed: only root can give up its rights\n";
        return std::io::stderr().write_all(words).unwrap();
    }
    let folder = Folder::new("[echo]\nprefix = 'a: '\n");
    let path = folder.config();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    // Any user may write the ready file in this folder.
    fs::set_permissions(folder.0.path(), Permissions::from_mode(0o777)).unwrap();
    let ready = folder.path("ready");
    let flags = ["echo", "--listen=127.0.0.1:0", "--config", &path, "--user=nobody"];
    let server = Program::start(echoline(&flags).arg("--ready-file").arg(&ready));
    until("the server is ready", || ready.exists());
    let address = fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
    server.signal("HUP");
    server.wait_for_stderr(
        "the settings were not reloaded, and none has changed: cannot read --config",
    );
    server.wait_for_stderr("Permission denied");
    let mut client = Client::connect(address);
    client.send("x\n");
    assert_eq!(client.line(), "a: x\n");
    drop(client);
    server.signal("TERM");
    assert_eq!(server.finish().code(), Some(0));
}

/// The service manager gets a message when the reload starts and another when the settings are in
/// force.
#[test]
fn a_reload_is_reported_to_the_service_manager() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, ready) = (folder.path().join("manager"), folder.path().join("ready"));
    let socket = UnixDatagram::bind(&manager).unwrap();
    socket.set_read_timeout(Some(support::NEVER)).unwrap();
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
    let server = Program::start(command.arg(&ready).env("NOTIFY_SOCKET", &manager));
    let hear = || {
        let mut heard = [0; 4096];
        let length = socket.recv(&mut heard).unwrap();
        String::from_utf8_lossy(&heard[..length]).into_owned()
    };
    assert!(hear().contains("READY=1"));
    server.signal("HUP");
    let reloading = hear();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="));
    assert!(hear().contains("READY=1"));
    server.signal("TERM");
    assert!(hear().contains("STOPPING=1"));
    assert_eq!(server.finish().code(), Some(0));
}

/// Fault 12: a file that can no longer be read cancels the reload, and the old content stays in
/// use.
#[test]
fn a_chat_keeps_a_file_that_it_can_no_longer_read() {
    let folder = Folder::new("[chat]\nmax-rooms = 5\n");
    let password = folder.path("password");
    write_secret(&password, "open sesame\n");
    let flag = format!("--operator-password-file={}", password.display());
    let (ready, config) = (folder.path("ready"), folder.config());
    let flags = ["chat", "--listen=127.0.0.1:0", "--config", &config, &flag, "--ready-file"];
    let chat = Program::start(echoline(&flags).arg(&ready));
    until("the chat is ready", || ready.exists());
    fs::remove_file(&password).unwrap();
    folder.write("[chat]\nmax-rooms = 6\nlog-level = 'debug'\n");
    chat.signal("HUP");
    chat.wait_for_stderr(
        "the settings were not reloaded, and none has changed: cannot read --operator-pass",
    );
    let address = fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
    let mut client = Client::connect(address);
    client.send("ann\n");
    assert!(client.line().contains("ann joined the chat"));
    drop(client);
    write_secret(&password, "another one\n");
    chat.signal("HUP");
    chat.wait_for_stderr("max-rooms: 5 → 6");
    chat.signal("TERM");
    let ended = chat.finish();
    assert_eq!(ended.code(), Some(0));
    // The log level is read before the password. The level is valid, but it must not change alone.
    let (before, _) = ended.stderr.split_once("log-level: default → debug").unwrap();
    assert!(!before.contains("DEBUG"), "{before}");
}

/// A server in the foreground ends with its terminal; a server behind nohup(1) stays. Issue 11,
/// item 31: nohup(1) writes its nohup.out in a folder of the test.
#[test]
fn regression_a_server_ends_with_its_terminal_and_leaves_no_file() {
    if !has("script") {
        return;
    }
    for (words, ends) in [("", true), ("nohup ", false)] {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let program = env!("CARGO_BIN_EXE_echoline");
        let log = folder.path().join("log");
        let id = folder.path().join("id");
        let command = format!(
            "echo $$ > {}; exec {words}{program} echo --listen 127.0.0.1:0 --ready-file {} \
             --log-file {}",
            id.display(),
            ready.display(),
            log.display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["-q", "-c", &command, "/dev/null"]).current_dir(folder.path());
        let mut terminal = Program::start(&mut terminal);
        until("the server is ready", || ready.exists());
        let server = Orphan(fs::read_to_string(&id).unwrap().trim().to_owned());
        let address = fs::read_to_string(&ready).unwrap().trim().parse().unwrap();
        terminal.child.kill().unwrap();
        let text = || fs::read_to_string(&log).unwrap();
        if ends {
            until("the server has ended", || text().contains("ended; "));
            assert!(text().contains(
                "draining connections; a second signal ends the server at once \
                                     signal=\"SIGHUP\""
            ));
        } else {
            until("the reload is in the log", || text().contains("reloaded"));
            Client::connect(address).ask("still here");
            server.kill("TERM");
            until("the server has ended", || text().contains("ended; "));
            assert!(folder.path().join("nohup.out").exists(), "nohup.out is in another folder");
        }
    }
}

/// A process whose parent has ended. Dropping this value kills it if it still runs.
struct Orphan(String);

impl Orphan {
    fn kill(&self, signal: &str) {
        let mut kill = Command::new("kill");
        // A process that has ended is no error.
        let _ = kill.args(["-s", signal, &self.0]).stderr(Stdio::null()).status();
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.kill("KILL");
    }
}
