//! Tests of drains: the reads and messages that a drain waits for, and how a handler learns of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echoline::{Closed, Connection, Limits, Phase, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{LONGER_THAN_QUIET, Running, echo, exchange, hear, rest};

/// Issue 11, item E: a drain answers the input that arrived while the connection was busy.
#[tokio::test]
async fn regression_a_drain_reads_once_more_before_it_ends_a_connection() {
    for workers in [0, 1] {
        let (step, mut steps) = mpsc::channel::<()>(1);
        let handler = move |mut client: Connection| {
            let step = step.clone();
            async move {
                client.phase_reached(Phase::Draining).await;
                // The handler polls for a line once, which registers it for the drain. Then it is
                // busy.
                let looked = timeout(Duration::ZERO, client.read_line()).await;
                assert!(looked.is_err(), "no line has arrived");
                sleep(LONGER_THAN_QUIET).await;
                step.send(()).await.unwrap();
                while !has_arrived(&client) {
                    sleep(Duration::from_millis(1)).await;
                }
                echo(client).await
            }
        };
        let server = Running::start(Limits::default(), workers, handler).await;
        let mut client = server.connect().await;
        server.shutdown.drain();
        steps.recv().await.unwrap();
        client.write_all(b"last\n").await.unwrap();
        assert_eq!(rest(&mut client).await, "last\n", "{workers} workers");
        drop(client);
        let report = server.drain().await;
        assert_eq!(report.count(Closed::Drained), 1, "{report:?}");
    }
}

/// Issue 11, item E: a client sends a line for each answer until the stream ends. A drain leaves no
/// line without an answer, because the end arrives together with the last answer.
#[tokio::test]
async fn regression_no_line_of_a_busy_client_is_unanswered_after_a_drain() {
    const CLIENTS: usize = 16;
    async fn echo_bytes(mut client: Connection) -> Result<(), Closed> {
        client.echo().await
    }
    for is_raw in [false, true] {
        let server = match is_raw {
            false => Running::start(Limits::default(), 2, echo).await,
            true => Running::start(Limits::default(), 2, echo_bytes).await,
        };
        let address = server.address;
        let busy = Arc::new(AtomicUsize::new(0));
        let talk = |_| {
            let busy = Arc::clone(&busy);
            tokio::task::spawn_blocking(move || talk_to_the_end(address, &busy))
        };
        let clients: Vec<_> = (0..CLIENTS).map(talk).collect();
        while busy.load(Ordering::Relaxed) < CLIENTS {
            sleep(Duration::from_millis(5)).await;
        }
        let report = server.drain().await;
        assert_eq!(report.count(Closed::Drained), CLIENTS as u64, "{report:?}");
        for client in clients {
            assert_eq!(client.await.unwrap(), None, "the line is unanswered (raw: {is_raw})");
        }
    }
}

/// Sends a line after each answer until the stream ends. Returns the line that has no answer, if
/// there is one. After a few answers it adds one to `busy`.
fn talk_to_the_end(address: std::net::SocketAddr, busy: &AtomicUsize) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let mut answered = Instant::now();
    for number in 0.. {
        stream.set_nonblocking(true).unwrap();
        let is_over = stream.peek(&mut [0]).is_ok_and(|length| length == 0);
        stream.set_nonblocking(false).unwrap();
        // The server waits 200 ms for the next line. On a busy machine, this client may take longer
        // to send it.
        let is_late = answered.elapsed() > Duration::from_millis(100);
        let line = format!("line {number}\n");
        if is_over || std::io::Write::write_all(&mut stream, line.as_bytes()).is_err() {
            return None;
        }
        let mut answer = vec![0; line.len()];
        if std::io::Read::read_exact(&mut stream, &mut answer).is_err() {
            return Some(line).filter(|_| !is_late);
        }
        assert_eq!(answer, line.as_bytes());
        answered = Instant::now();
        if number == 20 {
            busy.fetch_add(1, Ordering::Relaxed);
        }
    }
    unreachable!("the range of numbers has no end")
}

