//! Tests of resource faults: descriptors, limits, backlog, memory, and leaks.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::process::{self, descriptors, processor_time, resident_kib};
use support::{Client, Server, has, millis, now, pause, until};

const BUSY: &str = "Server is busy. Try again later.\n";
const BUSY_ADDRESS: &str = "Too many connections from your address. Try again later.\n";

/// Returns a loopback address for one test: 127.0.0.`last`.
const fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Fault 1: without free descriptors, a new client gets a notice and existing clients are
/// unaffected. When one of them disconnects, a new client is served again.
#[test]
fn without_descriptors_new_clients_get_a_notice() {
    if !has("prlimit") {
        return;
    }
    let server = Server::start(&[]);
    let mut clients = server.clients(40);
    clients.iter_mut().for_each(|client| client.ask("in"));
    let (before, limited) = (descriptors(server.id()), now());
    process::limit_descriptors(server.id(), process::descriptor_ceiling(server.id()));
    let mut refused = server.clients(60);
    for client in &mut refused {
        assert_eq!(client.rest(), BUSY);
    }
    clients.iter_mut().for_each(|client| client.ask("still in"));
    clients.truncate(30);
    server.await_descriptors(before - 10);
    let left = now();
    let mut newcomers = server.clients(10);
    newcomers.iter_mut().for_each(|client| client.ask("let in"));
    // The server needs at most a second. The rest of the limit is for a busy machine.
    assert!(left.elapsed() < millis(5000), "served only after {:?}", left.elapsed());
    assert_eq!(server.connect().rest(), BUSY);
    drop((clients, newcomers, refused));
    let end = server.stop();
    assert_eq!(
        (end.count("connections"), end.count("busy")),
        (40 + 60 + 10 + 1, 61),
        "{}",
        end.log
    );
    let warnings = end.log.lines().filter(|line| line.contains("raise the limit of open files"));
    let most = 1 + limited.elapsed().as_secs() as usize;
    assert!((1..=most).contains(&warnings.count()), "one line a second: {}", end.log);
}

