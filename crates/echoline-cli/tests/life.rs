//! Tests of faults in a process's life cycle: start, signals, a blocked log, a stopped clock.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use support::{Client, NEVER, Server, millis, now, pause, process, until};

/// The limit for "at once" on a busy machine. The other delays of a server are far longer: a drain
/// of 30 s, or a client that never finishes.
const SOON: Duration = Duration::from_secs(10);

/// Fault 10: if the port is taken, the start fails at once with one sentence that names the remedy.
#[test]
fn a_port_in_use_ends_the_start_with_a_sentence() {
    let first = Server::start(&[]);
    let taken = first.address().to_string();
    let second = Server::spawn(&["--listen", &taken]);
    let ready = second.ready_file();
    let end = second.wait();
    assert_eq!(end.code, Some(1), "{}", end.log);
    assert!(end.after < SOON, "it took {:?}", end.after);
    assert!(end.log.contains(&format!("cannot listen on {taken}")), "{}", end.log);
    assert!(end.log.contains("choose another port"), "{}", end.log);
    assert!(end.log.contains(&format!("process {}", first.id())), "{}", end.log);
    assert_eq!(end.log.lines().count(), 1, "{}", end.log);
    assert!(!ready.exists());
    first.connect().ask("still here");
}

/// Fault 10: if the second of three ports is taken, no port is served, not even for a moment.
#[test]
fn nothing_is_served_if_one_of_the_ports_is_taken() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    // These sockets keep the ports bound, so that no other program takes them. The server under
    // test can still listen on them.
    let held = [held_port(), held_port()];
    let [first, third] = held.each_ref().map(|socket| socket.local_addr().unwrap());
    let [first, third] = [first, third].map(|address| address.as_socket().unwrap());
    let listen = format!("{first},{},{third}", busy.local_addr().unwrap());
    let end = Server::spawn(&["--listen", &listen]).wait();
    assert_eq!(end.code, Some(1), "{}", end.log);
    assert!(!end.log.contains("listening on"), "{}", end.log);
    for released in [first, third] {
        TcpListener::bind(released).expect("the port is free again");
    }
}

/// Creates a socket that has a port and does not listen.
fn held_port() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket
}

/// Fault 61: the ready file contains the ports that were really bound, and is removed when the
/// server ends.
#[test]
fn the_ready_file_names_every_address_while_it_is_served() {
    let server = Server::start(&["--listen", "127.0.0.1:0,127.0.0.2:0"]);
    assert_eq!(server.addresses().len(), 2);
    for &address in server.addresses() {
        assert_ne!(address.port(), 0);
        Client::connect(address).ask("hello");
        server.await_log(&format!("listening on {address}"));
    }
    // `wait` removes the server's folder, so the ready file is in another folder.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ready");
    let second = Server::spawn(&["--ready-file", path.to_str().unwrap()]);
    until("the file is there", || path.exists());
    assert_eq!(second.stop().code, Some(0));
    assert!(!path.exists(), "the file must not outlive the server");
}

/// Fault 61: if one part of a start fails, the whole start fails with the reason.
#[test]
fn a_failed_start_is_total() {
    for (flags, code, sentence) in [
        (&["--nonsense"][..], 2, "--nonsense"),
        (&["--idle-timeout", "soon"], 2, "write for example 500ms"),
        (&["--listen", "localhost"], 2, "has no port"),
        (&["--listen", "192.0.2.1:0"], 1, "this host does not have that address"),
        (&["--ready-file", "/no/such/folder/ready"], 1, "--ready-file /no/such/folder/ready"),
    ] {
        let end = Server::spawn(flags).wait();
        assert_eq!(end.code, Some(code), "{flags:?}: {}", end.log);
        assert!(end.log.contains(sentence), "{flags:?}: {}", end.log);
    }
}

/// Fault 51: after SIGTERM under load, every client receives complete and correct replies in order,
/// and then the end of the stream. No connection is reset, and the exit code is 0.
#[test]
fn clients_get_complete_replies_when_the_server_ends() {
    const CLIENTS: usize = 24;
    let server = Server::start(&[]);
    let address = server.address();
    let served = AtomicUsize::new(0);
    let end = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| ask_to_the_end(address, &served))).collect();
        until("every client is served", || served.load(Ordering::Relaxed) == CLIENTS);
        let end = server.stop();
        for client in clients {
            // Eight lines arrive in one packet, so all or none of them are answered. (Issue 11,
            // item 46.)
            let answered = client.join().unwrap();
            assert!(answered > 0 && answered % 8 == 0, "{answered} lines were answered");
        }
        end
    });
    assert_eq!(end.code, Some(0), "{}", end.log);
    assert!(end.after < SOON, "it took {:?}", end.after);
    assert_eq!(end.count("connections"), CLIENTS as u64);
    assert_eq!(end.count("drained") + end.count("end_of_stream"), CLIENTS as u64);
}

