//! Tests of a connection as a byte stream, of its half-close, and of an upgrade in the middle of a
//! dialogue. The streams have a capacity of eight bytes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use echoline::transport::{OpenFuture, Origin, Step, Stream, Transport};
use echoline::{Closed, Connection, Eol, Farewell, Limits, Shutdown};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

fn pair(limits: Limits) -> (Connection<DuplexStream>, DuplexStream) {
    let (here, there) = duplex(8);
    (Connection::accepted(here, limits, Eol::Lf, Farewell::Sentences, Shutdown::new()), there)
}

fn seconds(number: u64) -> Option<Duration> {
    Some(Duration::from_secs(number))
}

/// Sends `bytes`, ends the stream, and returns everything that the other end sends.
async fn converse(mut peer: DuplexStream, bytes: Vec<u8>) -> String {
    let (mut from, mut to) = tokio::io::split(&mut peer);
    let speaking = async {
        to.write_all(&bytes).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = String::new();
    let (_, read) = tokio::join!(speaking, from.read_to_string(&mut heard));
    read.unwrap();
    heard
}

/// Issue 15, item 1: after the half-close, input can still be read.
#[tokio::test]
async fn input_is_read_after_the_stream_was_ended_towards_the_peer() {
    let (mut client, mut peer) = pair(Limits::default());
    let answering = tokio::spawn(async move {
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "a long question\n");
        peer.write_all(b"a long answer\n").await.unwrap();
    });
    client.write_line("a long question").await.unwrap();
    client.shutdown_write().await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"a long answer");
    assert_eq!(client.read_line().await, Ok(None));
    client.write_line("too late").await.unwrap();
    assert_eq!(client.flush().await, Err(Closed::Reset));
    answering.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_end_of_the_stream() {
    let (mut client, mut peer) = pair(Limits { idle_timeout: seconds(5), ..Limits::default() });
    client.write_line("hello").await.unwrap();
    client.shutdown_write().await.unwrap();
    assert_eq!(client.read_line().await, Err(Closed::IdleTimeout));
    drop(client);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello\n", "no farewell");
}

#[tokio::test(start_paused = true)]
async fn a_half_close_has_a_deadline_and_is_cancel_safe() {
    let (mut client, mut peer) = pair(Limits { stall_timeout: seconds(9), ..Limits::default() });
    let start = Instant::now();
    client.write_line("0123456789").await.unwrap();
    timeout(Duration::from_secs(1), client.shutdown_write()).await.unwrap_err();
    peer.read_exact(&mut [0; 4]).await.unwrap();
    timeout(Duration::from_secs(1), client.shutdown_write()).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let mut rest = String::new();
    peer.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "456789\n");

    let (mut client, _peer) = pair(Limits { stall_timeout: seconds(9), ..Limits::default() });
    client.write_line("0123456789").await.unwrap();
    assert_eq!(client.shutdown_write().await, Err(Closed::StallTimeout));
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// Returns the two connections of a proxy, each with its peer.
fn proxied() -> [(Connection<DuplexStream>, DuplexStream); 2] {
    [pair(Limits::default()), pair(Limits::default())]
}

/// Issue 15, item 1: a proxy of halves passes the end of each stream on, and waits for nothing.
#[tokio::test(start_paused = true)]
async fn a_proxy_of_halves_ends_with_its_streams() {
    let [(mut client, user), (mut upstream, server)] = proxied();
    let start = Instant::now();
    let proxy = tokio::spawn(async move {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.split();
        let there = async {
            while let Some(bytes) = from_client.read(64).await? {
                to_server.write(&bytes).await?;
                to_server.flush().await?;
            }
            to_server.shutdown_write().await
        };
        let back = async {
            while let Some(bytes) = from_server.read(64).await? {
                to_client.write(&bytes).await?;
                to_client.flush().await?;
            }
            to_client.shutdown_write().await
        };
        tokio::try_join!(there, back).map(drop)
    });
    let serving = tokio::spawn(converse(server, b"the answer of the server\n".to_vec()));
    assert_eq!(converse(user, b"a question\n".repeat(9)).await, "the answer of the server\n");
    assert_eq!(serving.await.unwrap(), "a question\n".repeat(9));
    proxy.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Issue 15, item 1: `copy_bidirectional` works between two connections. Bytes that were read into
/// the buffer together with a line are not lost.
#[tokio::test(start_paused = true)]
async fn two_streams_are_copied_in_both_directions() {
    let [(mut client, user), (upstream, server)] = proxied();
    let start = Instant::now();
    let proxy = tokio::spawn(async move {
        assert_eq!(client.read_line().await?.unwrap(), *b"CONNECT");
        client.write_line("OK, connected").await?;
        let (mut client, mut upstream) = (client.into_stream(), upstream.into_stream());
        copy_bidirectional(&mut client, &mut upstream).await
    });
    let serving = tokio::spawn(converse(server, b"to the user\n".repeat(500)));
    let heard = converse(user, b"CONNECT\nto the server".to_vec()).await;
    assert_eq!(heard, "OK, connected\n".to_owned() + &"to the user\n".repeat(500));
    assert_eq!(serving.await.unwrap(), "to the server");
    assert_eq!(proxy.await.unwrap().unwrap(), (13, 6000));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_sends_earlier_output_when_it_reads() {
    let (mut client, mut peer) = pair(Limits::default());
    client.write_line("a prompt of some length").await.unwrap();
    let mut client = client.into_stream();
    let reading = tokio::spawn(async move { client.read_u8().await });
    let mut prompt = [0; 24];
    timeout(Duration::from_secs(1), peer.read_exact(&mut prompt)).await.unwrap().unwrap();
    peer.write_u8(7).await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), 7);
}

