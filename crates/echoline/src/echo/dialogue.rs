//! The settings of an echo server's dialogue: mode, greeting, prefix and line end.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::borrows::Write;
use crate::connection::config::{Eol, Farewell};
use crate::connection::handle::Connection;

/// The protocol of an echo server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoMode {
    /// Every byte is sent back unchanged (RFC 862).
    Raw,
    /// Every line is sent back after the prefix, without the white space around it.
    Line,
    /// Like `Line`, but `TIME`, `HELP`, `QUIT` and `WHOAMI` are commands.
    Command,
    /// The client receives its own address and TLS details, and the connection ends.
    Whoami,
    /// Every byte is discarded (RFC 863).
    Discard,
    /// An endless series of lines of characters, as fast as the client reads them (RFC 864).
    Chargen,
    /// The server sends the time in one line, and ends the connection (RFC 867).
    Daytime,
}

impl EchoMode {
    /// Every mode.
    pub const ALL: [Self; 7] = [
        Self::Raw,
        Self::Line,
        Self::Command,
        Self::Whoami,
        Self::Discard,
        Self::Chargen,
        Self::Daytime,
    ];

    /// Returns whether the mode answers lines. Only such modes can have a greeting and a prefix.
    #[must_use]
    pub fn answers_lines(self) -> bool {
        matches!(self, Self::Line | Self::Command)
    }
}

/// The settings of an echo server's dialogue.
#[derive(Clone, Debug)]
pub struct EchoDialogue {
    /// The protocol.
    pub mode: EchoMode,
    /// The lines that a new client receives first.
    pub greeting: Vec<String>,
    /// The text before an echoed line.
    pub prefix: String,
    /// The line end; the server's [`Server::eol`](crate::Server::eol) must be the same.
    pub eol: Eol,
    /// The function that returns the answer to `TIME`: the local time in the format of RFC 3339.
    /// For [`EchoMode::Daytime`] it returns the whole line, without its line end.
    pub clock: fn() -> String,
}

impl EchoDialogue {
    /// Returns the dialogue of the lesson's program for `mode`: simple echo (s1) for
    /// [`EchoMode::Line`], command echo (s3) for [`EchoMode::Command`].
    #[must_use]
    pub fn new(mode: EchoMode, clock: fn() -> String) -> Self {
        let (greeting, eol): (&[&str], _) = match mode {
            EchoMode::Raw | EchoMode::Line | EchoMode::Whoami | EchoMode::Discard => (&[], Eol::Lf),
            EchoMode::Chargen | EchoMode::Daytime => (&[], Eol::CrLf),
            EchoMode::Command => (
                &["Welcome to Echo Server!", "Commands: TIME, QUIT, or any text for echo"],
                Eol::CrLf,
            ),
        };
        let greeting = greeting.iter().map(|&line| line.to_owned()).collect();
        Self { mode, greeting, prefix: "Echo: ".to_owned(), eol, clock }
    }

    /// Returns the setting for the message to a client whose connection the server ends. A raw echo
    /// sends a message only when it refuses a connection, so that its output stays identical to its
    /// input.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        if self.mode.answers_lines() { Farewell::Sentences } else { Farewell::Refusal }
    }
}

pub(super) fn greet<'a, S>(client: &'a mut Connection<S>, dialogue: &EchoDialogue) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if dialogue.greeting.is_empty() {
        return client.write(b"");
    }
    client.write_line(dialogue.greeting.join(dialogue.eol.as_str()))
}

pub(super) fn echo<'a, S>(
    client: &'a mut Connection<S>,
    dialogue: &'a EchoDialogue,
    text: &'a [u8],
) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.write_line_parts(&[dialogue.prefix.as_bytes(), text])
}
