//! Tests of SIGUSR2: another process takes over the service. Clients notice neither a successful
//! nor a failed upgrade.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use programs::{Ended, Program, echoline, wait_for};
use tempfile::TempDir;

/// A server whose program file can be replaced. Dropping this value kills it and all of its
/// successors.
struct Service {
    program: Program,
    folder: TempDir,
    /// The processes that have taken over, the newest last.
    successors: Vec<u32>,
}

impl Service {
    fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, |_| ())
    }

    fn start_with(flags: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = echoline(&[]);
        let file = folder.path().join("echoline");
        symlink(plain.get_program(), &file).unwrap();
        let mut command = Command::new(&file);
        for (name, _) in plain.get_envs() {
            command.env_remove(name);
        }
        command.args(["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
        command.arg(folder.path().join("ready")).args(flags);
        more(&mut command);
        let program = Program::start(&mut command);
        let service = Self { program, folder, successors: Vec::new() };
        wait_for("the ready file", || service.path("ready").exists());
        service
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn address(&self) -> String {
        let addresses = fs::read_to_string(self.path("ready")).unwrap();
        addresses.lines().next().unwrap().to_owned()
    }

    /// Returns the process that currently has the service.
    fn current(&self) -> u32 {
        self.successors.last().copied().unwrap_or_else(|| self.program.child.id())
    }

    /// Requests an upgrade and waits until it is done.
    fn upgrade(&mut self) {
        let old = self.current();
        let before = taken_over(&self.log()).len();
        signal("USR2", old);
        wait_for("a successor", || taken_over(&self.log()).len() > before);
        self.successors = taken_over(&self.log());
        assert_ne!(self.current(), old);
    }

    fn log(&self) -> String {
        self.program.stderr()
    }

    /// Replaces the program with a script.
    fn replace(&self, script: &str) {
        let file = self.path("echoline");
        fs::remove_file(&file).unwrap();
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn restore(&self) {
        fs::remove_file(self.path("echoline")).unwrap();
        symlink(echoline(&[]).get_program(), self.path("echoline")).unwrap();
    }

    fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address()).unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for &id in &self.successors {
            // Ignores the error for a process that has already ended.
            let _ = kill("KILL", id);
        }
    }
}

/// Returns the processes that took over, in order, according to the log.
fn taken_over(log: &str) -> Vec<u32> {
    let ids = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("upgraded: process ")?;
        rest.strip_suffix(" has taken over")?.parse().ok()
    });
    ids.collect()
}

fn kill(name: &str, id: u32) -> bool {
    let mut command = Command::new("kill");
    command.args(["-s", name, &id.to_string()]).stderr(Stdio::null());
    command.status().unwrap().success()
}

fn signal(name: &str, id: u32) {
    assert!(kill(name, id), "process {id} has ended");
}

