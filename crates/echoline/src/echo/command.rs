//! The lesson's command echo: lines, some of which are commands.

use tokio::io::{AsyncRead, AsyncWrite};

use super::dialogue::{EchoDialogue, echo, greet};
use super::whoami;
use crate::connection::borrows::Write;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

/// The command in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EchoCommand {
    /// `TIME`: the server's time.
    Time,
    /// `HELP`: the list of commands.
    Help,
    /// `QUIT`: the end of the dialogue.
    Quit,
    /// `WHOAMI`: the client's own address and details. It is not part of the lesson, so `HELP` does
    /// not list it.
    Whoami,
    /// Any other text.
    Echo,
}

impl EchoCommand {
    /// Parses a trimmed line. The case does not matter. Case follows the rules of Unicode, because
    /// the lesson calls `str.upper()`: a dotless `ı` is an `I`.
    fn parse(line: &[u8]) -> Self {
        // No letter of a command takes more than two bytes, in upper or lower case. So a longer
        // line is not a command.
        if line.len() > 2 * "WHOAMI".len() {
            return Self::Echo;
        }
        let Ok(text) = std::str::from_utf8(line) else { return Self::Echo };
        let is = |name: &str| text.chars().flat_map(char::to_uppercase).eq(name.chars());
        if is("TIME") {
            Self::Time
        } else if is("HELP") {
            Self::Help
        } else if is("QUIT") {
            Self::Quit
        } else if is("WHOAMI") {
            Self::Whoami
        } else {
            Self::Echo
        }
    }
}

pub(super) async fn serve<S>(
    mut client: Connection<S>,
    dialogue: &EchoDialogue,
) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    greet(&mut client, dialogue).await?;
    while let Some(line) = client.read_line().await? {
        match EchoCommand::parse(line.trimmed()) {
            EchoCommand::Echo => echo(&mut client, dialogue, line.trimmed()).await?,
            EchoCommand::Help => client.write_line("Commands: TIME, QUIT, HELP").await?,
            EchoCommand::Time => tell_time(&mut client, dialogue).await?,
            // This future is boxed, like those of the rarer modes, so that idle connections reserve
            // no memory for it.
            EchoCommand::Whoami => Box::pin(whoami::tell(&mut client)).await?,
            EchoCommand::Quit => return client.write_line("Goodbye!").await,
        }
    }
    Ok(())
}

fn tell_time<'a, S>(client: &'a mut Connection<S>, dialogue: &EchoDialogue) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.write_line(format_args!("Server time: {}", (dialogue.clock)()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_in_any_case() {
        for (line, command) in [
            ("TIME", EchoCommand::Time),
            ("tImE", EchoCommand::Time),
            ("help", EchoCommand::Help),
            ("Quit", EchoCommand::Quit),
            ("quıt", EchoCommand::Quit),
            ("whoami", EchoCommand::Whoami),
            ("WHO AM I", EchoCommand::Echo),
            ("", EchoCommand::Echo),
            ("QUIT NOW", EchoCommand::Echo),
            ("TIMES", EchoCommand::Echo),
        ] {
            assert_eq!(EchoCommand::parse(line.as_bytes()), command, "{line}");
        }
        assert_eq!(EchoCommand::parse(b"QUI\xff"), EchoCommand::Echo);
    }
}
