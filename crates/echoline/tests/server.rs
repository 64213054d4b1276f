//! Tests of a server over real sockets: its connection slots, drains, panics and report.

#![allow(clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use echoline::metrics::Observer;
use echoline::udp::DatagramListener;
use echoline::{
    Address, Closed, Connection, Eol, Limits, Listener, ListenerOptions, LiveLimits, Report,
    Server, Shutdown,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// The maximum wait. A test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    live: LiveLimits,
    observer: Observer,
    serving: JoinHandle<io::Result<Report>>,
}

impl Running {
    async fn start<H, F>(limits: Limits, workers: usize, handler: H) -> Self
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let mut server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits).eol(Eol::CrLf);
        if let Some(workers) = NonZeroUsize::new(workers) {
            server = server.workers(workers);
        }
        let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown());
        let (live, observer) = (server.live_limits(), server.observe());
        let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
        Self { address, shutdown, live, observer, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn drain(self) -> Report {
        self.shutdown.drain();
        self.end().await
    }

    /// Starts a drain once no connection is open. Each connection is thus counted under its own
    /// close reason, and none as drained.
    async fn drain_when_empty(self) -> Report {
        let empty = async {
            while self.observer.snapshot().open > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, empty).await.expect("everybody goes");
        self.drain().await
    }

    async fn end(self) -> Report {
        timeout(PATIENCE, self.serving).await.expect("the server ends").unwrap().unwrap()
    }
}

async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        if line == *b"PANIC!" {
            panic!("as asked for");
        }
        client.write_line(&line).await?;
    }
    Ok(())
}

async fn exchange(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut heard = vec![0; line.len() + 2];
    let read = timeout(PATIENCE, stream.read_exact(&mut heard)).await;
    read.expect("an answer in time").expect("an answer");
    String::from_utf8(heard).unwrap()
}

async fn hear(stream: &mut TcpStream) -> io::Result<String> {
    let mut heard = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut heard)).await.expect("an end in time")?;
    Ok(heard)
}

/// Every client of a burst is served, however the accepts are batched.
#[tokio::test]
async fn a_burst_of_clients_is_served() {
    for workers in [0, 2] {
        let server = Running::start(Limits::default(), workers, echo).await;
        let mut clients = JoinSet::new();
        for number in 0..500 {
            let address = server.address;
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                assert_eq!(
                    exchange(&mut stream, &number.to_string()).await,
                    format!("{number}\r\n")
                );
            });
        }
        while let Some(result) = clients.join_next().await {
            result.unwrap();
        }
        let report = server.drain_when_empty().await;
        assert_eq!((report.accepted, report.count(Closed::EndOfStream)), (500, 500));
    }
}

/// Fault 2, defect 4 of the lesson: a client beyond the limit gets a refusal, even if it has sent
/// much. It is served once a slot is free.
#[tokio::test]
async fn a_client_over_the_limit_gets_the_reason() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let server = Running::start(limits, 0, echo).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    exchange(&mut first, "a").await;
    exchange(&mut second, "b").await;
    for _ in 0..20 {
        let mut third = server.connect().await;
        third.write_all(&b"unread\n".repeat(5_000)).await.unwrap();
        assert_eq!(hear(&mut third).await.unwrap(), "Server is busy. Try again later.\r\n");
    }
    assert_eq!(exchange(&mut second, "still").await, "still\r\n");
    drop(first);
    let mut next = loop {
        let mut next = server.connect().await;
        next.write_all(b"hi\n").await.unwrap();
        let mut heard = [0; 4];
        next.read_exact(&mut heard).await.unwrap();
        if heard == *b"hi\r\n" {
            break next;
        }
    };
    exchange(&mut next, "in").await;
    drop((second, next));
    let report = server.drain_when_empty().await;
    assert!(report.count(Closed::Busy) >= 20, "{report:?}");
    assert_eq!(report.count(Closed::EndOfStream), 3);
}

