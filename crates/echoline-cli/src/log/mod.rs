//! The log of a server, to stderr or a file. A separate thread writes it, so that it never blocks
//! the server.
//!
//! A full disk, a closed pipe or a stopped terminal (Ctrl-S) only loses lines of the log, which are
//! counted.

pub(crate) mod access;
mod filter;
mod harmless;
pub(crate) mod newest_lines;
pub(crate) mod received;
mod sink;

use std::env;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use self::harmless::{HarmlessFields, HarmlessJson, escaped};
use self::sink::{LogOutput, LogTarget, LogWriter, TargetSwitch, write};
use crate::files::output::has_colours;
use crate::log::newest_lines::KeepNewest;
use crate::process::reload::{Commit, ReloadHook};
use crate::server::check_report::{self, CheckReport};

/// The format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Text, with colours on a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    fn kind(self) -> LogOutput {
        let notice: fn(usize) -> String = match self {
            Self::Human => |lost| {
                let now = jiff::Timestamp::now();
                format!("{now:.6}  WARN {lost} log lines lost\n")
            },
            Self::Json => |lost| {
                let now = jiff::Timestamp::now();
                format!(
                    "{{\"timestamp\":\"{now:.6}\",\"level\":\"WARN\",\
                     \"message\":\"{lost} log lines lost\"}}\n"
                )
            },
        };
        LogOutput { flag: "--log-file", standard: || LogTarget::Stderr, notice }
    }
}

/// The levels of the log. Their numbers are accepted too.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelName {
    #[value(alias = "1")]
    Error,
    #[value(alias = "2")]
    Warn,
    #[value(alias = "3")]
    Info,
    #[value(alias = "4")]
    Debug,
    #[value(alias = "5")]
    Trace,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Error => Self::ERROR,
            LevelName::Warn => Self::WARN,
            LevelName::Info => Self::INFO,
            LevelName::Debug => Self::DEBUG,
            LevelName::Trace => Self::TRACE,
        }
    }
}

/// The flags about the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// Append the log to this file instead of stderr.
    ///
    /// SIGHUP opens the file again, for log rotation.
    #[arg(long, env = "ECHOLINE_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// Format of the log.
    #[arg(long, env = "ECHOLINE_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: LogFormat,

    /// Lowest level to log [default: info].
    ///
    /// Level debug logs each connection. Without this flag the variable RUST_LOG is used, if it is
    /// set: a level, or TARGET=LEVEL, separated by commas.
    #[arg(long, env = "ECHOLINE_LOG_LEVEL", value_name = "LEVEL", value_enum, ignore_case = true)]
    log_level: Option<LevelName>,
}

impl LogArgs {
    /// Returns the filter of the log, and a warning if RUST_LOG is used and cannot be read.
    fn filter(&self) -> (Targets, Option<String>) {
        let rust_log = env::var_os("RUST_LOG");
        let rust_log = rust_log.as_ref().map(|text| text.to_string_lossy());
        match filter::filter(self.log_level.map(Level::from), rust_log.as_deref()) {
            Ok(filter) => (filter, None),
            Err(wrong) => (filter::everywhere(LevelFilter::INFO), Some(wrong)),
        }
    }

    /// Checks whether the log can be written.
    pub(crate) fn check(&self, findings: &mut CheckReport) {
        if let Some(path) = &self.log_file {
            check_report::writable("--log-file", path, findings);
        }
    }
}

/// Whether the newest log lines are kept in memory for the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NewestLines {
    Kept,
    Forgotten,
}

/// The log of a process. Dropping it writes the queued lines and ends the log.
#[derive(Debug)]
pub(crate) struct ServerLog {
    level: reload::Handle<Targets, Registry>,
    successor: TargetSwitch,
    kind: LogOutput,
    _writing: WorkerGuard,
}

impl ServerLog {
    /// Starts the log.
    ///
    /// # Errors
    /// If the file cannot be opened or the thread cannot be started.
    pub(crate) fn start(flags: &LogArgs, newest: NewestLines) -> anyhow::Result<Self> {
        let path = flags.log_file.as_deref();
        let colours = path.is_none() && has_colours();
        let LogWriter { writer, successor, guard } = write(flags.log_format.kind(), path)?;
        let (filter, wrong) = flags.filter();
        let (filter, level) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_target(false);
        let lines = match flags.log_format {
            LogFormat::Human => {
                lines.with_ansi(colours).fmt_fields(HarmlessFields).with_writer(writer).boxed()
            }
            LogFormat::Json => {
                lines.json().flatten_event(true).with_writer(HarmlessJson::to(writer)).boxed()
            }
        };
        let newest = (newest == NewestLines::Kept).then_some(KeepNewest);
        // An error means that the process already has a log, which stays in use.
        let _ = tracing_subscriber::registry().with(filter).with(lines).with(newest).try_init();
        log_panics();
        if let Some(wrong) = wrong {
            tracing::warn!("{wrong}");
        }
        Ok(Self { level, successor, kind: flags.log_format.kind(), _writing: guard })
    }

    /// Returns a function that reopens the file of the log after it was renamed (logrotate).
    pub(crate) fn reopener(&self) -> impl FnMut() -> anyhow::Result<()> + Send + use<> {
        let successor = self.successor.clone();
        move || successor.reopen()
    }

    /// Returns the part of the log in a reload.
    pub(crate) fn reload_hook(&self) -> ReloadHook<LogArgs> {
        let (level, successor, kind) = (self.level.clone(), self.successor.clone(), self.kind);
        let prepare = move |flags: &LogArgs| {
            let path = flags.log_file.clone();
            let moved = (path != successor.path()).then(|| LogTarget::open(kind, path.as_deref()));
            let moved = moved.transpose()?;
            let (filter, _) = flags.filter();
            let (level, successor) = (level.clone(), successor.clone());
            let commit: Commit = Box::new(move || {
                if let Some(target) = moved {
                    successor.set(path, target);
                }
                // The call fails only if the log no longer exists.
                let _ = level.reload(filter);
                String::new()
            });
            Ok(Some(commit))
        };
        ReloadHook { keys: &["log-file", "log-level"], prepare: Box::new(prepare) }
    }
}

/// The maximum length of the logged message of a panic, in characters.
const PANIC_CHARACTERS: usize = 128;

/// Makes panics lines of the log, with escaped messages.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = escaped(panic.payload_as_str().unwrap_or("no message"), PANIC_CHARACTERS);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, payload, "panicked");
    }));
}
