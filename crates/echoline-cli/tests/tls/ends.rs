//! Tests of the end of connections over TLS.

use std::time::Duration;

use echoline::tls::ClientAuth;
use echoline::{Closed, Limits};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::served::{Handler, Served, localhost};

const BYTES: usize = 4 << 20;

/// Fault 29: a client that closes only its own direction still gets all output, even if it reads
/// slowly.
#[tokio::test]
async fn a_half_closed_client_gets_everything() {
    for version in [&TLS12, &TLS13] {
        let served = Served::plain(Handler::Bytes).await;
        let connecting = served.connector(version).connect(localhost(), served.socket().await);
        let (mut reader, mut writer) = tokio::io::split(connecting.await.unwrap());
        let sent: Vec<u8> = (0..BYTES).map(|place| (place % 251) as u8).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            // `close_notify` and FIN.
            writer.shutdown().await.unwrap();
            writer
        });
        let mut received = Vec::new();
        let mut piece = vec![0; 8 * 1024];
        loop {
            let length = reader.read(&mut piece).await.unwrap();
            received.extend_from_slice(&piece[..length]);
            if length == 0 {
                break;
            }
            // This client reads slowly, because other tasks run first.
            tokio::task::yield_now().await;
        }
        assert!(received == expected, "{version:?}: {} bytes came back", received.len());
        drop(sending.await.unwrap());
        let report = served.end().await;
        assert_eq!(report.count(Closed::EndOfStream), 1, "{report:?}");
    }
}

/// Fault 30: a FIN without `close_notify` ends the connection, and an unfinished line before the
/// FIN is not echoed.
#[tokio::test]
async fn a_cut_stream_ends_without_echoing_the_rest() {
    for version in [&TLS12, &TLS13] {
        let served = Served::plain(Handler::Lines).await;
        let connecting = served.connector(version).connect(localhost(), served.socket().await);
        let mut client = connecting.await.unwrap();
        client.write_all(b"whole\nhalf a l").await.unwrap();
        client.flush().await.unwrap();
        // Closes the socket below TLS.
        client.get_mut().0.shutdown().await.unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "whole\n");
        let report = served.end().await;
        assert_eq!(report.count(Closed::Truncated), 1, "{version:?}: {report:?}");
    }
}

/// Fault 31 over TLS: a client that reads nothing is disconnected with a reset, so the system keeps
/// no data for it.
#[tokio::test]
async fn a_stalled_client_is_reset() {
    let limits = Limits { stall_timeout: Some(Duration::from_millis(300)), ..Limits::default() };
    let served = Served::start(Handler::Bytes, limits, |_| ClientAuth::Off).await;
    let connecting = served.connector(&TLS13).connect(localhost(), served.socket().await);
    let mut client = connecting.await.unwrap();
    let piece = vec![7; 64 * 1024];
    // The client never reads. Its writes fail once the server has reset the connection.
    let error = loop {
        if let Err(error) = client.write_all(&piece).await {
            break error;
        }
    };
    let kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
    let report = served.end().await;
    assert_eq!(report.count(Closed::StallTimeout), 1, "{report:?}");
}

/// A draining server sends `close_notify`, so its clients see a regular end of the stream.
#[tokio::test]
async fn a_drained_client_reads_an_orderly_end() {
    let served = Served::plain(Handler::Lines).await;
    let mut client = served.connect(None).await.unwrap();
    client.write_all(b"hello\n").await.unwrap();
    client.flush().await.unwrap();
    let mut heard = [0; 6];
    client.read_exact(&mut heard).await.unwrap();
    let ending = tokio::spawn(served.end());
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    drop(client);
    assert!(ending.await.unwrap().is_clean());
}
