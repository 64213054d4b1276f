//! Tests of the commands over TLS, also with OpenSSL as the peer.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::pairs::{Authority, Kind, Pair};
use crate::programs::{Ended, Program, echoline, run, wait_for};

/// An `echoline echo` over TLS on a free port.
pub(crate) struct TlsServer {
    pub(crate) address: String,
    pub(crate) program: Program,
    _folder: TempDir,
}

impl TlsServer {
    pub(crate) fn start(pair: &Pair, flags: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // Other users need access to the folder in tests whose server drops root privileges.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let ready = folder.path().join("ready");
        let listen = ["echo", "--listen", "tls://127.0.0.1:0", "--log-level", "debug"];
        let mut command = echoline(&listen);
        command.args(["--cert", pair.cert(), "--key", pair.key()]);
        command.arg("--ready-file").arg(&ready).args(flags);
        let program = Program::start(&mut command);
        wait_for("the ready file", || ready.exists());
        let address = fs::read_to_string(ready).unwrap().trim().to_owned();
        Self { address, program, _folder: folder }
    }

    fn port(&self) -> &str {
        self.address.strip_prefix("tls://").unwrap()
    }

    /// Runs `openssl s_client`, which sends a line and waits for the end.
    fn openssl(&self, flags: &[&str]) -> Ended {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", self.port(), "-ign_eof", "-brief"]).args(flags);
        let mut program = Program::start(&mut command);
        program.write(b"hello\n");
        // OpenSSL closes its direction only after the command `Q`. With -ign_eof it ignores this
        // command.
        wait_for("an answer, or the end", || {
            program.stdout().contains("Echo: hello") || program.has_ended()
        });
        program.signal_if_running("TERM");
        program.finish()
    }
}

/// Returns whether OpenSSL is installed. If not, prints that the test is skipped.
fn has_openssl() -> bool {
    let status = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    let has = status.is_ok_and(|status| status.success());
    if !has {
        std::io::Write::write_all(&mut std::io::stderr(), b"skipped: there is no openssl\n")
            .unwrap();
    }
    has
}

/// Fault 49: OpenSSL can connect with TLS 1.2 and 1.3, and with no older version.
#[test]
fn openssl_connects_with_safe_versions_only() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new();
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &[]);
    let ca = authority.ca();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ended = server.openssl(&[version, "-CAfile", ca.to_str().unwrap()]);
        assert!(ended.text().contains("Echo: hello"), "{version}: {}", ended.stderr);
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
        assert!(ended.stderr.contains("Verification: OK"), "{}", ended.stderr);
    }
    for version in ["-tls1", "-tls1_1"] {
        let ended = server.openssl(&[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!ended.text().contains("Echo"), "{version} was served");
        assert!(ended.stderr.contains("alert"), "{version}: {}", ended.stderr);
    }
}

#[test]
fn openssl_shows_its_certificate() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new();
    let ca = authority.ca();
    let flags = ["--client-ca", ca.to_str().unwrap()];
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &flags);
    let client = authority.sign("client", Kind::Client);
    let with = server.openssl(&["-cert", client.cert(), "-key", client.key()]);
    assert!(with.text().contains("Echo: hello"), "{}", with.stderr);
    let without = server.openssl(&[]);
    assert!(!without.text().contains("Echo"));
    assert!(without.stderr.contains("certificate required"), "{}", without.stderr);
}

/// Each failure is one sentence with the command or flag to use.
#[test]
fn a_failed_client_names_the_remedy() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &[]);
    let (ca, address) = (authority.ca(), server.address.as_str());
    let ca = ca.to_str().unwrap();
    let right = run(&["send", address, "--ca", ca, "hello"], b"");
    assert_eq!((right.code(), right.text().as_str()), (Some(0), "Echo: hello\n"), "{right:?}");
    let open =
        run(&["send", address, "--insecure", "--server-name", "other.example", "hello"], b"");
    assert_eq!(open.text(), "Echo: hello\n");
    for (flags, wanted) in [
        (&["hello"][..], "--ca FILE"),
        (&["--ca", ca, "--server-name", "other.example", "x"], "--server-name NAME"),
        (&["--ca", "/nowhere/ca.pem", "x"], "cannot read --ca /nowhere/ca.pem"),
    ] {
        let ended = run(&[&["send", address][..], flags].concat(), b"");
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains(wanted), "{flags:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.trim().lines().count(), 1, "{}", ended.stderr);
    }
    let plain = server.port();
    let unused = run(&["send", plain, "--ca", ca, "x"], b"");
    assert!(unused.stderr.contains("tls://"), "{}", unused.stderr);
}

