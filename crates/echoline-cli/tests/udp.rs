//! Tests of the echo over UDP: answered and ignored datagrams, and the source address of answers.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stderr, reason = "the harness shows it where a test fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use echoline::Shutdown;
use echoline::udp::{
    AnswerLength, DatagramAnswer, DatagramListener, DatagramRefusal, DatagramRules, DatagramServer,
    DatagramSnapshot,
};

use programs::{Program, echoline, run, wait_for};
use test_certs::{forge, may_forge};

mod programs;
mod test_certs;

/// The maximum payload of a datagram over IPv4, in bytes.
const MOST: usize = 65_507;

/// The time limit of every wait, longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts an echo with these flags. Returns it and its addresses, in the order of the ready file.
fn serve(flags: &[&str]) -> (Program, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = echoline(&["echo", "--log-level", "info"]);
    command.arg("--ready-file").arg(&ready).args(flags);
    let program = Program::start(&mut command);
    wait_for("the ready file", || ready.exists());
    let addresses = std::fs::read_to_string(&ready).unwrap();
    (program, addresses.lines().map(str::to_owned).collect())
}

/// Returns the socket address in an address like `udp://127.0.0.1:7`.
fn socket_address(address: &str) -> SocketAddr {
    address.strip_prefix("udp://").unwrap_or(address).parse().unwrap()
}

/// Returns a client socket whose reads have a time limit.
fn client(from: &str) -> UdpSocket {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Returns the answer to `request`, and its source.
fn ask(socket: &UdpSocket, to: SocketAddr, request: &[u8]) -> (Vec<u8>, SocketAddr) {
    socket.send_to(request, to).unwrap();
    let mut answer = vec![0; MOST + 1];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    answer.truncate(length);
    (answer, from)
}

/// Stops the server, and returns the line of its log with the numbers of datagrams.
fn account(program: Program) -> String {
    program.signal("INT");
    let ended = program.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let line = ended.stderr.lines().find(|line| line.contains("datagrams ended"));
    line.unwrap_or_else(|| panic!("{}", ended.stderr)).to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Binds a server to a free port of this machine, without running it.
fn bind() -> (DatagramServer, SocketAddr) {
    let bound = runtime().block_on(DatagramListener::bind(&"udp://127.0.0.1:0".parse().unwrap()));
    let listeners = bound.unwrap();
    let address = listeners[0].local_addr().unwrap();
    (DatagramServer::new(listeners).unwrap(), address)
}

fn echo(_: &[u8], _: &mut Vec<u8>) -> DatagramAnswer {
    DatagramAnswer::Same
}

/// Fault 42: datagrams of every size come back whole, also empty ones and those of the maximum
/// size.
#[test]
fn every_size_comes_back_whole() {
    let (program, addresses) = serve(&["--listen", "udp://127.0.0.1:0"]);
    let (socket, to) = (client("127.0.0.1:0"), socket_address(&addresses[0]));
    let content: Vec<u8> = (0..MOST).map(|index| (index * index / 7 % 251) as u8).collect();
    let sizes = (0..64).chain((64..MOST).step_by(509)).chain([1472, 1473, MOST - 1, MOST]);
    let mut sent = 0;
    for size in sizes {
        let (answer, from) = ask(&socket, to, &content[MOST - size..]);
        assert!(answer == content[MOST - size..], "{size} bytes came back as {}", answer.len());
        assert_eq!(from, to);
        sent += 1;
    }
    let account = account(program);
    assert!(account.contains(&format!("received={sent} answered={sent}")), "{account}");
}

/// Fault 43: on a socket for all addresses, the answer comes from the address that the request went
/// to.
#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let (program, addresses) = serve(&["--listen", "udp://0.0.0.0:0"]);
    let port = socket_address(&addresses[0]).port();
    let socket = client("127.0.0.1:0");
    for last in [2, 1, 77] {
        let to = SocketAddr::from(([127, 0, 0, last], port));
        assert_eq!(ask(&socket, to, b"hello"), (b"hello".to_vec(), to));
    }
    // The server receives several requests in one batch, each to another of its addresses.
    let all: Vec<SocketAddr> = (1..=20).map(|last| ([127, 0, 0, last], port).into()).collect();
    for to in &all {
        socket.send_to(b"?", to).unwrap();
    }
    let from: Vec<_> = all.iter().map(|_| socket.recv_from(&mut [0; 9]).unwrap().1).collect();
    assert_eq!(from, all);
    drop(program);
}

#[test]
fn ipv6_is_served_too() {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        eprintln!("skipped: this machine has no IPv6 ({error})");
        return;
    }
    let (program, addresses) = serve(&["--listen", "udp://[::]:0"]);
    let to = SocketAddr::new("::1".parse().unwrap(), socket_address(&addresses[0]).port());
    let socket = client("[::1]:0");
    for _ in 0..3 {
        assert_eq!(ask(&socket, to, b"hello"), (b"hello".to_vec(), to));
    }
    assert!(account(program).contains("received=3 answered=3"));
}

