//! Tests of parts of a server that panic, and of a server whose future is dropped.

use std::error::Error;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use anyhow::Context as _;
use echoline::{Closed, Connection, Farewell, Limits, Phase, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{PATIENCE, Running, echo, exchange, hear, rest};

/// A waker that panics in the runtime of a worker, where no task catches it.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        let thread = std::thread::current();
        assert!(!thread.name().is_some_and(|name| name.starts_with("worker-")), "as asked");
    }
}

/// Echoes lines. After the line `bomb` it waits for the next line with a [`Bomb`].
async fn fragile(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_line(&line).await?;
        if line == *b"bomb" {
            client.flush().await?;
            let waker = Waker::from(Arc::new(Bomb));
            let mut reading = pin!(client.read_line());
            poll_fn(|_| reading.as_mut().poll(&mut Context::from_waker(&waker))).await?;
        }
    }
    Ok(())
}

/// Issue 11, item C: a worker that panics ends the server with an error that names the worker. Its
/// clients receive a farewell, and clients of the other workers get their answers first.
#[tokio::test]
async fn regression_a_worker_that_panics_ends_the_server_with_an_error() {
    for workers in [1, 2] {
        let server = Running::start(Limits::default(), workers, fragile).await;
        let observer = server.observer.clone();
        let mut first = server.connect().await;
        exchange(&mut first, "bomb").await;
        let mut second = server.connect().await;
        exchange(&mut second, "hello").await;
        assert_eq!(observer.snapshot().failure, None);
        first.write_all(b"wake\n").await.unwrap();
        assert_eq!(rest(&mut first).await, "Server error. Goodbye!\n");
        let said = if workers == 1 { "Server error. Goodbye!\n" } else { "" };
        assert_eq!(rest(&mut second).await, said, "{workers} workers");
        drop((first, second));
        let error = server.end().await.unwrap_err().to_string();
        assert!(error.contains("worker-0 panicked") && error.contains("as asked"), "{error}");
        let snapshot = observer.snapshot();
        assert_eq!(snapshot.failure, Some(error));
        assert!(snapshot.phase >= Some(Phase::Draining), "{snapshot:?}");
    }
}

/// Issue 11, item C: if the only worker of a server has panicked, queued clients are refused with a
/// message. No client is left waiting.
#[tokio::test]
async fn regression_no_client_waits_for_a_worker_that_panicked() {
    let server = Running::start(Limits::default(), 1, fragile).await;
    let address = server.address;
    let mut first = server.connect().await;
    exchange(&mut first, "bomb").await;
    first.write_all(b"wake\n").await.unwrap();
    // Until the listener is closed, each new client is accepted and its connection ends.
    while let Ok(mut late) = tokio::net::TcpStream::connect(address).await {
        rest(&mut late).await;
    }
    server.end().await.unwrap_err();
}

/// Issue 11, item C: a handler that panics before its first await ends its own connection, not the
/// task that accepts.
#[tokio::test]
async fn regression_a_handler_that_panics_at_once_does_not_end_the_accepting() {
    for workers in [0, 1] {
        let calls = Arc::new(AtomicUsize::new(0));
        let server = Running::start(Limits::default(), workers, move |client: Connection| {
            assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 0, "as asked");
            echo(client)
        })
        .await;
        assert_eq!(rest(&mut server.connect().await).await, "Server error. Goodbye!\n");
        let mut next = server.connect().await;
        exchange(&mut next, "still served").await;
        drop(next);
        let report = server.drain().await;
        assert_eq!((report.count(Closed::Panicked), report.still_open), (1, 0), "{report:?}");
    }
}

/// Issue 11, item C: a panic of an accepting task ends the server. Otherwise it would seem to run
/// without accepting clients.
#[tokio::test]
async fn regression_an_accepting_task_that_panics_ends_the_server_with_an_error() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let words = |closed| match closed {
        Closed::Busy => panic!("as asked"),
        _ => None,
    };
    let server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
    let running = Running::serve(server.farewell(Farewell::Custom(Arc::new(words))), echo);
    let error = running.end().await.unwrap_err().to_string();
    assert!(error.contains("accepts connections panicked (\"as asked\")"), "{error}");
}

