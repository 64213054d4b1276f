//! Tests of the numbers that an observer reports about a server.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::num::NonZeroUsize;
use std::time::Duration;

use echoline::metrics::{Observer, Snapshot};
use echoline::{Closed, Connection, Limits, Phase, Server, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        if *line == *b"quit" {
            return Ok(());
        }
        client.write_line_parts(&[&line]).await?;
    }
    Ok(())
}

/// A server with an observer, its address and the handle that ends it.
struct Watched {
    address: String,
    observer: Observer,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

async fn start(limits: Limits) -> Watched {
    let mut server = Server::bind("127.0.0.1:0").await.unwrap().limits(limits);
    server = server.workers(NonZeroUsize::new(2).unwrap());
    let observer = server.observe();
    assert_eq!(observer.snapshot().phase, None, "the server does not serve yet");
    let (address, shutdown) = (server.local_addr().unwrap().to_string(), server.shutdown());
    let serving = tokio::spawn(async move {
        server.serve_until(echo, std::future::pending()).await.unwrap();
    });
    Watched { address, observer, shutdown, serving }
}

impl Watched {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Waits until `holds` returns true for a snapshot of the observer.
    async fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
        for _ in 0..2000 {
            let snapshot = self.observer.snapshot();
            if holds(&snapshot) {
                return snapshot;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not within 10 s: {what}; {:?}", self.observer.snapshot());
    }

    async fn end(self) -> Snapshot {
        self.shutdown.drain();
        self.serving.await.unwrap();
        self.observer.snapshot()
    }
}

async fn say(client: &mut TcpStream, words: &str, answer: &str) {
    client.write_all(words.as_bytes()).await.unwrap();
    let mut got = vec![0; answer.len()];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(got, answer.as_bytes());
}

#[tokio::test]
async fn every_byte_line_and_connection_is_counted_once() {
    let server = start(Limits { max_connections: 3, ..Limits::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        say(&mut client, "one\ntwo\n", "one\ntwo\n").await;
        clients.push(client);
    }
    let mut refused = server.connect().await;
    let mut words = String::new();
    refused.read_to_string(&mut words).await.unwrap();
    assert_eq!(words, "Server is busy. Try again later.\n");
    drop(refused);

    let snapshot = server.until("24 bytes out", |now| now.traffic().sent == 24).await;
    let traffic = snapshot.traffic();
    assert_eq!((traffic.received, traffic.messages), (24, 6));
    assert_eq!((snapshot.accepted, snapshot.open), (4, 3));
    assert_eq!(snapshot.limits.max_connections, 3);
    assert_eq!(snapshot.ended("busy"), 1);
    let mut shares: Vec<usize> = snapshot.workers.iter().map(|one| one.connections).collect();
    shares.sort_unstable();
    assert_eq!(shares, [1, 2], "the worker with the fewest connections gets the next one");
    assert!(snapshot.workers.iter().all(|worker| worker.busy > Duration::ZERO), "{snapshot:?}");

    let mut last = clients.pop().unwrap();
    last.write_all(b"quit\n").await.unwrap();
    assert_eq!(last.read(&mut [0]).await.unwrap(), 0);
    clients.clear();
    let snapshot = server.until("nobody", |now| now.open == 0).await;
    assert_eq!((snapshot.ended("finished"), snapshot.ended("end_of_stream")), (1, 2));
    assert_eq!((snapshot.traffic().received, snapshot.traffic().messages), (29, 7));
    assert_eq!(server.end().await.phase, Some(Phase::Aborting));
}

/// While messages are rare, all of them are timed, so that a manual test shows a histogram.
#[tokio::test]
async fn turns_after_a_snapshot_are_timed() {
    let server = start(Limits::default()).await;
    server.until("it serves", |now| now.phase == Some(Phase::Running)).await;
    let mut client = server.connect().await;
    for _ in 0..20 {
        say(&mut client, "x\n", "x\n").await;
    }
    let timed = |now: &Snapshot| now.traffic().service.count() >= 20;
    let service = server.until("20 turns", timed).await.traffic().service;
    assert!(service.count() <= 22, "reads without input count as turns: {service:?}");
    assert!(service.percentile(0.5) < Some(Duration::from_secs(1)));
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn a_drain_is_seen_as_long_as_it_lasts() {
    let server = start(Limits::default()).await;
    server.until("it serves", |now| now.phase == Some(Phase::Running)).await;
    let mut client = server.connect().await;
    // Half a line keeps a draining server waiting.
    client.write_all(b"half").await.unwrap();
    server.until("the half line", |now| now.traffic().received == 4).await;
    server.shutdown.drain();
    let snapshot = server.until("the drain", |now| now.phase == Some(Phase::Draining)).await;
    assert_eq!(snapshot.open, 1);
    client.write_all(b"\n").await.unwrap();
    let snapshot = server.end().await;
    assert_eq!((snapshot.open, snapshot.ended("drained")), (0, 1));
    assert_eq!(snapshot.traffic().messages, 1);
}

/// Bytes that the writing half sends are counted too.
#[tokio::test]
async fn bytes_of_a_split_connection_are_counted() {
    let mut server = Server::bind("127.0.0.1:0").await.unwrap();
    let observer = server.observe();
    let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown());
    let handler = |mut client: Connection| async move {
        let (mut reader, mut writer) = client.split();
        while let Some(line) = reader.read_line().await? {
            writer.write_line(format!("{line}!")).await?;
            writer.flush().await?;
        }
        Ok::<(), Closed>(())
    };
    let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));
    let mut client = TcpStream::connect(address).await.unwrap();
    say(&mut client, "hey\n", "hey!\n").await;
    drop(client);
    shutdown.drain();
    serving.await.unwrap().unwrap();
    let traffic = observer.snapshot().traffic();
    assert_eq!((traffic.received, traffic.sent, traffic.messages), (4, 5, 1));
}
