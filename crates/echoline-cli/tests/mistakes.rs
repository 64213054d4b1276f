//! Mistakes of users: each gets one sentence that names the cause and the remedy, and an exit code.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support::program;

/// Runs a command line in `folder` with the variables before it (`NAME=value`). Returns the exit
/// code and stderr.
fn run(folder: &Path, line: &str) -> (i32, String) {
    let mut words = line.split(' ').map(|word| word.replace('_', " ")).peekable();
    let mut command = program(&[]);
    command.current_dir(folder);
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        if !name.starts_with("ECHOLINE") {
            break;
        }
        command.env(name.replace(' ', "_"), value);
        words.next();
    }
    let output = command.args(words).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Runs each command line. In a line, `_` within a word is a space.
fn check(folder: &Path, mistakes: &[(&str, i32, &str)]) {
    for (line, code, sentence) in mistakes {
        let (ended, said) = run(folder, line);
        assert!(ended == *code && said.contains(sentence), "{line}: {ended} {said}");
        let first = said.lines().next().unwrap();
        assert!(first.starts_with("error: ") || first.starts_with("echoline: "), "{line}: {said}");
    }
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

#[test]
fn a_variable_that_sets_no_flag_is_wrong_usage() {
    let folder = folder_with(&[]);
    check(
        folder.path(),
        &[
            (
                "ECHOLINE_ECHO_MAX_CONECTIONS=5 echo --listen 127.0.0.1:0",
                2,
                "ECHOLINE_ECHO_MAX_CONECTIONS sets no flag of any command; did you mean \
             ECHOLINE_ECHO_MAX_CONNECTIONS?",
            ),
            ("ECHOLINE_LISTN=127.0.0.1:0 check echo", 2, "did you mean ECHOLINE_LISTEN?"),
            ("ECHOLINE_DATTA=x chat backup --data x y", 2, "did you mean ECHOLINE_DATA?"),
            // A variable of another command, and one that Kubernetes sets.
            (
                "ECHOLINE_CLIENTS=5 ECHOLINE_PORT=tcp://10.0.0.1:7 echo --workers 0",
                2,
                "'0' is not a number of threads",
            ),
        ],
    );
}

#[test]
fn a_file_with_wrong_settings_is_wrong_usage() {
    let folder = folder_with(&[("faults", "delay=5ms\nfoo=1\n"), ("empty", "\n")]);
    fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
    check(
        folder.path(),
        &[
            (
                "echo --listen 127.0.0.1:0 --fault-file faults",
                2,
                "--fault-file faults: line 2: 'foo=1'",
            ),
            (
                "load 127.0.0.1:1 --messages-from empty",
                2,
                "--messages-from empty: it contains no mess",
            ),
            ("echo --config binary", 1, "--config binary is not UTF-8 text"),
            ("echo --fault-file missing", 1, "cannot read --fault-file missing"),
        ],
    );
}

#[test]
fn a_negative_value_is_named() {
    let folder = folder_with(&[]);
    check(
        folder.path(),
        &[
            (
                "echo --idle-timeout -5s",
                2,
                "'-5s' for '--idle-timeout <TIME>': '-5s' is negative: wri",
            ),
            ("echo --idle-timeout=-5s", 2, "'-5s' is negative"),
            ("ECHOLINE_IDLE_TIMEOUT=-5s echo", 2, "ECHOLINE_IDLE_TIMEOUT: '-5s' is negative"),
            ("load 127.0.0.1:1 -c -5", 2, "'-5' is not a whole number of at least 1"),
            ("load 127.0.0.1:1 --rate -5/s", 2, "'-5/s' is negative: write for example 5000/s"),
            ("chat --replay -1", 2, "'-1' is not a whole number from 0"),
            ("compare --tolerance -5% a b", 2, "'-5%' is negative: write for example 5%"),
            ("check echo --max-line -1KiB", 2, "'-1KiB' is negative"),
        ],
    );
}

#[test]
fn an_error_about_a_tls_file_names_its_flag() {
    let folder = folder_with(&[("words", "no certificate")]);
    let listen = "--listen tls://127.0.0.1:0";
    let (code, said) = run(folder.path(), "cert --ca --out .");
    assert_eq!(code, 0, "{said}");
    let server = "--cert server.pem --key server-key.pem";
    check(
        folder.path(),
        &[
            (
                &format!("echo {listen} --cert missing"),
                1,
                "cannot read --cert missing: No such file",
            ),
            (
                &format!("echo {listen} --cert words"),
                1,
                "--cert words contains no certificate in PEM",
            ),
            (
                &format!("echo {listen} --cert server.pem"),
                1,
                "give the file of the private key; add --k",
            ),
            (
                &format!("echo {listen} --cert server.pem --key words"),
                1,
                "--key words contains no priv",
            ),
            (
                &format!("echo {listen} {server} --client-ca words"),
                1,
                "--client-ca words contains no certificate",
            ),
            (
                &format!("check echo {listen} --cert server.pem --key client-key.pem"),
                1,
                "the key in --key client-key.pem does not belong to the certificate in --cert \
                 server.pem",
            ),
            ("send tls://127.0.0.1:1 --ca words x", 1, "--ca words contains no certificate"),
            ("load tls://127.0.0.1:1 --cert words", 1, "--cert words contains no certificate"),
            (
                "chat --bus nats://127.0.0.1:1 --bus-ca words --listen 127.0.0.1:0",
                1,
                "--bus-ca words cannot be used for TLS",
            ),
            (
                "chat doctor --bus nats://127.0.0.1:1 --cluster-key words",
                1,
                "--cluster-key words: each line of the cluster's key file",
            ),
        ],
    );
}

#[test]
fn an_address_is_shown_as_the_user_wrote_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let folder = folder_with(&[]);
    let id = std::process::id();
    let (listen, held) = ("--listen 127.0.0.1:0", format!("(process {id}) holds it"));
    let cannot = |at: &str| format!("cannot listen on {at}:{port}: Address already in use");
    for (line, named) in [
        (format!("echo --listen 127.0.0.1:{port}"), cannot("127.0.0.1")),
        (
            format!("echo {listen} --admin 127.0.0.1:{port}"),
            format!("--admin: {}", cannot("127.0.0.1")),
        ),
        (
            format!("chat {listen} --bot 127.0.0.1:{port}"),
            format!("--bot: {}", cannot("127.0.0.1")),
        ),
        (
            format!("chat {listen} --web http://127.0.0.1:{port}"),
            format!("--web: {}", cannot("http://127.0.0.1")),
        ),
        (format!("chat --listen telnet://127.0.0.1:{port}"), cannot("telnet://127.0.0.1")),
    ] {
        check(folder.path(), &[(&line, 1, &named), (&line, 1, &held)]);
    }
    check(
        folder.path(),
        &[
            (
                &format!("chat {listen} --web https://127.0.0.1:0"),
                2,
                "https://127.0.0.1:0 needs a certificate",
            ),
            (
                "chat --web 127.0.0.1:0/chat",
                2,
                "the web page has no path: write it without '/chat'",
            ),
            (
                "chat --bot udp://127.0.0.1:0",
                2,
                "--bot: cannot listen on udp://127.0.0.1:0: a chat needs",
            ),
        ],
    );
}

