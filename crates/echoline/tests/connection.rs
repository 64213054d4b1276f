//! Tests of a connection over a stream with a capacity of eight bytes: reads, writes, deadlines and
//! the end.

#![allow(clippy::unwrap_used)]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use echoline::{Closed, Connection, Eol, Farewell, Limits, Shutdown};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{Instant, advance, sleep, timeout};

/// Returns a connection with `limits` and the other end of its stream.
fn pair(limits: Limits) -> (Connection<DuplexStream>, DuplexStream) {
    let (here, there) = duplex(8);
    (Connection::accepted(here, limits, Eol::Lf, Farewell::Sentences, Shutdown::new()), there)
}

fn seconds(number: u64) -> Option<Duration> {
    Some(Duration::from_secs(number))
}

/// Writes `bytes`, ends the stream, and returns everything that the connection sends.
async fn converse(mut peer: DuplexStream, bytes: Vec<u8>) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(&mut peer);
    let mut heard = Vec::new();
    let speaking = async {
        // The other end may have closed already. Only its output counts.
        let _ = to.write_all(&bytes).await;
        let _ = to.shutdown().await;
    };
    let (_, result) = tokio::join!(speaking, from.read_to_end(&mut heard));
    result.unwrap();
    heard
}

#[tokio::test]
async fn every_way_of_reading_gets_its_bytes() {
    let (mut client, peer) = pair(Limits::default());
    let input = b"one\r\ntwo\n12345key: value; rest of it\nand the tail".to_vec();
    let speaking = tokio::spawn(converse(peer, input));
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"one");
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"two");
    assert_eq!(client.read_exact(5).await.unwrap(), "12345");
    assert_eq!(client.read_until(b": ").await.unwrap().unwrap(), "key: ");
    assert_eq!(client.read_until(b"; ").await.unwrap().unwrap(), "value; ");
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"rest of it");
    let mut tail = Vec::new();
    while let Some(bytes) = client.read(4).await.unwrap() {
        assert!((1..=4).contains(&bytes.len()));
        tail.extend_from_slice(&bytes);
    }
    assert_eq!(tail, b"and the tail");
    assert_eq!(client.read_line().await, Ok(None));
    assert_eq!(client.read_exact(0).await.unwrap(), "");
    drop(client);
    assert_eq!(speaking.await.unwrap(), b"");
}

#[tokio::test]
async fn a_stream_that_ends_too_early_is_incomplete_and_its_bytes_stay() {
    for separator in [None, Some(b"!")] {
        let (mut client, peer) = pair(Limits::default());
        let speaking = tokio::spawn(converse(peer, b"1234".to_vec()));
        let result = match separator {
            None => client.read_exact(5).await.map(Some),
            Some(separator) => client.read_until(separator).await,
        };
        assert_eq!(result, Err(Closed::Incomplete));
        assert_eq!(client.read(9).await.unwrap().unwrap(), "1234");
        assert_eq!(client.read_until(b"!").await, Ok(None));
        drop(client);
        speaking.await.unwrap();
    }
}

/// Fault 20: a last line without a line end is a line.
#[tokio::test]
async fn the_last_line_needs_no_end() {
    let (mut client, peer) = pair(Limits::default());
    let speaking = tokio::spawn(converse(peer, b"a\nlast".to_vec()));
    let mut lines = Vec::new();
    while let Some(line) = client.read_line().await.unwrap() {
        lines.push(line.to_string());
    }
    assert_eq!(lines, ["a", "last"]);
    drop(client);
    speaking.await.unwrap();
}

