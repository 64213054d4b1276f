//! Tests of sockets from the service manager, messages to it, and dropped root privileges.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use programs::{Program, echoline, nobody, wait_for};
use tempfile::TempDir;

/// Returns whether a program is installed. If it is not, prints that the test is skipped.
fn has(name: &str) -> bool {
    let mut command = Command::new(name);
    let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let found = quiet.status().is_ok();
    if !found {
        skip(&format!("{name}, which is not installed"));
    }
    found
}

fn skip(needs: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED, not passed: this test needs {needs}");
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        skip("root");
    }
    root
}

#[track_caller]
fn ask(stream: impl std::io::Read + Write, text: &str) {
    let mut stream = BufReader::new(stream);
    writeln!(stream.get_mut(), "{text}").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, format!("Echo: {text}\n"));
}

/// Returns the command of docs/service.md that begins like this, with its continued lines joined.
fn documented(beginning: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/service.md");
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let command = text.lines().find(|line| line.starts_with(beginning));
    command.unwrap_or_else(|| panic!("docs/service.md has no '{beginning}'")).to_owned()
}

/// Runs a command of docs/service.md with the program under test.
fn paste(command: &str) -> Program {
    let plain = echoline(&[]);
    let program = Path::new(plain.get_program());
    let mut shell = Command::new("sh");
    for (name, _) in plain.get_envs() {
        shell.env_remove(name);
    }
    // With `exec`, signals reach the program and not the shell.
    shell.arg("-c").arg(format!("exec {command}"));
    let path = std::env::var("PATH").unwrap();
    shell.env("PATH", format!("{}:{path}", program.parent().unwrap().display()));
    Program::start(&mut shell)
}

/// Starts a program through `systemd-socket-activate`, which runs it when the first client
/// connects.
fn activated(command: &str) -> Program {
    let program = paste(command);
    program.wait_for_stderr("Listening on");
    program
}

/// Runs the commands of docs/service.md: systemd passes the sockets, TCP and Unix, without further
/// configuration.
#[test]
fn sockets_of_systemd_are_served() {
    if !has("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    let address = nobody();
    let both = format!("{address} -l {}", path.display());
    let command = documented("systemd-socket-activate -l 127.0.0.1:8080");
    let program = activated(&command.replace("127.0.0.1:8080", &both));
    ask(TcpStream::connect(address).unwrap(), "by TCP");
    ask(UnixStream::connect(&path).unwrap(), "by a Unix socket");
    program.wait_for_stderr(&format!("listening on {address}"));
    program.wait_for_stderr(&format!("listening on unix:{}", path.display()));
    program.signal("TERM");
    assert_eq!(program.finish().code(), Some(0));
    assert!(path.exists(), "the service manager's file stays");
}

/// Runs the commands of docs/service.md: sockets are found by name, and each of the two sockets of
/// a chat serves its own kind of client.
#[test]
fn sockets_of_systemd_have_names() {
    if !has("systemd-socket-activate") {
        return;
    }
    let (people, programs) = (nobody(), nobody());
    let command = documented("systemd-socket-activate -l 127.0.0.1:8000");
    let command = command.replace("127.0.0.1:8000", &people.to_string());
    let chat = activated(&command.replace("127.0.0.1:8001", &programs.to_string()));
    let first_line = |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"ann\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    assert!(first_line(people).starts_with("Enter your name: "));
    assert!(first_line(programs).starts_with('{'), "programs speak JSON");
    chat.signal("TERM");
    assert_eq!(chat.finish().code(), Some(0));
}

/// `--listen` finds its socket among the passed ones by its address.
#[test]
fn sockets_of_systemd_have_addresses() {
    if !has("systemd-socket-activate") {
        return;
    }
    let (first, second) = (nobody(), nobody());
    let command = format!(
        "systemd-socket-activate -l {first} -l {second} echoline echo --listen {second} \
         --listen tcp://{first}"
    );
    let program = activated(&command);
    ask(TcpStream::connect(first).unwrap(), "the first");
    ask(TcpStream::connect(second).unwrap(), "the second");
    program.signal("TERM");
    assert_eq!(program.finish().code(), Some(0));
}

/// Issue 11, item 23: the log and the ready file show the actual address of a socket that is
/// configured by its name. Issue 11, item 2: if it is bound to loopback, requests with a foreign
/// host name are refused.
#[test]
fn regression_a_named_socket_keeps_its_address() {
    if !has("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ready, address, admin) = (folder.path().join("ready"), nobody(), nobody());
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    writeln!(secret, "secret-of-the-admin-page").unwrap();
    let command = format!(
        "systemd-socket-activate -l {address} --fdname=web echoline chat --listen 127.0.0.1:0 \
         --web fd://web --admin {admin} --admin-secret-file {} --ready-file {}",
        secret.path().display(),
        ready.display()
    );
    let program = activated(&command);
    let mut page = TcpStream::connect(address).unwrap();
    program.wait_for_stderr(&format!("listening on {address}"));
    wait_for("the ready file", || ready.exists());
    let text = fs::read_to_string(&ready).unwrap();
    assert!(text.lines().any(|line| line == address.to_string()), "{text}");
    program.wait_for_stderr(&format!("web page at http://{address}/"));
    let request = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    page.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut page, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let mut shown = TcpStream::connect(admin).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\
         Authorization: Bearer secret-of-the-admin-page\r\n\r\n"
    );
    shown.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut shown, &mut answer).unwrap();
    assert!(answer.contains(&address.to_string()), "{answer}");
    program.signal("TERM");
    assert_eq!(program.finish().code(), Some(0));
}

