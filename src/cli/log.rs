//! The log of a server: to stderr, on a thread of its own, never in the way.
//!
//! A full disk, a closed pipe or a terminal that is stopped (Ctrl-S) costs log lines, which are
//! counted, and nothing else.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};

use clap::{Args, ValueEnum};
use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::newest_lines::KeepNewest;

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

/// The flags about the log.
#[derive(Debug, Args)]
pub(super) struct LogFlags {
    /// How the log on stderr looks.
    #[arg(long, env = "ECHOLINE_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: Format,

    /// What is logged: error, warn, info, debug (each connection) or trace.
    #[arg(long, env = "ECHOLINE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: Level,
}

/// Whether the newest lines are kept for somebody to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    Kept,
    Forgotten,
}

/// Starts the log. It ends, with all lines written that can be, when the guard is dropped.
pub(super) fn start(flags: &LogFlags, newest: Newest) -> WorkerGuard {
    let lost = Arc::new(OnceLock::new());
    let sink = Sink { lost: Arc::clone(&lost), told: 0 };
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_LINES).finish(sink);
    let _ = lost.set(writer.error_counter());
    let builder = tracing_subscriber::fmt()
        .with_max_level(flags.log_level)
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_writer(writer);
    let newest = (newest == Newest::Kept).then_some(KeepNewest);
    // An error means that a log has been started before; that one goes on.
    let _ = match flags.log_format {
        Format::Human => {
            builder.with_ansi(io::stderr().is_terminal()).finish().with(newest).try_init()
        }
        Format::Json => builder.json().flatten_event(true).finish().with(newest).try_init(),
    };
    log_panics();
    guard
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

/// Stderr, and how many lines did not get there.
struct Sink {
    lost: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            writeln!(io::stderr(), "{} log lines lost", lost - self.told)?;
            self.told = lost;
        }
        io::stderr().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
