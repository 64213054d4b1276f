//! `echoline echo`: turns flags into a server, and its result into an exit code.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};

use crate::process::args::UpgradeArgs;
use crate::process::reload::{Commit, Reload, ReloadHook};
use crate::server::args::{ServerCommand, ServingArgs};
use crate::server::check_report::CheckReport;
use crate::server::datagrams::DatagramArgs;
use crate::server::service::Service;
use crate::server::tls::ExpiredCertificatePolicy;
use crate::usage_error::UsageError;
use crate::values::EolName;
use echoline::echo::{self, EchoDialogue, EchoMode};
use echoline::listener::Scheme;
use echoline::sources::SourceLimits;
use echoline::websocket::Framing;
use echoline::{Address, Limits};
use echoline_base::poison::IgnorePoison;

/// The action that applies a setting that a reload cannot change.
pub(crate) const APPLIED_BY: &str = "a restart or an upgrade (SIGUSR2)";

/// The flags of `echoline echo`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Signals: after SIGTERM or Ctrl-C, the server waits up to --drain-timeout for open connections to \
finish; a second signal ends it at once. SIGHUP reads settings and certificates again. SIGUSR2 \
replaces the program with its new version without closing a port.

Exit code: 0 if every client received its replies, 1 if not or after a failure, 2 for wrong \
usage.

Examples:
  echoline echo --listen 127.0.0.1:9000
  echoline echo --listen 0.0.0.0:7 --listen udp://0.0.0.0:7 --mode raw
  echoline echo --listen tls://127.0.0.1:8443 --cert server.pem --key key.pem
  echoline echo --fault 'delay=50ms±10ms p=0.1' --admin 127.0.0.1:9090")]
pub(crate) struct EchoArgs {
    /// Address to listen on [default: 127.0.0.1:8080].
    ///
    /// The flag is repeatable. HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/PATH,
    /// wss://HOST:PORT/PATH, udp://HOST:PORT, unix:PATH, or fd://NAME for a socket from the service
    /// manager (systemd). Port 0 selects a free port. Without this flag, the server uses the
    /// sockets from the service manager, if there are any.
    #[arg(long, env = "ECHOLINE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<Address>,

    /// Service to run.
    #[arg(long, env = "ECHOLINE_MODE", value_enum, default_value = "line")]
    mode: ModeName,

    /// Line to send to each new client.
    ///
    /// The flag is repeatable. By default, the server sends no line; in --mode command, it sends a
    /// welcome and its commands.
    #[arg(long, env = "ECHOLINE_GREETING", value_name = "TEXT")]
    greeting: Option<Vec<String>>,

    /// Text before each echoed line [default: "Echo: "].
    #[arg(long, env = "ECHOLINE_PREFIX", value_name = "TEXT")]
    prefix: Option<String>,

    /// Line end of replies [default: lf; in --mode command crlf].
    #[arg(long, env = "ECHOLINE_EOL", value_enum)]
    eol: Option<EolName>,

    #[command(flatten)]
    datagrams: DatagramArgs,

    #[command(flatten)]
    serving: ServingArgs,

    #[command(flatten)]
    upgrade: UpgradeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ModeName {
    /// Echo bytes unchanged (RFC 862).
    Raw,
    /// Echo lines, trimmed, after the text of --prefix.
    Line,
    /// As line, with the commands TIME, HELP, QUIT and WHOAMI.
    Command,
    /// Send the address of the client as the server sees it, and close.
    Whoami,
    /// Read and drop everything (RFC 863).
    Discard,
    /// Send lines of characters until the client closes (RFC 864).
    Chargen,
    /// Send the time in one line, and close (RFC 867).
    Daytime,
}

impl ModeName {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Line => "line",
            Self::Command => "command",
            Self::Whoami => "whoami",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
        }
    }

    fn mode(self) -> EchoMode {
        match self {
            Self::Raw => EchoMode::Raw,
            Self::Line => EchoMode::Line,
            Self::Command => EchoMode::Command,
            Self::Whoami => EchoMode::Whoami,
            Self::Discard => EchoMode::Discard,
            Self::Chargen => EchoMode::Chargen,
            Self::Daytime => EchoMode::Daytime,
        }
    }
}

/// Serves until a signal ends it. The exit code is 0 if every client received its replies, else 1.
pub(crate) fn run(flags: EchoArgs, mut reload: Reload<EchoArgs>) -> anyhow::Result<ExitCode> {
    if let Some(text) = flags.mistake() {
        return Err(UsageError::new(text).into());
    }
    let dialogue = flags.dialogue();
    let bound = flags.serving.bind(flags.service(&dialogue))?;
    let _log = flags.serving.start_log(&mut reload)?;
    let current = CurrentDialogue::new(dialogue);
    reload.add(reload_hook(current.clone()));
    let handler = move |client| echo::serve(client, current.dialogue());
    flags.serving.run(bound, reload, handler)
}

