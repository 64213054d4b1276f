//! Streams that lie over other streams: TLS, Telnet, a planned fault.

use tokio::io::{AsyncRead, AsyncWrite};

use super::core::{self, CloseSignal};
use super::limits::Closed;

/// A byte stream over another one; see [`Connection::layer`](crate::Connection::layer).
pub trait Layer: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The stream below.
    type Below: 'static;

    /// The stream below, to set its options; to read or write past the layer would break it.
    fn below(&mut self) -> &mut Self::Below;

    /// The connection is about to be closed, for this reason: for a protocol that tells its peer.
    /// Passed on to the streams below.
    fn note_end(&mut self, closed: Closed) {
        core::tell(self.below(), CloseSignal::Ends(closed));
    }
}
