//! Tests of faults on the network, over real sockets: peers that are slow, half-closed, send too
//! much or have vanished.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::client::Noise;
use support::process::{descriptors, processor_time, resident_kib};
use support::{Client, NEVER, Server, has, millis, now, pause, until};

const TIMEOUT: &str = "Connection timeout. Goodbye!\n";

/// Fault 16: a client that sends a line too slowly is disconnected after the line time-out, even if
/// bytes keep arriving. Clients that finish their lines are not affected.
#[test]
fn a_line_must_end_in_time() {
    let server = Server::start(&["--line-timeout", "1s"]);
    let mut good = server.connect();
    let mut slow = server.clients(50);
    slow.iter_mut().for_each(|client| client.ask("in"));
    let start = now();
    while start.elapsed() < millis(850) {
        slow.iter_mut().for_each(|client| client.send("x"));
        good.ask("quick");
        pause(millis(50));
    }
    for client in &mut slow {
        assert_eq!(client.rest(), TIMEOUT);
        let after = start.elapsed();
        assert!(after >= millis(950) && after < millis(3500), "disconnected after {after:?}");
    }
    good.ask("still here");
    drop((slow, good));
    let end = server.stop();
    assert_eq!(end.count("line_timeout"), 50, "{}", end.log);
}

/// Fault 17: a silent client is disconnected after the idle time-out; one that sends something now
/// and then is not.
#[test]
fn silence_ends_at_the_idle_timeout() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    // The measured time begins before the server can start its timer.
    let start = now();
    let mut silent = server.connect();
    let watching = std::thread::spawn(move || (silent.rest(), start.elapsed()));
    let mut awake = server.connect();
    while start.elapsed() < millis(2200) {
        awake.ask("here");
        pause(millis(100));
    }
    let (words, after) = watching.join().unwrap();
    assert_eq!(words, TIMEOUT);
    assert!(after >= millis(1000) && after < millis(3500), "disconnected after {after:?}");
    drop(awake);
    assert_eq!(server.stop().count("idle_timeout"), 1);
}

/// Fault 19: a line of exactly the limit is accepted, and one more byte is not. The line end does
/// not count.
#[test]
fn the_limit_of_a_line_is_exact() {
    let server = Server::start(&["--max-line", "1000"]);
    for end in ["\n", "\r\n"] {
        let mut client = server.connect();
        for length in [0, 1, 999, 1000] {
            let line = "x".repeat(length);
            client.send(format!("{line}{end}"));
            assert_eq!(client.line(), format!("Echo: {line}\n"));
        }
        client.send(format!("{}{end}", "x".repeat(1001)));
        assert_eq!(client.rest(), "Line too long (limit 1000 bytes). Goodbye!\n");
    }
    // The line end may arrive in a separate packet.
    let mut client = server.connect();
    client.ask("in");
    for piece in ["x".repeat(1000).as_str(), "\r", "\n"] {
        client.send(piece);
        pause(millis(5));
    }
    assert_eq!(client.line().len(), "Echo: \n".len() + 1000);
    drop(client);
    assert_eq!(server.stop().count("line_too_long"), 2);
}

/// Fault 19: a line without end takes no more memory than the limit, and its sender gets the
/// reason.
#[test]
fn an_endless_line_takes_no_memory() {
    let server = Server::start(&["--workers", "1"]);
    // The first rounds warm up the allocator.
    (0..4).for_each(|_| endless_line(&server));
    let before = resident_kib(server.id());
    (0..8).for_each(|_| endless_line(&server));
    let after = resident_kib(server.id());
    // The allocator of the program takes memory from the system in pieces of 2 MiB.
    assert!(after < before + 4096 + 2048, "{before} KiB became {after} KiB");
}

fn endless_line(server: &Server) {
    let mut client = server.connect();
    let mut socket = client.socket();
    let sending = std::thread::spawn(move || {
        let piece = vec![b'x'; 1024 * 1024];
        // The server stops reading long before the 64 MiB are sent.
        (0..64).take_while(|_| socket.write_all(&piece).is_ok()).count()
    });
    assert_eq!(client.line(), "Line too long (limit 65536 bytes). Goodbye!\n");
    assert!(sending.join().unwrap() < 64, "the server read everything");
}