/// Limits that change while a server runs apply to new connections. Existing connections keep the
/// old limits, and none is closed.
#[tokio::test]
async fn changed_limits_apply_to_new_connections() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    for workers in [0, 2] {
        let server = Running::start(limits.clone(), workers, echo).await;
        let mut early = server.connect().await;
        exchange(&mut early, "a").await;
        let new = Limits { max_line: 10, max_connections: 3, ..limits.clone() };
        server.live.set(new.clone());
        assert_eq!(server.live.current(), new);
        let mut late = server.connect().await;
        exchange(&mut late, "ten bytes!").await;
        late.write_all(b"eleven byte\n").await.unwrap();
        let said = hear(&mut late).await.unwrap();
        assert_eq!(said, "Line too long (limit 10 bytes). Goodbye!\r\n");
        exchange(&mut early, "eleven bytes are allowed on connections from before").await;
        let mut third = server.connect().await;
        exchange(&mut third, "b").await;
        server.live.set(Limits { max_connections: 1, ..limits.clone() });
        let mut refused = server.connect().await;
        assert_eq!(hear(&mut refused).await.unwrap(), "Server is busy. Try again later.\r\n");
        exchange(&mut early, "c").await;
        exchange(&mut third, "d").await;
        drop((early, third));
        assert_eq!(server.drain_when_empty().await.count(Closed::EndOfStream), 2);
    }
}

/// Fault 4: one address cannot take all slots.
#[tokio::test]
async fn one_address_cannot_take_all_slots() {
    let limits = Limits { max_per_ip: Some(1), ..Limits::default() };
    let server = Running::start(limits, 0, echo).await;
    let mut first = server.connect().await;
    exchange(&mut first, "a").await;
    let words = "Too many connections from your address. Try again later.\r\n";
    assert_eq!(hear(&mut server.connect().await).await.unwrap(), words);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    exchange(&mut other, "b").await;
    drop((first, other));
    assert_eq!(server.drain().await.count(Closed::BusyAddress), 1);
}

/// Fault 8: connections go to the worker that has the fewest.
#[tokio::test]
async fn workers_share_the_connections() {
    async fn name(mut client: Connection) -> Result<(), Closed> {
        while client.read_line().await?.is_some() {
            let thread = std::thread::current();
            client.write_line(thread.name().unwrap_or("?")).await?;
        }
        Ok(())
    }
    let server = Running::start(Limits::default(), 4, name).await;
    let mut clients = Vec::new();
    let mut names = std::collections::BTreeMap::new();
    for _ in 0..40 {
        let mut client = server.connect().await;
        let name = exchange(&mut client, "worker-?").await;
        clients.push(client);
        *names.entry(name).or_insert(0) += 1;
    }
    assert_eq!(names.into_values().collect::<Vec<u32>>(), [10; 4]);
    drop(clients);
    server.drain().await;
}

/// Fault 54: a panic of a handler ends only its own connection. The client receives a farewell, the
/// panic is counted, and the slot is released.
#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    for workers in [0, 1] {
        let limits = Limits { max_connections: 3, ..Limits::default() };
        let server = Running::start(limits, workers, echo).await;
        let mut good = server.connect().await;
        for _ in 0..50 {
            let mut bad = server.connect().await;
            bad.write_all(b"first\nPANIC!\n").await.unwrap();
            assert_eq!(hear(&mut bad).await.unwrap(), "first\r\nServer error. Goodbye!\r\n");
            drop(bad);
            assert_eq!(exchange(&mut good, "alive").await, "alive\r\n");
        }
        drop(good);
        let report = server.drain_when_empty().await;
        assert_eq!(report.count(Closed::Panicked), 50);
        assert_eq!((report.count(Closed::EndOfStream), report.still_open), (1, 0));
    }
}