/// The report separates connecting from the handshake, and shows the kinds of handshakes.
#[test]
fn a_load_report_shows_handshakes() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &[]);
    let ca = authority.ca();
    let ca = ca.to_str().unwrap();
    let flags = ["--clients", "3", "--messages", "20", "--messages-per-connection", "5", "--quiet"];
    let json = authority.path("report.json");
    let mut arguments = vec!["load", &server.address, "--ca", ca];
    arguments.extend(flags);
    arguments.extend(["--json", json.to_str().unwrap()]);
    let whole = run(&arguments, b"");
    assert_eq!(whole.code(), Some(0), "{whole:?}");
    assert!(whole.text().contains("  handshake  "), "{}", whole.text());
    assert!(whole.text().contains("each handshake whole; certificates checked"));
    assert!(fs::read_to_string(&json).unwrap().contains("\"handshake\""));
    let merged = run(&["merge", json.to_str().unwrap()], b"");
    assert!(merged.text().contains("  handshake  "), "{}", merged.text());
    arguments.push("--tls-resume");
    let resumed = run(&arguments, b"");
    assert!(resumed.text().contains("handshakes resumed"), "{}", resumed.text());
    assert_eq!(resumed.code(), Some(0), "{resumed:?}");
    server.program.signal("TERM");
    // Each connection ended in order.
    let log = server.program.finish().stderr;
    assert!(log.contains("end_of_stream=24") && !log.contains("truncated"), "{log}");
}

#[test]
fn wrong_tls_settings_of_a_server_are_refused() {
    let authority = Authority::new();
    let pair = authority.sign("server", Kind::Server);
    let other = authority.sign("other", Kind::Server);
    for (flags, code, wanted) in [
        (&["--listen", "tls://127.0.0.1:0"][..], 2, "'echoline cert' makes a pair"),
        (&["--listen", "127.0.0.1:0", "--cert", pair.cert()], 2, "begins with tls://"),
        (
            &["--listen", "tls://127.0.0.1:0", "--cert", pair.cert(), "--key", other.key()],
            1,
            "does not belong",
        ),
        (&["--listen", "tls://127.0.0.1:0", "--cert", pair.cert()], 1, "contains no private key"),
    ] {
        let ended = run(&[&["echo"][..], flags].concat(), b"");
        assert_eq!(ended.code(), Some(code), "{ended:?}");
        assert!(ended.stderr.contains(wanted), "{flags:?}: {}", ended.stderr);
    }
}

/// Issue 11, item 40: `send` without TLS to a TLS port recognises the alert and does not print it.
#[test]
fn regression_plain_text_to_a_tls_port_is_recognised() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &[]);
    let port = server.port();
    let ended = run(&["send", port, "hello"], b"");
    assert_eq!((ended.code(), ended.stdout.len()), (Some(1), 0), "{ended:?}");
    let wanted = format!("{port} expects TLS: write tls://{port}");
    assert!(ended.stderr.contains(&wanted), "{ended:?}");
    let ended = run(&["send", &format!("ws://{port}/"), "hello"], b"");
    assert!(ended.stderr.contains("write wss://") && ended.code() == Some(1), "{ended:?}");
}

/// Issue 11, item 41: each name for a certificate is checked, and nothing is written if one is
/// invalid.
#[test]
fn regression_a_name_that_no_certificate_can_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let cert = |name: &str| run(&["cert", "--out", out.to_str().unwrap(), "--name", name], b"");
    for (name, hint) in [
        ("", "a name is empty"),
        ("localhost,", "a name is empty"),
        ("localhost,https://a.example/", "write a.example"),
        ("localhost:8443", "write localhost"),
    ] {
        let ended = cert(name);
        assert!(ended.code() == Some(2) && ended.stderr.contains(hint), "{name}: {ended:?}");
        assert!(!out.exists());
    }
    assert_eq!(cert("localhost, 127.0.0.1").code(), Some(0));
    let pair = Pair { cert: out.join("server.pem"), key: out.join("server-key.pem") };
    let server = TlsServer::start(&pair, &[]);
    // The certificate is also valid for the IP address.
    let ended = run(&["send", &server.address, "--ca", pair.cert(), "hello"], b"");
    assert_eq!(ended.text(), "Echo: hello\n", "{ended:?}");
}