/// Sends eight lines at a time and checks their echoes until the stream ends. Returns the number of
/// echoes. After ten rounds, adds 1 to `served`.
fn ask_to_the_end(address: SocketAddr, served: &AtomicUsize) -> usize {
    let mut client = Client::connect(address);
    let mut answered = 0;
    for first in (0..).step_by(8) {
        let lines: String = (first..first + 8).map(|number| format!("line {number}\n")).collect();
        client.send(lines);
        for number in first..first + 8 {
            let line = client.line();
            if line.is_empty() {
                return answered;
            }
            assert_eq!(line, format!("Echo: line {number}\n"));
            answered += 1;
        }
        if answered == 80 {
            served.fetch_add(1, Ordering::Relaxed);
        }
    }
    answered
}

/// Fault 51: a client that has connected before the signal but was not accepted yet is served and
/// not reset.
#[test]
fn the_accept_queue_is_served_before_the_end() {
    let server = Server::start(&[]);
    server.signal("STOP");
    let mut queued = server.clients(100);
    for client in &mut queued {
        client.send("I was here in time\n");
    }
    server.signal("TERM");
    server.signal("CONT");
    for client in &mut queued {
        assert_eq!(client.rest(), "Echo: I was here in time\n");
    }
    drop(queued);
    let end = server.wait();
    assert_eq!((end.code, end.count("connections")), (Some(0), 100), "{}", end.log);
}

/// Fault 51: the server waits for a line that started before the signal, but not for a silent
/// client.
#[test]
fn a_line_in_hand_is_finished() {
    let server = Server::start(&[]);
    let mut clients = server.clients(2);
    clients[0].send("half a ");
    clients[1].ask("silent from now on");
    server.signal("TERM");
    assert_eq!(clients[1].rest(), "");
    pause(millis(200));
    // Issue 11, item 46: the line is sent in two pieces. Between them the server checks the
    // deadline again.
    clients[0].send("li");
    pause(millis(200));
    clients[0].send("ne\n");
    assert_eq!(clients[0].rest(), "Echo: half a line\n");
    drop(clients);
    assert_eq!(server.wait().code, Some(0));
}

/// Fault 51: a client that does not finish delays the end up to the deadline, and is counted in the
/// report.
#[test]
fn the_drain_deadline_ends_connections_and_sets_the_exit_code() {
    let server = Server::start(&["--drain-timeout", "1s"]);
    let mut stuck = server.connect();
    stuck.ask("hello");
    stuck.send("no end");
    let end = server.stop();
    assert_eq!((end.code, end.count("aborted")), (Some(1), 1), "{}", end.log);
    assert!(end.after >= millis(1000) && end.after < SOON, "it took {:?}", end.after);
    assert!(stuck.try_line().is_err(), "a cut-off reply must not look complete");
}

/// Fault 52: of any two signals, the second one ends the server at once.
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let names = ["TERM", "INT", "QUIT"];
    for (first, second) in names.iter().flat_map(|first| names.map(|second| (*first, second))) {
        let server = Server::start(&[]);
        let mut stuck = server.connect();
        stuck.ask("hello");
        stuck.send("no end");
        server.signal(first);
        server.await_log(&format!("SIG{first}"));
        server.signal(second);
        let end = server.wait();
        assert_eq!((end.code, end.count("aborted")), (Some(1), 1), "{first} {second}");
        assert!(end.after < SOON, "{first} {second} took {:?}", end.after);
        assert!(end.log.contains(&format!("ending at once signal=\"SIG{second}\"")), "{}", end.log);
    }
}

/// Fault 52: signals work at every moment: during the start, with a client that reads nothing, and
/// while no connection can be accepted.
#[test]
fn signals_work_in_every_phase() {
    for delay in 0..12 {
        let mut starting = Server::spawn(&[]);
        pause(millis(delay));
        starting.signal("TERM");
        until("it ends", || !starting.is_running());
    }
    for clients_in_queue in [0, 3] {
        let server = Server::start(&["--mode", "raw"]);
        let mut stuck = server.connect();
        assert!(stuck.stuff() > 0);
        process::limit_descriptors(server.id(), 3);
        let _queued = server.clients(clients_in_queue);
        server.signal("TERM");
        server.await_log("SIGTERM");
        server.signal("TERM");
        let end = server.wait();
        assert_eq!((end.code, end.count("aborted")), (Some(1), 1), "{}", end.log);
        assert!(end.after < SOON, "it took {:?}", end.after);
    }
}