#[test]
fn a_host_name_without_an_address_gets_a_remedy() {
    let folder = folder_with(&[]);
    let remedy = "check the name, or use an IP address";
    check(
        folder.path(),
        &[
            ("echo --listen nosuch.invalid:9000", 1, remedy),
            ("echo --listen udp://nosuch.invalid:9000", 1, remedy),
            ("echo --listen 127.0.0.1:0 --admin nosuch.invalid:9000", 1, remedy),
            ("chat --listen 127.0.0.1:0 --web https://nosuch.invalid:9 --cert x", 1, remedy),
            ("send nosuch.invalid:9000 x", 3, remedy),
            ("send udp://nosuch.invalid:9000 x", 3, remedy),
            ("load nosuch.invalid:9000 -n 1", 1, remedy),
            ("load -6 127.0.0.1:1", 1, "no address of the requested family, IPv6 (-6)"),
        ],
    );
}

#[test]
fn check_refuses_commands_that_are_no_servers() {
    let folder = folder_with(&[]);
    check(
        folder.path(),
        &[
            ("check send", 2, "'send' is not a server, and 'check' is for servers (echo, chat)"),
            ("check chat backup", 2, "'chat backup' is not a server"),
            ("check chat doctor", 2, "'chat doctor' is not a server"),
            ("check --example echo", 2, "--example prints the keys of all commands: remove 'echo'"),
            ("check --example --config x", 2, "--example reads no --config"),
        ],
    );
    let (code, said) = run(folder.path(), "ECHOLINE_CONFIG=missing check --example");
    assert_eq!((code, &said[..]), (0, ""));
}

