//! `echoline echo`: flags to a server, a server to an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use super::serving::{Service, ServingFlags};
use super::values::EolName;
use crate::echo::{self, Dialogue, Mode};
use crate::net::{Address, Framing, Limits};

/// The flags of `echoline echo`.
#[derive(Debug, Args)]
pub(super) struct EchoFlags {
    /// Where to listen, HOST:PORT; may be given several times. Port 0 is any free one.
    /// [default: what systemd passes, or 127.0.0.1:8080]
    #[arg(long, env = "ECHOLINE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Address>,

    /// What to echo.
    #[arg(long, env = "ECHOLINE_MODE", value_enum, default_value = "line")]
    mode: ModeName,

    /// A line that every client hears first; may be given several times. [default: none; in
    /// command mode the two lines of the lesson]
    #[arg(long, env = "ECHOLINE_GREETING", value_name = "TEXT")]
    greeting: Option<Vec<String>>,

    /// What stands before an echoed line. [default: "Echo: "]
    #[arg(long, env = "ECHOLINE_PREFIX", value_name = "TEXT")]
    prefix: Option<String>,

    /// What lines end with. [default: lf; in command mode crlf]
    #[arg(long, env = "ECHOLINE_EOL", value_enum)]
    eol: Option<EolName>,

    #[command(flatten)]
    serving: ServingFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ModeName {
    /// Bytes, unchanged (RFC 862).
    Raw,
    /// Lines, without the white space around them, behind a prefix.
    Line,
    /// As line; TIME, HELP and QUIT are commands.
    Command,
}

impl ModeName {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Line => "line",
            Self::Command => "command",
        }
    }
}

/// Serves until it is told to end. Exit code 0 when every client got its answers, else 1.
pub(super) fn run(flags: EchoFlags) -> anyhow::Result<ExitCode> {
    let dialogue = flags.dialogue();
    let service = Service {
        listen: flags.listen,
        also: Vec::new(),
        what: flags.mode.name(),
        eol: dialogue.eol,
        farewell: dialogue.farewell(),
        page: None,
        framing: match flags.mode {
            ModeName::Raw => Framing::Messages,
            _ => Framing::Lines,
        },
        limits: Limits::default(),
        upgrade: Ok(()),
    };
    let bound = flags.serving.bind(service)?;
    let _log = flags.serving.start_log();
    let dialogue = Arc::new(dialogue);
    let handler = move |client| echo::serve(client, Arc::clone(&dialogue));
    flags.serving.run(bound, handler)
}

impl EchoFlags {
    fn dialogue(&self) -> Dialogue {
        let mode = match self.mode {
            ModeName::Raw => Mode::Raw,
            ModeName::Line => Mode::Line,
            ModeName::Command => Mode::Command,
        };
        let mut dialogue = Dialogue::new(mode, now);
        if let Some(eol) = self.eol {
            dialogue.eol = eol.into();
        }
        dialogue.greeting = self.greeting.clone().unwrap_or(dialogue.greeting);
        dialogue.prefix = self.prefix.clone().unwrap_or(dialogue.prefix);
        let unused = [("--greeting", self.greeting.is_some()), ("--prefix", self.prefix.is_some())];
        for (flag, given) in unused {
            if given && mode == Mode::Raw {
                let text = format!("{flag} has no place in --mode raw, which changes no byte");
                super::wrong_use("echo", ErrorKind::ArgumentConflict, &text);
            }
        }
        dialogue
    }
}

/// The local time with its offset, to the microsecond like the lesson's `isoformat()`.
fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}