/// Fault 61: a passed socket that no flag uses and a socket name that does not exist end the start,
/// and the message names a remedy.
#[test]
fn sockets_of_systemd_that_do_not_fit_are_reported() {
    if !has("systemd-socket-activate") {
        return;
    }
    for (listen, sentence) in [
        ("127.0.0.1:0", "named 'web', which has no --listen: add it"),
        ("fd://bots", "set FileDescriptorName=bots in its .socket unit"),
    ] {
        let address = nobody();
        let options = format!("-l {address} --fdname=web");
        let command = format!("systemd-socket-activate {options} echoline echo --listen {listen}");
        let program = activated(&command);
        let _client = TcpStream::connect(address).unwrap();
        let ended = program.finish();
        assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    }
}

/// Variables that are set for another process, or for none, are ignored.
#[test]
fn sockets_for_another_process_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
    command.arg(&ready).env("LISTEN_PID", "1").env("LISTEN_FDS", "3");
    let program = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    program.signal("TERM");
    assert_eq!(program.finish().code(), Some(0));
    // `exec` keeps the process id of the shell for the program.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" echo 3</dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(echoline(&[]).get_program());
    let ended = Program::start(&mut command).finish();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("descriptor 3 from the service manager"), "{ended:?}");
}

/// A service manager that listens for messages.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, folder }
    }

    /// Starts a service that sends its messages to this manager.
    fn start(&self, flags: &[&str], variables: &[(&str, &str)]) -> Program {
        let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
        command.arg(self.ready()).args(flags).envs(variables.iter().copied());
        Program::start(command.env("NOTIFY_SOCKET", self.folder.path().join("notify")))
    }

    fn ready(&self) -> PathBuf {
        self.folder.path().join("ready")
    }

    fn hear(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }
}

/// Fault 61: the service manager gets messages when the service is ready, and when and for how long
/// it drains.
#[test]
fn the_service_manager_gets_messages() {
    let manager = Manager::new();
    let service = manager.start(&["--drain-timeout", "40s"], &[]);
    let address = || fs::read_to_string(manager.ready()).unwrap().trim().to_owned();
    let ready = manager.hear();
    assert_eq!(ready, format!("READY=1\nSTATUS=serving line on {}\n", address()));
    ask(TcpStream::connect(address()).unwrap(), "it was true");
    service.signal("TERM");
    let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n\
        STATUS=waiting for connections to finish\n";
    assert_eq!(manager.hear(), stopping);
    assert_eq!(service.finish().code(), Some(0));
}