/// Fault 43: an answer to a closed port (ICMP: port unreachable) does not stop the server.
#[test]
fn a_client_that_has_gone_ends_nothing() {
    let (program, addresses) = serve(&["--listen", "udp://127.0.0.1:0"]);
    let to = socket_address(&addresses[0]);
    // This client keeps its port for the whole test. So it never gets the port of a client that has
    // left.
    let stays = client("127.0.0.1:0");
    for _ in 0..50 {
        client("127.0.0.1:0").send_to(b"and away", to).unwrap();
        assert_eq!(ask(&stays, to, b"still there?").0, b"still there?");
    }
    assert!(account(program).contains("received=100 answered=100"));
}

/// Fault 40 (CVE-2024-2169): one forged datagram causes one answer between two servers, and no
/// storm.
#[test]
fn two_servers_do_not_answer_each_other_for_ever() {
    if !may_forge() {
        return;
    }
    let (one, addresses) = serve(&["--listen", "udp://127.0.0.1:0", "--mode", "raw"]);
    let (other, others) = serve(&["--listen", "udp://127.0.0.1:0", "--mode", "raw"]);
    let (to, from) = (socket_address(&addresses[0]), socket_address(&others[0]));
    forge(from, to, b"storm").unwrap();
    // Datagrams are handled in order: after this answer the earlier datagrams have been handled.
    let socket = client("127.0.0.1:0");
    for address in [to, from, to, from] {
        ask(&socket, address, b"calm?");
    }
    let (one, other) = (account(one), account(other));
    assert!(one.contains("received=3 answered=3"), "{one}");
    assert!(other.contains("received=3 answered=2"), "{other}");
    assert!(other.contains("answer=1"), "{other}");
}

/// Fault 40: datagrams that seem to come from the server itself, or from a well-known server port,
/// get no answer.
#[test]
fn forged_sources_that_are_servers_get_nothing() {
    if !may_forge() {
        return;
    }
    let flags = ["--listen", "udp://127.0.0.1:0", "--listen", "udp://127.0.0.1:0"];
    let (program, addresses) = serve(&flags);
    let (to, beside) = (socket_address(&addresses[0]), socket_address(&addresses[1]));
    for (from, count) in [(to, 3), (beside, 2)] {
        (0..count).for_each(|_| forge(from, to, b"me").unwrap());
    }
    for port in [7, 19, 53, 1023] {
        forge(([127, 0, 0, 9], port).into(), to, b"server").unwrap();
    }
    forge(([224, 0, 0, 1], 40_000).into(), to, b"many").unwrap_or_default();
    forge(([127, 0, 0, 9], to.port()).into(), to, b"another like me").unwrap();
    ask(&client("127.0.0.1:0"), to, b"calm?");
    let account = account(program);
    assert!(account.contains("answered=1 "), "{account}");
    assert!(account.contains("own_address=5") && account.contains("source_port=5"), "{account}");
}

