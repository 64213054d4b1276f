//! TLS as a layer over a stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::sentence::{TlsRole, sentence, tls_error};
use crate::transport::stream::{Layer, Stream};

/// An established TLS connection.
///
/// The peer ends its stream with `close_notify`. If the stream ends without it, the network or an
/// attacker has truncated it, and a read fails with [`io::ErrorKind::UnexpectedEof`]. Each
/// direction can be ended separately, as over TCP.
#[derive(Debug)]
pub(super) struct TlsLayer(pub(super) TlsStream<Stream>);

impl TlsLayer {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Stream>> {
        Pin::new(&mut self.get_mut().0)
    }

    /// Adds an explanation to a TLS error or an unexpected end of stream; returns any other error
    /// unchanged.
    fn explain(&self, error: io::Error) -> io::Error {
        let side = match &self.0 {
            TlsStream::Client(_) => TlsRole::Client,
            TlsStream::Server(_) => TlsRole::Server,
        };
        if tls_error(&error).is_some() {
            io::Error::new(error.kind(), sentence(&error, side))
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            io::Error::new(
                error.kind(),
                "the stream was cut off: it ended without the end of TLS (close_notify)",
            )
        } else {
            error
        }
    }
}

impl Layer for TlsLayer {
    type Below = Stream;

    fn below(&mut self) -> &mut Stream {
        self.0.get_mut().0
    }
}

impl AsyncRead for TlsLayer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.as_mut().stream().poll_read(cx, buffer));
        Poll::Ready(read.map_err(|error| self.explain(error)))
    }
}

impl AsyncWrite for TlsLayer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