/// Defect 3 of the lesson, fault 19: a line over the limit ends with a sentence, not in silence.
#[tokio::test]
async fn a_line_over_the_limit_gets_a_message_and_a_close() {
    let (mut client, peer) = pair(Limits { max_line: 10, ..Limits::default() });
    let speaking = tokio::spawn(converse(peer, b"0123456789\n0123456789a\nmore\n".to_vec()));
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"0123456789");
    assert_eq!(client.read_line().await, Err(Closed::LineTooLong));
    client.close().await;
    assert_eq!(speaking.await.unwrap(), b"Line too long (limit 10 bytes). Goodbye!\n");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_times_out_with_a_message() {
    let limits = Limits { idle_timeout: seconds(60), ..Limits::default() };
    let (mut client, mut peer) = pair(limits);
    let start = Instant::now();
    peer.write_all(b"hello\n").await.unwrap();
    client.read_line().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(client.read_line().await, Err(Closed::IdleTimeout));
    assert_eq!(start.elapsed().as_secs(), 70, "the time-out counts from the start of the read");
    let closing = tokio::spawn(client.close());
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "Connection timeout. Goodbye!\n");
    drop(peer);
    closing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_time_out_the_connection_can_be_used() {
    let limits = Limits { idle_timeout: seconds(60), ..Limits::default() };
    let (mut client, mut peer) = pair(limits);
    assert_eq!(client.read_line().await, Err(Closed::IdleTimeout));
    client.write_line("ping").await.unwrap();
    client.flush().await.unwrap();
    peer.write_all(b"pong\n").await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"pong");
    drop(client);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "ping\n", "no farewell, because the connection did not time out");
}

/// Fault 16: the deadline applies to the whole line. Single bytes do not extend it.
#[tokio::test(start_paused = true)]
async fn a_line_has_one_deadline_from_its_first_byte() {
    let (mut client, mut peer) = pair(Limits { line_timeout: seconds(30), ..Limits::default() });
    let start = Instant::now();
    let trickling = tokio::spawn(async move {
        sleep(Duration::from_secs(100)).await;
        while peer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(5)).await;
        }
    });
    assert_eq!(client.read_line().await, Err(Closed::LineTimeout));
    assert_eq!(start.elapsed().as_secs(), 130);
    drop(client);
    trickling.abort();
}

#[tokio::test(start_paused = true)]
async fn the_next_line_has_its_own_deadline() {
    let (mut client, mut peer) = pair(Limits { line_timeout: seconds(30), ..Limits::default() });
    for _ in 0..3 {
        peer.write_all(b"be").await.unwrap();
        let ending = async {
            sleep(Duration::from_secs(29)).await;
            peer.write_all(b"gin\n").await.unwrap();
        };
        let (line, ()) = tokio::join!(client.read_line(), ending);
        assert_eq!(line.unwrap().unwrap(), *b"begin");
    }
}

/// Fault 32, defect 6 of the lesson: a peer that never reads is timed out, and at most a bounded
/// number of bytes is buffered for it.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_timed_out() {
    let limits = Limits { stall_timeout: seconds(30), write_high: 100, ..Limits::default() };
    let (mut client, _peer) = pair(limits);
    let start = Instant::now();
    let mut written = 0;
    let closed = loop {
        match client.write(b"0123456789").await {
            Ok(()) => written += 10,
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed, Closed::StallTimeout);
    assert_eq!((written, start.elapsed().as_secs()), (100, 30));
}

/// Fault 32: the deadline measures progress, so a slow reader does not time out.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_served_to_the_end() {
    let limits = Limits { stall_timeout: seconds(30), ..Limits::default() };
    let (mut client, mut peer) = pair(limits);
    let reading = tokio::spawn(async move {
        let mut heard = Vec::new();
        let mut byte = [0; 4];
        while let Ok(length @ 1..) = peer.read(&mut byte).await {
            heard.extend_from_slice(&byte[..length]);
            sleep(Duration::from_secs(20)).await;
        }
        heard
    });
    client.write(&[b'x'; 64]).await.unwrap();
    client.close().await;
    assert_eq!(reading.await.unwrap(), [b'x'; 64]);
}

