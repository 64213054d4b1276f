//! The daytime service of RFC 867: one line says the time, then the connection ends.

use tokio::io::{AsyncRead, AsyncWrite};

use super::dialogue::EchoDialogue;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

/// What the RFC ends its line with, whatever other lines end with.
pub(super) const LINE_END: &str = "\r\n";

pub(super) async fn serve<S>(
    mut client: Connection<S>,
    dialogue: &EchoDialogue,
) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let line = (dialogue.clock)() + LINE_END;
    client.write(line.as_bytes()).await?;
    // What the client may have said is taken and thrown away while the connection closes.
    client.flush().await
}
