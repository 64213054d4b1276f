//! The newest lines of the log, kept for the live page of the admin address.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use echoline_base::poison::IgnorePoison;
use echoline_base::printable::printable;

/// The number of lines that are kept.
const LINES_MAX: usize = 100;

/// The number of characters of a line that are kept, so that a peer cannot fill the page.
const LETTERS_MAX: usize = 500;

/// This list is global, because the process has one log.
static NEWEST: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The local time of day.
    pub(crate) time: String,
    pub(crate) level: Level,
    /// The message and the fields, without control characters.
    pub(crate) text: String,
}

/// Returns the lines that are kept, the newest first.
pub(crate) fn newest_lines() -> Vec<LogLine> {
    newest().iter().rev().cloned().collect()
}

/// A subscriber layer that keeps the newest lines. Add it above a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepNewest;

impl<S: Subscriber> Layer<S> for KeepNewest {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = EventText::default();
        event.record(&mut text);
        let line = LogLine {
            time: jiff::ZonedDateTime::now().strftime("%H:%M:%S").to_string(),
            level: *event.metadata().level(),
            text: text.into_line(),
        };
        let mut newest = newest();
        if newest.len() == LINES_MAX {
            newest.pop_front();
        }
        newest.push_back(line);
    }
}

/// A poisoned lock is safe to use, because no update under it can be left incomplete.
fn newest() -> MutexGuard<'static, VecDeque<LogLine>> {
    NEWEST.lock().ignore_poison()
}

/// The parts of an event as the log shows them: the message, then the fields.
#[derive(Debug, Default)]
struct EventText {
    message: String,
    fields: String,
}

impl EventText {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string fails only if formatting the value fails; then the value is omitted.
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
    }

    fn into_line(self) -> String {
        let whole = format!("{}{}", self.message, self.fields);
        let mut shown = printable(whole.trim_start()).into_owned();
        if let Some((end, _)) = shown.char_indices().nth(LETTERS_MAX) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    }
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put(field, format_args!("{value}")),
            _ => self.put(field, format_args!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Fault 22: text from a peer cannot control, forge or fill the page.
    #[test]
    fn the_newest_lines_are_kept_harmless_and_short() {
        let log = tracing_subscriber::registry().with(KeepNewest);
        tracing::subscriber::with_default(log, || {
            (0..150).for_each(|number| tracing::info!(number, "counted"));
            tracing::warn!(name = "<b>\x1b[2J\n", "said {}", "x".repeat(9000));
            tracing::warn!(name = "<b>\x1b[2J\u{202e}\n", "short");
        });
        let lines = newest_lines();
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!((lines[0].level, lines[2].level), (Level::WARN, Level::INFO));
        assert!(lines[0].text.starts_with("short name=\"<b>\\u{1b}[2J"), "{}", lines[0].text);
        assert!(!lines[0].text.contains(['\x1b', '\n', '\u{202e}']), "{}", lines[0].text);
        assert_eq!(lines[1].text.chars().count(), LETTERS_MAX + 1);
        assert_eq!(lines[2].text, "counted number=149");
    }
}