/// Issue 11, item 41: certificates that are not valid now are created and served, with a warning. A
/// client refuses them.
#[test]
fn regression_outdated_certificates_are_made_and_served() {
    for (flag, said, refused) in [
        ("--expired", "expired on", "has expired"),
        ("--not-yet-valid", "not valid before", "not valid yet"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let made = run(&["cert", "--ca", "--out", out, flag], b"");
        assert_eq!(made.code(), Some(0), "{made:?}");
        let path = |name: &str| folder.path().join(name);
        let pair = Pair { cert: path("server.pem"), key: path("server-key.pem") };
        let server = TlsServer::start(&pair, &[]);
        let warning = "clients refuse it, so it is for tests only";
        server.program.wait_for_stderr(warning);
        assert!(server.program.stderr().contains(said), "{}", server.program.stderr());
        let ca = path("ca.pem");
        let ended = run(&["send", &server.address, "--ca", ca.to_str().unwrap(), "x"], b"");
        assert!(ended.code() == Some(1) && ended.stderr.contains(refused), "{ended:?}");
        let open = run(&["send", &server.address, "--insecure", "x"], b"");
        assert_eq!(open.text(), "Echo: x\n");
        // A chat is for people, and refuses to start with such a certificate.
        let tls = ["--listen", "tls://127.0.0.1:0", "--cert", pair.cert(), "--key", pair.key()];
        let chat = run(&[&["chat"][..], &tls].concat(), b"");
        assert_eq!(chat.code(), Some(1), "{chat:?}");
        let check = run(&[&["check", "echo"][..], &tls].concat(), b"");
        assert!(check.code() == Some(0) && check.text().contains(warning), "{check:?}");
    }
}

/// Issue 11, item 42: a planned fault of the socket also affects the TLS handshake, which stalls or
/// is reset.
#[test]
fn regression_a_handshake_can_fail_by_plan() {
    let authority = Authority::new();
    let pair = authority.sign("server", Kind::Server);
    let plan = "stall layer=socket at=1;reset layer=socket at=2;delay=1ms layer=socket";
    let server = TlsServer::start(&pair, &["--fault", plan]);
    let send = ["send", &server.address, "--insecure", "--timeout", "1s", "x"];
    let stalled = run(&send, b"");
    assert_eq!(stalled.code(), Some(4), "{stalled:?}");
    assert!(stalled.stderr.contains("the handshake was not complete"), "{stalled:?}");
    let reset = run(&send, b"");
    assert!(reset.code() == Some(1) && reset.stderr.contains("reset"), "{reset:?}");
    let served = run(&["send", &server.address, "--insecure", "x"], b"");
    assert_eq!((served.code(), served.text().as_str()), (Some(0), "Echo: x\n"), "{served:?}");
}

/// Fault 48: changed files are loaded. While they are invalid, the old certificate stays in use.
#[test]
fn changed_files_are_loaded_and_bad_ones_are_not() {
    let authority = Authority::new();
    let pair = authority.sign("first", Kind::Server);
    let server = TlsServer::start(&pair, &[]);
    let ca = authority.ca();
    let send = ["send", &server.address, "--ca", ca.to_str().unwrap(), "hello"];
    let (cert, key) = authority.text("second", Kind::Server);
    fs::write(&pair.cert, &cert[..cert.len() / 2]).unwrap();
    server.program.wait_for_stderr("the old certificate is still used (certificate CN=first");
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
    fs::write(&pair.cert, &cert).unwrap();
    server.program.wait_for_stderr("does not belong to the certificate");
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
    fs::write(&pair.key, &key).unwrap();
    server.program.wait_for_stderr("the files have changed: certificate CN=second");
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
    let (cert, key) = authority.text("third", Kind::Expired);
    fs::write(&pair.cert, cert).unwrap();
    fs::write(&pair.key, key).unwrap();
    server.program.wait_for_stderr("expired 2 days ago");
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
}

/// Fault 48: a hundred reloads by SIGHUP while clients connect and leave: no client fails.
#[test]
fn a_hundred_hangups_under_load_fail_no_client() {
    let authority = Authority::new();
    let pair = authority.sign("first", Kind::Server);
    let server = TlsServer::start(&pair, &[]);
    let ca = authority.ca();
    let mut load = echoline(&["load", &server.address, "--ca", ca.to_str().unwrap(), "--quiet"]);
    load.args(["--clients", "2", "--messages", "100000", "--messages-per-connection", "1"]);
    let load = Program::start(&mut load);
    let pairs = ["one", "two"].map(|name| authority.text(name, Kind::Server));
    for (number, (cert, key)) in pairs.iter().cycle().take(100).enumerate() {
        fs::write(&pair.cert, cert).unwrap();
        fs::write(&pair.key, key).unwrap();
        server.program.signal("HUP");
        let wanted = format!("INFO certificate CN={}", if number % 2 == 0 { "one" } else { "two" });
        wait_for("the reload", || {
            server.program.stderr().matches(&wanted).count() == number / 2 + 1
        });
    }
    load.signal("INT");
    let ended = load.finish();
    for none in ["wrong 0", "timed out 0", "reset 0", "lost 0"] {
        assert!(ended.text().contains(none), "{}", ended.text());
    }
    assert!(!ended.text().contains("cannot connect"), "{}", ended.text());
    assert!(!ended.text().contains(" ok 0 "), "{}", ended.text());
}

/// Fault 12: the server reads the key before it drops root privileges. A reload that can no longer
/// read the key logs the error, and the old certificate stays.
#[test]
fn a_key_of_root_is_read_before_rights_are_dropped() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        std::io::Write::write_all(&mut std::io::stderr(), b"skipped: this needs root\n").unwrap();
        return;
    }
    let authority = Authority::new();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(authority.folder.path(), everybody).unwrap();
    let pair = authority.sign("server", Kind::Server);
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).unwrap();
    let server = TlsServer::start(&pair, &["--user", "nobody"]);
    let ca = authority.ca();
    let send = ["send", &server.address, "--ca", ca.to_str().unwrap(), "hello"];
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
    server.program.signal("HUP");
    server.program.wait_for_stderr("the settings were not reloaded");
    server.program.wait_for_stderr("check the path and its permissions");
    assert_eq!(run(&send, b"").text(), "Echo: hello\n");
}

