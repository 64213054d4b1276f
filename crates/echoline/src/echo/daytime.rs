//! The daytime service of RFC 867: sends the time in one line, and ends the connection.

use tokio::io::{AsyncRead, AsyncWrite};

use super::dialogue::EchoDialogue;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

/// The line end that the RFC requires, independent of the server's line end.
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
    // Closing the connection reads and discards any client input.
    client.flush().await
}
