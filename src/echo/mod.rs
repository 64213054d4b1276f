//! Policy: what an echo server says. The dialogues of the lesson's echo servers, and RFC 862.

mod command;
mod line;
mod raw;
mod whoami;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::net::{Closed, Connection, Eol, Farewell, Write};

pub use command::Command;

/// How an echo server takes what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every byte comes back as it is (RFC 862).
    Raw,
    /// Every line comes back without the white space around it, behind a prefix.
    Line,
    /// As `Line`, but `TIME`, `HELP`, `QUIT` and `WHOAMI` are commands.
    Command,
    /// Who connects hears who they are, and the connection ends.
    Whoami,
}

/// What one echo server says, apart from what it is sent.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// How input is taken.
    pub mode: Mode,
    /// The lines that a new client hears first.
    pub greeting: Vec<String>,
    /// What stands before an echoed line.
    pub prefix: String,
    /// What lines end with; the server's [`Server::eol`](crate::Server::eol) must be the same.
    pub eol: Eol,
    /// The answer to `TIME`: the local time as RFC 3339 writes it.
    pub clock: fn() -> String,
}

impl Dialogue {
    /// The dialogue that the lesson's program for `mode` holds: simple echo (s1) for
    /// [`Mode::Line`], command echo (s3) for [`Mode::Command`].
    #[must_use]
    pub fn new(mode: Mode, clock: fn() -> String) -> Self {
        let (greeting, eol): (&[&str], _) = match mode {
            Mode::Raw | Mode::Line | Mode::Whoami => (&[], Eol::Lf),
            Mode::Command => (
                &["Welcome to Echo Server!", "Commands: TIME, QUIT, or any text for echo"],
                Eol::CrLf,
            ),
        };
        let greeting = greeting.iter().map(|&line| line.to_owned()).collect();
        Self { mode, greeting, prefix: "Echo: ".to_owned(), eol, clock }
    }

    /// What a client hears when the server ends its connection. Raw bytes stay unmixed.
    #[must_use]
    pub fn farewell(&self) -> Farewell {
        match self.mode {
            Mode::Raw => Farewell::Refusal,
            Mode::Line | Mode::Command | Mode::Whoami => Farewell::Sentences,
        }
    }
}

/// Holds the dialogue with one client, to its end.
///
/// # Errors
/// The way in which the connection ended, where the client did not end it.
pub async fn serve<S>(client: Connection<S>, dialogue: Arc<Dialogue>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match dialogue.mode {
        Mode::Raw => raw::serve(client).await,
        Mode::Line => line::serve(client, &dialogue).await,
        Mode::Command => command::serve(client, &dialogue).await,
        Mode::Whoami => whoami::serve(client).await,
    }
}

fn greet<'a, S>(client: &'a mut Connection<S>, dialogue: &Dialogue) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if dialogue.greeting.is_empty() {
        return client.write(b"");
    }
    client.write_line(dialogue.greeting.join(dialogue.eol.as_str()))
}

fn echo<'a, S>(client: &'a mut Connection<S>, dialogue: &'a Dialogue, text: &'a [u8]) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.write_line_parts(&[dialogue.prefix.as_bytes(), text])
}
