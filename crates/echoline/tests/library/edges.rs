//! Tests of edge values of reads, writes and limits, and of futures that are dropped half-way.

use std::time::Duration;

use echoline::{Closed, Connection, Eol, Farewell, Limits, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Running, echo, exchange, rest};

/// Returns a connection with `limits` over a stream of eight bytes, and the other end.
fn pair(limits: Limits) -> (Connection<DuplexStream>, DuplexStream) {
    let (here, there) = duplex(8);
    (Connection::accepted(here, limits, Eol::Lf, Farewell::Silent, Shutdown::new()), there)
}

/// Returns whether `future` is still not ready after an hour, on a paused clock.
async fn waits<T>(future: impl Future<Output = T>) -> bool {
    timeout(Duration::from_secs(3600), future).await.is_err()
}

fn patient() -> Limits {
    Limits { line_timeout: None, stall_timeout: None, ..Limits::default() }
}

async fn read_all(mut peer: DuplexStream) -> Vec<u8> {
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).await.unwrap();
    heard
}

/// Issue 11, item 25: a read of zero bytes returns at once and consumes nothing, at every position
/// of the stream.
#[tokio::test(start_paused = true)]
async fn regression_a_read_of_zero_bytes_returns_at_once() {
    let (mut client, mut peer) = pair(patient());
    for sent in [&b""[..], b"ab\n"] {
        peer.write_all(sent).await.unwrap();
        assert_eq!(client.read(0).await.unwrap().unwrap(), "");
        assert_eq!(client.read_exact(0).await.unwrap(), "");
        assert_eq!(client.read_until(b"").await.unwrap().unwrap(), "");
        assert_eq!(client.read_feeding(0, |_, _| unreachable!()).await.unwrap().unwrap(), "");
    }
    {
        let (mut reader, _writer) = client.split();
        assert_eq!(reader.read(0).await.unwrap().unwrap(), "");
        assert_eq!(reader.read_exact(0).await.unwrap(), "");
        assert_eq!(reader.read_until(b"").await.unwrap().unwrap(), "");
    }
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"ab");
    drop(peer);
    assert_eq!(client.read(1).await, Ok(None));
    assert_eq!(client.read_until(b"\n").await, Ok(None));
    assert_eq!(client.read(0).await.unwrap().unwrap(), "");
    assert_eq!(client.read_exact(0).await.unwrap(), "");
    assert_eq!(client.read_until(b"").await.unwrap().unwrap(), "");
}

/// Issue 11, item 25: a handler that reads single bytes, or zero bytes, lets other tasks run.
#[tokio::test]
async fn regression_reads_from_the_buffer_yield() {
    let (here, mut there) = duplex(64 * 1024);
    let mut client = Connection::new(here, Limits::default());
    there.write_all(&[b'x'; 10_000]).await.unwrap();
    for most in [1, 0] {
        let turns = std::cell::Cell::new(0);
        let reading = async {
            for _ in 0..1000 {
                client.read(most).await.unwrap().unwrap();
            }
        };
        let counting = async {
            loop {
                turns.set(turns.get() + 1);
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = reading => {}
            () = counting => {}
        }
        assert!(turns.get() >= 5, "{} turns with read({most})", turns.get());
    }
}

/// Issue 11, item 25: a large write begins when it is awaited. A small write and a line begin at
/// once.
#[tokio::test(start_paused = true)]
async fn regression_a_write_that_is_dropped_has_written_what_the_docs_say() {
    let limits = Limits { write_high: 100, ..patient() };
    let (mut client, peer) = pair(limits);
    drop(client.write(&[b'x'; 101]));
    assert_eq!(client.unsent(), 0, "the write would have to wait");
    drop(client.write(&[b'x'; 20_000]));
    assert_eq!(client.unsent(), 0, "the write would not fit into the buffer");
    drop(client.write_parts(&[&[b'x'; 50], &[b'x'; 51]]));
    drop(client.write_line_parts(&[&[b'x'; 100]]));
    assert_eq!(client.unsent(), 0);
    drop(client.write(b"small "));
    assert_eq!(client.unsent(), 6);
    drop(client.write_line("y".repeat(200)));
    assert_eq!(client.unsent(), 207, "a line is written as a whole");
    assert!(waits(client.write(b"z")).await, "the peer reads nothing");
    assert_eq!(client.unsent(), 199, "the stream holds eight bytes");
    let hearing = tokio::spawn(read_all(peer));
    client.close().await;
    let heard = hearing.await.unwrap();
    assert_eq!(heard, format!("small {}\n", "y".repeat(200)).into_bytes());
}

/// Issue 11, item 25: a large write that is dropped half-way has written its beginning.
#[tokio::test(start_paused = true)]
async fn regression_a_write_that_is_dropped_half_way_has_written_the_beginning() {
    let (mut client, peer) = pair(patient());
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    assert!(waits(client.write(&bytes)).await);
    let hearing = tokio::spawn(read_all(peer));
    client.close().await;
    let heard = hearing.await.unwrap();
    assert_eq!(heard, bytes[..heard.len()]);
    assert!((8..bytes.len()).contains(&heard.len()), "{}", heard.len());
}

/// Issue 11, item 24: no write of a connection or of its writing half leaves more than `write_high`
/// bytes unsent, however large it is.
#[tokio::test(start_paused = true)]
async fn regression_no_write_leaves_more_than_write_high_unsent() {
    for write_high in [0, 1, 100, 20_000] {
        for length in [1, 8, 9, 109, 8_191, 8_192, 30_000, 1_000_000] {
            let limits = || Limits { write_high, ..patient() };
            let bytes = vec![b'x'; length];
            let (mut client, _peer) = pair(limits());
            {
                let (_reader, mut writer) = client.split();
                let waited = waits(writer.write(&bytes)).await;
                assert_eq!(waited, length > write_high + 8, "{length} of {write_high}");
            }
            assert!(client.unsent() <= write_high, "{} of {write_high}", client.unsent());
            let (mut client, _peer) = pair(limits());
            let waited = waits(client.write(&bytes)).await;
            assert_eq!(waited, length > write_high + 8, "{length} of {write_high}");
            assert!(client.unsent() <= write_high, "{} of {write_high}", client.unsent());
        }
    }
}

/// Issue 11, item 24: the bytes of a writer arrive completely and in order, for pieces of any size.
#[tokio::test]
async fn regression_a_writer_loses_and_reorders_no_bytes() {
    for write_high in [0, 10, 64 * 1024] {
        let (mut client, peer) = pair(Limits { write_high, ..Limits::default() });
        let hearing = tokio::spawn(read_all(peer));
        let mut expected = Vec::new();
        let (_reader, mut writer) = client.split();
        for (number, length) in [1, 20_000, 5, 0, 8_192, 9_000, 3].into_iter().enumerate() {
            let piece = vec![b'a' + u8::try_from(number).unwrap(); length];
            writer.write(&piece).await.unwrap();
            writer.write_line(number).await.unwrap();
            expected.extend(piece);
            expected.extend(format!("{number}\n").into_bytes());
        }
        writer.flush().await.unwrap();
        client.close().await;
        assert_eq!(hearing.await.unwrap(), expected);
    }
}

/// Issue 11, item 24: a writer that waits for a peer that reads nothing is timed out.
#[tokio::test(start_paused = true)]
async fn regression_a_writer_that_waits_is_timed_out() {
    let (mut client, _peer) = pair(Limits::default());
    let (_reader, mut writer) = client.split();
    let start = Instant::now();
    assert_eq!(writer.write(&[b'x'; 1_000_000]).await, Err(Closed::StallTimeout));
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// Issue 11, item 25: a time-out of zero ends a wait, but not a read of bytes that have arrived.
#[tokio::test(start_paused = true)]
async fn regression_a_time_out_of_zero_ends_a_wait_but_not_a_read_of_arrived_bytes() {
    let zero = Some(Duration::ZERO);
    let (mut client, mut peer) = pair(Limits { idle_timeout: zero, ..patient() });
    peer.write_all(b"there\n").await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"there");
    assert_eq!(client.read_line().await, Err(Closed::IdleTimeout));
    let (mut client, mut peer) = pair(Limits { line_timeout: zero, ..patient() });
    peer.write_all(b"there\nh").await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"there");
    assert_eq!(client.read_line().await, Err(Closed::LineTimeout));
    let (mut client, _peer) = pair(Limits { stall_timeout: zero, ..patient() });
    client.write(b"eight  8").await.unwrap();
    assert_eq!(client.flush().await, Ok(()));
    client.write(b"more").await.unwrap();
    assert_eq!(client.flush().await, Err(Closed::StallTimeout));
}

