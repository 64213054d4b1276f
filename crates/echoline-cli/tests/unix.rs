//! Tests of Unix sockets: left-over socket files, other client programs, and full queues.
#![allow(clippy::unwrap_used)]

mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use programs::{EchoServer, Ended, Program, echoline, run, wait_for};
use tempfile::TempDir;

/// Returns a new folder, and a `unix:` address in it.
fn place() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("echo.sock").display());
    (folder, address)
}

fn path(address: &str) -> &str {
    address.strip_prefix("unix:").unwrap()
}

/// Returns the result of a server that cannot listen.
fn fail_to_listen(address: &str) -> Ended {
    let ended = run(&["echo", "--listen", address], b"");
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    ended
}

/// Fault 45: the socket file of a killed server does not prevent a new start.
#[test]
fn a_killed_server_can_be_started_again() {
    let (_folder, address) = place();
    let mut killed = EchoServer::start_at(&address, &[]);
    killed.program.child.kill().unwrap();
    killed.program.child.wait().unwrap();
    assert!(fs::exists(path(&address)).unwrap(), "the killed server could not remove its file");
    let server = EchoServer::start_at(&address, &[]);
    assert_eq!(server.address, address);
    let mode = fs::metadata(path(&address)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
    server.program.signal("TERM");
    assert_eq!(server.program.finish().code(), Some(0));
    assert!(!fs::exists(path(&address)).unwrap(), "the file is removed");
}

/// Fault 45: a running server is not replaced, and no other file is changed.
#[test]
fn foreign_files_and_servers_stay() {
    let (folder, address) = place();
    let server = EchoServer::start_at(&address, &[]);
    assert!(fail_to_listen(&address).stderr.contains("another program listens there"));
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
    // At its end, a server removes its own socket file, but not another file of the same name.
    fs::remove_file(path(&address)).unwrap();
    let successor = EchoServer::start_at(&address, &[]);
    server.program.signal("TERM");
    assert_eq!(server.program.finish().code(), Some(0));
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
    drop(successor);
    let precious = folder.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let address = format!("unix:{}", precious.display());
    assert!(fail_to_listen(&address).stderr.contains("it is not a socket"));
    assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
}

/// Issue 11, item 5: if servers start at once on the same path, one serves, and the others fail
/// with a sentence.
#[test]
fn regression_servers_that_start_at_once_share_no_path() {
    let (folder, address) = place();
    drop(UnixListener::bind(path(&address)).unwrap());
    let ready = |number: usize| folder.path().join(format!("ready-{number}"));
    let mut servers: Vec<Program> = (0..6)
        .map(|number| {
            let mut command = echoline(&["echo", "--listen", &address, "--ready-file"]);
            Program::start(command.arg(ready(number)))
        })
        .collect();
    wait_for("all but one to end", || {
        servers.iter_mut().map(Program::has_ended).filter(|has_ended| !has_ended).count() == 1
    });
    wait_for("the remaining server to be ready", || (0..6).any(|number| ready(number).exists()));
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
    for mut server in servers {
        if server.has_ended() {
            let ended = server.finish();
            assert_eq!(ended.code(), Some(1));
            assert!(ended.stderr.contains("another program listens there"), "{}", ended.stderr);
        } else {
            server.signal("TERM");
            assert_eq!(server.finish().code(), Some(0));
        }
    }
}

/// Issue 11, item 5: the file has the mode and the group of the settings.
#[test]
fn regression_a_socket_file_has_the_mode_and_group_asked_for() {
    let (folder, address) = place();
    let group = fs::metadata(folder.path()).unwrap().gid().to_string();
    let flags = ["--unix-mode", "0660", "--unix-group", &group];
    let _server = EchoServer::start_at(&address, &flags);
    let made = fs::symlink_metadata(path(&address)).unwrap();
    assert_eq!((made.mode() & 0o7777, made.gid().to_string()), (0o660, group));
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
    for (flag, value, sentence) in [
        ("--unix-mode", "rw-rw----", "write octal digits"),
        ("--unix-group", "no-such-group", "there is no group 'no-such-group'"),
    ] {
        let ended = run(&["echo", "--listen", &address, flag, value], b"");
        assert_eq!(ended.code(), Some(2));
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    }
}

/// Issue 11, item 48: with `reuse_port`, two servers share one port, as with Python's
/// `start_server`.
#[test]
fn regression_two_servers_share_a_port() {
    let first = EchoServer::start(&["--reuse-port"]);
    let alone = run(&["echo", "--listen", &first.address], b"");
    assert!(alone.stderr.contains("another program listens there"), "{}", alone.stderr);
    let second = EchoServer::start_at(&first.address, &["--reuse-port"]);
    first.program.signal("TERM");
    assert_eq!(first.program.finish().code(), Some(0));
    assert_eq!(run(&["send", &second.address, "hello"], b"").text(), "Echo: hello\n");
    let udp = EchoServer::start_at("udp://127.0.0.1:0", &["--reuse-port"]);
    let _same = EchoServer::start_at(&udp.address, &["--reuse-port"]);
}

/// Fault 45: a path that cannot hold a socket is reported in one sentence.
#[test]
fn a_wrong_path_is_reported() {
    let (folder, _) = place();
    let missing = format!("unix:{}/no/such/echo.sock", folder.path().display());
    assert!(fail_to_listen(&missing).stderr.contains("cannot listen on unix:"));
    let long = format!("unix:/{}", "x".repeat(200));
    let ended = run(&["echo", "--listen", &long], b"");
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("107 bytes"), "{}", ended.stderr);
}

