//! `echoline echo`: flags to a server, a server to an exit code.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

use super::descriptors::Descriptors;
use super::holder::holder;
use super::log;
use super::values::{self, EolName, Timeout};
use crate::echo::{self, Dialogue, Mode};
use crate::net::{Address, Limits, Listener, ListenerOptions, Report, Server};

/// The flags of `echoline echo`.
#[derive(Debug, Args)]
pub(super) struct EchoFlags {
    /// Where to listen, HOST:PORT; may be given several times. Port 0 is any free one.
    #[arg(long, env = "ECHOLINE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:8080")]
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

    /// Write the addresses that were really bound to this file, one a line, once connections are
    /// accepted; remove it at the end.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    bounds: Bounds,

    /// Threads that serve connections. [default: one per core]
    #[arg(long, env = "ECHOLINE_WORKERS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    workers: Option<NonZeroUsize>,

    /// Look for work this long after each message before sleeping, for example 50us: less
    /// latency for few connections, at the price of the core.
    #[arg(long, env = "ECHOLINE_BUSY_POLL", value_name = "DURATION")]
    #[arg(value_parser = values::duration)]
    busy_poll: Option<Duration>,

    #[command(flatten)]
    log: log::LogFlags,
}

/// The flags that bound what a client can take.
#[derive(Debug, Args)]
struct Bounds {
    /// Connections at once; one more hears `Server is busy. Try again later.` [default: 10000, or
    /// what the descriptor limit leaves room for]
    #[arg(long, env = "ECHOLINE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_connections: Option<NonZeroUsize>,

    /// Connections at once from one address (IPv6: one /64 network). [default: a quarter of
    /// --max-connections; no limit where only loopback addresses are listened on]
    #[arg(long, env = "ECHOLINE_MAX_PER_IP", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_per_ip: Option<NonZeroUsize>,

    /// The longest line, its end not counted.
    #[arg(long, env = "ECHOLINE_MAX_LINE", value_name = "BYTES", value_parser = values::bytes)]
    #[arg(default_value = "64KiB")]
    max_line: usize,

    /// How long to wait for the next line.
    #[arg(long, env = "ECHOLINE_IDLE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "off")]
    idle_timeout: Timeout,

    /// How long one line may take from its first byte to its end.
    #[arg(long, env = "ECHOLINE_LINE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "30s")]
    line_timeout: Timeout,

    /// How long a client may leave unread what was sent to it.
    #[arg(long, env = "ECHOLINE_STALL_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "30s")]
    stall_timeout: Timeout,

    /// How long connections may take to finish after SIGTERM or Ctrl-C; the rest is broken off.
    #[arg(long, env = "ECHOLINE_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::duration, default_value = "30s")]
    drain_timeout: Duration,

    /// Connections that the system queues until they are accepted.
    #[arg(long, env = "ECHOLINE_BACKLOG", value_name = "N", default_value = "1024")]
    backlog: u32,
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
    let descriptors = Descriptors::raise();
    let limits = flags.limits(&descriptors);
    let _log = log::start(&flags.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(serve(&flags, dialogue, limits, &descriptors))?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn serve(
    flags: &EchoFlags,
    dialogue: Dialogue,
    limits: Limits,
    descriptors: &Descriptors,
) -> anyhow::Result<Report> {
    if let Some(path) = &flags.ready_file {
        remove(path)?;
    }
    let workers = flags.workers();
    let mut server = flags
        .bind(&limits)
        .await?
        .limits(limits.clone())
        .eol(dialogue.eol)
        .farewell(dialogue.farewell())
        .workers(workers);
    if let Some(length) = flags.busy_poll {
        server = server.busy_poll(length);
    }
    let addresses = server.local_addrs()?;
    let dialogue = Arc::new(dialogue);
    let serving = server.serve(move |client| echo::serve(client, Arc::clone(&dialogue)));
    let ready = async {
        // The tasks that accept have been started; they run before this goes on.
        tokio::task::yield_now().await;
        for address in &addresses {
            tracing::info!("listening on {address}");
        }
        tracing::info!(
            max_connections = limits.max_connections,
            descriptors = descriptors.limit,
            workers = workers,
            mode = flags.mode.name(),
            "ready"
        );
        if let Some(asked) = flags.bounds.max_connections
            && asked.get() > limits.max_connections
        {
            tracing::warn!(
                "--max-connections {asked} does not fit the limit of {} descriptors: {} it is",
                descriptors.limit,
                limits.max_connections
            );
        }
        flags.ready_file.as_deref().map_or(Ok(()), |path| write_ready(path, &addresses))
    };
    let serving = async { serving.await.context("cannot serve") };
    // In this order: by the time the file is there, connections are accepted. A file that cannot
    // be written ends the server: whoever waits for it would wait for ever.
    let (report, ()) = tokio::try_join!(serving, ready)?;
    if let Some(path) = &flags.ready_file {
        remove(path)?;
    }
    log_report(&report);
    Ok(report)
}

fn log_report(report: &Report) {
    let ends: Vec<String> =
        report.ends.iter().map(|(closed, count)| format!("{}={count}", closed.label())).collect();
    tracing::info!(
        connections = report.accepted,
        still_open = report.still_open,
        "ended; {}",
        if ends.is_empty() { "nobody came".to_owned() } else { ends.join(" ") }
    );
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

    fn limits(&self, descriptors: &Descriptors) -> Limits {
        let bounds = &self.bounds;
        let asked = bounds.max_connections.map(NonZeroUsize::get);
        let places = descriptors.places(asked, self.listen.len(), self.workers().get());
        let public = self.listen.iter().any(|address| !is_loopback(address));
        let quarter = public.then_some((places.connections / 4).max(1));
        Limits {
            max_connections: places.connections,
            max_lingering: places.lingering,
            max_per_ip: bounds.max_per_ip.map(NonZeroUsize::get).or(quarter),
            max_line: bounds.max_line,
            idle_timeout: bounds.idle_timeout.0,
            line_timeout: bounds.line_timeout.0,
            stall_timeout: bounds.stall_timeout.0,
            drain_timeout: bounds.drain_timeout,
            ..Limits::default()
        }
    }

    fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }

    /// Binds all addresses or none.
    async fn bind(&self, limits: &Limits) -> anyhow::Result<Server> {
        let default = ListenerOptions::default();
        let options = ListenerOptions {
            backlog: self.bounds.backlog,
            // A peer that takes nothing is given up by --stall-timeout, not before it.
            unacknowledged_timeout: limits
                .stall_timeout
                .map(|stall| default.unacknowledged_timeout.unwrap_or(stall).max(stall)),
            ..default
        };
        let mut listeners = Vec::new();
        for address in &self.listen {
            let bound = Listener::bind(address, &options).await;
            listeners.extend(bound.map_err(|error| name_holder(&error, address.port()))?);
        }
        Ok(Server::new(listeners))
    }
}

/// The sentence of `error`, and who has the port where somebody has it.
fn name_holder(error: &io::Error, port: u16) -> anyhow::Error {
    match holder(port).filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, id)) => anyhow!("{error}. It is '{name}', process {id}"),
        None => anyhow!("{error}"),
    }
}

fn is_loopback(address: &Address) -> bool {
    let host = address.host();
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The local time with its offset, to the microsecond like the lesson's `isoformat()`.
fn now() -> String {
    jiff::ZonedDateTime::now().strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove --ready-file {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whoever waits for the file must never see half of it: write beside it, then rename.
fn write_ready(path: &Path, addresses: &[std::net::SocketAddr]) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(lines.as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("cannot write --ready-file {}", path.display()))
}
