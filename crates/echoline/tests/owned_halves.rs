//! Tests of the halves of a connection, borrowed and owned, over a stream with a capacity of eight
//! bytes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use echoline::connection::{OwnedReader, OwnedWriter};
use echoline::{Closed, Connection, Eol, Farewell, Limits, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

fn pair(limits: Limits) -> (Connection<DuplexStream>, DuplexStream) {
    let (here, there) = duplex(8);
    (Connection::accepted(here, limits, Eol::CrLf, Farewell::Sentences, Shutdown::new()), there)
}

fn halves(limits: Limits) -> (OwnedReader<DuplexStream>, OwnedWriter<DuplexStream>, DuplexStream) {
    let (client, peer) = pair(limits);
    let (reader, writer) = client.into_split();
    (reader, writer, peer)
}

fn seconds(number: u64) -> Option<Duration> {
    Some(Duration::from_secs(number))
}

/// Returns everything that the connection sends until its end.
async fn hear(peer: &mut DuplexStream) -> String {
    let mut heard = String::new();
    let read = timeout(Duration::from_secs(60), peer.read_to_string(&mut heard)).await;
    read.expect("an end in time").unwrap();
    heard
}

/// Issue 15, item 2: every method of the reader works on both kinds of halves.
#[tokio::test]
async fn every_way_of_reading_works_on_both_kinds_of_half() {
    const INPUT: &[u8] = b"one\r\nmuch too long\n12345key: peeked";
    macro_rules! read_all {
        ($reader:expr) => {
            assert_eq!($reader.read_line().await.unwrap().unwrap(), *b"one");
            assert_eq!($reader.read_line().await, Err(Closed::LineTooLong));
            $reader.skip_line();
            let mut message = $reader.begin_message();
            assert_eq!(message.read_exact(5).await.unwrap(), "12345");
            assert_eq!(message.read_until(b": ").await.unwrap().unwrap(), "key: ");
            drop(message);
            assert_eq!($reader.peek().await.unwrap().unwrap()[0], b'p');
            let mut rest = Vec::new();
            while let Some(bytes) = $reader.read(3).await.unwrap() {
                rest.extend_from_slice(&bytes);
            }
            assert_eq!(rest, b"peeked");
            assert_eq!($reader.peek().await, Ok(None));
        };
    }
    let limits = Limits { max_line: 9, ..Limits::default() };
    let (mut client, mut peer) = pair(limits.clone());
    let speaking = tokio::spawn(async move { peer.write_all(INPUT).await });
    let (mut reader, _writer) = client.split();
    read_all!(reader);
    speaking.await.unwrap().unwrap();
    let (mut reader, _writer, mut peer) = halves(limits);
    let speaking = tokio::spawn(async move { peer.write_all(INPUT).await });
    read_all!(reader);
    speaking.await.unwrap().unwrap();
}

/// Issue 15, item 2: every method of the writer works on both kinds of halves, with output that
/// fits into the buffer and with output that does not.
#[tokio::test]
async fn every_way_of_writing_works_on_both_kinds_of_half() {
    macro_rules! write_all {
        ($writer:expr) => {
            $writer.write(b"a").await.unwrap();
            $writer.write_parts(&[b"b", b"", b"c"]).await.unwrap();
            $writer.write_line(1).await.unwrap();
            assert_eq!($writer.unsent(), 6);
            $writer.write_line_parts(&[b"two", b"three"]).await.unwrap();
            $writer.write_parts(&[&[b'.'; 50], &[b':'; 50]]).await.unwrap();
            $writer.write_line_parts(&[&[b'x'; 9000], b"y"]).await.unwrap();
            $writer.flush().await.unwrap();
            assert_eq!($writer.unsent(), 0);
            $writer.write_line("end").await.unwrap();
            $writer.shutdown_write().await.unwrap();
        };
    }
    let wanted = format!(
        "abc1\r\ntwothree\r\n{}{}{}y\r\nend\r\n",
        ".".repeat(50),
        ":".repeat(50),
        "x".repeat(9000)
    );
    for write_high in [16, 64 * 1024] {
        let limits = Limits { write_high, ..Limits::default() };
        let (mut client, mut peer) = pair(limits.clone());
        let hearing = tokio::spawn(async move { hear(&mut peer).await });
        let (_reader, mut writer) = client.split();
        write_all!(writer);
        assert_eq!(hearing.await.unwrap(), wanted);
        let (_reader, mut writer, mut peer) = halves(limits);
        let hearing = tokio::spawn(async move { hear(&mut peer).await });
        write_all!(writer);
        assert_eq!(hearing.await.unwrap(), wanted);
    }
}

/// Issue 15, item 2: two tasks that own the halves work at the same time, even if both directions
/// are full.
#[tokio::test]
async fn two_tasks_read_and_write_at_the_same_time() {
    let (mut reader, mut writer, peer) = halves(Limits::default());
    let writing = tokio::spawn(async move {
        for number in 0..2_000 {
            writer.write_line(number).await?;
        }
        writer.flush().await
    });
    let reading = tokio::spawn(async move {
        let mut count = 0;
        while reader.read_line().await?.is_some() {
            count += 1;
        }
        Ok::<_, Closed>(count)
    });
    let (mut from, mut to) = tokio::io::split(peer);
    let speaking = async {
        to.write_all(&b"0123456789\n".repeat(2_000)).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = String::new();
    let (_, read) = tokio::join!(speaking, from.read_to_string(&mut heard));
    read.unwrap();
    let wanted: String = (0..2_000).map(|number| format!("{number}\r\n")).collect();
    assert!(heard == wanted);
    writing.await.unwrap().unwrap();
    assert_eq!(reading.await.unwrap(), Ok(2_000));
}

#[tokio::test(start_paused = true)]
async fn owned_halves_have_the_deadlines_of_the_connection() {
    let limits =
        Limits { idle_timeout: seconds(5), stall_timeout: seconds(9), ..Limits::default() };
    let (mut reader, mut writer, _peer) = halves(limits);
    let start = Instant::now();
    let reading =
        tokio::spawn(async move { (reader.read_line().await, start.elapsed().as_secs(), reader) });
    let writing = tokio::spawn(async move {
        writer.write(&[0; 100]).await.unwrap();
        (writer.flush().await, start.elapsed().as_secs(), writer)
    });
    let (read, read_at, _reader) = reading.await.unwrap();
    let (written, written_at, _writer) = writing.await.unwrap();
    assert_eq!((read, read_at), (Err(Closed::IdleTimeout), 5));
    assert_eq!((written, written_at), (Err(Closed::StallTimeout), 9));
}

/// Dropping the writer ends its direction, as with the `OwnedWriteHalf` of tokio. A proxy relies on
/// this.
#[tokio::test(start_paused = true)]
async fn dropping_the_writer_ends_the_stream_while_the_reader_goes_on() {
    let (mut reader, mut writer, mut peer) = halves(Limits::default());
    writer.write_line("the last words of some length").await.unwrap();
    drop(writer);
    assert_eq!(hear(&mut peer).await, "the last words of some length\r\n");
    peer.write_all(b"more\n").await.unwrap();
    assert_eq!(reader.read_line().await.unwrap().unwrap(), *b"more");
    let start = Instant::now();
    drop(peer);
    assert_eq!(reader.read_line().await, Ok(None));
    drop(reader);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// The farewell is sent, whichever half is dropped first.
#[tokio::test(start_paused = true)]
async fn the_last_half_closes_the_connection_with_its_farewell() {
    for writer_first in [true, false] {
        let limits = Limits { idle_timeout: seconds(5), ..Limits::default() };
        let (mut reader, mut writer, mut peer) = halves(limits);
        writer.write_line("hello").await.unwrap();
        assert_eq!(reader.read_line().await, Err(Closed::IdleTimeout));
        if writer_first {
            drop(writer);
            drop(reader);
        } else {
            drop(reader);
            timeout(Duration::from_secs(1), peer.read_u8())
                .await
                .expect_err("the connection is still open");
            drop(writer);
        }
        assert_eq!(hear(&mut peer).await, "hello\r\nConnection timeout. Goodbye!\r\n");
    }
}

/// Fault 54, with halves: the peer of a task that panics receives the farewell.
#[tokio::test]
async fn a_panic_sends_the_farewell_in_any_order_of_drops() {
    for reader_first in [true, false] {
        let (reader, writer, mut peer) = halves(Limits::default());
        let task = tokio::spawn(async move {
            // The variable that is declared last is dropped first.
            if reader_first {
                let _writer = writer;
                let _reader = reader;
                panic!("as asked");
            }
            let _reader = reader;
            let _writer = writer;
            panic!("as asked");
        });
        assert_eq!(hear(&mut peer).await, "Server error. Goodbye!\r\n");
        assert!(task.await.unwrap_err().is_panic());
    }
}