#[test]
fn any_port_may_be_allowed() {
    if !may_forge() {
        return;
    }
    let flags = ["--listen", "udp://127.0.0.1:0", "--udp-allow-any-port"];
    let (program, addresses) = serve(&flags);
    let to = socket_address(&addresses[0]);
    forge(([127, 0, 0, 9], 1023).into(), to, b"answer me").unwrap();
    forge(to, to, b"but not me").unwrap();
    ask(&client("127.0.0.1:0"), to, b"done?");
    let account = account(program);
    assert!(account.contains("received=3 answered=2"), "{account}");
    assert!(account.contains("own_address=1"), "{account}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a whole program lives in real time")]
fn a_rate_also_applies_to_loopback() {
    let flags = ["--listen", "udp://127.0.0.1:0", "--udp-rate", "5/s"];
    let (program, addresses) = serve(&flags);
    let (socket, to) = (client("127.0.0.1:0"), socket_address(&addresses[0]));
    let begun = Instant::now();
    for _ in 0..200 {
        socket.send_to(b"?", to).unwrap();
    }
    socket.recv_from(&mut [0; 9]).unwrap();
    let account = account(program);
    // The limit allows ten replies at once, and five for each second that has passed.
    let answered: u64 = figure(&account, "answered");
    let most = 10 + 5 * (begun.elapsed().as_secs() + 1);
    assert!((10..=most).contains(&answered), "{account}");
    assert_eq!(answered + figure(&account, "rate"), 200, "{account}");
}

/// Fault 51: datagrams that wait at the socket when a signal ends the program are answered,
/// although there is no connection to wait for.
#[test]
fn waiting_datagrams_are_answered_after_a_signal() {
    let (program, addresses) = serve(&["--listen", "udp://127.0.0.1:0"]);
    let (socket, to) = (client("127.0.0.1:0"), socket_address(&addresses[0]));
    ask(&socket, to, b"ready?");
    program.signal("STOP");
    for _ in 0..150 {
        socket.send_to(b"?", to).unwrap();
    }
    program.signal("TERM");
    program.signal("CONT");
    for _ in 0..150 {
        assert_eq!(socket.recv(&mut [0; 9]).unwrap(), 1);
    }
    let ended = program.finish();
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("received=151 answered=151"), "{}", ended.stderr);
}

/// Returns the number after `name=`.
fn figure(account: &str, name: &str) -> u64 {
    let words = account.split([' ', '\n']);
    let found = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next();
    found.unwrap_or_else(|| panic!("no {name} in {account}")).parse().unwrap()
}

/// Fault 41: an answer that is longer than its request is not sent.
#[test]
fn no_answer_is_longer_than_its_request_unless_that_is_asked_for() {
    let double = |request: &[u8], room: &mut Vec<u8>| {
        room.extend(request.repeat(2));
        DatagramAnswer::Written
    };
    for (answers, wanted) in [(AnswerLength::Request, 1), (AnswerLength::Any, 3)] {
        let (server, to) = bind();
        let server = server.rules(DatagramRules { answers, ..DatagramRules::default() });
        let (counts, shutdown) = (server.counts(), Shutdown::new());
        let socket = client("127.0.0.1:0");
        // The answer to the empty request is also empty.
        for request in [&b"a"[..], b"", b"bb"] {
            socket.send_to(request, to).unwrap();
        }
        shutdown.drain();
        runtime().block_on(server.shutdown(shutdown).serve(double)).unwrap();
        let counted = counts.read();
        assert_eq!((counted.received, counted.answered), (3, wanted));
        let refused: Vec<_> = counted.refusals().collect();
        let length = (wanted == 1).then_some((DatagramRefusal::Length, 2));
        assert_eq!(refused, Vec::from_iter(length));
    }
}

#[test]
fn waiting_datagrams_are_answered_while_draining() {
    let (server, to) = bind();
    let (counts, shutdown) = (server.counts(), Shutdown::new());
    let socket = client("127.0.0.1:0");
    for number in 0..100 {
        socket.send_to(&[number], to).unwrap();
    }
    shutdown.drain();
    runtime().block_on(server.shutdown(shutdown).serve(echo)).unwrap();
    for number in 0..100 {
        let mut answer = [0; 2];
        assert_eq!((socket.recv(&mut answer).unwrap(), answer[0]), (1, number));
    }
    let counted = counts.read();
    assert_eq!((counted.received, counted.answered_bytes), (100, 100));
}

