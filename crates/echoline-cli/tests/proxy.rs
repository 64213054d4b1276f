//! Tests of the PROXY protocol: trusted and other proxies, a real HAProxy, and WHOAMI.
#![allow(clippy::unwrap_used)]

mod programs;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use programs::{EchoServer, Program, nobody, run, wait_for};

const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n";

/// A header of version 2 with the same addresses as [`V1`].
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x12\x67\0\x50";

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends each of `pieces` as a separate packet. Returns everything that the server sends back.
fn ask<'a>(address: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut stream = connect(address);
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    // The server may have closed the connection already.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// Faults 26, 27: the header may arrive in any pieces, and no byte after the header is lost.
#[test]
fn a_header_may_be_cut_anywhere() {
    let trusted = ["--mode", "command", "--greeting", "hello", "--proxy-from", "127.0.0.1"];
    let server = EchoServer::start(&trusted);
    for header in [V1.as_bytes(), V2] {
        let all = [header, b"WHOAMI\r\n"].concat();
        let every_byte = ask(&server.address, all.chunks(1));
        let lines: Vec<&str> = every_byte.lines().collect();
        assert_eq!(lines[0], "hello");
        assert!(lines[1].starts_with("peer: 127.0.0.1:"), "{every_byte}");
        assert_eq!(lines[2..], ["source: 192.0.2.1:4711", "listener: 1"]);
        for cut in 0..all.len() {
            let heard = ask(&server.address, [&all[..cut], &all[cut..]]);
            assert_eq!(heard.lines().skip(2).collect::<Vec<_>>(), lines[2..], "cut at {cut}");
        }
    }
}

/// Fault 26: a header from a client that is not a trusted proxy is an ordinary line, and is echoed.
#[test]
fn a_header_of_an_untrusted_client_is_echoed() {
    let server =
        EchoServer::start(&["--mode", "raw", "--proxy-from", "192.0.2.0/24,2001:db8::/32"]);
    assert_eq!(ask(&server.address, [V1.as_bytes(), b"hello"]), format!("{V1}hello"));
    let off = EchoServer::start(&["--mode", "raw"]);
    assert_eq!(ask(&off.address, [V1.as_bytes()]), V1);
}

/// Fault 26: a trusted proxy that sends no header is refused, with a line in the log.
#[test]
fn a_proxy_must_send_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let flags = ["echo", "--listen", "127.0.0.1:0", "--proxy-from", "127.0.0.0/8"];
    let mut command = programs::echoline(&flags);
    let program = Program::start(command.arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let address = std::fs::read_to_string(ready).unwrap().trim().to_owned();
    for wrong in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 192.0.2.1\r\n", "PROXY", "\r\n"] {
        assert_eq!(ask(&address, [wrong.as_bytes()]), "", "{wrong}");
    }
    program.wait_for_stderr("invalid PROXY header: it does not begin");
    program.wait_for_stderr("it ended before its PROXY header");
    program.signal("TERM");
    let ended = program.finish();
    assert!(ended.stderr.contains("handshake_failed=4"), "{}", ended.stderr);
}

/// Issue 11, item 22: the health checks of a trusted proxy leave no line in the log. They are
/// connections that are closed or reset without a byte, and LOCAL headers of any form.
#[test]
fn regression_health_checks_of_a_proxy_are_silent() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let flags = ["echo", "--listen", "127.0.0.1:0,ws://127.0.0.1:0", "--proxy-from", "127.0.0.1"];
    let mut command = programs::echoline(&flags);
    let program = Program::start(command.arg("--ready-file").arg(&ready));
    wait_for("the ready file", || ready.exists());
    let addresses = std::fs::read_to_string(ready).unwrap().replace("ws://", "");
    program.wait_for_stderr(" ready ");
    let before = program.stderr();
    let [plain, websocket] = addresses.lines().collect::<Vec<_>>()[..] else { panic!() };
    let local = |family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2[..12], &[0x20, family], &length, body].concat()
    };
    for (family, body) in [(0x11, &b""[..]), (0, b""), (0x21, &[7; 500]), (0xFF, &[0; 20_000])] {
        let answer = ask(plain, [&local(family, body)[..], b"hello\n"]);
        assert_eq!(answer, "Echo: hello\n", "family {family:x}");
        assert_eq!(ask(websocket, [&local(family, body)[..]]), "");
    }
    for address in [plain, websocket] {
        assert_eq!(ask(address, []), "");
        let reset = socket2::Socket::from(TcpStream::connect(address).unwrap());
        reset.set_linger(Some(Duration::ZERO)).unwrap();
    }
    program.signal("TERM");
    let ended = program.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let after = ended.stderr.strip_prefix(&before).unwrap();
    assert!(!after.contains("PROXY") && !after.contains("WebSocket"), "{after}");
    assert!(!after.contains(" WARN "), "{after}");
}

