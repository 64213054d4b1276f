//! The log of a server: to stderr or a file, on a thread of its own, never in the way.
//!
//! A full disk, a closed pipe or a terminal that is stopped (Ctrl-S) costs log lines, which are
//! counted, and nothing else.

pub(super) mod access;
mod filter;
mod harmless;
pub(super) mod received;
mod sink;

use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use self::harmless::{HarmlessFields, HarmlessJson};
use self::sink::{Kind, Sink, Successor, Target};
use super::check::{self, Findings};
use super::newest_lines::KeepNewest;
use super::reload::{Commit, Fresh, Renewal};
use super::resources;
use echoline_base::printable::printable;

/// Lines that wait to be written before more are dropped.
const QUEUE_LINES: usize = 8192;

/// The format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    fn kind(self) -> Kind {
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
        Kind { flag: "--log-file", standard: || Target::Stderr, notice }
    }
}

/// The flags about the log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LogFlags {
    /// Write the log to the end of this file instead of stderr. SIGHUP reopens it.
    #[arg(long, env = "ECHOLINE_LOG_FILE", value_name = "PATH")]
    log_file: Option<PathBuf>,

    /// The format of the log.
    #[arg(long, env = "ECHOLINE_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: Format,

    /// The lowest level that is logged: error, warn, info, debug (each connection) or trace.
    /// Without this flag the variable RUST_LOG counts: a level, or TARGET=LEVEL with commas between
    /// several. [default: RUST_LOG, or info]
    #[arg(long, env = "ECHOLINE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<Level>,
}

impl LogFlags {
    /// The filter of the log, and a warning if RUST_LOG counts and cannot be read.
    fn filter(&self) -> (Targets, Option<String>) {
        let rust_log = env::var_os("RUST_LOG");
        let rust_log = rust_log.as_ref().map(|text| text.to_string_lossy());
        match filter::filter(self.log_level, rust_log.as_deref()) {
            Ok(filter) => (filter, None),
            Err(wrong) => (filter::everywhere(LevelFilter::INFO), Some(wrong)),
        }
    }

    /// Says whether the log can be written.
    pub(super) fn check(&self, findings: &mut Findings) {
        if let Some(path) = &self.log_file {
            check::writable("--log-file", path, findings);
        }
    }
}

/// Whether the newest lines are kept for somebody to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    Kept,
    Forgotten,
}

/// The log of a process. It ends, with all lines written that can be, when this is dropped.
#[derive(Debug)]
pub(super) struct Log {
    level: reload::Handle<Targets, Registry>,
    successor: Successor,
    kind: Kind,
    _writing: WorkerGuard,
}

/// The way of lines to their file, on a thread of its own.
struct Writing {
    /// Never blocks: lines for which the queue has no room are dropped and counted.
    writer: NonBlocking,
    successor: Successor,
    /// Writes what is queued when it is dropped.
    guard: WorkerGuard,
}

/// Begins to write a log of this kind to `path`, or to its standard stream.
fn write(kind: Kind, path: Option<&Path>) -> anyhow::Result<Writing> {
    let target = Target::open(kind, path)?;
    // Its thread panics if it cannot be started.
    resources::try_thread().context("cannot start the thread of the log")?;
    let (dropped, successor) = (Arc::default(), Successor::new(kind, path));
    let sink = Sink::new(target, successor.clone(), Arc::clone(&dropped));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES);
    let (writer, guard) = builder.finish(sink);
    let _ = dropped.set(writer.error_counter());
    Ok(Writing { writer, successor, guard })
}

/// Whether text on stderr may be coloured (<https://no-color.org>).
pub(super) fn has_colours() -> bool {
    let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

impl Log {
    /// Starts the log.
    ///
    /// # Errors
    /// If its file or its thread cannot be had.
    pub(super) fn start(flags: &LogFlags, newest: Newest) -> anyhow::Result<Self> {
        let path = flags.log_file.as_deref();
        let colours = path.is_none() && has_colours();
        let Writing { writer, successor, guard } = write(flags.log_format.kind(), path)?;
        let (filter, wrong) = flags.filter();
        let (filter, level) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_target(false);
        let lines = match flags.log_format {
            Format::Human => {
                lines.with_ansi(colours).fmt_fields(HarmlessFields).with_writer(writer).boxed()
            }
            Format::Json => {
                lines.json().flatten_event(true).with_writer(HarmlessJson::to(writer)).boxed()
            }
        };
        let newest = (newest == Newest::Kept).then_some(KeepNewest);
        // An error means that a log has been started before; that one goes on.
        let _ = tracing_subscriber::registry().with(filter).with(lines).with(newest).try_init();
        log_panics();
        if let Some(wrong) = wrong {
            tracing::warn!("{wrong}");
        }
        Ok(Self { level, successor, kind: flags.log_format.kind(), _writing: guard })
    }

    /// Reopens the file of the log: a renamed one (logrotate) is written no more.
    pub(super) fn reopener(&self) -> impl FnMut() -> anyhow::Result<()> + Send + use<> {
        let successor = self.successor.clone();
        move || successor.reopen()
    }

    /// The part of the log in a reload.
    pub(super) fn renewal(&self) -> Renewal {
        let (level, successor, kind) = (self.level.clone(), self.successor.clone(), self.kind);
        let prepare = move |fresh: &Fresh| {
            let flags = &fresh.serving().log;
            let path = flags.log_file.clone();
            let moved = (path != successor.path()).then(|| Target::open(kind, path.as_deref()));
            let moved = moved.transpose()?;
            let (filter, _) = flags.filter();
            let (level, successor) = (level.clone(), successor.clone());
            let commit: Commit = Box::new(move || {
                if let Some(target) = moved {
                    successor.set(path, target);
                }
                // It fails only where there is no log any more.
                let _ = level.reload(filter);
                String::new()
            });
            Ok(Some(commit))
        };
        Renewal { keys: &["log-file", "log-level"], prepare: Box::new(prepare) }
    }
}

/// Characters of a panic's message that are logged.
const PANIC_CHARACTERS: usize = 128;

/// A panic is a line of the log like any other, and its message is escaped like any other.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = escaped(panic.payload_as_str().unwrap_or("no message"), PANIC_CHARACTERS);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, payload, "panicked");
    }));
}

/// Foreign text for a line of the log: control characters can give a terminal no orders and forge
/// no line, and it is not longer than a line should be.
fn escaped(text: &str, characters_max: usize) -> String {
    let mut shown: String = text.chars().take(characters_max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    printable(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 22: what comes from outside is escaped and short where it is logged.
    #[test]
    fn foreign_text_is_harmless() {
        for order in ["\x1b[2J", "\u{9b}2J", "\x1b]52;c;aGk=\x07", "a\rb", "a\nINFO b", "\u{202e}a"]
        {
            let shown = escaped(order, 128);
            let harmless = |letter: char| !letter.is_control() && letter != '\u{202e}';
            assert!(shown.chars().all(harmless), "{shown}");
        }
        assert_eq!(escaped("plain", 128), "plain");
        assert_eq!(escaped(&"x".repeat(1000), 128).chars().count(), 129);
    }
}