/// Faults 1, 51: clients in the accept queue get a notice instead of a reset when the server ends,
/// even without free descriptors.
#[test]
fn without_descriptors_the_queue_gets_a_notice_at_the_end() {
    if !has("prlimit") {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.ask("in");
    process::limit_descriptors(server.id(), process::descriptor_ceiling(server.id()));
    server.signal("STOP");
    let mut queued = server.clients(20);
    server.signal("TERM");
    server.signal("CONT");
    let answers: Vec<String> = queued.iter_mut().map(Client::rest).collect();
    // When the server stops, it closes the copy of the listening socket that it kept for a
    // successor. One client can use the free descriptor. It is served and gets no notice.
    let told = answers.iter().filter(|answer| *answer == BUSY).count();
    assert!(told >= 19 && answers.iter().all(|answer| answer == BUSY || answer.is_empty()));
    drop((client, queued));
    let end = server.wait();
    assert_eq!((end.code, end.count("busy")), (Some(0), told as u64), "{}", end.log);
}

/// Fault 1: while the server cannot accept the queue, it waits instead of trying again and again,
/// and serves the queue once it can.
#[test]
fn without_descriptors_the_server_sleeps() {
    if !has("prlimit") {
        return;
    }
    let server = Server::start(&[]);
    let mut inside = server.connect();
    inside.ask("in");
    // With this limit, even the descriptor that is kept for refusals is unavailable.
    process::limit_descriptors(server.id(), 3);
    let mut queued = server.clients(50);
    let (start, used) = (now(), processor_time(server.id()));
    while start.elapsed() < millis(2000) {
        inside.ask("still in");
        pause(millis(50));
    }
    let used = processor_time(server.id()) - used;
    assert!(used < millis(100), "{used:?} of processor time while there was nothing to do");
    process::limit_descriptors(server.id(), 1000);
    let raised = now();
    queued.iter_mut().for_each(|client| client.ask("let in"));
    // The server tries again once a second. The rest of the limit is for a busy machine.
    assert!(raised.elapsed() < millis(5000), "served after {:?}", raised.elapsed());
    let most = 4 + start.elapsed().as_secs() as usize;
    assert!(server.log().lines().count() <= most, "one line a second: {}", server.log());
}

/// Fault 1: no error of `accept` ends the listener.
#[test]
fn a_listener_outlives_every_error_of_accept() {
    if !has("strace") {
        return;
    }
    for (error, times) in [("EMFILE", 8), ("ENFILE", 8), ("ENOMEM", 8), ("ECONNABORTED", 20)] {
        let inject = format!("inject=accept4:error={error}:when=1..{times}");
        let words = ["strace", "-f", "-D", "-qq", "-o", "/dev/null", "-e", "trace=accept4"];
        let server = Server::start_behind(&[&words[..], &["-e", &inject]].concat(), &[]);
        let start = now();
        let mut clients = server.clients(20);
        clients.iter_mut().for_each(|client| client.ask("hello"));
        let took = start.elapsed();
        // An error of one client does not delay the next client; an error of this machine causes a
        // short pause.
        let most = if error == "ECONNABORTED" { millis(1000) } else { millis(4000) };
        assert!(took < most, "{error}: {took:?}");
        drop(clients);
        let end = server.stop();
        assert_eq!(end.code, Some(0), "{error}: {}", end.log);
    }
}

/// Issue 11, item C: a worker whose runtime panics ends the program with exit code 1 and a sentence
/// that names the worker. A failing `epoll_wait` makes tokio panic.
#[test]
fn regression_a_worker_that_panics_ends_the_program_with_a_sentence() {
    if !has("strace") {
        return;
    }
    let server = Server::start(&["--workers", "1"]);
    let tasks = format!("/proc/{}/task", server.id());
    let read = |task: &str, file: &str| {
        std::fs::read_to_string(format!("{tasks}/{task}/{file}")).unwrap_or_default()
    };
    let find_worker = || {
        let names = std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().file_name());
        let mut names = names.map(|name| name.into_string().unwrap());
        names.find(|task| read(task, "comm").trim() == "worker-0")
    };
    // A thread sets its own name, perhaps after the server is ready.
    let mut worker = None;
    until("a thread has the name of the worker", || {
        worker = find_worker();
        worker.is_some()
    });
    let worker = worker.unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o", "/dev/null", "-p", &worker, "-e", "trace=epoll_wait,epoll_pwait"]);
    strace.args(["-e", "inject=epoll_wait,epoll_pwait:error=EBADF"]);
    let mut strace = strace.stderr(Stdio::null()).spawn().unwrap();
    until("strace is attached", || !read(&worker, "status").contains("TracerPid:\t0\n"));
    // If attaching strace has not woken the worker, this connection does. The server may have ended
    // before, so an error is ignored.
    let client = TcpStream::connect(server.address());
    let end = server.wait();
    drop(client);
    strace.wait().unwrap();
    assert_eq!(end.code, Some(1), "{}", end.log);
    let last = end.log.lines().last().unwrap();
    assert!(last.starts_with("echoline: ") && last.contains("worker-0 panicked"), "{}", end.log);
    assert!(last.contains("start the server again"), "{last}");
}

/// Fault 2: the limit of connections is exact, and a client over the limit gets the reason.
#[test]
fn one_connection_too_many_gets_the_reason() {
    let server = Server::start(&["--max-connections", "20"]);
    let empty = descriptors(server.id());
    let mut clients = server.clients(70);
    for client in &mut clients[20..] {
        assert_eq!(client.rest(), BUSY);
    }
    clients[..20].iter_mut().for_each(|client| client.ask("in"));
    clients.truncate(15);
    server.await_descriptors(empty + 15);
    server.clients(5).iter_mut().for_each(|client| client.ask("let in"));
    drop(clients);
    let end = server.stop();
    assert_eq!((end.count("connections"), end.count("busy")), (75, 50), "{}", end.log);
}

