//! Streams that lie over other streams: TLS, Telnet, a planned fault.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream over another one; see [`Connection::layer`](crate::Connection::layer).
pub trait Layer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The stream below.
    type Below: 'static;

    /// The stream below, to set its options; to read or write past the layer would break it.
    fn below(&mut self) -> &mut Self::Below;
}