/// Returns whether the socket has received bytes that were not read yet. The runtime may not know
/// of them yet.
fn has_arrived(client: &Connection) -> bool {
    let socket = socket2::SockRef::from(client.get_ref().tcp().unwrap());
    socket.peek(&mut [std::mem::MaybeUninit::uninit()]).is_ok_and(|length| length > 0)
}

/// Issue 11, item E: a client that never stops sending does not delay a drain forever.
#[tokio::test]
async fn regression_a_client_that_never_stops_is_drained() {
    let server = Running::start(Limits::default(), 1, echo).await;
    let mut client = server.connect().await;
    exchange(&mut client, "hello").await;
    let (mut from, mut to) = client.into_split();
    let sending = tokio::spawn(async move { while to.write_all(b"more\n").await.is_ok() {} });
    let hearing =
        tokio::spawn(async move { tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
    let report = timeout(Duration::from_secs(10), server.drain()).await.expect("the drain ends");
    assert_eq!(report.count(Closed::Drained), 1, "{report:?}");
    sending.await.unwrap();
    let _ = hearing.await.unwrap();
}

/// Reads a length of four digits, then a body of that length, as one message.
async fn messages(mut client: Connection) -> Result<(), Closed> {
    loop {
        let header = client.read_exact(4).await?;
        let length = std::str::from_utf8(&header).unwrap().parse().unwrap();
        let mut message = client.begin_message();
        message.write_line("begun").await?;
        let body = message.read_exact(length).await?;
        message.write(&body).await?;
    }
}

/// Issue 11, item 21: a drain waits for the body of a message whose header was read.
#[tokio::test]
async fn regression_a_drain_waits_for_the_end_of_a_message() {
    for workers in [0, 1] {
        let server = Running::start(Limits::default(), workers, messages).await;
        let mut client = server.connect().await;
        client.write_all(b"0004").await.unwrap();
        hear(&mut client, "begun\n").await;
        server.shutdown.drain();
        sleep(LONGER_THAN_QUIET).await;
        client.write_all(b"bo").await.unwrap();
        sleep(LONGER_THAN_QUIET).await;
        client.write_all(b"dy").await.unwrap();
        assert_eq!(rest(&mut client).await, "body");
        drop(client);
        let report = server.drain().await;
        assert_eq!((report.count(Closed::Drained), report.is_clean()), (1, true), "{report:?}");
    }
}

/// Issue 11, item 21: the reading half can begin a message too. The end of an inner message does
/// not end the outer one.
#[tokio::test]
async fn regression_a_message_of_a_reader_holds_a_drain_until_the_outer_end() {
    async fn dialogue(mut client: Connection) -> Result<(), Closed> {
        let (mut reader, mut writer) = client.split();
        reader.read_line().await?;
        let mut outer = reader.begin_message();
        drop(outer.begin_message());
        writer.write_line("begun").await?;
        writer.flush().await?;
        while let Some(line) = outer.read_line().await?.filter(|line| *line != *b".") {
            writer.write_line(&line).await?;
        }
        writer.flush().await?;
        drop(outer);
        reader.read_line().await.map(drop)
    }
    let server = Running::start(Limits::default(), 1, dialogue).await;
    let mut client = server.connect().await;
    client.write_all(b"DATA\n").await.unwrap();
    hear(&mut client, "begun\n").await;
    server.shutdown.drain();
    for line in ["one\n", "two\n", ".\n"] {
        sleep(LONGER_THAN_QUIET).await;
        client.write_all(line.as_bytes()).await.unwrap();
    }
    assert_eq!(rest(&mut client).await, "one\ntwo\n");
    drop(client);
    assert_eq!(server.drain().await.count(Closed::Drained), 1);
}

/// Issue 11, item 21: a drain waits for an unfinished message until the drain time-out.
#[tokio::test]
async fn regression_a_message_without_an_end_is_aborted_at_the_drain_timeout() {
    let limits = Limits { drain_timeout: LONGER_THAN_QUIET, ..Limits::default() };
    let server = Running::start(limits, 1, messages).await;
    let mut client = server.connect().await;
    client.write_all(b"0004").await.unwrap();
    hear(&mut client, "begun\n").await;
    let report = server.drain().await;
    assert_eq!((report.count(Closed::Aborted), report.is_clean()), (1, false), "{report:?}");
}

/// Issue 11, item 21: a handler that only writes learns of the drain and says goodbye.
#[tokio::test]
async fn regression_a_handler_that_only_writes_learns_of_the_drain() {
    async fn tick(mut client: Connection) -> Result<(), Closed> {
        assert_eq!(client.phase(), Phase::Running);
        let retiring = client.phase_reached(Phase::Retiring);
        // Another task can wait for the phase too.
        let mut retired = tokio::spawn(retiring);
        loop {
            client.write_line("tick").await?;
            client.flush().await?;
            tokio::select! {
                phase = &mut retired => {
                    assert_eq!(phase.unwrap(), client.phase());
                    return client.write_line(format!("{:?}", client.phase())).await;
                }
                () = sleep(Duration::from_millis(5)) => {}
            }
        }
    }
    let server = Running::start(Limits::default(), 1, tick).await;
    let mut client = server.connect().await;
    hear(&mut client, "tick\n").await;
    server.shutdown.drain();
    let heard = rest(&mut client).await;
    drop(client);
    let report = server.drain().await;
    assert!(heard.ends_with("Draining\n"), "{heard:?}");
    assert_eq!((report.count(Closed::Finished), report.is_clean()), (1, true), "{report:?}");
}

/// Issue 11, item 26: only a retiring server logs that its connections continue.
#[tokio::test]
async fn regression_a_drain_does_not_log_that_connections_continue() {
    let (text, _here) = log();
    for _ in 0..50 {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let shutdown = server.shutdown();
        let serving = tokio::spawn(server.serve_until(echo, std::future::pending()));
        tokio::task::yield_now().await;
        shutdown.drain();
        serving.await.unwrap().unwrap();
    }
    assert!(!text().contains("open ones continue"), "{}", text());
    let server = Running::start(Limits::default(), 0, echo).await;
    server.shutdown.retire();
    server.end().await.unwrap();
    assert!(text().contains("open ones continue"), "{}", text());
}

/// Issue 15, item 4: tasks that handlers leave on the threads of a server are not drained, and the
/// log says so.
#[tokio::test]
async fn tasks_that_handlers_leave_behind_are_logged() {
    async fn leave(mut client: Connection) -> Result<(), Closed> {
        drop(tokio::spawn(std::future::pending::<()>()));
        client.write_line("left").await
    }
    let (text, _here) = log();
    for workers in [1, 2, 0] {
        let server = Running::start(Limits::default(), workers, echo).await;
        let mut client = server.connect().await;
        exchange(&mut client, "a line").await;
        drop(client);
        server.drain().await;
    }
    assert!(!text().contains("tasks that handlers spawned"), "{}", text());
    for (workers, warning) in [(0, false), (2, true)] {
        let server = Running::start(Limits::default(), workers, leave).await;
        for _ in 0..3 {
            assert_eq!(rest(&mut server.connect().await).await, "left\n");
        }
        server.drain().await;
        let wanted = "dropping tasks that handlers spawned and did not wait for tasks=3";
        assert_eq!(text().contains(wanted), warning, "{workers} workers: {}", text());
    }
}

/// Starts to keep the log of this thread. Returns its text so far, and the guard that ends it.
fn log() -> (impl Fn() -> String, tracing::subscriber::DefaultGuard) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    let lines = tracing_subscriber::fmt().with_ansi(false);
    let lines = lines.with_max_level(tracing::Level::DEBUG);
    let lines = lines.with_writer(move || Lines(Arc::clone(&writer)));
    let guard = tracing::subscriber::set_default(lines.finish());
    (move || String::from_utf8(log.lock().unwrap().clone()).unwrap(), guard)
}

/// A writer that keeps the log of a test.
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
