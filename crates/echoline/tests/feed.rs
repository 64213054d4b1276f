//! Tests of feeds: output that a connection sends while its handler waits, over pipes of eight
//! bytes.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::VecDeque;
use std::future::pending;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use echoline::connection::Outlet;
use echoline::transport::Layer;
use echoline::{Closed, Connection, Limits};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{Instant, sleep, timeout};

const STALL: Duration = Duration::from_secs(10);

fn pair() -> (DuplexStream, Connection<DuplexStream>) {
    let (near, far) = duplex(8);
    let limits = Limits { stall_timeout: Some(STALL), max_line: 16, ..Limits::default() };
    (near, Connection::new(far, limits))
}

/// A feed of pieces. It writes some of them and offers the others without copying.
#[derive(Default)]
struct Pieces {
    waiting: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
    offers: bool,
}

impl Pieces {
    fn of(count: usize, offers: bool) -> Self {
        let waiting = (0..count).map(|number| format!("piece {number}\n").into_bytes()).collect();
        Self { waiting, waker: None, offers }
    }

    fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        outlet: &mut Outlet<'_, S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Closed>> {
        let Some(mut piece) = self.waiting.pop_front() else {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if self.offers {
            let sent = outlet.offer(&mut [IoSlice::new(&piece)], cx)?;
            piece.drain(..sent);
            if !piece.is_empty() {
                self.waiting.push_front(piece);
            }
        } else {
            outlet.write(&piece);
        }
        Poll::Ready(Ok(()))
    }
}

fn expected(count: usize) -> String {
    (0..count).map(|number| format!("piece {number}\n")).collect()
}

async fn hear(peer: &mut DuplexStream, length: usize) -> String {
    let mut heard = vec![0; length];
    peer.read_exact(&mut heard).await.unwrap();
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn the_output_of_a_feed_arrives_while_no_line_comes() {
    for offers in [false, true] {
        let (mut peer, mut connection) = pair();
        let mut pieces = Pieces::of(20, offers);
        let reading = connection.read_line_feeding(|outlet, cx| pieces.poll(outlet, cx));
        let text = expected(20);
        let talking = async {
            let heard = hear(&mut peer, text.len()).await;
            peer.write_all(b"thanks\n").await.unwrap();
            heard
        };
        let (line, heard) = tokio::join!(reading, talking);
        assert_eq!(heard, text);
        assert_eq!(line.unwrap().unwrap(), *b"thanks");
    }
}

/// A wait that is dropped at any point loses no bytes in either direction.
#[tokio::test]
async fn feeding_is_cancel_safe() {
    for offers in [false, true] {
        let (mut peer, mut connection) = pair();
        let mut pieces = Pieces::of(30, offers);
        let text = expected(30);
        let talking = async {
            peer.write_all(b"one\ntw").await.unwrap();
            let heard = hear(&mut peer, text.len()).await;
            peer.write_all(b"o\n").await.unwrap();
            heard
        };
        let reading = async {
            let mut lines = Vec::new();
            while lines.len() < 2 {
                let wait = connection.read_line_feeding(|outlet, cx| pieces.poll(outlet, cx));
                // The wait is polled once or twice and then dropped.
                tokio::select! {
                    biased;
                    line = wait => lines.push(line.unwrap().unwrap()),
                    () = tokio::task::yield_now() => {}
                }
            }
            lines
        };
        let (heard, lines) = tokio::join!(talking, reading);
        assert_eq!(heard, text);
        assert_eq!(lines[0], *b"one");
        assert_eq!(lines[1], *b"two");
    }
}

/// Fault 33: a feed stops for a peer that reads nothing, and the connection ends by the stall
/// time-out.
#[tokio::test(start_paused = true)]
async fn a_feed_stops_for_a_peer_that_takes_nothing() {
    for offers in [false, true] {
        let (mut peer, mut connection) = pair();
        let mut pieces = Pieces::of(1000, offers);
        let start = Instant::now();
        let ended = connection.read_line_feeding(|outlet, cx| pieces.poll(outlet, cx)).await;
        assert_eq!(ended.unwrap_err(), Closed::StallTimeout);
        assert_eq!(start.elapsed().as_secs(), STALL.as_secs());
        assert!(pieces.waiting.len() >= 998, "{} are left", pieces.waiting.len());
        let (mut other, mut connection) = pair();
        let mut pieces = Pieces::of(1000, offers);
        let start = Instant::now();
        let until = pending::<()>();
        let ended = connection.feed_until(|outlet, cx| pieces.poll(outlet, cx), until).await;
        assert_eq!(ended.unwrap_err(), Closed::StallTimeout);
        assert_eq!(start.elapsed().as_secs(), STALL.as_secs());
        // Each peer got as much as the pipe holds, and no more.
        for peer in [&mut peer, &mut other] {
            assert_eq!(hear(peer, 8).await, "piece 0\n");
        }
    }
}

/// A peer that reads at least one byte within each time-out does not stall, however long the whole
/// transfer takes.
#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_waited_for() {
    let (mut peer, mut connection) = pair();
    let mut pieces = Pieces::of(5, true);
    let text = expected(5);
    let talking = async {
        let mut heard = String::new();
        while heard.len() < text.len() {
            sleep(STALL - Duration::from_secs(1)).await;
            heard.push_str(&hear(&mut peer, 1).await);
        }
        peer.write_all(b"done\n").await.unwrap();
        heard
    };
    let reading = connection.read_line_feeding(|outlet, cx| pieces.poll(outlet, cx));
    let (line, heard) = tokio::join!(reading, talking);
    assert_eq!(line.unwrap().unwrap(), *b"done");
    assert_eq!(heard, text);
}