/// The watchdog gets two messages in each interval, and only from the process that it watches.
#[test]
fn the_watchdog_gets_messages() {
    let manager = Manager::new();
    let service = manager.start(&[], &[("WATCHDOG_USEC", "100000")]);
    assert!(manager.hear().starts_with("READY=1"));
    for _ in 0..5 {
        assert_eq!(manager.hear(), "WATCHDOG=1\n");
    }
    service.signal("TERM");
    assert_eq!(service.finish().code(), Some(0));

    let manager = Manager::new();
    let service = manager.start(&[], &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    assert!(manager.hear().starts_with("READY=1"));
    service.signal("TERM");
    assert!(manager.hear().starts_with("STOPPING=1"), "another process is watched");
    assert_eq!(service.finish().code(), Some(0));
}

/// A service manager that is gone causes warnings and has no other effect.
#[test]
fn a_missing_service_manager_delays_no_client() {
    let manager = Manager::new();
    fs::remove_file(manager.folder.path().join("notify")).unwrap();
    let service = manager.start(&[], &[]);
    service.wait_for_stderr("the service manager could not be notified of READY=1");
    ask(TcpStream::connect(fs::read_to_string(manager.ready()).unwrap().trim()).unwrap(), "still");
    service.signal("TERM");
    assert_eq!(service.finish().code(), Some(0));
}

/// Issue 11, item 28: an unknown form of NOTIFY_SOCKET causes a warning; the service starts.
#[test]
fn regression_an_unknown_notify_socket_does_not_stop_the_start() {
    for form in ["vsock:2:1234", "manager", "/no/such/folder/notify"] {
        let manager = Manager::new();
        let mut command = echoline(&["echo", "--listen", "127.0.0.1:0", "--ready-file"]);
        let service = Program::start(command.arg(manager.ready()).env("NOTIFY_SOCKET", form));
        service.wait_for_stderr("WARN the service manager");
        wait_for("the ready file", || manager.ready().exists());
        let address = fs::read_to_string(manager.ready()).unwrap();
        ask(TcpStream::connect(address.trim()).unwrap(), "it serves");
        service.signal("TERM");
        assert_eq!(service.finish().code(), Some(0), "{form}");
    }
}

/// Returns the values after `label` in the status of one thread.
fn values(status: &str, label: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

/// A process that is not a child of the test. Dropping this value kills the process.
struct Stray(String);

impl Drop for Stray {
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        // The process has already ended if the test passed, so an error is ignored.
        let _ = kill.args(["-s", "KILL", &self.0]).stderr(Stdio::null()).status();
    }
}

/// Returns a port that only root may bind, at an address that no other test uses.
fn reserved_address() -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.77.{high}.{low}:77")
}

#[track_caller]
fn assert_no_capabilities(status: &str, sets: &[&str]) {
    for set in sets {
        assert_eq!(values(status, set), ["0000000000000000"], "{set}");
    }
    assert_eq!(values(status, "NoNewPrivs:"), ["1"]);
}

/// Fault 11: with --user no thread keeps a root privilege, and none can regain one. Fault 12:
/// sockets that were bound before the switch are still served, also after SIGHUP.
#[test]
fn dropped_rights_cannot_be_regained() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (path, ready) = (folder.path().join("echo.sock"), folder.path().join("ready"));
    let reserved = reserved_address();
    // The command of docs/service.md, except for the address.
    let command =
        documented("sudo echoline echo").replace("sudo ", "").replace("0.0.0.0:7", &reserved);
    let command = command.replace("--mode raw", "");
    let files = format!("--listen unix:{} --ready-file {}", path.display(), ready.display());
    let service = paste(&format!("{command} {files}"));
    wait_for("the ready file", || ready.exists());
    let id = service.child.id();
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let threads: Vec<PathBuf> = threads.map(|entry| entry.unwrap().path()).collect();
    assert!(threads.len() > 2, "workers and the log are threads: {threads:?}");
    for thread in threads {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        assert_eq!(values(&status, "Uid:"), ["65534"; 4]);
        assert_eq!(values(&status, "Gid:"), ["65534"; 4]);
        assert_eq!(values(&status, "Groups:"), ["65534"]);
        assert_no_capabilities(&status, &["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"]);
    }
    let owner = fs::metadata(&path).unwrap();
    assert_eq!((owner.uid(), owner.mode() & 0o777), (65534, 0o600));
    assert_eq!(fs::metadata(&ready).unwrap().uid(), 65534);
    ask(TcpStream::connect(&reserved).unwrap(), "on a port of root's");
    ask(UnixStream::connect(&path).unwrap(), "on a socket");
    // Files and ports that only root can open stay open across a reload.
    service.signal("HUP");
    service.wait_for_stderr("reloaded");
    ask(TcpStream::connect(&reserved).unwrap(), "after a reload");
    // A successor inherits the port, but no root privileges.
    service.signal("USR2");
    service.wait_for_stderr("has taken over");
    let log = service.stderr();
    let (_, successor) = log.split_once("upgraded: process ").unwrap();
    let successor = Stray(successor.split(' ').next().unwrap().to_owned());
    let status = fs::read_to_string(format!("/proc/{}/status", successor.0)).unwrap();
    assert_eq!(values(&status, "Uid:"), ["65534"; 4]);
    assert_eq!(values(&status, "CapEff:"), ["0000000000000000"]);
    ask(TcpStream::connect(&reserved).unwrap(), "after an upgrade");
    assert!(Command::new("kill").arg(&successor.0).status().unwrap().success());
    wait_for("the end of the service", || TcpStream::connect(&reserved).is_err());
    let ended = service.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(!path.exists(), "the server can still remove its own file");
}

