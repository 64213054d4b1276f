//! The two ends of a connection in memory. Reads and writes of the server's end are cut at points
//! that a seed determines.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use crate::transport::stream::{CloseSignal, InnerStream};
use echoline_base::random::Random;

/// The maximum lengths of a piece, one of which is chosen at random: of the first pieces, which cut
/// short lines, and of the later ones, which keep a test with much data fast.
const EARLY_PIECE_MAX: [u64; 4] = [1, 2, 4, 16];
const LATE_PIECE_MAX: [u64; 4] = [1, 16, 256, 4096];

/// The number of bytes in early pieces.
const EARLY_BYTES: u64 = 1024;

/// Returns the ends of the server and of the client. Each direction holds at most `capacity` bytes.
/// Equal seeds and numbers of clients have equal split points.
pub(super) fn pipe(capacity: usize, seed: u64, number: u64) -> (ServerEnd, ClientEnd) {
    let (server, client) = duplex(capacity);
    let shared = Arc::new(PipeState::default());
    let [reads, writes] = [0, 1].map(|direction| Pieces::new(&[seed, number, direction]));
    (
        ServerEnd { stream: server, reads, writes, shared: Arc::clone(&shared) },
        ClientEnd { stream: Some(client), shared },
    )
}

/// The state that both ends know.
#[derive(Debug, Default)]
struct PipeState {
    is_reset_by_server: AtomicBool,
    is_reset_by_client: AtomicBool,
    /// The number of bytes that the client has sent and the server has not read.
    unread: AtomicUsize,
}

/// The server's end. No read and no write crosses a split point, and the task is suspended at each
/// of them once, as if the next packet had not arrived yet.
#[derive(Debug)]
pub(super) struct ServerEnd {
    stream: DuplexStream,
    reads: Pieces,
    writes: Pieces,
    shared: Arc<PipeState>,
}

/// The client's end.
#[derive(Debug)]
pub(super) struct ClientEnd {
    /// `None` after the client has reset the connection.
    stream: Option<DuplexStream>,
    shared: Arc<PipeState>,
}

/// The pieces into which one direction is cut.
#[derive(Debug)]
struct Pieces {
    random: Random,
    /// The number of bytes up to the next split point.
    left: usize,
    /// The number of bytes in all pieces so far.
    total: u64,
}

impl Pieces {
    fn new(numbers: &[u64]) -> Self {
        Self { random: Random::of(numbers), left: 0, total: 0 }
    }

    /// Returns the number of bytes up to the next split point; pending once at each of them.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.left > 0 {
            return Poll::Ready(self.left);
        }
        let maxima = if self.total < EARLY_BYTES { EARLY_PIECE_MAX } else { LATE_PIECE_MAX };
        let class = self.random.next_u64() % maxima.len() as u64;
        let length = 1 + self.random.next_u64() % maxima[class as usize];
        self.total += length;
        self.left = usize::try_from(length).unwrap_or(1);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl InnerStream for ServerEnd {
    fn signal(&mut self, signal: CloseSignal) {
        if signal == CloseSignal::Reset {
            self.shared.is_reset_by_server.store(true, Ordering::Release);
        }
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = ready!(self.reads.poll_left(cx));
        let room = buffer.remaining().min(left);
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        let length = piece.filled().len();
        if length == 0 && room > 0 && self.shared.is_reset_by_client.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.shared.unread.fetch_sub(length, Ordering::AcqRel);
        buffer.advance(length);
        self.reads.left -= length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = ready!(self.writes.poll_left(cx));
        let piece = &bytes[..bytes.len().min(left)];
        let length = ready!(Pin::new(&mut self.stream).poll_write(cx, piece))?;
        self.writes.left -= length;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl ClientEnd {
    /// Resets the connection.
    pub(super) fn reset(&mut self) {
        self.shared.is_reset_by_client.store(true, Ordering::Release);
        self.stream = None;
    }

    /// Returns the number of bytes that the server has not read yet.
    pub(super) fn unread(&self) -> usize {
        self.shared.unread.load(Ordering::Acquire)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut DuplexStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for ClientEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        ready!(self.stream()?.poll_read(cx, buffer))?;
        let has_ended = buffer.remaining() == before && before > 0;
        if has_ended && self.shared.is_reset_by_server.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let shared = Arc::clone(&self.shared);
        // Counted first, because the server may read the bytes on another thread at once.
        shared.unread.fetch_add(bytes.len(), Ordering::AcqRel);
        let polled = self.stream().map(|stream| stream.poll_write(cx, bytes));
        let polled = polled.unwrap_or_else(|error| Poll::Ready(Err(error)));
        let written = if let Poll::Ready(Ok(length)) = polled { length } else { 0 };
        shared.unread.fetch_sub(bytes.len() - written, Ordering::AcqRel);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Returns the lengths of the server's reads of 1,000 bytes.
    async fn pieces(seed: u64, number: u64) -> Vec<usize> {
        let (mut server, mut client) = pipe(1000, seed, number);
        client.write_all(&[b'x'; 1000]).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut lengths, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match server.read(&mut buffer).await.unwrap() {
                0 => return lengths,
                length => lengths.push(length),
            }
        }
    }

    #[tokio::test]
    async fn the_seed_determines_the_split_points() {
        for seed in 0..20 {
            let lengths = pieces(seed, 1).await;
            assert_eq!(lengths.iter().sum::<usize>(), 1000, "seed {seed}");
            assert_eq!(lengths, pieces(seed, 1).await, "seed {seed}");
            assert_ne!(lengths, pieces(seed, 2).await, "seed {seed}");
            assert_ne!(lengths, pieces(seed + 1, 1).await, "seed {seed}");
        }
    }

    #[tokio::test]
    async fn a_reset_is_seen_at_the_other_end() {
        let (mut server, mut client) = pipe(8, 1, 1);
        client.reset();
        let error = server.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let (mut server, mut client) = pipe(8, 1, 1);
        server.write_all(b"last").await.unwrap();
        server.signal(CloseSignal::Reset);
        drop(server);
        let mut heard = Vec::new();
        let error = client.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!((error.kind(), &heard[..]), (io::ErrorKind::ConnectionReset, &b"last"[..]));
    }
}
