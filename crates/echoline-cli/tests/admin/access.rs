//! Tests of the rights of requests to the admin address.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tempfile::NamedTempFile;

use super::{ADMIN, ask, ask_with, get, metrics, start};
use crate::ask::Answer;
use crate::support::{Client, Server, millis, now, until};

pub(super) const SECRET: &str = "a-secret-for-the-tests";

/// Creates a file with [`SECRET`], which only its owner can read.
pub(super) fn secret_file() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    file
}

/// Sends a request with the secret.
#[track_caller]
pub(super) fn ask_full(at: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let secret = format!("Authorization: Bearer {SECRET}");
    ask_with(at, method, path, &[&format!("Host: {at}"), &secret], body)
}

/// Issue 12, item 11: without the secret, a request over TCP sees no address and no line of the
/// log, and changes nothing. The refusal names the flag to set.
#[test]
fn attack_a_local_user_without_the_secret_sees_no_addresses_and_changes_no_faults() {
    let plain = Server::start(&[&ADMIN[..], &["--log-level", "debug"]].concat());
    let secured = start(&["--log-level", "debug", "--fault", "drop at=1000"]);
    for (server, status, remedy) in [
        (&plain, 403, "need --admin-secret-file FILE or --admin unix:PATH"),
        (&secured, 401, "this needs the secret of --admin-secret-file"),
    ] {
        let at = server.admin();
        let source = "127.0.7.9".parse().unwrap();
        let mut client = Client::connect_from(source, server.address());
        client.send("x\n");
        assert_eq!(client.line(), "Echo: x\n");
        let served = server.address().to_string();
        for path in ["/", "/snapshot.json", "/metrics", "/healthz", "/readyz"] {
            let answer = get(at, path);
            assert_eq!(answer.status, 200, "{path}");
            for word in [source.to_string(), served.clone(), "listening on".to_owned()] {
                assert!(!answer.body.contains(&word), "{path} has {word}: {}", answer.body);
            }
        }
        for (method, body) in [("GET", ""), ("PUT", "delay=1h"), ("POST", ""), ("DELETE", "")] {
            let headers = [&*format!("Host: {at}")];
            let answer = ask_with(at, method, "/faults", &headers, body);
            assert_eq!(answer.status, status, "{method}");
            assert!(answer.body.contains(remedy), "{method}: {}", answer.body);
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert_eq!(challenge.starts_with("Basic "), status == 401, "{challenge}");
        }
        assert_eq!(ask(at, "GET", "/login").status, status);
    }
    // A request with the secret sees the log.
    let at = secured.admin();
    let shown = || ask_full(at, "GET", "/snapshot.json", "").body;
    until("the log is shown", || shown().contains("listening on"));
    assert!(shown().contains(&secured.address().to_string()));
    let plan = ask_full(at, "GET", "/faults", "");
    assert!(plan.body.contains("drop at=1000"), "{}", plan.body);
    assert_eq!(ask_full(at, "DELETE", "/faults", "").status, 200);
    let login = ask_full(at, "GET", "/login", "");
    assert_eq!((login.status, login.header("location")), (303, Some("/")));
}

/// Issue 12, item 11: guesses are refused and counted. Neither the secret nor a guess is shown.
#[test]
fn attack_guesses_of_the_secret_are_counted_and_shown_nowhere() {
    let server = start(&[]);
    let at = server.admin();
    let guess = "another-secret-of-someone";
    let headers = [&*format!("Host: {at}"), &format!("Authorization: Bearer {guess}")];
    let start = now();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let path = ["/metrics", "/faults"][number % 2];
            scope.spawn(move || {
                let answer = ask_with(at, "GET", path, &headers, "");
                assert_eq!(answer.status, 401, "{}", answer.body);
                assert!(start.elapsed() >= millis(1000), "a guess is answered after a pause");
            });
        }
        // A request with the secret is not delayed by guesses.
        until("the guesses are counted", || {
            metrics(at).of("echoline_admin_wrong_secrets_total") == 12.0
        });
        assert_eq!(ask_full(at, "GET", "/faults", "").status, 200);
    });
    let logged = "the admin address refused requests with a wrong secret";
    server.await_log(logged);
    let shown = ask_full(at, "GET", "/snapshot.json", "").body + &get(at, "/metrics").body;
    let log = server.log();
    assert!(log.matches(logged).count() <= 2, "a flood fills the log: {log}");
    for word in [guess, SECRET] {
        assert!(!shown.contains(word) && !log.contains(word), "{word}");
    }
}

/// Issue 12, item 11: a browser sends its stored password also with requests that pages of other
/// sites make. Such requests change nothing.
#[test]
fn attack_a_foreign_page_cannot_use_the_password_that_a_browser_has() {
    let server = start(&["--fault", "drop at=1000"]);
    let at = server.admin();
    let secret = format!("Authorization: Bearer {SECRET}");
    let host = format!("Host: {at}");
    for more in
        ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Host: evil"]
    {
        let answer = ask_with(at, "PUT", "/faults", &[&host, &secret, more], "delay=1h");
        assert!([400, 403].contains(&answer.status), "{more}: {}", answer.status);
    }
    let own = format!("Origin: http://{at}");
    let plan = ask_full(at, "GET", "/faults", "").body;
    assert!(plan.contains("drop at=1000") && !plan.contains("delay"), "{plan}");
    let answer = ask_with(at, "DELETE", "/faults", &[&host, &secret, &own], "");
    assert_eq!(answer.status, 200);
}

/// Returns the head and the body of the response to a request over a Unix socket.
fn ask_unix(path: &Path, method: &str, target: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Issue 12, item 11: a Unix socket gives its owner full access, while the TCP address shows only
/// figures. Its file is removed at the end.
#[test]
fn attack_only_the_owner_can_use_the_admin_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let socket = format!("unix:{}", path.display());
    let group = fs::metadata(folder.path()).unwrap().gid().to_string();
    let flags = ["--admin", &socket, "--admin", ADMIN[1], "--admin-group", &group];
    let start = |mode: &str| Server::start(&[&flags[..], &["--admin-mode", mode]].concat());
    for (mode, bits) in [("0600", 0o600), ("0660", 0o660)] {
        let server = start(mode);
        let made = fs::symlink_metadata(&path).unwrap();
        assert_eq!(
            (made.permissions().mode() & 0o777, made.gid().to_string()),
            (bits, group.clone())
        );
        let answer = ask_unix(&path, "GET", "/snapshot.json");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("listening on"), "{answer}");
        assert!(ask_unix(&path, "DELETE", "/faults").starts_with("HTTP/1.1 200"));
        assert_eq!(server.stop().code, Some(0));
        assert!(!path.exists(), "the socket file is left behind");
    }
    let server = start("0666");
    server.await_log("shows figures only, because every user of this host may connect");
    assert!(ask_unix(&path, "DELETE", "/faults").starts_with("HTTP/1.1 403"));
    assert!(!ask_unix(&path, "GET", "/snapshot.json").contains("listening on"));
    assert!(ask_unix(&path, "GET", "/metrics").contains("echoline_ready 1"));
    assert_eq!(get(server.admin(), "/readyz").status, 200);
}

/// Issue 12, item 11: a secret that every user can read is refused before anything is served.
#[test]
fn attack_a_secret_file_that_everybody_can_read_ends_the_start() {
    let file = secret_file();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.path().to_str().unwrap();
    let end = Server::spawn(&[&ADMIN[..], &["--admin-secret-file", path]].concat()).wait();
    assert_eq!(end.code, Some(1));
    assert!(end.log.contains("every user of this host can use it (mode 0644)"), "{}", end.log);
}