/// Fault 3: a descriptor limit that is too low for the requested connections lowers their number.
/// The log shows both numbers, and the lower limit is kept.
#[test]
fn the_descriptor_limit_lowers_the_limit_of_connections() {
    if !has("prlimit") {
        return;
    }
    let flags = ["--max-connections", "10000", "--workers", "2"];
    let server = Server::start_behind(&["prlimit", "--nofile=256:256"], &flags);
    server.await_log("max_connections=183 descriptors=256");
    let mut clients = server.clients(200);
    for client in &mut clients[183..] {
        assert_eq!(client.rest(), BUSY);
    }
    clients[..183].iter_mut().for_each(|client| client.ask("in"));
    drop(clients);
    assert_eq!(server.stop().count("busy"), 17);
}

/// Fault 4: one address cannot use up the connections of the others.
#[test]
fn one_address_cannot_use_up_all_connections() {
    let server = Server::start(&["--max-per-ip", "3"]);
    let empty = descriptors(server.id());
    let mut inside = Vec::new();
    for source in 2..8 {
        let from = || Client::connect_from(loopback(source), server.address());
        inside.extend((0..3).map(|_| from()));
        assert_eq!(from().rest(), BUSY_ADDRESS, "127.0.0.{source}");
    }
    inside.iter_mut().for_each(|client| client.ask("in"));
    inside.remove(0);
    // The descriptors of the refused clients also close a moment later.
    server.await_descriptors(empty + inside.len());
    Client::connect_from(loopback(2), server.address()).ask("let in");
    drop(inside);
    assert_eq!(server.stop().count("busy_address"), 6);
}

/// Fault 4: without the flag, one address may have a quarter of the connections, and a loopback
/// address all of them.
#[test]
fn the_limit_per_address_is_off_on_loopback() {
    let server = Server::start(&["--max-connections", "8"]);
    server.clients(8).iter_mut().for_each(|client| client.ask("in"));
    let server = Server::start(&["--max-connections", "8", "--listen", "0.0.0.0:0"]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.address().port()));
    let mut inside = [Client::connect(address), Client::connect(address)];
    assert_eq!(Client::connect(address).rest(), BUSY_ADDRESS);
    inside.iter_mut().for_each(|client| client.ask("in"));
    Client::connect_from(loopback(2), address).ask("in");
}

/// Fault 7: a server can bind its port again, although it has just closed thousands of connections.
#[test]
fn the_port_can_be_bound_again_at_once() {
    let server = Server::start(&["--mode", "command", "--greeting", "hi"]);
    let address = server.address();
    for number in 0..3000 {
        let mut client = Client::connect_from(loopback(1 + number as u8 % 4), address);
        client.send("quit\n");
        assert_eq!(client.rest(), "hi\r\nGoodbye!\r\n");
    }
    assert_eq!(server.stop().count("finished"), 3000);
    let waiting = process::in_time_wait(address.port());
    assert!(waiting > 2000, "only {waiting} connections are in TIME_WAIT, so nothing is tested");
    let again = Server::start(&["--listen", &address.to_string()]);
    again.connect().ask("back");
}

/// Fault 8: connections are distributed evenly over all workers.
#[test]
fn every_worker_has_its_share() {
    let server = Server::start(&["--workers", "2"]);
    let mut clients = server.clients(40);
    clients.iter_mut().for_each(|client| client.ask("hello"));
    let before = process::work_of_threads(server.id(), "worker-");
    for _ in 0..50 {
        clients.iter_mut().for_each(|client| client.ask("hello"));
    }
    let after = process::work_of_threads(server.id(), "worker-");
    let shares: Vec<Duration> =
        after.iter().zip(&before).map(|((_, after), (_, before))| *after - *before).collect();
    assert_eq!(shares.len(), 2, "{after:?}");
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(*most < 3 * *least, "the processor time of each worker: {shares:?}");
}