#[test]
fn flags_without_an_effect_and_impossible_values_are_refused() {
    let folder = folder_with(&[]);
    check(
        folder.path(),
        &[
            (
                "send udp://127.0.0.1:1 --proxy v1 x",
                2,
                "--proxy has no effect on udp://127.0.0.1:1",
            ),
            ("load udp://127.0.0.1:1 --proxy v1", 2, "--proxy has no effect on udp://127.0.0.1:1"),
            ("echo --busy-poll 5h", 2, "write at most 1s, for example 50us"),
            ("load 127.0.0.1:1 --busy-poll 2s", 2, "write at most 1s, for example 50us"),
            (
                "chat --replay 50 --history 10",
                2,
                "--replay 50 is more than the lines that are kept",
            ),
            ("echo --max-line 0", 2, "a line has at least 1 byte"),
            ("echo --backlog x", 2, "'x' is not a whole number from 0"),
            ("chat --lobby a_b", 2, ": a room name is 1 to 32 letters"),
            ("chat erase --data x a_b", 2, ": a name is 1 to 32 letters"),
            (
                "load --size 1 127.0.0.1:1",
                2,
                "--size 1: too small for 100 clients with 100 messages",
            ),
            ("echo --prot 9", 2, "tip: use '--listen 127.0.0.1:9'"),
        ],
    );
    let (_, said) = run(folder.path(), "echo --prtt 9");
    assert!(!said.contains("similar"), "{said}");
}

/// Mistakes of a stranger at every command, beside those of the other tests.
#[test]
fn other_mistakes_name_the_flag_and_the_remedy() {
    let folder = folder_with(&[("report", "{}"), ("file", "")]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    let listen = "--listen 127.0.0.1:0";
    check(
        folder.path(),
        &[
            (&format!("echo {listen} --access-log-format json"), 2, "--access-log <FILE>"),
            (&format!("echo {listen} --admin-mode 0666"), 2, "--admin <ADDR>"),
            ("chat --bus-ca x", 2, "--bus-ca x needs --bus, which names the NATS servers"),
            ("chat doctor --bus http://x", 2, "'http://x' is not the address of a NATS server"),
            ("chat hash-password secret", 2, "tip: leave the password out"),
            ("chat erase --data empty ann", 1, "cannot erase ann from --data: there is no chat"),
            ("send fd://x hi", 3, "passes to a server: write HOST:PORT or unix:PATH"),
            ("send udp://127.0.0.1:1 --no-half-close hi", 2, "--no-half-close has no effect on"),
            ("send tls://127.0.0.1:1 --server-name a_b --insecure hi", 2, "give one with --server"),
            ("load 127.0.0.1:1 --tls-resume", 2, "--tls-resume has no effect"),
            ("load udp://127.0.0.1:1 --size 100KB", 2, "is 65507; choose a smaller --size"),
            ("cert --out file", 1, "cannot create the folder --out file: File exists"),
            ("merge report", 1, "its \"format\" is missing, not \"echoline-load/1\"; give a file"),
            ("completions bash", 2, "tip: use 'echoline generate completions'"),
        ],
    );
}