impl ServerCommand for EchoArgs {
    /// Returns the flags of every server.
    fn serving(&self) -> &ServingArgs {
        &self.serving
    }

    /// Returns an error message if flags that are valid on their own contradict each other.
    fn mistake(&self) -> Option<String> {
        let (name, mode) = (self.mode.name(), self.mode.mode());
        let is_udp = |address: &Address| address.scheme() == Scheme::Udp;
        let amplification = self.datagrams.udp_allow_amplification;
        if mode.amplifies() && !amplification && self.listen.iter().any(is_udp) {
            return Some(format!(
                "--mode {name} answers a datagram with a longer one, so that a client with a \
                 forged address can flood another host: remove the udp:// address, or add \
                 --udp-allow-amplification"
            ));
        }
        if mode == EchoMode::Whoami && self.listen.iter().any(is_udp) {
            let text = "--mode whoami needs connections: remove the udp:// address";
            return Some(text.to_owned());
        }
        let place = match mode {
            _ if !self.listen.is_empty() && self.listen.iter().all(is_udp) => {
                "over udp://, which echoes datagrams unchanged".to_owned()
            }
            EchoMode::Raw => "in --mode raw, which echoes bytes unchanged".to_owned(),
            mode if !mode.answers_lines() => {
                format!("in --mode {name}, which does not reply to lines")
            }
            _ => return None,
        };
        let unused = [("--greeting", self.greeting.is_some()), ("--prefix", self.prefix.is_some())];
        let (flag, _) = unused.into_iter().find(|(_, given)| *given)?;
        Some(format!("{flag} has no effect {place}: remove the flag"))
    }

    /// Checks whether the server would start, without listening.
    fn check(&self, findings: &mut CheckReport) -> anyhow::Result<()> {
        match self.mistake() {
            Some(mistake) => findings.wrong(mistake),
            None => findings.right(format!("an echo server in mode {}", self.mode.name())),
        }
        self.serving.check(&self.service(&self.dialogue()), findings)
    }
}

impl EchoArgs {
    fn service(&self, dialogue: &EchoDialogue) -> Service {
        Service {
            listen: self.listen.iter().cloned().map(Into::into).collect(),
            also: Vec::new(),
            what: self.mode.name(),
            eol: dialogue.eol,
            farewell: dialogue.farewell(),
            outdated: ExpiredCertificatePolicy::Serve,
            page: None,
            framing: match self.mode {
                ModeName::Raw => Framing::Messages,
                _ => Framing::Lines,
            },
            limits: Limits::default(),
            source_limits: SourceLimits::off(),
            shown: |line| line.into(),
            datagrams: Some(self.datagrams.service(echo::answer_datagrams(dialogue))),
            upgrade: Ok(self.upgrade.times()),
        }
    }

    fn dialogue(&self) -> EchoDialogue {
        let clock = if self.mode == ModeName::Daytime { daytime } else { now };
        let mut dialogue = self.words(EchoDialogue::new(self.mode.mode(), clock));
        if let Some(eol) = self.eol {
            dialogue.eol = eol.into();
        }
        dialogue
    }

    /// Returns the dialogue with the greeting and prefix of the flags, if they are set.
    fn words(&self, dialogue: EchoDialogue) -> EchoDialogue {
        let greeting = self.greeting.clone().unwrap_or(dialogue.greeting);
        let prefix = self.prefix.clone().unwrap_or(dialogue.prefix);
        EchoDialogue { greeting, prefix, ..dialogue }
    }
}

/// The dialogue that new connections get. A reload replaces it.
#[derive(Clone)]
struct CurrentDialogue(Arc<Mutex<Arc<EchoDialogue>>>);

impl CurrentDialogue {
    fn new(dialogue: EchoDialogue) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(dialogue))))
    }

    fn dialogue(&self) -> Arc<EchoDialogue> {
        Arc::clone(&self.0.lock().ignore_poison())
    }

    fn set(&self, dialogue: EchoDialogue) {
        *self.0.lock().ignore_poison() = Arc::new(dialogue);
    }
}

/// Returns the hook that applies a reloaded greeting and prefix to new connections.
fn reload_hook(current: CurrentDialogue) -> ReloadHook<EchoArgs> {
    let prepare = move |flags: &EchoArgs| {
        let running = current.dialogue();
        // A reload cannot change the mode and the line end.
        let usual = EchoDialogue::new(running.mode, running.clock);
        let dialogue = flags.words(EchoDialogue { eol: running.eol, ..usual });
        let current = current.clone();
        let commit: Commit = Box::new(move || {
            current.set(dialogue);
            String::new()
        });
        Ok(Some(commit))
    };
    ReloadHook { keys: &["greeting", "prefix"], prepare: Box::new(prepare) }
}

/// Returns the local time with its offset, to the microsecond like the lesson's `isoformat()`.
fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

/// Returns the local time in the format of the first example of RFC 867.
fn daytime() -> String {
    jiff::ZonedDateTime::now().strftime("%A, %B %-d, %Y %H:%M:%S-%Z").to_string()
}
