//! The log of a server: to stderr or a file, on a thread of its own, never in the way.
//!
//! A full disk, a closed pipe or a terminal that is stopped (Ctrl-S) costs log lines, which are
//! counted, and nothing else.

mod sink;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use self::sink::{Sink, Successor, Target};
use super::check::{self, Findings};
use super::newest_lines::KeepNewest;
use super::reload::{Commit, Fresh, Renewal};
use super::resources;

/// Lines that wait to be written before more are dropped.
const QUEUE_LINES: usize = 8192;

/// What the log looks like.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The line that tells of lines that are missing.
    fn notice(self, lost: usize) -> String {
        let now = jiff::Timestamp::now();
        match self {
            Self::Human => format!("{now:.6}  WARN {lost} log lines lost\n"),
            Self::Json => format!(
                "{{\"timestamp\":\"{now:.6}\",\"level\":\"WARN\",\
                 \"message\":\"{lost} log lines lost\"}}\n"
            ),
        }
    }
}

/// The flags about the log.
#[derive(Debug, Args)]
pub(super) struct LogFlags {
    /// Write the log to the end of this file instead of stderr. SIGHUP opens it anew.
    #[arg(long, env = "ECHOLINE_LOG_FILE", value_name = "PATH")]
    log_file: Option<PathBuf>,

    /// How the log looks.
    #[arg(long, env = "ECHOLINE_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: Format,

    /// What is logged: error, warn, info, debug (each connection) or trace.
    #[arg(long, env = "ECHOLINE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: Level,
}

impl LogFlags {
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
    _writing: WorkerGuard,
}

/// What is logged. The bus's client tells of itself what the chat says in its own words.
fn filter(level: Level) -> Targets {
    let level = LevelFilter::from_level(level);
    let client = if level > LevelFilter::INFO { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(level).with_target("async_nats", client)
}

impl Log {
    /// Starts the log.
    ///
    /// # Errors
    /// If its file or its thread cannot be had.
    pub(super) fn start(flags: &LogFlags, newest: Newest) -> anyhow::Result<Self> {
        let target = Target::open(flags.log_file.as_deref())?;
        // Its thread panics if it cannot be started.
        resources::try_thread().context("cannot start the thread of the log")?;
        let colours = matches!(target, Target::Stderr) && io::stderr().is_terminal();
        let (dropped, successor) = (Arc::default(), Successor::new(flags.log_file.as_deref()));
        let sink = Sink::new(target, flags.log_format, successor.clone(), Arc::clone(&dropped));
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES);
        let (writer, writing) = builder.finish(sink);
        let _ = dropped.set(writer.error_counter());
        let (filter, level) = reload::Layer::new(filter(flags.log_level));
        let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(writer);
        let lines = match flags.log_format {
            Format::Human => lines.with_ansi(colours).boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        let newest = (newest == Newest::Kept).then_some(KeepNewest);
        // An error means that a log has been started before; that one goes on.
        let _ = tracing_subscriber::registry().with(filter).with(lines).with(newest).try_init();
        log_panics();
        Ok(Self { level, successor, _writing: writing })
    }

    /// Opens the file of the log anew: one that was renamed (logrotate) is written no more.
    pub(super) fn reopener(&self) -> impl FnMut() -> anyhow::Result<()> + Send + use<> {
        let successor = self.successor.clone();
        move || successor.reopen()
    }

    /// What a reload does to the log.
    pub(super) fn renewal(&self) -> Renewal {
        let (level, successor) = (self.level.clone(), self.successor.clone());
        let prepare = move |fresh: &Fresh| {
            let flags = &fresh.serving().log;
            let path = flags.log_file.clone();
            let moved = (path != successor.path()).then(|| Target::open(path.as_deref()));
            let moved = moved.transpose()?;
            let filter = filter(flags.log_level);
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

/// A panic is a line of the log like any other, and what it says is escaped like any other.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = escaped(panic.payload_as_str().unwrap_or("no message"));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, payload, "panicked");
    }));
}

/// Foreign text for a line of the log: control characters can give a terminal no orders and forge
/// no line, and it is not longer than a line should be.
fn escaped(text: &str) -> String {
    const LETTERS_MAX: usize = 128;
    let mut shown: String = text.chars().take(LETTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 22: what comes from outside is escaped and short where it is logged.
    #[test]
    fn foreign_text_is_harmless() {
        for order in ["\x1b[2J", "\u{9b}2J", "\x1b]52;c;aGk=\x07", "a\rb", "a\nINFO b", "\u{202e}a"]
        {
            let shown = escaped(order);
            let harmless = |letter: char| !letter.is_control() && letter != '\u{202e}';
            assert!(shown.chars().all(harmless), "{shown}");
        }
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped(&"x".repeat(1000)).chars().count(), 129);
    }
}