#[test]
fn waiting_datagrams_are_left_to_a_successor() {
    let bound = runtime().block_on(DatagramListener::bind(&"udp://127.0.0.1:0".parse().unwrap()));
    let old = bound.unwrap().remove(0);
    let to = old.local_addr().unwrap();
    let new = DatagramListener::inherit(old.hand_on().unwrap()).unwrap();
    let socket = client("127.0.0.1:0");
    socket.send_to(b"whose?", to).unwrap();
    let (retired, drained) = (Shutdown::new(), Shutdown::new());
    retired.retire();
    drained.drain();
    let serve = |listener, shutdown| {
        let server = DatagramServer::new(vec![listener]).unwrap().shutdown(shutdown);
        let counts = server.counts();
        runtime().block_on(server.serve(echo)).unwrap();
        counts.read().answered
    };
    assert_eq!((serve(old, retired), serve(new, drained)), (0, 1));
    assert_eq!(socket.recv(&mut [0; 9]).unwrap(), 6);
}

/// Fault 44: datagrams that the system drops because the server reads too slowly are counted.
#[test]
fn an_overflow_is_counted() {
    let (server, to) = bind();
    let (counts, shutdown) = (server.counts(), Shutdown::new());
    let socket = client("127.0.0.1:0");
    let sent = 20_000;
    for _ in 0..sent {
        socket.send_to(&[7; 1000], to).unwrap();
    }
    assert!(counts.read().overflowed > 0, "nothing overflowed");
    shutdown.drain();
    runtime().block_on(server.shutdown(shutdown).serve(echo)).unwrap();
    let DatagramSnapshot { received, overflowed, answered, .. } = counts.read();
    assert_eq!((received + overflowed, answered), (sent, received));
}

/// Fault 42: a flood of datagrams does not delay connections, and connections do not delay
/// datagrams.
#[test]
fn a_flood_of_datagrams_leaves_connections_their_share() {
    let flags = ["--listen", "udp://127.0.0.1:0", "--listen", "127.0.0.1:0", "--mode", "raw"];
    let (program, addresses) = serve(&[&flags[..], &["--workers", "1"]].concat());
    assert!(addresses[0].starts_with("udp://"), "{addresses:?}");
    let to = socket_address(&addresses[0]);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let flood = thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let _ = socket.send_to(&[1; 64], to);
        }
    });
    let stream = TcpStream::connect(&addresses[1]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let start = tokio::time::Instant::now();
    for number in 0..500 {
        (&stream).write_all(format!("{number}\n").as_bytes()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), number.to_string());
    }
    // The limit for all of them together is the time limit of one answer in other tests.
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    drop(stop);
    flood.join().unwrap();
    let account = account(program);
    assert!(figure(&account, "answered") > 500, "{account}");
}

