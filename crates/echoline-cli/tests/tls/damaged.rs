//! Tests of damaged and incomplete handshakes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use echoline::tls::ClientAuth;
use echoline::{Closed, Limits};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::served::{Handler, Served, localhost};

/// The number of bytes of a handshake; the test damages each of them once.
const BYTES: usize = 600;

/// A stream that inverts one bit of the sent bytes.
struct Flip {
    stream: TcpStream,
    sent: usize,
    at: usize,
    /// Whether the bit was inverted. It is false if the handshake was too short to reach the bit.
    flipped: Arc<AtomicBool>,
}

impl AsyncRead for Flip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Flip {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        let (sent, at) = (self.sent, self.at);
        if let Some(byte) = at.checked_sub(sent).and_then(|place| bytes.get_mut(place)) {
            *byte ^= 1 << (at % 8);
            self.flipped.store(true, Ordering::Relaxed);
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.sent += count;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sends a line and checks its echo. Returns the client with the connection still open.
async fn say_hello<S: AsyncRead + AsyncWrite + Unpin>(mut client: S) -> io::Result<S> {
    client.write_all(b"hello\n").await?;
    client.flush().await?;
    let mut heard = [0; 6];
    client.read_exact(&mut heard).await?;
    if heard != *b"hello\n" {
        return Err(io::Error::other("that is no echo"));
    }
    Ok(client)
}

/// Fault 50: a damaged byte of a handshake, at any position, ends only its own connection.
#[tokio::test]
async fn a_flipped_bit_ends_its_own_connection_only() {
    // The time-out is short, because a damaged length makes one end wait for bytes that never
    // arrive.
    let limits = Limits {
        handshake_timeout: Duration::from_secs(2),
        idle_timeout: Some(Duration::from_secs(2)),
        ..Limits::default()
    };
    for version in [&TLS12, &TLS13] {
        let served = Served::start(Handler::Lines, limits.clone(), |_| ClientAuth::Off).await;
        let connector = served.connector(version);
        let mut clients = JoinSet::new();
        for at in 0..BYTES {
            let flipped = Arc::new(AtomicBool::new(false));
            let stream = served.socket().await;
            let stream = Flip { stream, sent: 0, at, flipped: Arc::clone(&flipped) };
            let connector = connector.clone();
            clients.spawn(async move {
                let talk = async { say_hello(connector.connect(localhost(), stream).await?).await };
                talk.await.is_ok() && flipped.load(Ordering::Relaxed)
            });
        }
        let fine = clients.join_all().await.into_iter().filter(|&fine| fine).count();
        // Receivers ignore the two bytes of the version in a record's header (RFC 8446, section
        // 5.1), and the handshake has four records.
        assert!(fine <= 8, "{version:?}: {fine} of {BYTES} damaged handshakes went well");
        say_hello(served.connect(None).await.unwrap()).await.unwrap();
        let report = served.end().await;
        assert_eq!(report.count(Closed::Panicked), 0, "{report:?}");
        let wrong = report.count(Closed::HandshakeFailed) + report.count(Closed::HandshakeTimeout);
        assert!(wrong as usize > BYTES / 4, "{version:?}: {report:?}");
    }
}

/// Fault 50: a damaged record in the middle of a dialogue ends its connection.
#[tokio::test]
async fn a_broken_record_ends_an_open_connection() {
    for version in [&TLS12, &TLS13] {
        let served = Served::plain(Handler::Lines).await;
        let connecting = served.connector(version).connect(localhost(), served.socket().await);
        let mut client = connecting.await.unwrap();
        // A record of the right form, written below TLS and encrypted with no valid key.
        let socket = client.get_mut().0;
        socket.write_all(&[&[23, 3, 3, 0, 64][..], &[7; 64]].concat()).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap_err();
        drop(client);
        let report = served.end().await;
        assert_eq!(report.count(Closed::Malformed), 1, "{version:?}: {report:?}");
    }
}

/// Fault 50: a client that does not speak TLS receives an alert and is disconnected.
#[tokio::test]
async fn a_client_without_tls_gets_an_alert() {
    let served = Served::plain(Handler::Lines).await;
    let mut client = served.socket().await;
    client.write_all(b"hello, this is no TLS at all\n").await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[..2], [21, 3], "no alert: {heard:?}");
    drop(client);
    let report = served.end().await;
    assert_eq!(report.count(Closed::HandshakeFailed), 1, "{report:?}");
}

/// Fault 46: two hundred clients that connect and stay silent delay no other client.
#[tokio::test]
async fn silent_clients_delay_no_client() {
    let limits = Limits { handshake_timeout: Duration::from_secs(600), ..Limits::default() };
    let served = Served::start(Handler::Lines, limits, |_| ClientAuth::Off).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(served.socket().await);
    }
    let mut good = say_hello(served.connect(None).await.unwrap()).await.unwrap();
    good.shutdown().await.unwrap();
    good.read_to_end(&mut Vec::new()).await.unwrap();
    let mut byte = [0; 1];
    assert!(silent.iter_mut().all(|one| one.try_read(&mut byte).is_err()), "a client was closed");
    drop(silent);
    let report = served.end().await;
    assert_eq!(report.count(Closed::EndOfStream), 1, "{report:?}");
}