/// Fault 52: without connections the server ends at once.
#[test]
fn an_empty_server_ends_at_once() {
    for name in ["TERM", "INT", "QUIT"] {
        let server = Server::start(&[]);
        server.signal(name);
        let end = server.wait();
        assert_eq!(end.code, Some(0), "{name}: {}", end.log);
        assert!(end.after < SOON, "{name} took {:?}", end.after);
        assert!(end.log.contains("no connections"), "{}", end.log);
    }
}

/// Fault 56: a log that cannot be written only loses log lines.
#[test]
fn a_blocked_log_delays_no_client() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    // The pipe is held open and never read, so every write blocks once its 64 KiB are full.
    let (_reader, stuck) = std::io::pipe().unwrap();
    let flags = ["--log-level", "debug"];
    for (name, stderr) in [("full", Stdio::from(full)), ("closed", closed.into())] {
        serve_and_end(name, Server::start_with_stderr(stderr, &flags), 200);
    }
    // Each connection logs two lines, which is more than the pipe and the queue of 8,192 lines
    // hold.
    serve_and_end("stuck", Server::start_with_stderr(stuck.into(), &flags), 5000);
    let closed = ["sh", "-c", r#"exec "$0" "$@" 2>&-"#];
    serve_and_end("no stderr", Server::start_behind(&closed, &flags), 200);
}

fn serve_and_end(name: &str, server: Server, connections: usize) {
    let before = process::descriptors(server.id());
    for _ in 0..connections {
        server.connect().ask("hello");
    }
    let end = server.stop_when_empty(before);
    assert_eq!(end.code, Some(0), "{name}");
    assert!(end.after < SOON, "{name}: it took {:?}", end.after);
}

/// Fault 57: started without descriptors 0 to 2, the server puts no socket there.
#[test]
fn no_socket_takes_the_place_of_a_standard_stream() {
    let closed = ["sh", "-c", r#"exec "$0" "$@" <&- >&- 2>&-"#];
    let server = Server::start_behind(&closed, &[]);
    let mut client = server.connect();
    client.ask("hello");
    for descriptor in 0..3 {
        let link = format!("/proc/{}/fd/{descriptor}", server.id());
        assert_eq!(std::fs::read_link(link).unwrap().to_str(), Some("/dev/null"));
    }
    drop(client);
    assert_eq!(server.stop().code, Some(0));
}

/// Fault 59: a server that was stopped for longer than its time-outs answers the input that arrived
/// meanwhile, and does not time out its clients.
#[test]
fn a_stopped_server_times_out_no_client() {
    // The time-outs are long, because on a busy machine the clients need much time before and after
    // the stop.
    let flags = ["--idle-timeout", "2s", "--line-timeout", "2s"];
    // The first stop is only a little longer than the time-outs.
    for stop in [millis(2200), millis(5000)] {
        let server = Server::start(&flags);
        let before = process::descriptors(server.id());
        let mut clients = server.clients(30);
        let mut silent = server.clients(5);
        for client in clients.iter_mut().chain(&mut silent) {
            client.ask("before");
        }
        server.signal("STOP");
        for client in &mut clients {
            client.send("mean");
            client.send("while\n");
        }
        pause(stop);
        server.signal("CONT");
        for client in &mut clients {
            assert_eq!(client.line(), "Echo: meanwhile\n", "after {stop:?}");
        }
        drop(clients);
        // The silent clients still time out afterwards.
        for client in &mut silent {
            assert_eq!(client.rest(), "Connection timeout. Goodbye!\n");
        }
        drop(silent);
        let end = server.stop_when_empty(before);
        assert_eq!((end.count("end_of_stream"), end.count("idle_timeout")), (30, 5), "{}", end.log);
    }
}

/// Fault 9: a client that connects while the server is stopped is served when it continues.
#[test]
fn the_backlog_is_long_enough_for_a_pause() {
    const CLIENTS: usize = 800;
    let server = Server::start(&[]);
    server.signal("STOP");
    let start = now();
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect_timeout(&server.address(), NEVER).expect("there is room"))
        .collect();
    // If the queue was full, only a client's second attempt would succeed, a second later.
    assert!(start.elapsed() < SOON, "connecting took {:?}", start.elapsed());
    server.signal("CONT");
    for stream in &mut clients {
        std::io::Write::write_all(stream, b"hello\n").unwrap();
    }
    for stream in &mut clients {
        stream.set_read_timeout(Some(NEVER)).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(stream, &mut answer).unwrap();
        assert_eq!(&answer, b"Echo: hello\n");
    }
    drop(clients);
    assert_eq!(server.stop().count("connections"), CLIENTS as u64);
}