/// Fault 11: the errors of a user who may not bind a port, or may not switch to another user, name
/// the remedy.
#[test]
fn missing_rights_are_reported_with_a_remedy() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    assert!(reserved.trim().parse::<u16>().unwrap() > 77, "every user may bind port 77 here");
    let bind = "root (--user drops it later), CAP_NET_BIND_SERVICE";
    for (flags, sentence) in [
        (&["--listen", &reserved_address()][..], bind),
        (&["--listen", "127.0.0.1:0", "--user", "daemon"], "only root can switch to another user"),
    ] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(echoline(&[]).get_program()).arg("echo").args(flags);
        let ended = Program::start(&mut command).finish();
        assert_eq!(ended.code(), Some(1), "{flags:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(sentence), "{flags:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

/// Issue 12, item 1: the user of --user owns the folder of the socket, and replaces the socket with
/// a symbolic link to a file of root as soon as it exists. Root still owns the file afterwards.
#[test]
fn attack_a_symlink_in_place_of_the_socket_keeps_its_owner() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (precious, theirs) = (folder.path().join("precious"), folder.path().join("theirs"));
    fs::write(&precious, "precious").unwrap();
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
    let socket = theirs.join("s");
    for _ in 0..8 {
        let mut command = echoline(&["echo", "--user", "65534:65534", "--log-level", "error"]);
        command.arg("--listen").arg(format!("unix:{}", socket.display()));
        let mut service = Program::start(&mut command);
        let is_there = || fs::symlink_metadata(&socket).is_ok();
        // The loop does not sleep, because the server would continue during a sleep.
        (0..100_000_000).find(|_| is_there() || service.has_ended()).unwrap();
        fs::rename(&socket, theirs.join("old")).unwrap();
        std::os::unix::fs::symlink(&precious, &socket).unwrap();
        let id = service.child.id();
        wait_for("the service to be the user, or to end", || {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            service.has_ended() || values(&status, "Uid:").contains(&"65534".to_owned())
        });
        service.signal_if_running("KILL");
        service.finish();
        let found = fs::metadata(&precious).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "a file of root has another owner now");
        fs::remove_file(&socket).unwrap();
        fs::remove_file(theirs.join("old")).unwrap();
    }
}

/// Issue 12, item 14: a process that already runs as the user of --user gives up its capabilities.
/// It does not start if it has a group that this user is not in.
#[test]
fn attack_groups_and_capabilities_of_the_start_are_not_kept() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let address = reserved_address().replace(":77", ":78");
    let start = |groups: &str, user: &str| {
        let mut command = Command::new("setpriv");
        let caps = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"];
        command.args(["--reuid=65534", "--regid=65534", groups]).args(caps).arg("--");
        command.arg(echoline(&[]).get_program()).args(["echo", "--listen", &address]);
        Program::start(command.args(["--user", user]))
    };
    let refused = start("--groups=65534,12345,0", "65534:65534").finish();
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("in groups that the account is not in ("), "{refused:?}");
    let service = start("--clear-groups", "65534:65534");
    service.wait_for_stderr("ready");
    for thread in fs::read_dir(format!("/proc/{}/task", service.child.id())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert_no_capabilities(&status, &["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]);
        assert_eq!(values(&status, "Groups:"), Vec::<String>::new());
    }
    ask(TcpStream::connect(&address).unwrap(), "on the port that it was given");
}