/// Faults 13, 60: after thousands of connections, all of their resources are freed.
#[test]
fn thousands_of_connections_leave_nothing_behind() {
    let server = Server::start(&[]);
    let before = descriptors(server.id());
    let churn = |count: usize| {
        for number in 0..count {
            Client::connect_from(loopback(1 + (number % 4) as u8), server.address()).ask("hello");
        }
        server.await_descriptors(before);
        resident_kib(server.id())
    };
    let warm = churn(1000);
    let after = churn(5000);
    assert!(after < warm + 1024, "{warm} KiB became {after} KiB");
    let end = server.stop();
    assert_eq!((end.code, end.count("still_open")), (Some(0), 0), "{}", end.log);
    assert_eq!(end.count("end_of_stream"), 6000);
}

/// Fault 13: an idle connection needs little memory, and frees it when it ends.
#[test]
fn idle_connections_are_small() {
    const CLIENTS: usize = 4000;
    let server = Server::start(&[]);
    let before = descriptors(server.id());
    let fill = |count: usize| {
        let mut clients = server.clients(count);
        clients.iter_mut().for_each(|client| client.ask(&"x".repeat(1000)));
        clients
    };
    drop(fill(100));
    server.await_descriptors(before);
    let empty = resident_kib(server.id());
    let clients = fill(CLIENTS);
    let full = resident_kib(server.id());
    // The allocator may free more memory from the start than the connections need.
    let each = full.saturating_sub(empty) * 1024 / CLIENTS;
    assert!(each < 6 * 1024, "an idle connection costs {each} bytes");
    drop(clients);
    server.await_descriptors(before);
    let clients = fill(CLIENTS);
    let again = resident_kib(server.id());
    let grown = again.saturating_sub(full) * 1024 / CLIENTS;
    assert!(grown < 1024, "{full} KiB became {again} KiB in the second round");
    drop(clients);
}

/// Fault 15: a client that sends without pause does not stop its worker from serving other clients.
#[test]
fn a_fast_sender_does_not_starve_the_others() {
    let server = Server::start(&["--workers", "1"]);
    let mut hose = server.connect();
    let mut source = hose.socket();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let lines = "drop\n".repeat(10_000);
            // The test shuts the socket down at the end of the test, which ends this loop.
            while std::io::Write::write_all(&mut source, lines.as_bytes()).is_ok() {}
        });
        let tap = hose.socket();
        scope.spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while hose.read_some(&mut buffer).is_ok_and(|length| length > 0) {}
        });
        let mut others = server.clients(20);
        until("the server is busy with the fast sender", || {
            processor_time(server.id()) > millis(100)
        });
        let mut trips = Vec::new();
        let start = now();
        while start.elapsed() < millis(1500) {
            for client in &mut others {
                let asked = now();
                client.ask("between the drops");
                trips.push(asked.elapsed());
            }
        }
        trips.sort();
        tap.shutdown(std::net::Shutdown::Both).unwrap();
        // A busy machine makes some round trips long, a starved worker all of them.
        let (quick, worst) = (trips[trips.len() / 10], trips[trips.len() - 1]);
        assert!(quick < millis(40), "one in ten within {quick:?}, the worst {worst:?}");
        assert!(worst < millis(3000), "one in ten within {quick:?}, the worst {worst:?}");
    });
}

/// Commands that end by themselves: servers whose ready file cannot be written, and clients of a
/// port without a listener. All of them fail with one sentence.
const STARTS: [&[&str]; 6] = [
    &["echo", "--listen", "127.0.0.1:0", "--workers", "2", "--ready-file", "/no/such/folder/r"],
    &["echo", "--listen", "localhost:0", "--workers", "2", "--ready-file", "/no/such/folder/r"],
    &[
        "echo",
        "--listen=127.0.0.1:0,udp://127.0.0.1:0",
        "--admin=127.0.0.1:0",
        "--workers=2",
        "--ready-file=/no/such/folder/r",
    ],
    &["chat", "--listen", "127.0.0.1:0", "--workers", "2", "--ready-file", "/no/such/folder/r"],
    &["send", "localhost:1", "hello"],
    &["load", "localhost:1", "--clients", "2", "--duration", "100ms"],
];

