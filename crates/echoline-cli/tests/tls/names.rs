//! Several certificates for one server, and application protocols.

use std::fs;

use crate::commands::TlsServer;
use crate::pairs::{Authority, Kind};
use crate::programs::{run, wait_for};

/// Issue 15, item 5: each client gets the certificate for the name that it asks for. A certificate
/// that is replaced is read again, and the access log identifies the client.
#[test]
fn each_name_has_its_certificate() {
    let authority = Authority::new();
    let first = authority.sign_for("first", &["a.example"], Kind::Server);
    let second = authority.sign_for("second", &["*.b.example"], Kind::Server);
    let client = authority.sign("client", Kind::Client);
    let (ca, log) = (authority.ca(), authority.path("access.log"));
    let (ca, log) = (ca.to_str().unwrap(), log.to_str().unwrap());
    let mut flags = vec!["--cert", second.cert(), "--key", second.key(), "--mode", "command"];
    flags.extend(["--alpn", "echo/2,echo/1", "--client-ca", ca, "--client-auth", "request"]);
    flags.extend(["--access-log", log]);
    let server = TlsServer::start(&first, &flags);
    let ask = |name: &str, more: &[&str]| {
        let send = ["send", &server.address, "--ca", ca, "--server-name", name];
        run(&[&send, more, &["WHOAMI"]].concat(), b"")
    };
    for (name, alpn) in [("a.example", "echo/1"), ("x.b.example", "echo/1,echo/2")] {
        let ended = ask(name, &["--alpn", alpn]);
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        let chosen = alpn.rsplit(',').next().unwrap();
        let wanted = format!("server-name: {name}\nalpn: {chosen}\nlistener: 1\n");
        let told = ended.text().replace("\r\n", "\n");
        assert!(told.ends_with(&wanted), "{told:?}");
    }
    let unknown = ask("b.example", &[]);
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.stderr.contains("is for a.example and not for b.example"), "{unknown:?}");
    let other = ask("a.example", &["--alpn", "chat/1"]);
    assert!(other.stderr.contains("speaks none of the offered ALPN protocols"), "{other:?}");
    server.program.wait_for_stderr("the client offers none of the server's ALPN protocols");
    let identity = ["--cert", client.cert(), "--key", client.key(), "--alpn", "echo/2"];
    assert_eq!(ask("a.example", &identity).code(), Some(0));
    wait_for("a line of the access log", || {
        let lines = fs::read_to_string(log).unwrap();
        lines.lines().any(|line| {
            line.contains(" subject=CN=client fingerprint=") && line.contains(" alpn=echo/2 ")
        })
    });

    authority.sign_for("second", &["c.example"], Kind::Server);
    server.program.signal("HUP");
    server.program.wait_for_stderr("certificates CN=first; CN=second, valid until");
    wait_for("the new name", || ask("c.example", &[]).code() == Some(0));
    assert_eq!(ask("x.b.example", &[]).code(), Some(1));
}

#[test]
fn certificates_that_no_client_can_get_are_wrong_usage() {
    let authority = Authority::new();
    let first = authority.sign("first", Kind::Server);
    let nameless = authority.sign_for("nameless", &["127.0.0.1"], Kind::Server);
    let both = ["--cert", first.cert(), "--cert", nameless.cert()];
    for (flags, code, sentence) in [
        (
            &["--key", first.key()][..],
            2,
            "2 × --cert and 1 × --key: give one --key for each --cert, in the same order",
        ),
        (
            &["--key", first.key(), "--key", nameless.key()],
            1,
            "the certificate CN=nameless has no DNS name (subjectAltName), so no client can ask",
        ),
        (&["--key", nameless.key(), "--key", first.key()], 1, "does not belong to the certificate"),
        (&["--alpn", "a,,b"], 2, "a protocol has 1 to 255 bytes, and this one has 0"),
    ] {
        let listen = ["echo", "--listen", "tls://127.0.0.1:0"];
        let ended = run(&[&listen, &both[..], flags].concat(), b"");
        assert_eq!(ended.code(), Some(code), "{ended:?}");
        assert!(ended.stderr.contains(sentence), "{ended:?}");
    }
    let unused = run(&["send", "127.0.0.1:1", "--alpn", "echo/1", "hello"], b"");
    assert_eq!(unused.code(), Some(2));
    assert!(unused.stderr.contains("--alpn has no effect"), "{unused:?}");
}
