//! Tests of a drain without a server: over a stream with a capacity of eight bytes, on a paused
//! clock.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use echoline::{Closed, Connection, Eol, Farewell, Limits, Phase, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A time that is longer than a draining connection waits for more input.
const LONGER_THAN_DRAIN: Duration = Duration::from_secs(1);

/// Runs `handler` over a stream. Returns the task of the handler, the other end of the stream, and
/// the handle that starts a drain.
fn serve<F, T>(
    handler: impl FnOnce(Connection<DuplexStream>) -> F,
) -> (JoinHandle<T>, DuplexStream, Shutdown)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (here, there) = duplex(8);
    let shutdown = Shutdown::new();
    let (limits, farewell) = (Limits::default(), Farewell::default());
    let client = Connection::accepted(here, limits, Eol::Lf, farewell, shutdown.clone());
    (tokio::spawn(handler(client)), there, shutdown)
}

async fn ask(peer: &mut DuplexStream, line: &str) {
    peer.write_all(line.as_bytes()).await.unwrap();
    let mut answer = vec![0; line.len()];
    timeout(LONGER_THAN_DRAIN, peer.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, line.as_bytes());
}

async fn echo(mut client: Connection<DuplexStream>) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_line(line).await?;
    }
    Ok(())
}

/// Issue 15, item 4: a partial line is completed and answered, and then the connection ends.
#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_has_begun() {
    let (serving, mut peer, shutdown) = serve(echo);
    ask(&mut peer, "one\n").await;
    peer.write_all(b"two a").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    shutdown.drain();
    sleep(LONGER_THAN_DRAIN).await;
    assert!(!serving.is_finished(), "the drain waits for the rest of the line");
    peer.write_all(b"nd\n").await.unwrap();
    let mut rest = String::new();
    peer.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "two and\n");
    assert_eq!(serving.await.unwrap(), Err(Closed::Drained));
}

/// Issue 15, item 4: a drain waits for the end of a message, and an abort does not.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_message_until_it_aborts() {
    async fn message(mut client: Connection<DuplexStream>) -> Result<(), Closed> {
        let mut message = client.begin_message();
        while message.read_line().await?.is_some_and(|line| line != *b".") {}
        drop(message);
        client.write_line("250 OK").await?;
        echo(client).await
    }
    for aborts in [false, true] {
        let (serving, mut peer, shutdown) = serve(message);
        peer.write_all(b"a line\n").await.unwrap();
        shutdown.drain();
        sleep(LONGER_THAN_DRAIN).await;
        assert!(!serving.is_finished());
        if aborts {
            shutdown.abort();
            assert_eq!(serving.await.unwrap(), Err(Closed::Aborted));
        } else {
            peer.write_all(b".\n").await.unwrap();
            assert_eq!(serving.await.unwrap(), Err(Closed::Drained));
            let mut rest = String::new();
            peer.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "250 OK\n");
        }
    }
}

/// Issue 15, item 4: a handler that only writes ends when it learns of the drain.
#[tokio::test(start_paused = true)]
async fn a_ticker_ends_as_drained() {
    async fn tick(mut client: Connection<DuplexStream>) -> Result<(), Closed> {
        assert_eq!(client.phase(), Phase::Running);
        loop {
            let draining = client.phase_reached(Phase::Draining);
            if timeout(Duration::from_secs(1), draining).await.is_ok() {
                return Err(Closed::Drained);
            }
            client.write_line("tick").await?;
            client.flush().await?;
        }
    }
    let (serving, mut peer, shutdown) = serve(tick);
    let start = Instant::now();
    sleep(Duration::from_millis(1500)).await;
    shutdown.drain();
    assert_eq!(serving.await.unwrap(), Err(Closed::Drained));
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!((heard.as_str(), start.elapsed().as_millis()), ("tick\n", 1500));
}

/// A drain ends the stream made from a connection, unless a message is in progress.
#[tokio::test(start_paused = true)]
async fn a_byte_stream_is_drained_between_messages_only() {
    for in_message in [false, true] {
        let (serving, mut peer, shutdown) = serve(async move |client| {
            let mut stream = client.into_stream();
            let mut buffer = [0; 4];
            let read = if in_message {
                stream.begin_message().read_exact(&mut buffer).await
            } else {
                stream.read_exact(&mut buffer).await
            };
            read.map_err(Closed::from)
        });
        shutdown.drain();
        sleep(LONGER_THAN_DRAIN).await;
        assert_eq!(serving.is_finished(), !in_message);
        if in_message {
            peer.write_all(b"four").await.unwrap();
            assert_eq!(serving.await.unwrap(), Ok(4));
        } else {
            assert_eq!(serving.await.unwrap(), Err(Closed::Drained));
        }
    }
}

/// Owned halves notice a drain and an abort, even in tasks that no server wakes.
#[tokio::test(start_paused = true)]
async fn owned_halves_are_drained_and_aborted() {
    for aborts in [false, true] {
        let (serving, mut peer, shutdown) = serve(async |client| {
            let (mut reader, mut writer) = client.into_split();
            let reading = tokio::spawn(async move { reader.read_line().await });
            let writing = tokio::spawn(async move {
                writer.write(&[b'.'; 100]).await?;
                writer.flush().await
            });
            (reading.await.unwrap(), writing.await.unwrap())
        });
        sleep(Duration::from_millis(1)).await;
        if aborts {
            shutdown.abort();
            assert_eq!(serving.await.unwrap(), (Err(Closed::Aborted), Err(Closed::Aborted)));
        } else {
            shutdown.drain();
            sleep(LONGER_THAN_DRAIN).await;
            assert!(!serving.is_finished(), "pending output is sent");
            let mut heard = String::new();
            peer.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, ".".repeat(100));
            assert_eq!(serving.await.unwrap(), (Err(Closed::Drained), Ok(())));
        }
    }
}
