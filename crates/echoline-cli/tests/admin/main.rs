//! Tests of the admin address of the program: its pages, its access rules, and its states.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod access;
mod ask;
mod docs;
mod exposition;
mod faults;
mod overload;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use ask::{ask, ask_with, get, send};
use exposition::Metrics;
use support::{Server, program, until};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Starts a server with the secret [`access::SECRET`].
fn start(flags: &[&str]) -> Server {
    let secret = access::secret_file();
    let secret = ["--admin-secret-file", secret.path().to_str().unwrap()];
    Server::start(&[&ADMIN, &secret, flags].concat())
}

/// Returns the metrics of `/metrics`, and checks their format.
#[track_caller]
fn metrics(at: SocketAddr) -> Metrics {
    let answer = get(at, "/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Metrics::parse(&answer.body)
}

#[test]
fn every_path_answers_with_its_kind_and_is_safe_to_show() {
    let server = start(&[]);
    let at = server.admin();
    for (path, kind, holds) in [
        ("/", "text/html; charset=utf-8", "<h1>echoline"),
        ("/page.css", "text/css; charset=utf-8", "prefers-color-scheme: dark"),
        ("/page.js", "text/javascript; charset=utf-8", "textContent"),
        ("/snapshot.json", "application/json", "\"phase\":\"serving\""),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "echoline_ready 1\n"),
        ("/healthz", "text/plain; charset=utf-8", "ok\n"),
        ("/readyz", "text/plain; charset=utf-8", "serving\n"),
        ("/readyz?verbose", "text/plain; charset=utf-8", "serving\n"),
    ] {
        let answer = get(at, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert!(answer.body.contains(holds), "{path}: {}", answer.body);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        let head = ask(at, "HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    let page = get(at, "/").body;
    for inline in ["<style", "style=", "<script>", "onload=", "https://"] {
        assert!(!page.contains(inline), "{inline} is blocked or not local");
    }
    serde_json::from_str::<serde_json::Value>(&get(at, "/snapshot.json").body).unwrap();
    assert_eq!(get(at, "/etc/passwd").status, 404);
    assert_eq!(get(at, "/../Cargo.toml").status, 404);
    for (method, path) in [("POST", "/metrics"), ("DELETE", "/"), ("OPTIONS", "/readyz")] {
        let answer = ask(at, method, path);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

/// The figures after known traffic are exact, and in the format of Prometheus.
#[test]
fn the_metrics_count_each_thing_once() {
    let server = start(&["--max-connections", "3", "--max-line", "10", "--workers", "2"]);
    let at = server.admin();
    let mut clients = server.clients(3);
    for client in &mut clients {
        client.send("a\nbc\n");
        assert_eq!((client.line(), client.line()), ("Echo: a\n".into(), "Echo: bc\n".into()));
    }
    assert_eq!(server.connect().line(), "Server is busy. Try again later.\n");
    let mut talker = clients.pop().unwrap();
    talker.send("01234567890123456789\n");
    assert_eq!(talker.line(), "Line too long (limit 10 bytes). Goodbye!\n");
    drop(talker);
    clients.pop().unwrap().reset();
    let left = clients;
    let settled = |now: &Metrics| now.of("echoline_connections_open") == 1.0;
    until("two connections have ended", || settled(&metrics(at)));

    let now = metrics(at);
    for (series, value) in [
        ("echoline_connections_accepted_total", 4.0),
        ("echoline_closed_total{reason=\"busy\"}", 1.0),
        ("echoline_closed_total{reason=\"line_too_long\"}", 1.0),
        ("echoline_closed_total{reason=\"reset\"}", 1.0),
        ("echoline_closed_total{reason=\"end_of_stream\"}", 0.0),
        ("echoline_bytes_total{direction=\"in\"}", 3.0 * 5.0 + 21.0),
        ("echoline_bytes_total{direction=\"out\"}", 3.0 * 17.0 + 41.0),
        ("echoline_messages_total", 6.0),
        ("echoline_limit_connections", 3.0),
        ("echoline_limit_line_bytes", 10.0),
        ("echoline_limit_line_seconds", 30.0),
        ("echoline_limit_idle_seconds", f64::INFINITY),
        ("echoline_ready", 1.0),
        ("process_max_fds", now.of("process_max_fds")),
    ] {
        assert_eq!(now.of(series), value, "{series}");
    }
    let workers =
        ["0", "1"].map(|n| now.of(&format!("echoline_worker_connections{{worker=\"{n}\"}}")));
    assert_eq!(workers.iter().sum::<f64>(), 1.0);
    assert!(now.of("echoline_service_seconds_count") > 0.0);
    assert!(now.of("process_resident_memory_bytes") > 1e6 && now.of("process_open_fds") > 5.0);
    assert!(now.of("process_start_time_seconds") > 1.7e9);
    drop(left);
}

/// Prometheus's own parser gives the same values as the parser of these tests.
#[test]
fn prometheus_reads_the_metrics() {
    let own =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("target/python/bin/python3");
    let program = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        for family in parse(sys.stdin.read()):\n    \
            for one in family.samples: print(one.name, one.value)";
    let mut command = Command::new(own);
    let piped = command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let importable = ["-c", "import prometheus_client"];
    let python = Command::new(piped.get_program()).args(importable).stderr(Stdio::null()).status();
    if !python.is_ok_and(|status| status.success()) {
        let text = "skipped: there is no Python with prometheus_client (see scripts/test.sh)\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    let server = start(&[]);
    let text = get(server.admin(), "/metrics").body;
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    assert_eq!(read.lines().count(), Metrics::parse(&text).series().len(), "{read}");
    assert!(read.contains("echoline_limit_line_bytes 65536\n"), "{read}");
}

/// A draining server is no longer ready, but alive until it ends.
#[test]
fn a_server_that_drains_is_alive_and_not_ready() {
    let server = start(&[]);
    let at = server.admin();
    let mut client = server.connect();
    // The draining server waits for the rest of this line.
    client.send("half");
    until("the half line", || metrics(at).of("echoline_bytes_total{direction=\"in\"}") == 4.0);
    server.signal("TERM");
    until("the drain", || get(at, "/readyz").status == 503);
    assert_eq!(get(at, "/readyz").body, "draining\n");
    assert_eq!((get(at, "/healthz").status, metrics(at).of("echoline_ready")), (200, 0.0));
    assert!(get(at, "/").body.contains(">draining</span>"));
    let shown = access::ask_full(at, "GET", "/snapshot.json", "").body;
    assert!(
        shown.contains("draining connections; a second signal ends the server at once"),
        "{shown}"
    );
    client.send("\n");
    assert_eq!(client.line(), "Echo: half\n");
    assert_eq!(server.wait().code, Some(0));
}

/// Limits that are changed while the server runs are shown with their new values.
#[test]
fn a_changed_limit_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("echoline.toml");
    fs::write(&config, "[echo]\nmax-connections = 5\n").unwrap();
    let server = start(&["--config", config.to_str().unwrap()]);
    let most = || metrics(server.admin()).of("echoline_limit_connections");
    assert_eq!(most(), 5.0);
    fs::write(&config, "[echo]\nmax-connections = 7\n").unwrap();
    server.signal("HUP");
    until("the new limit is in the metrics", || most() == 7.0);
}

/// Fault 70: the admin address is not reachable from other hosts unless a flag allows it, and the
/// server listens at no other address.
#[test]
fn the_address_is_on_loopback_by_default() {
    for (address, sentence) in [
        ("0.0.0.0:0", "would be open to other hosts, over HTTP without TLS"),
        ("[::]:0", "or add --admin-allow-remote"),
        ("127.0.0.1", "'127.0.0.1'"),
        ("nosuch.invalid:1", "the host name cannot be resolved"),
    ] {
        let mut command = program(&[]);
        command.args(["echo", "--listen", "127.0.0.1:0", "--admin", address]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(sentence), "{address}: {said}");
    }
    let server = start(&[]);
    assert_eq!(listening(server.admin().port()), ["0100007F"], "127.0.0.1 alone");
    let server = Server::start(&["--admin", "0.0.0.0:0", "--admin-allow-remote"]);
    assert_eq!(listening(server.admin().port()), ["00000000"]);
    let near = SocketAddr::from(([127, 0, 0, 1], server.admin().port()));
    assert_eq!(ask_with(near, "GET", "/healthz", &["Host: any.example:9090"], "").status, 200);
}

/// Returns the local addresses that listen on `port`, in the system's notation.
fn listening(port: u16) -> Vec<String> {
    let table = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap());
    let rows = table.iter().flat_map(|table| table.lines().skip(1));
    let rows = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
    let listens = rows.filter(|row| row[3] == "0A").filter_map(|row| row[1].split_once(':'));
    let port = format!("{port:04X}");
    listens.filter(|(_, at)| *at == port).map(|(address, _)| address.to_owned()).collect()
}

/// Fault 70: a page whose name was made to resolve to the server (DNS rebinding) gets nothing.
#[test]
fn a_foreign_name_is_refused() {
    let server = start(&[]);
    let at = server.admin();
    let asked = |headers: &[&str]| ask_with(at, "GET", "/metrics", headers, "");
    for host in ["evil.example", "127.0.0.1.evil.example", "192.0.2.1", "evil.example:80"] {
        let answer = asked(&[&format!("Host: {host}")]);
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.body.starts_with("this address accepts only the names"));
    }
    assert_eq!(asked(&[]).status, 400);
    assert_eq!(asked(&["Host: localhost", "Host: evil.example"]).status, 400);
    assert_eq!(asked(&["Host: localhost"]).status, 200);
}

/// Invalid or oversized requests do not affect other clients.
#[test]
fn invalid_requests_are_refused_and_the_next_one_is_answered() {
    let server = start(&[]);
    let at = server.admin();
    for request in [
        "hello\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1000)),
        "\x16\x03\x01\x02\0\x01\0\x01\n\r\n".to_owned(),
    ] {
        let status = send(at, &request).map(|answer| answer.status);
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{status:?}");
    }
    assert_eq!(get(at, "/healthz").status, 200);
}

/// A chat without planned faults has no plan.
#[test]
fn the_chat_has_an_admin_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = program(&[]);
    command.args(["chat", "--listen", "127.0.0.1:0", "--log-level", "error"]).args(ADMIN);
    let mut child = command.arg("--ready-file").arg(&ready).spawn().unwrap();
    until("the chat is ready", || ready.exists());
    let lines = fs::read_to_string(&ready).unwrap();
    let at = lines.lines().find_map(|line| line.strip_prefix("admin ")).unwrap().parse().unwrap();
    let build = "echoline_build_info{version=\"0.1.0\",mode=\"chat\"}";
    assert_eq!(metrics(at).of(build), 1.0);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The log and the ready file name the bound address, with the port that the system chose.
#[test]
fn the_bound_port_is_reported() {
    let server = start(&[]);
    let at = server.admin();
    assert_ne!(at.port(), 0);
    server.await_log(&format!("admin on http://{at}/"));
    let lines = fs::read_to_string(server.ready_file()).unwrap();
    assert_eq!(lines, format!("{}\nadmin {at}\n", server.address()));
    let second = Server::spawn(&["--admin", &at.to_string()]).wait();
    assert_eq!(second.code, Some(1));
    assert!(second.log.contains(&format!("--admin: cannot listen on {at}: ")), "{}", second.log);
}

/// The limits that are shown are the current ones, after a reload too.
#[test]
fn new_limits_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echoline.toml");
    fs::write(&path, "[echo]\nmax-connections = 10\n").unwrap();
    let server = start(&["--config", path.to_str().unwrap()]);
    let shown = || get(server.admin(), "/metrics").body;
    assert!(shown().contains("echoline_limit_connections 10\n"));
    fs::write(&path, "[echo]\nmax-connections = 7\nmax-line = 2000\n").unwrap();
    server.signal("HUP");
    server.await_log("reloaded");
    let shown = shown();
    assert!(shown.contains("echoline_limit_connections 7\n"), "{shown}");
    assert!(shown.contains("echoline_limit_line_bytes 2000\n"), "{shown}");
    assert_eq!(server.stop().code, Some(0));
}
