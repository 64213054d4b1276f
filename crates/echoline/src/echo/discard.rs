//! The discard service of RFC 863: input is discarded, and nothing is sent.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

/// The maximum number of bytes per read.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn serve<S>(mut client: Connection<S>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    while client.read(CHUNK_BYTES).await?.is_some() {}
    Ok(())
}