/// The rest of a skipped line does not become a part of the stream.
#[tokio::test]
async fn a_skipped_line_is_not_part_of_the_stream() {
    let (mut client, mut peer) = pair(Limits { max_line: 3, ..Limits::default() });
    let speaking = tokio::spawn(async move {
        peer.write_all(b"much too long a line\nrest").await.unwrap();
    });
    assert_eq!(client.read_line().await, Err(Closed::LineTooLong));
    client.skip_line();
    let mut rest = String::new();
    client.into_stream().read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "rest");
    speaking.await.unwrap();
}

/// A stream keeps the deadlines of its connection, for both directions at once, and its errors
/// contain the close reason.
#[tokio::test(start_paused = true)]
async fn a_stream_has_the_deadlines_of_its_connection() {
    let limits =
        Limits { idle_timeout: seconds(9), stall_timeout: seconds(5), ..Limits::default() };
    let (client, mut peer) = pair(limits);
    let start = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(client.into_stream());
    let reading = async { (reader.read_u8().await.unwrap_err(), start.elapsed().as_secs()) };
    let writing =
        async { (writer.write_all(&[b'.'; 100]).await.unwrap_err(), start.elapsed().as_secs()) };
    let ((read, read_at), (written, written_at)) = tokio::join!(reading, writing);
    assert_eq!((Closed::from(written), written_at), (Closed::StallTimeout, 5));
    assert_eq!((Closed::from(read), read_at), (Closed::IdleTimeout, 9));
    drop((reader, writer));
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "........", "no farewell in a stream of bytes");
}

/// Issue 15, item 1: the frames of `tokio_util` work over a connection.
#[tokio::test]
async fn frames_of_tokio_util_work_over_a_connection() {
    let (client, there) = pair(Limits::default());
    let serving = tokio::spawn(async move {
        let mut frames = Framed::new(client.into_stream(), LengthDelimitedCodec::new());
        while let Some(frame) = frames.next().await {
            frames.send(frame?.freeze()).await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let mut frames = Framed::new(there, LengthDelimitedCodec::new());
    for length in [0, 1, 7, 100, 3000] {
        let frame = Bytes::from(vec![7; length]);
        frames.send(frame.clone()).await.unwrap();
        assert_eq!(frames.next().await.unwrap().unwrap(), frame);
    }
    drop(frames);
    serving.await.unwrap().unwrap();
}

/// A step that answers `knock` with `welcome`.
#[derive(Debug)]
struct Knock;

impl Step for Knock {
    fn open<'a>(&'a self, mut stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            let mut knock = [0; 5];
            stream.read_exact(&mut knock).await?;
            if knock != *b"knock" {
                origin.failure = Some("it did not knock".to_owned());
                return Err(Closed::HandshakeFailed);
            }
            stream.write_all(b"welcome\n").await?;
            Ok(stream)
        })
    }
}

/// Serves lines. The line `START` upgrades the connection.
async fn upgrading(mut client: Connection) -> Result<(), Closed> {
    let transport = Transport::plain().then(Arc::new(Knock));
    while let Some(line) = client.read_line().await? {
        if line == *b"START" {
            client.write_line("go ahead").await?;
            client = client.upgrade(&transport).await?;
        } else {
            client.write_line(format!("heard {line}")).await?;
        }
    }
    Ok(())
}

/// Plays `script` against [`upgrading`]. It sends the first text of each pair and waits for the
/// second one.
async fn upgrade(limits: Limits, script: &[(&str, &str)]) -> Result<(), Closed> {
    let (here, mut there) = UnixStream::pair().unwrap();
    let client =
        Connection::accepted(here.into(), limits, Eol::Lf, Farewell::Silent, Shutdown::new());
    let serving = tokio::spawn(upgrading(client));
    for (sent, answer) in script {
        there.write_all(sent.as_bytes()).await.unwrap();
        let mut heard = vec![0; answer.len()];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), *answer);
    }
    let ends_itself = script.last().is_some_and(|(_, answer)| answer.starts_with("heard"));
    if ends_itself {
        there.shutdown().await.unwrap();
    }
    let result = timeout(Duration::from_secs(20), serving).await.unwrap().unwrap();
    let mut rest = String::new();
    // The end is a reset if the server has closed with unread input.
    let _ = there.read_to_string(&mut rest).await;
    assert_eq!(rest, "");
    result
}

/// Issue 15, item 1: a dialogue upgrades its stream half-way, as STARTTLS does. The handler
/// continues with the new stream.
#[tokio::test]
async fn a_dialogue_goes_on_over_an_upgraded_stream() {
    let script = [
        ("one\n", "heard one\n"),
        ("START\n", "go ahead\n"),
        ("knocktwo\n", "welcome\nheard two\n"),
        ("START\n", "go ahead\n"),
        ("knock", "welcome\n"),
        ("three\n", "heard three\n"),
    ];
    assert_eq!(upgrade(Limits::default(), &script).await, Ok(()));
}

#[tokio::test]
async fn an_upgrade_that_fails_ends_the_connection() {
    let script = [("START\n", "go ahead\n"), ("nnock", "")];
    assert_eq!(upgrade(Limits::default(), &script).await, Err(Closed::HandshakeFailed));
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    let script = [("START\n", "go ahead\n"), ("knoc", "")];
    assert_eq!(upgrade(limits, &script).await, Err(Closed::HandshakeTimeout));
}

/// Input that arrived before the handshake must not count as input from after it. This is the
/// command injection of CVE-2011-0411.
#[tokio::test]
async fn attack_input_before_an_upgrade_does_not_count_after_it() {
    let script = [("START\nknock", "go ahead\n")];
    assert_eq!(upgrade(Limits::default(), &script).await, Err(Closed::Malformed));
}