/// Issue 11, item 25: the largest time-outs and sizes mean no limit, and do not overflow.
#[tokio::test(start_paused = true)]
async fn regression_the_largest_limits_are_never_reached() {
    let longest = Some(Duration::MAX);
    let (mut client, mut peer) = pair(Limits {
        idle_timeout: longest,
        line_timeout: longest,
        stall_timeout: longest,
        max_line: usize::MAX,
        write_high: usize::MAX,
        linger_timeout: Duration::MAX,
        linger_bytes: usize::MAX,
        ..Limits::default()
    });
    assert!(waits(client.read_line()).await);
    peer.write_all(b"half").await.unwrap();
    assert!(waits(client.read_line()).await);
    assert!(!waits(client.write(&[b'x'; 100_000])).await, "the buffer has room");
    assert!(waits(client.flush()).await);
}

/// Issue 11, item 25: with a limit of zero an empty line is allowed, and a line of one byte is too
/// long.
#[tokio::test(start_paused = true)]
async fn regression_a_line_limit_of_zero_leaves_empty_lines() {
    let (mut client, mut peer) = pair(Limits { max_line: 0, ..patient() });
    peer.write_all(b"\r\n\nx\n").await.unwrap();
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"");
    assert_eq!(client.read_line().await.unwrap().unwrap(), *b"");
    assert_eq!(client.read_line().await, Err(Closed::LineTooLong));
}

/// Issue 11, item 25: a limit of zero connections refuses every client with a message.
#[tokio::test]
async fn regression_a_limit_of_zero_connections_refuses_every_client() {
    let none = [
        (Limits { max_connections: 0, ..Limits::default() }, "Server is busy."),
        (Limits { max_per_ip: Some(0), ..Limits::default() }, "Too many connections from"),
    ];
    for (limits, words) in none {
        let server = Running::start(limits, 0, echo).await;
        for _ in 0..3 {
            assert!(rest(&mut server.connect().await).await.starts_with(words));
        }
        server.drain().await;
    }
}

/// Issue 11, item 25: with a linger time-out and a drain time-out of zero, a server ends at once.
#[tokio::test]
async fn regression_limits_of_no_time_end_at_once() {
    let limits = Limits {
        linger_timeout: Duration::ZERO,
        linger_bytes: 0,
        max_lingering: 0,
        drain_timeout: Duration::ZERO,
        ..Limits::default()
    };
    let server = Running::start(limits, 0, echo).await;
    let mut client: TcpStream = server.connect().await;
    exchange(&mut client, "hello").await;
    let start = Instant::now();
    let report = server.drain().await;
    assert_eq!((report.count(Closed::Aborted), report.still_open), (1, 0), "{report:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(rest(&mut client).await, "");
}