/// Fault 32: output that cannot be sent also times out while the handler waits for input.
#[tokio::test(start_paused = true)]
async fn a_stalled_peer_is_noticed_while_reading() {
    let (mut client, _peer) = pair(Limits { stall_timeout: seconds(30), ..Limits::default() });
    client.write(b"more than eight bytes").await.unwrap();
    let start = Instant::now();
    assert_eq!(client.read_line().await, Err(Closed::StallTimeout));
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// Fault 59: after the whole process was stopped, waiting input is read before a connection times
/// out.
#[tokio::test(start_paused = true)]
async fn a_late_timer_gives_the_peer_more_time() {
    let (mut client, mut peer) = pair(Limits { idle_timeout: seconds(60), ..Limits::default() });
    let reading = tokio::spawn(async move { client.read_line().await });
    tokio::task::yield_now().await;
    advance(Duration::from_secs(600)).await;
    tokio::task::yield_now().await;
    assert!(!reading.is_finished(), "timed out because the server was asleep");
    peer.write_all(b"still here\n").await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap().unwrap(), *b"still here");
}

#[tokio::test(start_paused = true)]
async fn reads_are_cancel_safe() {
    let (mut client, mut peer) = pair(Limits::default());
    let speaking = tokio::spawn(async move {
        for piece in ["on", "e\ntw", "o\n", "1234", "5"] {
            sleep(Duration::from_secs(2)).await;
            peer.write_all(piece.as_bytes()).await.unwrap();
        }
        peer
    });
    let second = Duration::from_secs(1);
    let mut found = Vec::new();
    while found.len() < 2 {
        if let Ok(line) = timeout(second, client.read_line()).await {
            found.push(line.unwrap().unwrap().to_string());
        }
    }
    assert_eq!(found, ["one", "two"]);
    loop {
        if let Ok(bytes) = timeout(second, client.read_exact(5)).await {
            break assert_eq!(bytes.unwrap(), "12345");
        }
    }
    drop(speaking.await.unwrap());
}

/// Fault 38: all output arrives before the end, through a pipe of eight bytes, after `close` and
/// after a drop.
#[tokio::test]
async fn nothing_written_is_lost_at_the_end() {
    for by_dropping in [false, true] {
        let (mut client, peer) = pair(Limits::default());
        let reading = tokio::spawn(converse(peer, Vec::new()));
        let text = "x".repeat(30_000);
        client.write(text.as_bytes()).await.unwrap();
        client.write_line("the end").await.unwrap();
        if by_dropping {
            drop(client)
        } else {
            client.close().await
        }
        assert_eq!(reading.await.unwrap(), format!("{text}the end\n").into_bytes());
    }
}