fn is_running(id: u32) -> bool {
    // A zombie counts as ended.
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn children(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// A client that sends lines and expects their answers.
struct Client<S> {
    stream: BufReader<S>,
}

impl<S> Client<S>
where
    S: Read + Write,
{
    fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    #[track_caller]
    fn ask(&mut self, text: &str) {
        writeln!(self.stream.get_mut(), "{text}").unwrap();
        assert_eq!(self.line(), format!("Echo: {text}\n"));
    }
}

fn load(address: &str, flags: &[&str]) -> Program {
    let common = ["load", address, "--quiet", "--reconnect", "never", "--timeout", "30s"];
    Program::start(echoline(&common).args(flags))
}

#[track_caller]
fn assert_nobody_was_lost(run: Ended) {
    assert_eq!(run.code(), Some(0), "{}{}", run.text(), run.stderr);
}

/// Five upgrades while some clients connect, send one line and leave, and others stay and keep
/// sending. No connection is refused or reset, and every line is answered.
#[test]
fn no_client_notices_an_upgrade() {
    let mut service = Service::start(&[]);
    let address = service.address();
    let churn = ["--clients", "20", "--rate", "300/s", "--messages-per-connection", "1"];
    let short = load(&address, &[&churn[..], &["--duration", "9s"]].concat());
    let long = load(&address, &["--clients", "20", "--rate", "200/s", "--duration", "9s"]);
    // A client that connected before the first upgrade and is silent for a long time.
    let mut quiet = service.connect();
    quiet.ask("before");
    for _ in 0..5 {
        service.upgrade();
    }
    quiet.ask("after");
    drop(quiet);
    let short = short.finish();
    let served = taken_over(&service.log()).len();
    assert_eq!(served, 5, "{}", service.log());
    assert_nobody_was_lost(short);
    assert_nobody_was_lost(long.finish());
    service.connect().ask("the last process serves");
    for id in &service.successors[..4] {
        wait_for("the end of an old process", || !is_running(*id));
    }
    assert!(is_running(service.current()));
    let (newest, first) = (service.current(), &mut service.program.child);
    assert!(first.wait().unwrap().success());
    signal("TERM", newest);
    wait_for("the end of the newest process", || !is_running(newest));
    assert!(!service.path("ready").exists(), "the last process removes the ready file");
}

/// If a new program ends, hangs, or ends just after it was ready, the old one continues to serve,
/// logs the reason, and can still be upgraded.
#[test]
fn a_bad_program_leaves_the_old_one_serving() {
    // 5 s is long enough for a program to start on a busy machine.
    let mut service = Service::start(&["--upgrade-timeout", "5s"]);
    let mut there = service.connect();
    let old = service.current();
    for (script, sentence) in [
        ("exit 3", "ended (exit status: 3)"),
        ("exec sleep 1000", "was not ready within 5s (--upgrade-timeout)"),
        // This successor reports that it is ready, and then ends.
        ("printf R >&0; exit 4", "was ready, and then ended (exit status: 4)"),
        ("exec 0</dev/null; exec sleep 1000", "ended (signal: 9 (SIGKILL))"),
    ] {
        service.replace(script);
        signal("USR2", old);
        wait_for(sentence, || service.log().contains(sentence));
        assert!(service.log().contains("this process continues to serve"), "{}", service.log());
        wait_for("the end of the new process", || children(old).is_empty());
        there.ask(script);
        service.connect().ask(script);
        assert!(service.path("ready").exists());
    }
    fs::remove_file(service.path("echoline")).unwrap();
    signal("USR2", old);
    wait_for("an error about the missing file", || {
        service.log().contains("No such file or directory")
    });
    fs::write(service.path("echoline"), "").unwrap();
    service.restore();
    service.upgrade();
    there.ask("still the old process");
    service.connect().ask("the new process");
}

/// Of two simultaneous requests, one is carried out. A process that is stopped during an upgrade
/// also stops the new process.
#[test]
fn upgrades_run_one_at_a_time_and_not_while_stopping() {
    let service = Service::start(&[]);
    let old = service.current();
    service.replace("exec sleep 1000");
    signal("USR2", old);
    wait_for("the new process", || !children(old).is_empty());
    let new = children(old)[0];
    signal("USR2", old);
    wait_for("a refusal", || service.log().contains("no upgrade: another upgrade is in progress"));
    assert_eq!(children(old), [new]);
    signal("TERM", old);
    wait_for("the end of both", || !is_running(new) && !is_running(old));
}

/// The copies of the sockets that are kept for a successor keep no queue open when the server ends.
#[test]
fn a_server_that_ends_refuses_newcomers() {
    let service = Service::start(&[]);
    let address = service.address();
    let mut client = service.connect();
    client.ask("hello");
    // A draining server waits for the rest of a line.
    client.stream.get_mut().write_all(b"to be con").unwrap();
    client.stream.get_mut().flush().unwrap();
    // An answer to another client shows that the server had time to read these bytes.
    service.connect().ask("hello");
    signal("TERM", service.current());
    wait_for("a refusal", || TcpStream::connect(&address).is_err());
    client.stream.get_mut().write_all(b"tinued\n").unwrap();
    assert_eq!(client.line(), "Echo: to be continued\n");
}

/// The new process owns the old one's addresses. The file of a Unix socket stays until the last
/// process ends, and a closed listener accepts no connection.
#[test]
fn the_file_of_a_unix_socket_goes_with_the_last_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let mut service = Service::start(&["--listen", &format!("unix:{}", path.display())]);
    let address = service.address();
    let mut old = Client::new(UnixStream::connect(&path).unwrap());
    service.upgrade();
    old.ask("to the old");
    Client::new(UnixStream::connect(&path).unwrap()).ask("to the new");
    let newest = service.current();
    signal("TERM", newest);
    wait_for("the end of the new process", || !is_running(newest));
    assert!(!path.exists(), "the new process owned the file");
    // The first process still has a client, but must have no listening socket.
    assert!(TcpStream::connect(address).is_err(), "a process still listens");
    old.ask("to the old still");
}

/// Every socket keeps its purpose in the new process: several on free ports, and the admin address,
/// where only the new process answers.
#[test]
fn every_socket_keeps_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let admin = format!("127.0.0.1:0,unix:{}", socket.display());
    let mut service = Service::start(&["--listen", "127.0.0.1:0,localhost:0", "--admin", &admin]);
    let ready = || fs::read_to_string(service.path("ready")).unwrap();
    let before = ready();
    assert!(before.lines().count() >= 5, "{before}");
    // A client stays connected to the old process, so that it keeps running.
    let mut there = service.connect();
    there.ask("before");
    service.upgrade();
    assert_eq!(fs::read_to_string(service.path("ready")).unwrap(), before);
    for address in before.lines().filter(|line| !line.starts_with("admin")) {
        Client::new(TcpStream::connect(address).unwrap()).ask("to each");
    }
    let admin = before.lines().find_map(|line| line.strip_prefix("admin ")).unwrap();
    wait_for("the new process to be ready", || answer(admin, "/readyz").contains(" 200 "));
    for _ in 0..50 {
        let line = answer(admin, "/readyz");
        assert!(line.contains(" 200 "), "the old process still answers: {line}");
    }
    there.ask("after");
    drop(there);
    // Fault 60: no process has more descriptors than its predecessor.
    let descriptors = |id: u32| fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    let old = service.current();
    let first = descriptors(old);
    service.upgrade();
    let second = service.current();
    wait_for("no more descriptors than before", || descriptors(second) <= first);
    // Issue 12, item 11: the old process leaves the file of the admin socket to the new one.
    wait_for("the end of the old process", || !is_running(old));
    let mut stream = UnixStream::connect(&socket).unwrap();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    signal("TERM", second);
    wait_for("the end of the new process", || !is_running(second));
    assert!(!socket.exists(), "the file of the admin socket is left behind");
}