#[test]
fn an_abstract_name_is_served() {
    let address = format!("unix:@echoline-test-{}", std::process::id());
    let server = EchoServer::start_at(&address, &[]);
    assert_eq!(server.address, address);
    assert_eq!(run(&["send", &address, "hello"], b"").text(), "Echo: hello\n");
}

/// The load tester counts the same over a Unix socket as over TCP.
#[test]
fn a_load_run_works_over_a_unix_socket() {
    let (_folder, address) = place();
    let _server = EchoServer::start_at(&address, &[]);
    let load = ["load", &address, "--clients", "20", "--messages", "50", "--quiet"];
    let loaded = run(&load, b"");
    assert_eq!(loaded.code(), Some(0), "{}", loaded.text());
    assert!(loaded.text().contains("Sent 1000 = ok 1000"), "{}", loaded.text());
}

/// If no server listens, the client says so and names a remedy.
#[test]
fn a_client_reports_a_missing_server() {
    let (_folder, address) = place();
    let load = ["load", &address, "--clients", "1", "--messages", "1", "--quiet"];
    let sent = run(&["send", &address, "hello"], b"");
    assert_eq!(sent.code(), Some(3));
    assert!(sent.stderr.contains("the socket does not exist; is the server running?"), "{sent:?}");
    let loaded = run(&load, b"");
    assert!(
        loaded.text().contains("the socket does not exist: is the server running?"),
        "{}",
        loaded.text()
    );
    drop(UnixListener::bind(path(&address)).unwrap());
    let sent = run(&["send", &address, "hello"], b"");
    assert!(sent.stderr.contains("is the server running"), "{}", sent.stderr);
}

/// If the queue of the server is full, the client waits up to its time-out. connect(2) alone would
/// fail at once.
#[test]
fn a_full_queue_is_waited_for() {
    let (_folder, address) = place();
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(path(&address)).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(socket));
    // The queue holds one connection more than the configured size.
    let first = UnixStream::connect(path(&address)).unwrap();
    let given_up = run(&["send", "--timeout", "200ms", &address, "hello"], b"");
    assert_eq!(given_up.code(), Some(4));
    assert!(
        given_up.stderr.contains("the queue of the server has been full for 200ms"),
        "{given_up:?}"
    );
    let waiting = Program::start(&mut echoline(&["send", &address, "hello"]));
    drop(listener.accept().unwrap());
    drop(first);
    let (mut second, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(second.try_clone().unwrap()).read_line(&mut line).unwrap();
    second.write_all(b"answer\n").unwrap();
    drop(second);
    let ended = waiting.finish();
    assert_eq!((line.as_str(), ended.text().as_str()), ("hello\n", "answer\n"));
}

/// Other client programs get the same dialogue. Without such a program, the test prints that it is
/// skipped.
#[test]
fn nc_and_socat_are_served() {
    let (_folder, address) = place();
    let server = EchoServer::start_at(&address, &["--mode", "command"]);
    let socat = format!("UNIX-CONNECT:{}", path(&address));
    for (program, arguments) in
        [("nc", vec!["-N", "-U", path(&address)]), ("socat", vec!["-t5", "-", &socat])]
    {
        if Command::new(program).arg("-h").stderr(Stdio::null()).output().is_err() {
            eprintln!("skipped: no {program} (scripts/test.sh installs it)");
            continue;
        }
        let mut client = Program::start(Command::new(program).args(arguments));
        client.write(b"hello\nwhoami\n");
        let heard = client.finish().text();
        assert!(
            heard.ends_with("Echo: hello\r\npeer: unix\r\nlistener: 1\r\n"),
            "{program}: {heard}"
        );
    }
    server.program.signal("TERM");
    assert_eq!(server.program.finish().code(), Some(0));
}

/// A user who gives no name in a chat gets a unique one, although Unix sockets have no ports to
/// make it unique.
#[test]
fn guests_of_a_chat_without_a_name_get_unique_names() {
    let (folder, address) = place();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["chat", "--listen", &address, "--log-level", "error"]);
    let _chat = Program::start(command.arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let come = || {
        let mut stream = UnixStream::connect(path(&address)).unwrap();
        stream.write_all(b"\n/users\n").unwrap();
        stream
    };
    let names: Vec<String> = (0..3).map(|_| come()).map(joined).collect();
    assert_eq!(names, ["User_1", "User_2", "User_3"]);
}

/// Returns the name under which a guest has joined. The guest stays in the chat.
fn joined(mut stream: UnixStream) -> String {
    let (mut heard, mut byte) = (String::new(), [0]);
    while !heard.ends_with(" joined the chat") {
        stream.read_exact(&mut byte).unwrap();
        heard.push(byte[0].into());
    }
    thread::spawn(move || stream.read_to_end(&mut Vec::new()));
    let words = heard.trim_end_matches(" joined the chat");
    words.rsplit(' ').next().unwrap().to_owned()
}