/// Faults 4, 26: the connections per address are counted for each client that the proxy names, not
/// for the proxy.
#[test]
fn each_client_behind_a_proxy_has_its_own_limit() {
    let flags = ["--mode", "line", "--max-per-ip", "1", "--proxy-from", "127.0.0.1"];
    let server = EchoServer::start(&flags);
    let open = |source: &str| {
        let mut stream = connect(&server.address);
        write!(stream, "PROXY TCP4 {source} 198.51.100.2 1 80\r\nhello\n").unwrap();
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).unwrap();
        (stream, String::from_utf8_lossy(&answer).into_owned())
    };
    let held = [open("192.0.2.1"), open("192.0.2.2")];
    for (_, answer) in &held {
        assert_eq!(answer, "Echo: hello");
    }
    assert_eq!(open("192.0.2.1").1, "Too many co");
    drop(held);
    wait_for("a free slot", || open("192.0.2.1").1 == "Echo: hello");
}

/// The server accepts the source address in the headers of `send` and `load`.
#[test]
fn send_and_load_speak_it() {
    let server = EchoServer::start(&["--mode", "command", "--proxy-from", "127.0.0.1"]);
    for (claim, source) in [
        ("v1=192.0.2.7:99", "source: 192.0.2.7:99"),
        ("v2=[2001:db8::7]:99", "source: [2001:db8::7]:99"),
        ("v2", "source: 127.0.0.1:"),
    ] {
        let sent = run(&["send", "--proxy", claim, &server.address, "WHOAMI"], b"");
        assert_eq!(sent.code(), Some(0), "{}", sent.stderr);
        assert!(sent.text().contains(source), "{}", sent.text());
    }
    let load = ["load", &server.address, "--clients", "3", "--messages", "9", "--quiet"];
    let network = ["--proxy", "v2", "--proxy-source", "10.0.0.0/8"];
    let loaded = run(&[&load[..], &network].concat(), b"");
    assert_eq!(loaded.code(), Some(0), "{}", loaded.text());
    assert_eq!(run(&load, b"").code(), Some(1), "a load run without a PROXY header fails");
    for (flags, wanted) in [
        (vec!["--proxy", "v3"], "write v1, v2 or"),
        (vec!["--proxy-source", "10.0.0.0/8"], "--proxy"),
        (vec!["--proxy", "v2", "--proxy-source", "ten"], "10.0.0.0/8"),
    ] {
        let wrong = run(&[&load[..], &flags].concat(), b"");
        assert_eq!((wrong.code(), wrong.stderr.contains(wanted)), (Some(2), true), "{wrong:?}");
    }
}

/// A Unix socket has no address to trust, so a flag declares that its clients are proxies.
#[test]
fn a_proxy_may_come_through_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = EchoServer::start_at(&listen, &["--mode", "whoami", "--proxy-from", "unix"]);
    let mut stream = std::os::unix::net::UnixStream::connect(&server.address[5..]).unwrap();
    stream.write_all(V2).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "peer: unix\nsource: 192.0.2.1:4711\nlistener: 1\n");
    let sent = run(&["send", "--proxy", "v2", &listen, "hello"], b"");
    assert_eq!(sent.code(), Some(1));
    assert!(sent.stderr.contains("a PROXY header needs a TCP connection"), "{}", sent.stderr);
}

