//! Formats events as lines of the log. Text that an event quotes can neither control a terminal,
//! forge a line, nor reorder its text.

use std::fmt::{self, Debug};
use std::io::{self, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use echoline_base::printable::{printable, printable_json};

/// Writes the message, then ` name=value` for each field, as tracing-subscriber does.
#[derive(Clone, Copy, Debug)]
pub(super) struct HarmlessFields;

impl<'writer> FormatFields<'writer> for HarmlessFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut line = FieldLine { writer, is_empty: true, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

struct FieldLine<'writer> {
    writer: Writer<'writer>,
    is_empty: bool,
    written: fmt::Result,
}

impl FieldLine<'_> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.is_empty) {
            self.writer.write_char(' ')?;
        }
        match name {
            "message" => {}
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
            }
            name => write!(self.writer, "{name}=")?,
        }
        self.writer.write_str(&printable(&format!("{value:?}")))
    }
}

impl Visit for FieldLine<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.written.is_ok() {
            self.written = self.write(field.name(), value);
        }
    }
}

/// Writes JSON lines with every harmful character as a JSON escape.
#[derive(Clone, Debug)]
pub(super) struct HarmlessJson<W>(W);

impl<W: Clone> HarmlessJson<W> {
    pub(super) fn to(writer: W) -> Self {
        Self(writer)
    }
}

impl<W: Write + Clone> MakeWriter<'_> for HarmlessJson<W> {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl<W: Write> Write for HarmlessJson<W> {
    /// Expects whole lines, as tracing-subscriber writes them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(printable_json(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Escapes and shortens foreign text for a line of the log, so that its control characters can
/// neither control a terminal nor forge a line.
pub(super) fn escaped(text: &str, characters_max: usize) -> String {
    let mut shown: String = text.chars().take(characters_max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    printable(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, registry};

    use super::*;
    use echoline_base::printable::is_harmful;

    const FOREIGN: &str = "a\x1b[2J\u{9b}31m\x7f\u{202e}b\r\nINFO forged";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn log() {
        let error = io::Error::other(FOREIGN);
        tracing::info!(text = FOREIGN, shown = %FOREIGN, %error, number = 7, "said {FOREIGN}");
    }

    /// Issue 12, item 15: the message and fields of an event become one harmless line, with and
    /// without colours.
    #[test]
    fn attack_a_line_of_the_log_does_not_control_the_terminal() {
        for colours in [false, true] {
            let written = Written::default();
            let to = written.clone();
            let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours);
            let lines = lines.fmt_fields(HarmlessFields).with_writer(move || to.clone());
            tracing::subscriber::with_default(registry().with(lines.boxed()), log);
            let text = written.text();
            let line = text.strip_suffix('\n').unwrap();
            // Remove the colour codes that the log itself adds.
            let mut plain = line.to_owned();
            for number in ["0", "1", "2", "3", "32"] {
                plain = plain.replace(&format!("\x1b[{number}m"), "");
            }
            assert!(!plain.contains(is_harmful), "{plain}");
            let said = "said a\\u{1b}[2J\\u{9b}31m\\u{7f}\\u{202e}b\\r\\nINFO forged text=\"a";
            assert!(plain.contains(said) && plain.ends_with(" number=7"), "{plain}");
            assert_eq!(line != plain, colours);
        }
    }

    /// Issue 12, item 15: JSON requires escapes only for the control characters below U+0020, and
    /// the log escapes the other harmful ones too.
    #[test]
    fn attack_a_json_line_of_the_log_does_not_control_the_terminal() {
        let written = Written::default();
        let lines = tracing_subscriber::fmt::layer().with_target(false).json().flatten_event(true);
        let lines = lines.with_writer(HarmlessJson::to(written.clone()));
        tracing::subscriber::with_default(registry().with(lines), log);
        let text = written.text();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_harmful), "{line}");
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["text"], FOREIGN);
        assert_eq!(value["number"], 7);
    }

    /// Fault 22: the log escapes and shortens text from outside.
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