/// A connection that the handler ends is counted as finished. It is not counted as ended by the
/// client.
#[tokio::test]
async fn the_side_that_ended_a_connection_is_counted() {
    async fn once(mut client: Connection) -> Result<(), Closed> {
        while let Some(line) = client.read_line().await? {
            client.write_line(&line).await?;
            if line == *b"bye" {
                break;
            }
        }
        Ok(())
    }
    let server = Running::start(Limits::default(), 0, once).await;
    let mut first = server.connect().await;
    first.write_all(b"bye\n").await.unwrap();
    assert_eq!(hear(&mut first).await.unwrap(), "bye\r\n");
    drop(first);
    exchange(&mut server.connect().await, "hello").await;
    let report = server.drain_when_empty().await;
    let counts = (report.count(Closed::Finished), report.count(Closed::EndOfStream));
    assert_eq!(counts, (1, 1));
}

/// Fault 51: a drain answers the input that has arrived, and then ends the stream in order. It
/// waits for the rest of a line, and new connections are not accepted.
#[tokio::test]
async fn draining_answers_what_was_sent() {
    let server = Running::start(Limits::default(), 1, echo).await;
    let mut idle = server.connect().await;
    exchange(&mut idle, "a").await;
    let mut begun = server.connect().await;
    exchange(&mut begun, "b").await;
    begun.write_all(b"half a ").await.unwrap();
    let mut queued = Vec::new();
    for number in 0..50 {
        let mut stream = server.connect().await;
        stream.write_all(format!("{number}\n").as_bytes()).await.unwrap();
        queued.push((number, stream));
    }
    let address = server.address;
    server.shutdown.drain();
    assert_eq!(hear(&mut idle).await.unwrap(), "");
    for (number, stream) in &mut queued {
        assert_eq!(hear(stream).await.unwrap(), format!("{number}\r\n"));
    }
    assert!(TcpStream::connect(address).await.is_err(), "nobody new");
    begun.write_all(b"line\n").await.unwrap();
    assert_eq!(hear(&mut begun).await.unwrap(), "half a line\r\n");
    drop((idle, begun, queued));
    let report = server.end().await;
    assert_eq!(report.accepted, 52);
    assert_eq!(report.count(Closed::Drained) + report.count(Closed::EndOfStream), 52, "{report:?}");
    assert!(report.is_clean());
}

/// Fault 51: a handler that waits in another task, whose waker the server does not know, is also
/// woken by a drain and by its deadlines.
#[tokio::test]
async fn a_handler_may_wait_in_another_task() {
    async fn elsewhere(client: Connection) -> Result<(), Closed> {
        tokio::spawn(echo(client)).await.expect("the inner task ends")
    }
    // On a busy machine the client may need much of this time before it sends its line.
    let idle_timeout = Some(Duration::from_secs(1));
    for (limits, reason) in [
        (Limits::default(), Closed::Drained),
        (Limits { idle_timeout, ..Limits::default() }, Closed::IdleTimeout),
    ] {
        let server = Running::start(limits, 1, elsewhere).await;
        let mut client = server.connect().await;
        exchange(&mut client, "a").await;
        if reason == Closed::Drained {
            server.shutdown.drain();
        }
        hear(&mut client).await.unwrap();
        drop(client);
        let report = timeout(Duration::from_secs(5), server.drain()).await.expect("in time");
        assert_eq!(report.count(reason), 1, "{report:?}");
    }
}