/// Fault 20: a last line that ends with the stream instead of a line end is echoed too.
#[test]
fn the_tail_without_a_line_end_is_echoed() {
    for (mode, answer) in [("line", "Echo: one\nEcho: tail\n"), ("raw", "one\ntail")] {
        let server = Server::start(&["--mode", mode]);
        let mut client = server.connect();
        client.send("one\ntail");
        client.finish_sending();
        assert_eq!(client.rest(), answer, "{mode}");
    }
}

/// Fault 28: a reset after any byte ends that connection, is counted as a reset, and leaves nothing
/// behind.
#[test]
fn a_reset_at_any_byte_ends_one_connection() {
    let script = "one\ntwo\nthree\n";
    let server = Server::start(&[]);
    let mut witness = server.connect();
    witness.ask("before");
    let before = descriptors(server.id());
    for length in 0..=script.len() {
        for hears_answers in [false, true] {
            let mut client = server.connect();
            client.send(&script[..length]);
            for _ in 0..script[..length].matches('\n').count() {
                if hears_answers {
                    assert!(client.line().starts_with("Echo: "));
                }
            }
            client.reset();
        }
        witness.ask("during");
    }
    server.await_descriptors(before);
    drop(witness);
    let end = server.stop();
    let resets = 2 * (script.len() as u64 + 1);
    assert_eq!((end.code, end.count("reset")), (Some(0), resets), "{}", end.log);
}

