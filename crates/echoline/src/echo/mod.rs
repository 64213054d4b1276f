//! The dialogues of the lesson's echo servers, and the services of RFC 862, 863, 864 and 867.

mod chargen;
mod command;
mod datagram;
mod daytime;
mod dialogue;
mod discard;
mod line;
mod whoami;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

pub use datagram::answer_datagrams;
pub use dialogue::{EchoDialogue, EchoMode};

/// Runs the dialogue with one client until its end. Dropping the future ends the connection.
///
/// # Errors
/// The close reason, if the client did not end the connection.
pub async fn serve<S>(mut client: Connection<S>, dialogue: Arc<EchoDialogue>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match dialogue.mode {
        EchoMode::Raw => client.echo().await,
        EchoMode::Line => line::serve(client, &dialogue).await,
        EchoMode::Command => command::serve(client, &dialogue).await,
        EchoMode::Whoami => whoami::serve(client).await,
        EchoMode::Discard => discard::serve(client).await,
        EchoMode::Chargen => chargen::serve(client).await,
        EchoMode::Daytime => daytime::serve(client, &dialogue).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::limits::Limits;

    /// Fault 13: every idle connection reserves memory for the largest dialogue, so a rarely used
    /// dialogue must not increase that size.
    #[tokio::test]
    async fn a_dialogue_takes_little_memory() {
        let (_here, there) = tokio::io::duplex(8);
        let client = Connection::new(there, Limits::default());
        let dialogue = Arc::new(EchoDialogue::new(EchoMode::Line, String::new));
        let size = size_of_val(&serve(client, dialogue));
        assert!(size <= 256, "{size} bytes");
    }
}
