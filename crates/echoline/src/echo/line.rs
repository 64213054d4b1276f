//! The lesson's simple echo: a message is a line.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{EchoDialogue, echo, greet};
use crate::net::{Closed, Connection};

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