/// Fault 35: lingering is bounded in time, in bytes, and in the number of connections.
#[tokio::test(start_paused = true)]
async fn lingering_is_bounded() {
    let start = Instant::now();
    let limits = Limits { linger_timeout: Duration::from_secs(2), ..Limits::default() };
    let (client, mut peer) = pair(limits);
    client.close().await;
    assert_eq!(start.elapsed().as_secs(), 2, "a peer that neither sends nor closes");
    assert!(peer.write_all(b"x").await.is_err());

    let limits = Limits { linger_bytes: 1000, ..Limits::default() };
    let (client, mut peer) = pair(limits);
    let pouring = tokio::spawn(async move {
        let mut poured = 0;
        while peer.write_all(b"x").await.is_ok() {
            poured += 1;
        }
        poured
    });
    client.close().await;
    assert!((1000..1100).contains(&pouring.await.unwrap()));

    let start = Instant::now();
    let (client, _peer) = pair(Limits { max_lingering: 0, ..Limits::default() });
    client.close().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Fault 37: both ends write more than all buffers hold. The reader and the writer of one
/// connection work at the same time.
#[tokio::test]
async fn reader_and_writer_work_at_the_same_time() {
    let (mut client, peer) = pair(Limits::default());
    let peer_speaking = tokio::spawn(converse(peer, b"0123456789\n".repeat(5_000)));
    {
        let (mut reader, mut writer) = client.split();
        let reading = async {
            let mut count = 0;
            while let Some(line) = reader.read_line().await.unwrap() {
                assert_eq!(line, *b"0123456789");
                count += 1;
            }
            count
        };
        let writing = async {
            for number in 0..5_000 {
                writer.write_line(number).await.unwrap();
            }
            writer.flush().await.unwrap();
        };
        assert_eq!(tokio::join!(reading, writing).0, 5_000);
    }
    client.close().await;
    let wanted: String = (0..5_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(peer_speaking.await.unwrap(), wanted.into_bytes());
}

#[tokio::test(start_paused = true)]
async fn the_halves_have_deadlines_too() {
    let limits =
        Limits { idle_timeout: seconds(5), stall_timeout: seconds(9), ..Limits::default() };
    let (mut client, _peer) = pair(limits);
    let (mut reader, mut writer) = client.split();
    let start = Instant::now();
    let reading = async { (reader.read_line().await, start.elapsed().as_secs()) };
    let writing = async {
        writer.write(&[0; 100]).await.unwrap();
        (writer.flush().await, start.elapsed().as_secs())
    };
    let (read, written) = tokio::join!(reading, writing);
    assert_eq!(read, (Err(Closed::IdleTimeout), 5));
    assert_eq!(written, (Err(Closed::StallTimeout), 9));
}

/// The close reason of a half is the close reason of the connection.
#[tokio::test(start_paused = true)]
async fn a_half_that_times_out_sends_the_farewell() {
    let (mut client, mut peer) = pair(Limits { idle_timeout: seconds(5), ..Limits::default() });
    assert_eq!(client.split().0.read_line().await, Err(Closed::IdleTimeout));
    drop(client);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "Connection timeout. Goodbye!\n");
}

/// A client sends no farewell to its server.
#[tokio::test(start_paused = true)]
async fn a_client_sends_no_farewell() {
    let (here, mut peer) = duplex(64);
    let limits = Limits { idle_timeout: seconds(5), ..Limits::default() };
    let mut client = Connection::new(here, limits);
    assert_eq!(client.read_line().await, Err(Closed::IdleTimeout));
    drop(client);
    let mut heard = String::new();
    peer.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "");
}

/// A stream that counts the writes to it.
struct Counting<S>(S, Arc<AtomicUsize>);

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Fault 39: the replies to the messages of one packet are sent in one packet.
#[tokio::test]
async fn replies_to_one_packet_are_one_write() {
    let (here, mut peer) = duplex(64 * 1024);
    let writes = Arc::new(AtomicUsize::new(0));
    let mut client = Connection::new(Counting(here, Arc::clone(&writes)), Limits::default());
    peer.write_all(&b"ping\n".repeat(32)).await.unwrap();
    let serving = tokio::spawn(async move {
        while let Some(line) = client.read_line().await? {
            client.write_line(line).await?;
        }
        Ok::<_, Closed>(())
    });
    let mut heard = [0; 32 * 5];
    peer.read_exact(&mut heard).await.unwrap();
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    drop(peer);
    serving.await.unwrap().unwrap();
}

/// Fault 15: a peer that never stops sending does not block other connections.
#[tokio::test]
async fn a_connection_with_endless_input_yields() {
    let (here, mut peer) = duplex(1 << 20);
    let mut client = Connection::new(here, Limits::default());
    peer.write_all(&b"x\n".repeat(100_000)).await.unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..100_000 {
        client.read_line().await.unwrap().unwrap();
    }
    assert!(turns.load(Ordering::Relaxed) > 500, "{turns:?} turns while 100,000 lines were read");
    other.abort();
}

/// Faults 28, 36: a lost peer has the same close reason for a read and for a write.
#[tokio::test]
async fn a_lost_peer_ends_a_write() {
    let (mut client, peer) = pair(Limits::default());
    drop(peer);
    let closed = loop {
        if let Err(closed) = client.write(&[0; 64 * 1024]).await {
            break closed;
        }
    };
    assert_eq!(closed, Closed::Reset);
}