/// Fault 29: a client that has finished sending still gets all of its echo, however slowly it
/// reads.
#[test]
fn all_of_the_echo_comes_after_a_half_close() {
    const BYTES: usize = 64 * 1024 * 1024;
    const SEED: u64 = 29;
    let server = Server::start(&["--mode", "raw"]);
    let mut client = server.connect();
    let mut sending = client.socket();
    let sender = std::thread::spawn(move || {
        let (mut noise, mut piece) = (Noise::new(SEED), vec![0; 256 * 1024]);
        for _ in 0..BYTES / piece.len() {
            noise.fill(&mut piece);
            sending.write_all(&piece).unwrap();
        }
        sending.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let (mut noise, mut wanted, mut got) = (Noise::same(SEED), [0; 4096], [0; 4096]);
    for number in 0..BYTES / wanted.len() {
        if number % 512 == 0 {
            // The pauses are long enough that all buffers on the path fill up now and then.
            pause(millis(20));
        }
        noise.fill(&mut wanted);
        read_exact(&mut client, &mut got);
        assert!(got == wanted, "another echo in the 4 KiB after byte {}", number * wanted.len());
    }
    assert_eq!(client.rest(), "");
    sender.join().unwrap();
}

fn read_exact(client: &mut Client, mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        let length = client.read_some(buffer).expect("the echo comes");
        assert_ne!(length, 0, "the stream ended too early");
        buffer = &mut buffer[length..];
    }
}

/// Fault 31: a client that has finished sending and reads nothing costs no processor time. Neither
/// does one that stays connected after the server's goodbye.
#[test]
fn a_half_closed_connection_sleeps() {
    let server = Server::start(&["--mode", "command"]);
    let taking_nothing = server.connect();
    // The server must read nothing for a second. If it only waits for a processor, it reads again
    // earlier.
    stuff_with_lines(&taking_nothing, millis(1000));
    taking_nothing.finish_sending();
    let mut lingering = server.connect();
    lingering.send("quit\n");
    assert!(lingering.rest().ends_with("Goodbye!\r\n"));
    until("the server is idle", || {
        let used = processor_time(server.id());
        pause(millis(100));
        processor_time(server.id()) == used
    });
    let used = processor_time(server.id());
    pause(millis(1500));
    let used = processor_time(server.id()) - used;
    assert!(used < millis(100), "{used:?} of processor time for nothing");
}

/// Busy polling is bounded: a thread polls while messages arrive, and sleeps soon after the last
/// one.
#[test]
fn busy_polling_ends_when_nothing_comes() {
    let server = Server::start(&["--workers", "1", "--busy-poll", "300ms"]);
    let mut client = server.connect();
    let before = processor_time(server.id());
    // Next to other programs, polling gets at least a small part of a core, while a sleeping server
    // uses almost nothing.
    let spins = (0..30).any(|round| {
        client.ask(&round.to_string());
        pause(millis(100));
        processor_time(server.id()) - before > millis(20)
    });
    assert!(spins, "{:?} of processor time", processor_time(server.id()) - before);
    pause(millis(600));
    let before = processor_time(server.id());
    pause(millis(600));
    let idle = processor_time(server.id()) - before;
    assert!(idle < millis(50), "{idle:?} of processor time for nothing");
    client.ask("still there");
}

/// Sends lines and reads no answers, until the server has read nothing for `patience` or has closed
/// the connection. Returns the error, and the time at which the server last read.
fn stuff_with_lines(client: &Client, patience: Duration) -> (ErrorKind, Instant) {
    let lines = ("x".repeat(999) + "\n").repeat(64);
    let (mut socket, mut taken, mut last) = (client.socket(), 0, now());
    socket.set_write_timeout(Some(patience)).unwrap();
    loop {
        match socket.write(&lines.as_bytes()[taken % lines.len()..]) {
            Ok(length) => (taken, last) = (taken + length, now()),
            Err(error) => return (error.kind(), last),
        }
    }
}

/// Fault 32: a client that never reads costs no memory, and is disconnected when it has read
/// nothing for the stall time-out.
#[test]
fn a_client_that_never_reads_is_disconnected() {
    for mode in ["raw", "line"] {
        let server = Server::start(&["--mode", mode, "--stall-timeout", "1s"]);
        let before = descriptors(server.id());
        server.connect().send("warm\n");
        server.await_descriptors(before);
        let empty = resident_kib(server.id());
        let mut clients = server.clients(10);
        let start = now();
        let (mut full, mut stuffed) = (0, Vec::new());
        std::thread::scope(|scope| {
            let stuff = |client| move || (stuff_with_lines(client, NEVER), now());
            let stuffing: Vec<_> =
                clients.iter().map(|client| scope.spawn(stuff(client))).collect();
            while !stuffing.iter().all(|thread| thread.is_finished()) {
                full = full.max(resident_kib(server.id()));
                pause(millis(10));
            }
            stuffed.extend(stuffing.into_iter().map(|thread| thread.join().unwrap()));
        });
        // Ten clients have sent about 100 MiB; the memory for each is bounded by its buffers.
        eprintln!("{mode}: {empty} KiB became {full} KiB");
        assert!(full < empty + 40 * 1024, "{mode}: {empty} KiB became {full} KiB");
        server.await_descriptors(before);
        for (client, ((stuffed, last), end)) in clients.iter_mut().zip(stuffed) {
            assert!(end - start >= millis(1000), "{mode}: after {:?}", end - start);
            assert!(end - last < millis(4000), "{mode}: {:?} after the last byte", end - last);
            let mut taken = vec![0; 64 * 1024];
            let mut reads = std::iter::repeat_with(|| client.read_some(&mut taken));
            let end = reads.find(|read| !matches!(read, Ok(1..))).unwrap();
            // The system reports a reset once: either to the write or to the read.
            let reset = [stuffed, end.map_or_else(|error| error.kind(), |_| ErrorKind::Other)];
            assert!(reset.contains(&ErrorKind::ConnectionReset), "{mode}: it looks finished");
        }
        let end = server.stop();
        assert_eq!(end.count("stall_timeout"), 10, "{mode}: {}", end.log);
    }
}

/// Fault 34: a receive window of a few bytes splits every reply into pieces, which contain the same
/// bytes in the same order.
#[test]
fn a_tiny_window_changes_no_reply() {
    let server = Server::start(&["--workers", "1"]);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut client = Client::connect_small(server.address());
            let lines = move |word: &str| -> String {
                (0..4000).map(|line| format!("{word}{number}-{line}\n")).collect()
            };
            let mut socket = client.socket();
            scope.spawn(move || {
                socket.write_all(lines("").as_bytes()).unwrap();
                socket.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                assert!(client.rest() == lines("Echo: "), "client {number} got other bytes");
            });
        }
    });
}

