//! The echo of RFC 862: all input is sent back, byte for byte.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

pub(super) async fn serve<S>(mut client: Connection<S>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.echo().await
}