/// `echoline check` reads the files as a server does at its start.
#[test]
fn check_describes_the_certificate() {
    let authority = Authority::new();
    let pair = authority.sign("server", Kind::Server);
    let other = authority.sign("other", Kind::Server);
    let check = |key: &str| {
        let listen = ["check", "echo", "--listen", "tls://127.0.0.1:0", "--cert", pair.cert()];
        run(&[&listen[..], &["--key", key]].concat(), b"")
    };
    let right = check(pair.key());
    assert!(right.text().contains("certificate CN=server, valid until"), "{right:?}");
    assert_eq!(right.code(), Some(0), "{right:?}");
    let wrong = check(other.key());
    assert!(wrong.stderr.contains("does not belong"), "{wrong:?}");
    assert_eq!(wrong.code(), Some(1));
}

/// A failed handshake is in the log, with the reason.
#[test]
fn a_failed_handshake_is_in_the_log() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority.sign("server", Kind::Server), &[]);
    // The client receives a TLS alert, which is not text.
    run(&["send", server.port(), "--timeout", "5s", "hello"], b"");
    server.program.wait_for_stderr("the client does not use TLS");
}

/// The files of `echoline cert` work at once, and a second run does not overwrite them.
#[test]
fn certificates_for_tests_work_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("certs");
    let out = out.to_str().unwrap();
    let path = |name: &str| format!("{out}/{name}");
    let made = run(&["cert", "--out", out, "--ca"], b"");
    assert_eq!(made.code(), Some(0), "{made:?}");
    assert!(made.text().contains("--listen tls://127.0.0.1:8443"), "{}", made.text());
    for name in ["ca-key.pem", "server-key.pem", "client-key.pem"] {
        let mode = fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = run(&["cert", "--out", out], b"");
    assert_eq!(again.code(), Some(1));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let pair = Pair { cert: path("server.pem").into(), key: path("server-key.pem").into() };
    let server = TlsServer::start(&pair, &["--client-ca", &path("ca.pem")]);
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client-key.pem"));
    let send = ["send", &server.address, "--ca", &ca, "--cert", &cert, "--key", &key, "hello"];
    let ended = run(&send, b"");
    assert_eq!(ended.text(), "Echo: hello\n", "{}", ended.stderr);
    let nobody = run(&["send", &server.address, "--ca", &ca, "hello"], b"");
    assert!(nobody.stderr.contains("--cert FILE"), "{}", nobody.stderr);
}