/// Fault 35: the last message of the server always arrives, even if the client continues to send.
#[test]
fn the_last_message_is_not_lost_to_a_reset() {
    const GOODBYE: &str = "Line too long (limit 1000 bytes). Goodbye!\n";
    let server = Server::start(&["--max-line", "1000"]);
    for round in 0..200 {
        let mut client = server.connect();
        let few = round % 2 == 0;
        // 1 MiB is more than the server reads after its goodbye, so the client's own sending may
        // fail.
        let more = "and on\n".repeat(if few { 16 * 1024 } else { 150 * 1024 });
        let mut socket = client.socket();
        let sending = std::thread::spawn(move || {
            let all = "x".repeat(1001) + "\n" + &more;
            socket.write_all(all.as_bytes())
        });
        assert_eq!(client.line(), GOODBYE, "round {round}");
        let sent = sending.join().unwrap();
        if few {
            // A client that has not read the goodbye yet may send a little more without a reset.
            sent.expect("the server takes the rest");
            assert_eq!(client.rest(), "", "round {round}");
            client.send("and on\n");
            pause(millis(1));
            client.send("and on\n");
        }
    }
    assert_eq!(server.stop().count("line_too_long"), 200);
}

/// Fault 36: clients that disconnect while the server writes to them end only their own
/// connections.
#[test]
fn writing_to_a_closed_client_ends() {
    let server = Server::start(&["--mode", "raw"]);
    let mut witness = server.connect();
    let before = descriptors(server.id());
    for round in 0..60 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_write_timeout(Some(millis(20))).unwrap();
        // This writes at most as many bytes as the buffers hold, and the client reads no reply.
        let _ = stream.write(&vec![b'x'; 1 << (round % 23)]);
        drop(stream);
    }
    until("all have ended", || descriptors(server.id()) <= before + 1);
    let used = processor_time(server.id());
    pause(millis(500));
    assert!(processor_time(server.id()) - used < millis(50), "it is still writing");
    witness.send("here\n");
    assert_eq!(witness.line(), "here\n");
    drop(witness);
    let end = server.stop();
    assert_eq!((end.code, end.count("connections")), (Some(0), 61), "{}", end.log);
}

/// Fault 38: everything that was written before the close arrives before the end of the stream.
#[test]
fn pending_output_arrives_before_the_end_of_the_stream() {
    let server = Server::start(&["--mode", "command", "--greeting", "hi"]);
    let mut client = server.connect();
    let word = "x".repeat(1000);
    let asked = format!("{word}\n").repeat(4000) + "quit\n";
    let mut socket = client.socket();
    let sending = std::thread::spawn(move || socket.write_all(asked.as_bytes()).unwrap());
    pause(millis(300));
    let answer = client.rest();
    sending.join().unwrap();
    let wanted = format!("hi\r\n{}Goodbye!\r\n", format!("Echo: {word}\r\n").repeat(4000));
    assert!(answer == wanted, "{} bytes of {}", answer.len(), wanted.len());
    drop(client);
    assert_eq!(server.stop().count("finished"), 1);
}

/// Fault 39: consecutive small writes do not wait for an acknowledgement.
#[test]
fn small_writes_do_not_stall() {
    let server = Server::start(&["--workers", "1"]);
    let mut client = server.connect();
    let mut trips = Vec::new();
    for round in 0..100 {
        let start = now();
        // With some of these intervals, a line arrives while the previous answer is not yet
        // acknowledged, and no later line carries the acknowledgement.
        for word in ["one\n", "two\n", "three\n", "four\n"] {
            client.send(word);
            spin(Duration::from_micros(10 * (round % 10)));
        }
        for word in ["one", "two", "three", "four"] {
            assert_eq!(client.line(), format!("Echo: {word}\n"));
        }
        trips.push(start.elapsed());
    }
    trips.sort();
    // A delayed acknowledgement takes 40 ms.
    assert!(trips[50] < millis(30), "median {:?}", trips[50]);
}

/// Fault 39: the program sets TCP_NODELAY, so that the system sends small writes at once. Issue 11,
/// item 46: on loopback the stall of the previous test rarely occurs, so this test looks for the
/// system call itself.
#[test]
fn regression_connections_send_small_writes_at_once() {
    if !has("strace") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let file = trace.to_str().unwrap();
    let words = ["strace", "-D", "-f", "-qq", "-e", "trace=setsockopt", "-o", file];
    let server = Server::start_behind(&words, &["--workers", "1"]);
    let mut client = server.connect();
    client.ask("hello");
    drop(client);
    server.stop();
    until("the call is in the trace", || {
        let calls = std::fs::read_to_string(&trace).unwrap_or_default();
        calls.contains("TCP_NODELAY, [1]")
    });
}

/// Busy-waits, for times that are too short for a sleep.
fn spin(length: Duration) {
    let start = now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}