/// Fault 51: a client that never stops sending, or never reads, cannot delay a drain beyond its
/// deadline.
#[tokio::test]
async fn the_drain_has_a_deadline() {
    let limits = Limits { drain_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = Running::start(limits, 0, echo).await;
    let mut stuck = server.connect().await;
    exchange(&mut stuck, "a").await;
    stuck.write_all(b"never ended").await.unwrap();
    let report = server.drain().await;
    assert_eq!(report.count(Closed::Aborted), 1);
    assert!(!report.is_clean());
    assert!(hear(&mut stuck).await.is_err(), "broken off, not ended");
}

/// Fault 52: an abort ends the server at once, even if handlers wait for something else.
#[tokio::test]
async fn an_abort_does_not_wait() {
    async fn sleepy(mut client: Connection) -> Result<(), Closed> {
        client.write(b"zzz").await?;
        client.flush().await?;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(())
    }
    for workers in [0, 1] {
        let server = Running::start(Limits::default(), workers, sleepy).await;
        let mut client = server.connect().await;
        client.read_exact(&mut [0; 3]).await.unwrap();
        server.shutdown.drain();
        tokio::task::yield_now().await;
        server.shutdown.abort();
        let report = timeout(Duration::from_secs(5), server.end()).await.unwrap();
        assert_eq!((report.count(Closed::Aborted), report.still_open), (1, 0));
    }
}

/// A client that never stops sending does not prevent the drain.
#[tokio::test]
async fn draining_ends_a_client_that_never_stops_sending() {
    let server = Running::start(Limits::default(), 1, echo).await;
    let (mut from, mut to) = server.connect().await.into_split();
    let pouring = tokio::spawn(async move {
        let lines = b"0123456789\n".repeat(1000);
        while to.write_all(&lines).await.is_ok() {}
    });
    let draining = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            total += length;
        }
        total
    });
    while server.shutdown.phase() == echoline::Phase::Running {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.shutdown.drain();
    }
    let report = timeout(Duration::from_secs(8), server.end()).await.expect("in time");
    assert_eq!(report.count(Closed::Drained), 1, "{report:?}");
    assert!(draining.await.unwrap() > 0);
    pouring.await.unwrap();
}

/// Every listener is bound before a client is served, and the error names the port that is taken.
#[tokio::test]
async fn the_error_names_the_port_that_is_taken() {
    let first = Server::bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap();
    let error = Server::bind(address).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let error = Server::bind("localhost").await.unwrap_err();
    assert!(error.to_string().contains("HOST:PORT"), "{error}");
}

/// Issue 11, item 1: for a scheme that a call does not support, the error names the call to use
/// instead. No other protocol is served in plain text.
#[tokio::test]
async fn regression_an_unsupported_scheme_is_an_error() {
    for (address, instead) in [
        ("tls://127.0.0.1:0", "Certificates::step"),
        ("wss://127.0.0.1:0/chat", "Certificates::step"),
        ("ws://127.0.0.1:0", "AcceptWebSocket"),
        ("udp://127.0.0.1:0", "DatagramListener::bind"),
        ("fd://web", "Listener::inherit"),
    ] {
        let error = Server::bind(address).await.expect_err(address);
        assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
        let sentence = error.to_string();
        assert!(sentence.starts_with(&format!("cannot listen on {address}: ")), "{sentence}");
        assert!(sentence.contains(instead) && !sentence.contains("  "), "{sentence}");
    }
    for (text, missing) in [("tls://127.0.0.1:0", "no TLS"), ("ws://127.0.0.1:0", "no WebSocket")] {
        let listeners = Listener::bind(&address(text), &ListenerOptions::default()).await.unwrap();
        let server = Server::new(listeners);
        let handler = |_: Connection| async { Ok::<(), Closed>(()) };
        let error = server.serve_until(handler, std::future::ready(())).await.unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
    let error = DatagramListener::bind(&address("tls://127.0.0.1:0")).await.unwrap_err();
    assert!(error.to_string().contains("Listener::bind"), "{error}");
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// The liveness probe fails if one thread hangs, whatever the other threads do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_liveness_probe_fails_for_a_hanging_thread() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.workers(NonZeroUsize::new(2).unwrap());
    let (address, shutdown, liveness_probe) =
        (server.local_addr().unwrap(), server.shutdown(), server.liveness_probe());
    timeout(PATIENCE, liveness_probe.check()).await.expect("no thread hangs yet");
    let handler = move |_: Connection| {
        let held = std::sync::Arc::clone(&held);
        async move {
            // An error means that the test has released the thread.
            let _ = held.lock().unwrap().recv();
            Ok::<(), Closed>(())
        }
    };
    let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
    timeout(PATIENCE, liveness_probe.check()).await.expect("all threads are alive");
    let mut client = TcpStream::connect(address).await.unwrap();
    while timeout(Duration::from_millis(200), liveness_probe.check()).await.is_ok() {}
    release.send(()).unwrap();
    timeout(PATIENCE, liveness_probe.check()).await.expect("the thread is alive again");
    client.shutdown().await.unwrap();
    shutdown.drain();
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap().unwrap();
}