/// Issue 11, item 20: dropping the future of `serve_until` ends every connection, whatever its
/// handler waits for.
#[tokio::test]
async fn regression_dropping_the_server_ends_every_connection() {
    for workers in [0, 2] {
        let (ended, mut ends) = mpsc::unbounded_channel::<()>();
        let handler = move |mut client: Connection| {
            let ended = ended.clone();
            async move {
                // This value is dropped together with the handler, and so tells the test that the
                // handler has ended.
                let _ended = ended;
                while let Some(line) = client.read_line().await? {
                    client.write_line(&line).await?;
                    if line == *b"wait" {
                        client.flush().await?;
                        std::future::pending::<()>().await;
                    }
                }
                Ok(())
            }
        };
        let server = Running::start(Limits::default(), workers, handler).await;
        let [mut idle, mut partial, mut waiting] =
            [server.connect().await, server.connect().await, server.connect().await];
        exchange(&mut idle, "hello").await;
        exchange(&mut partial, "hello").await;
        partial.write_all(b"half a li").await.unwrap();
        exchange(&mut waiting, "wait").await;
        server.serving.abort();
        assert!(server.serving.await.unwrap_err().is_cancelled());
        for client in [&mut idle, &mut partial, &mut waiting] {
            assert_eq!(rest(client).await, "");
        }
        let all_dropped = timeout(PATIENCE, ends.recv()).await;
        assert_eq!(all_dropped.expect("the handlers end"), None);
        let gone = async {
            while server.observer.snapshot().open > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("every connection slot is free again");
    }
}

/// An error enum of a program.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("not a number")]
    NotANumber(#[from] std::num::ParseIntError),
}

async fn own_enum(mut client: Connection) -> Result<(), Failure> {
    while let Some(line) = client.read_line().await? {
        client.write_line(line.to_string().parse::<u32>()? + 1).await?;
    }
    Ok(())
}

async fn with_anyhow(mut client: Connection) -> anyhow::Result<()> {
    while let Some(line) = client.read_line().await? {
        let number: u32 = line.as_str()?.parse().context("cannot add")?;
        client.write_line(number + 1).await?;
    }
    Ok(())
}

async fn boxed(client: Connection) -> Result<(), Box<dyn Error + Send + Sync>> {
    Ok(own_enum(client).await?)
}

async fn io_error(client: Connection) -> std::io::Result<()> {
    own_enum(client).await.map_err(|error| match error {
        Failure::Closed(closed) => closed.into(),
        other => std::io::Error::other(other),
    })
}

/// Lets three connections end: by an error of the application, by a limit, and by the end of the
/// stream.
async fn ends_of<H, F, E>(workers: usize, handler: H)
where
    H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let limits = Limits { max_line: 10, ..Limits::default() };
    let mut server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
    if let Some(workers) = NonZeroUsize::new(workers) {
        server = server.workers(workers);
    }
    let (ended, mut ends) = mpsc::unbounded_channel();
    let server = server.on_closed(move |summary| ended.send(summary.closed).unwrap());
    let running = Running::serve(server, handler);
    for (line, answer, closed) in [
        ("one\n", "", Closed::Application),
        ("12345678901\n", "Line too long (limit 10 bytes). Goodbye!\n", Closed::LineTooLong),
        ("", "", Closed::EndOfStream),
    ] {
        let mut client = running.connect().await;
        exchange_numbers(&mut client).await;
        client.write_all(line.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, answer, "{closed}");
        assert_eq!(timeout(PATIENCE, ends.recv()).await.unwrap(), Some(closed));
        assert_eq!(running.observer.snapshot().ended(closed.label()), 1);
    }
    let report = running.drain().await;
    assert_eq!((report.count(Closed::Application), report.accepted), (1, 3), "{report:?}");
}

async fn exchange_numbers(client: &mut tokio::net::TcpStream) {
    client.write_all(b"41\n").await.unwrap();
    hear(client, "42\n").await;
}

/// Issue 15, item 3: a handler may return its own type of error. The connection is counted under
/// the close reason in that error, or else as an error of the application.
#[tokio::test]
async fn a_handler_may_return_an_error_of_its_own() {
    for workers in [0, 1] {
        ends_of(workers, own_enum).await;
        ends_of(workers, with_anyhow).await;
        ends_of(workers, boxed).await;
        ends_of(workers, io_error).await;
    }
}

async fn flood(client: Connection) -> anyhow::Result<()> {
    let (_reader, mut writer) = client.into_split();
    loop {
        writer.write(&[b'x'; 65_536]).await?;
        writer.flush().await?;
    }
}

async fn flood_stream(client: Connection) -> anyhow::Result<()> {
    let mut stream = client.into_stream();
    loop {
        stream.write_all(&[b'x'; 65_536]).await.map_err(Closed::from)?;
    }
}

/// The close reason is also found in a boxed error, after a write has failed.
#[tokio::test]
async fn a_hidden_failure_of_a_writing_half_is_the_close_reason() {
    async fn end_of<F>(handler: impl Fn(Connection) -> F + Clone + Send + Sync + 'static) -> Closed
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let limits = Limits { stall_timeout: Some(Duration::from_millis(50)), ..Limits::default() };
        let server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
        let (ended, mut ends) = mpsc::unbounded_channel();
        let server = server.on_closed(move |summary| ended.send(summary.closed).unwrap());
        let running = Running::serve(server, handler);
        let _client = running.connect().await;
        let closed = timeout(PATIENCE, ends.recv()).await.unwrap().unwrap();
        running.drain().await;
        closed
    }
    assert_eq!(end_of(flood).await, Closed::StallTimeout);
    assert_eq!(end_of(flood_stream).await, Closed::StallTimeout);
}