/// `WHOAMI` works as a command and as a mode.
#[test]
fn whoami_returns_the_address_of_the_client() {
    let server = EchoServer::start_at("127.0.0.1:0,127.0.0.1:0", &["--mode", "whoami"]);
    for (number, address) in server.address.lines().enumerate() {
        let mut stream = connect(address);
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        let own: SocketAddr = stream.local_addr().unwrap();
        assert_eq!(heard, format!("peer: {own}\nlistener: {}\n", number + 1));
    }
    let wrong = run(&["echo", "--mode", "whoami", "--prefix", "x"], b"");
    assert_eq!(wrong.code(), Some(2));
    assert!(wrong.stderr.contains("--prefix has no effect in --mode whoami"), "{}", wrong.stderr);
}

/// Fault 26: a real HAProxy, in both versions, passes on the address of its client, and its health
/// checks (LOCAL) do not count as clients. Prints that it is skipped if HAProxy is not installed.
#[test]
fn haproxy_passes_the_address_of_its_client() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("skipped: no haproxy (scripts/test.sh installs it)");
        return;
    }
    let server = EchoServer::start(&["--mode", "whoami", "--proxy-from", "127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    for version in ["send-proxy", "send-proxy-v2"] {
        let front = nobody();
        let configuration = folder.path().join(version);
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen echo\n bind {front}\n server one {} {version} check\n",
            server.address
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new("haproxy");
        let _haproxy = Program::start(command.arg("-db").arg("-f").arg(&configuration));
        let mut heard = String::new();
        wait_for("an answer through HAProxy", || {
            heard.clear();
            let Ok(mut stream) = TcpStream::connect(front) else { return false };
            let own = stream.local_addr().unwrap();
            stream.read_to_string(&mut heard).is_ok()
                && heard.contains(&format!("\nsource: {own}\n"))
        });
        assert!(heard.starts_with("peer: 127.0.0.1:"), "{heard}");
    }
}

/// Issue 12, item 17: at a Unix socket that every local user may connect to, no user can pose as a
/// proxy. The server starts only if the flag names the user of the proxy. It then asks the kernel
/// which connections come from that user.
#[test]
fn attack_a_local_user_cannot_pose_as_a_client() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixStream};
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("s").display());
    let name = format!("unix:@echoline-proxy-{}", std::process::id());
    for (address, mode) in [(&name, "0600"), (&path, "0666"), (&path, "0602")] {
        let flags = ["--listen", address, "--unix-mode", mode, "--proxy-from", "unix"];
        for command in [&["echo"][..], &["check", "echo"]] {
            let ended = run(&[command, &flags].concat(), b"");
            assert_eq!(ended.code(), Some(1), "{ended:?}");
            let sentence = format!("every user of this host may connect to {address}");
            assert!(ended.stderr.contains(&sentence), "{ended:?}");
        }
    }
    let own = format!("unix:{}", nix::unistd::Uid::effective());
    let whoami = |address: &str, flags: &[&str]| {
        let server = EchoServer::start_at(address, &[&["--mode", "command"], flags].concat());
        let path = server.address.strip_prefix("unix:").unwrap();
        let at = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
            None => SocketAddr::from_pathname(path).unwrap(),
        };
        let mut stream = UnixStream::connect_addr(&at).unwrap();
        stream.write_all(&[V1.as_bytes(), b"WHOAMI\r\nQUIT\r\n"].concat()).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    };
    for (address, mode) in [(&name, "0600"), (&path, "0666")] {
        let mode = ["--unix-mode", mode];
        let stranger = [&mode[..], &["--proxy-from", "unix:54321"]].concat();
        let heard = whoami(address, &stranger);
        assert!(heard.contains("Echo: PROXY TCP4") && !heard.contains("source:"), "{heard}");
        let proxy = [&mode[..], &["--proxy-from", &own]].concat();
        let heard = whoami(address, &proxy);
        assert!(heard.contains("source: 192.0.2.1:4711"), "{heard}");
    }
    let heard = whoami(&path, &["--unix-mode", "0660", "--proxy-from", "unix"]);
    assert!(heard.contains("source: 192.0.2.1:4711"), "{heard}");
    let wrong = run(&["echo", "--proxy-from", "unix:no-such-user"], b"");
    assert!(wrong.stderr.contains("there is no user 'no-such-user'"), "{wrong:?}");
}