/// The services of RFC 863, 864 and 867 work over TCP, and also over UDP if a listener uses it.
#[test]
fn discard_chargen_and_daytime_over_both() {
    let both = ["--listen", "127.0.0.1:0", "--listen", "udp://127.0.0.1:0"];
    let ask = |mode: &str| {
        let flags = ["--mode", mode, "--udp-allow-amplification"];
        let (program, addresses) = serve(&[&both[..], &flags].concat());
        let mut stream = TcpStream::connect(&addresses[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"whatever\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut over_tcp = Vec::new();
        stream.read_to_end(&mut over_tcp).unwrap();
        let socket = client("127.0.0.1:0");
        socket.send_to(b"?", socket_address(&addresses[1])).unwrap();
        let mut over_udp = vec![0; 1000];
        if mode == "discard" {
            return (over_tcp, account(program).into_bytes());
        }
        let length = socket.recv(&mut over_udp).unwrap();
        over_udp.truncate(length);
        (over_tcp, over_udp)
    };
    let (over_tcp, account) = ask("discard");
    assert!(over_tcp.is_empty());
    let account = String::from_utf8(account).unwrap();
    assert!(account.contains("received=1 answered=0"), "{account}");
    let (over_tcp, over_udp) = ask("chargen");
    assert!(over_tcp.len() > 74 && over_tcp.starts_with(b" !\"#$%&'()*+,-./0123"));
    assert!((1..=512).contains(&over_udp.len()) && over_tcp.starts_with(&over_udp));
    for line in <[Vec<u8>; 2]>::from(ask("daytime")) {
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with("\r\n") && line.matches(',').count() == 2, "{line:?}");
    }
}

/// Faults 40, 44: the metrics count dropped datagrams.
#[test]
fn the_metrics_count_datagrams() {
    let flags = ["--listen", "udp://127.0.0.1:0", "--admin", "127.0.0.1:0", "--udp-rate", "1/s"];
    let (_program, addresses) = serve(&flags);
    let (socket, to) = (client("127.0.0.1:0"), socket_address(&addresses[0]));
    assert_eq!(ask(&socket, to, b"hello").0, b"hello");
    for _ in 0..100 {
        socket.send_to(b"again", to).unwrap();
    }
    let admin = addresses[1].strip_prefix("admin ").unwrap();
    let value = |metrics: &str, name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    };
    wait_for("all to be counted", || {
        let mut stream = TcpStream::connect(admin).unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).unwrap();
        assert_eq!(value(&metrics, "echoline_datagrams_dropped_total{reason=\"overflow\"}"), 0);
        let dropped = value(&metrics, "echoline_datagrams_dropped_total{reason=\"rate\"}");
        let answered = value(&metrics, "echoline_datagrams_total{direction=\"out\"}");
        dropped > 0 && dropped + answered == 101
    });
}

#[test]
fn impossible_settings_are_refused() {
    for (arguments, wanted) in [
        (
            &["echo", "--mode", "chargen", "--listen", "udp://127.0.0.1:0"][..],
            "allow-amplification",
        ),
        (
            &["echo", "--prefix", "> ", "--listen", "udp://127.0.0.1:0"],
            "echoes datagrams unchanged",
        ),
        (&["echo", "--greeting", "hi", "--mode", "discard"], "which does not reply to lines"),
        (&["echo", "--udp-rate", "many"], "100/s, or off"),
        (&["load", "udp://127.0.0.1:9", "--size", "65508"], "the limit is 65507"),
        (&["load", "udp://127.0.0.1:9", "--reply-lines", "2"], "one datagram is the reply"),
    ] {
        let ended = run(arguments, b"");
        assert_eq!(ended.code(), Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(wanted), "{arguments:?}: {}", ended.stderr);
    }
    let ended = run(&["chat", "--listen", "udp://127.0.0.1:0"], b"");
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("a chat needs connections"), "{}", ended.stderr);
    let (program, addresses) = serve(&["--listen", "udp://127.0.0.1:0"]);
    let ended = run(&["echo", "--listen", &addresses[0]], b"");
    assert_eq!(ended.code(), Some(1));
    assert!(ended.stderr.contains("; echoline (process "), "{}", ended.stderr);
    drop(program);
}

/// A plan affects datagrams in order: a reordered datagram follows the next one, and a delayed
/// datagram arrives after its delay.
#[test]
fn planned_faults_happen_to_datagrams() {
    let rules = ["drop at=2", "duplicate at=3", "truncate=3 at=4", "reorder at=5", "delay=1s at=7"];
    let mut flags = vec!["--listen", "udp://127.0.0.1:0"];
    flags.extend(rules.iter().flat_map(|rule| ["--fault", rule]));
    let (program, addresses) = serve(&flags);
    let (socket, to) = (client("127.0.0.1:0"), socket_address(&addresses[0]));
    for number in 1..=8 {
        socket.send_to(format!("{number}:hello").as_bytes(), to).unwrap();
    }
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "7:hello") {
        let mut answer = [0; 20];
        let length = socket.recv(&mut answer).unwrap();
        heard.push(String::from_utf8(answer[..length].to_vec()).unwrap());
    }
    let wanted = "1:hello 3:hello 3:hello 4:h 6:hello 5:hello 8:hello 7:hello";
    assert_eq!(heard.join(" "), wanted);
    let account = account(program);
    assert!(account.contains("received=8 answered=8"), "{account}");
}
