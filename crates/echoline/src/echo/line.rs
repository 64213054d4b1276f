//! The lesson's simple echo: a message is a line.

use tokio::io::{AsyncRead, AsyncWrite};

use super::dialogue::{EchoDialogue, echo, greet};
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

pub(super) async fn serve<S>(
    mut client: Connection<S>,
    dialogue: &EchoDialogue,
) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    greet(&mut client, dialogue).await?;
    while let Some(line) = client.read_line().await? {
        echo(&mut client, dialogue, line.trimmed()).await?;
    }
    Ok(())
}