/// Runs `program` under the limit that the command in `words` sets. Expects the exit code of a
/// failure and one sentence on stderr, and returns the sentence. Exit code 3 is that of `send`
/// without a server.
fn fails_with_a_sentence(words: &[&str], program: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(program).args(flags).env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    let is_failure = code == Some(1) || (code == Some(3) && flags[0] == "send");
    assert!(is_failure, "{code:?} {words:?} {flags:?}: {said}");
    let sentences = said.lines().filter(|line| line.starts_with("echoline: ")).count();
    let is_run = flags[0] == "load" && said.is_empty();
    assert!(sentences == 1 || is_run, "{words:?} {flags:?}: {said}");
    for bad in ["panicked", "memory allocation", "RUST_BACKTRACE"] {
        assert!(!said.contains(bad), "{words:?} {flags:?}: {said}");
    }
    said
}

/// Issue 11, item D: a start that runs out of descriptors at any point fails with one sentence.
#[test]
fn regression_a_start_without_descriptors_is_a_sentence() {
    if !has("prlimit") {
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_echoline"));
    // With fewer descriptors, the dynamic linker cannot open its libraries.
    for limit in 5..=32 {
        let limit = format!("--nofile={limit}");
        for flags in STARTS {
            fails_with_a_sentence(&["prlimit", &limit], program, flags);
        }
    }
    for limit in [6, 7] {
        let limit = format!("--nofile={limit}");
        let said = fails_with_a_sentence(&["prlimit", &limit], program, STARTS[0]);
        assert!(said.contains("ulimit -n"), "{said}");
    }
}

/// Issue 11, item D: a start that runs out of threads at any point fails with one sentence. The
/// limit counts the threads of a user, so the test needs a user without threads, and root rights to
/// become that user.
#[test]
fn regression_a_start_without_threads_is_a_sentence() {
    if !has("prlimit") || !has("setpriv") || !nix::unistd::geteuid().is_root() {
        return;
    }
    // Any user may run the program in this folder.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("echoline");
    let built = env!("CARGO_BIN_EXE_echoline");
    std::fs::hard_link(built, &program)
        .or_else(|_| std::fs::copy(built, &program).map(drop))
        .unwrap();
    let user = (61_000 + std::process::id() % 4_000).to_string();
    let user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    for limit in 1..=5 {
        let limit = format!("--nproc={limit}");
        let words = [&["setpriv"][..], &user, &["prlimit", &limit]].concat();
        for flags in STARTS {
            let said = fails_with_a_sentence(&words, &program, flags);
            let expected = limit == "--nproc=1" && !said.contains("Connection refused");
            assert!(!expected || said.contains("ulimit -u"), "{limit} {flags:?}: {said}");
        }
    }
}

/// Issue 11, item D: a start with too little memory for its threads fails with one sentence.
#[test]
fn regression_a_start_without_memory_is_a_sentence() {
    if !has("prlimit") {
        return;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_echoline"));
    // With less memory, the program does not even reach `main`.
    for megabytes in [100, 200, 300, 400] {
        let limit = format!("--as={}", megabytes * 1_000_000);
        let said = fails_with_a_sentence(&["prlimit", &limit], program, STARTS[0]);
        assert!(said.contains("ulimit -v"), "{said}");
    }
    let said = fails_with_a_sentence(&["prlimit", "--data=45000000"], program, STARTS[0]);
    assert!(said.contains("ulimit -d"), "{said}");
}

/// Issue 11, item D: a sufficient memory limit does not stop the start.
#[test]
fn regression_a_start_with_enough_memory_is_not_refused() {
    if !has("prlimit") {
        return;
    }
    for (limit, workers) in
        [("--as=1073741824", "8"), ("--as=450000000", "2"), ("--data=100000000", "2")]
    {
        let server = Server::start_behind(&["prlimit", limit], &["--workers", workers]);
        server.clients(20).iter_mut().for_each(|client| client.ask("in"));
        assert_eq!(server.stop().code, Some(0), "{limit}");
    }
}