/// Returns the first line of a web server's response.
fn answer(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// The old process keeps its connections for --retire-timeout and then drains.
#[test]
fn the_old_process_drains_after_the_retire_timeout() {
    let mut service = Service::start(&["--retire-timeout", "100ms"]);
    let mut client = service.connect();
    client.ask("hello");
    service.upgrade();
    assert_eq!(client.line(), "", "the stream ends in order");
    assert!(service.program.child.wait().unwrap().success());
    service.connect().ask("the new process");
}

/// The old process tells the service manager the id of the new one, before the new one sends
/// anything.
#[test]
fn the_service_manager_gets_the_id_of_the_new_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut service = Service::start_with(&[], |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert!(heard(&manager).starts_with("READY=1\nSTATUS=serving line on 127.0.0.1:"));
    service.upgrade();
    let main = format!("MAINPID={}\n", service.current());
    assert!(heard(&manager).starts_with(&main));
    assert!(heard(&manager).starts_with("READY=1\n"));
}

fn heard(manager: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = manager.recv(&mut message).unwrap();
    String::from_utf8_lossy(&message[..length]).into_owned()
}

/// The users of a chat cannot be in two processes. So an upgrade of a chat is refused, and the chat
/// continues.
#[test]
fn a_chat_refuses_an_upgrade_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["chat", "--listen", "127.0.0.1:0", "--ready-file"]);
    let chat = Program::start(command.arg(&ready));
    wait_for("the ready file", || ready.exists());
    chat.signal("USR2");
    chat.wait_for_stderr("no upgrade: the users of a chat cannot be in two processes");
    let mut stream = TcpStream::connect(address_in(&ready)).unwrap();
    stream.write_all(b"ann\n/quit\n").unwrap();
    programs::read_to_end(&mut stream);
    chat.signal("TERM");
    assert_eq!(chat.finish().code(), Some(0));
}

fn address_in(ready: &Path) -> String {
    fs::read_to_string(ready).unwrap().lines().next().unwrap().to_owned()
}

/// A variable of an upgrade that was left in the environment is reported.
#[test]
fn a_leftover_variable_of_an_upgrade_is_reported() {
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0"]);
    let ended = Program::start(command.env("ECHOLINE_UPGRADE", "1")).finish();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("ECHOLINE_UPGRADE is set"), "{}", ended.stderr);
}