#[tokio::test(start_paused = true)]
async fn feed_until_reads_nothing_and_ends_in_time() {
    let (mut peer, mut connection) = pair();
    peer.write_all(b"early\n").await.unwrap();
    let mut pieces = Pieces::of(1, false);
    let start = Instant::now();
    let until = async {
        sleep(Duration::from_secs(3)).await;
        7
    };
    let done = connection.feed_until(|outlet, cx| pieces.poll(outlet, cx), until).await;
    assert_eq!((done.unwrap(), start.elapsed().as_secs()), (7, 3));
    assert_eq!(hear(&mut peer, 8).await, "piece 0\n");
    assert_eq!(connection.read_line().await.unwrap().unwrap(), *b"early");
}

#[tokio::test]
async fn a_feed_that_fails_ends_the_wait() {
    let (_peer, mut connection) = pair();
    let failing =
        |_: &mut Outlet<'_, DuplexStream>, _: &mut Context<'_>| Poll::Ready(Err(Closed::Finished));
    assert_eq!(connection.read_line_feeding(failing).await.unwrap_err(), Closed::Finished);
    assert_eq!(connection.feed_until(failing, pending::<()>()).await, Err(Closed::Finished));
}

#[tokio::test]
async fn peek_consumes_nothing() {
    let (mut peer, mut connection) = pair();
    // `peek` is cancel safe: this one is dropped before a byte arrives.
    assert!(timeout(Duration::from_millis(1), connection.peek()).await.is_err());
    peer.write_all(b"ab").await.unwrap();
    assert_eq!(connection.peek().await.unwrap().unwrap(), b"ab");
    peer.write_all(b"c\n").await.unwrap();
    assert_eq!(
        connection.peek().await.unwrap().unwrap(),
        b"ab",
        "the bytes that have arrived are enough"
    );
    assert_eq!(connection.read_line().await.unwrap().unwrap(), *b"abc");
    peer.shutdown().await.unwrap();
    assert_eq!(connection.peek().await.unwrap(), None);
}

/// Fault 19: a line that is too long is discarded as it arrives, and the next line is read.
#[tokio::test]
async fn skip_line_continues_with_the_next_line() {
    let (mut peer, mut connection) = pair();
    let talking = tokio::spawn(async move {
        peer.write_all(&[b'x'; 10_000]).await.unwrap();
        peer.write_all(b"\nshort\n").await.unwrap();
        peer.write_all(&[b'y'; 17]).await.unwrap();
        peer
    });
    assert_eq!(connection.read_line().await.unwrap_err(), Closed::LineTooLong);
    connection.skip_line();
    assert_eq!(connection.read_line().await.unwrap().unwrap(), *b"short");
    assert_eq!(connection.read_line().await.unwrap_err(), Closed::LineTooLong);
    connection.skip_line();
    drop(talking.await.unwrap());
    assert_eq!(
        connection.read_line().await.unwrap(),
        None,
        "the stream ended inside the skipped line"
    );
}

/// A stream that removes every `#` from its input.
struct Unhashed(DuplexStream);

impl Layer for Unhashed {
    type Below = DuplexStream;

    fn below(&mut self) -> &mut DuplexStream {
        &mut self.0
    }
}

impl AsyncRead for Unhashed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        let kept: Vec<u8> =
            buffer.filled()[before..].iter().copied().filter(|&byte| byte != b'#').collect();
        buffer.set_filled(before);
        buffer.put_slice(&kept);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unhashed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_layer_changes_the_bytes_in_between() {
    let (mut peer, connection) = pair();
    let mut connection = connection.layer(Unhashed);
    peer.write_all(b"a#b\n").await.unwrap();
    assert_eq!(connection.read_line().await.unwrap().unwrap(), *b"ab");
    connection.write_line("#1").await.unwrap();
    assert_eq!(connection.unsent(), 3);
    connection.flush().await.unwrap();
    assert_eq!(connection.unsent(), 0);
    assert_eq!(hear(&mut peer, 3).await, "#1\n");
}
