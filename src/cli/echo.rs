//! `echoline echo`: flags to a server, a server to an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use super::datagrams::DatagramFlags;
use super::serving::{Service, ServingFlags};
use super::values::EolName;
use crate::echo::{self, Dialogue, Mode};
use crate::net::{Address, Framing, Limits, Scheme};

/// The flags of `echoline echo`.
#[derive(Debug, Args)]
pub(super) struct EchoFlags {
    /// Where to listen, HOST:PORT or udp://HOST:PORT; may be given several times. Port 0 is any
    /// free one. [default: what systemd passes, or 127.0.0.1:8080]
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
    datagrams: DatagramFlags,

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
    /// Nothing: whatever comes is thrown away (RFC 863).
    Discard,
    /// Nothing: sends lines of characters without an end (RFC 864).
    Chargen,
    /// Nothing: says the time in one line and closes (RFC 867).
    Daytime,
}

impl ModeName {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Line => "line",
            Self::Command => "command",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
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
        framing: match flags.mode {
            ModeName::Raw => Framing::Messages,
            _ => Framing::Lines,
        },
        limits: Limits::default(),
        datagrams: Some(flags.datagrams.service(echo::answer_datagrams(&dialogue))),
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
        let (mode, clock): (_, fn() -> String) = match self.mode {
            ModeName::Raw => (Mode::Raw, now),
            ModeName::Line => (Mode::Line, now),
            ModeName::Command => (Mode::Command, now),
            ModeName::Discard => (Mode::Discard, now),
            ModeName::Chargen => (Mode::Chargen, now),
            ModeName::Daytime => (Mode::Daytime, daytime),
        };
        if let Some(text) = self.mistake(mode) {
            super::wrong_use("echo", ErrorKind::ArgumentConflict, &text);
        }
        let mut dialogue = Dialogue::new(mode, clock);
        if let Some(eol) = self.eol {
            dialogue.eol = eol.into();
        }
        dialogue.greeting = self.greeting.clone().unwrap_or(dialogue.greeting);
        dialogue.prefix = self.prefix.clone().unwrap_or(dialogue.prefix);
        dialogue
    }

    /// What does not fit together, as a sentence.
    fn mistake(&self, mode: Mode) -> Option<String> {
        let name = self.mode.name();
        let is_udp = |address: &Address| address.scheme() == Scheme::Udp;
        let amplification = self.datagrams.udp_allow_amplification;
        if mode.amplifies() && !amplification && self.listen.iter().any(is_udp) {
            return Some(format!(
                "--mode {name} answers a datagram with more than it has, so that a forged one \
                 floods somebody else: leave udp:// out, or add --udp-allow-amplification"
            ));
        }
        let place = match mode {
            _ if !self.listen.is_empty() && self.listen.iter().all(is_udp) => {
                "over udp://, where datagrams come back unchanged".to_owned()
            }
            Mode::Raw => "in --mode raw, which changes no byte".to_owned(),
            mode if !mode.answers_lines() => format!("in --mode {name}, which answers no line"),
            _ => return None,
        };
        let unused = [("--greeting", self.greeting.is_some()), ("--prefix", self.prefix.is_some())];
        let (flag, _) = unused.into_iter().find(|(_, given)| *given)?;
        Some(format!("{flag} has no place {place}"))
    }
}

/// The local time with its offset, to the microsecond like the lesson's `isoformat()`.
fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

/// The local time as the first example of RFC 867 has it.
fn daytime() -> String {
    jiff::ZonedDateTime::now().strftime("%A, %B %-d, %Y %H:%M:%S-%Z").to_string()
}
