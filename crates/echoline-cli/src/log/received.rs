//! `--log-messages`: the lines that clients send, in the log.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::time::Instant;

use super::harmless::escaped;
use echoline::Server;
use echoline::metrics::ReceivedLine;

/// The number of lines that are logged per second; further lines are counted. The queue of the log
/// holds several times as many, so that a flood leaves room for the server's own lines.
const LINES_PER_SECOND: u32 = 1000;

/// The number of characters of a line that are logged.
const CHARACTERS_MAX: usize = 256;

/// Returns the part of a line that may be logged. A chat hides passwords and tokens.
pub(crate) type RedactLine = fn(&str) -> Cow<'_, str>;

/// Makes `server` log each line that it receives.
pub(crate) fn log_messages(server: Server, shown: RedactLine) -> Server {
    let (start, pace) = (Instant::now(), LineRateLimit::default());
    server.on_line(move |line| {
        let Some(missed) = pace.take(start.elapsed().as_secs()) else { return };
        if missed > 0 {
            tracing::warn!("{missed} received lines were not logged: too many in one second");
        }
        let (slot, text) = (line.number, printable(line, shown));
        match line.client {
            Some(client) => tracing::info!(slot, %client, "received: {text}"),
            None => tracing::info!(slot, client = "unix", "received: {text}"),
        }
    })
}

fn printable(line: ReceivedLine<'_>, shown: RedactLine) -> String {
    // A character has at most four bytes.
    let start = &line.bytes[..line.bytes.len().min(4 * (CHARACTERS_MAX + 1))];
    if let Ok(text) = str::from_utf8(line.bytes) {
        let end = text.floor_char_boundary(start.len());
        return escaped(&shown(&text[..end]), CHARACTERS_MAX);
    }
    // The decision what to hide is made for the text with replacement characters.
    let lossy = String::from_utf8_lossy(start);
    let hidden = shown(&lossy);
    if hidden == lossy { bytes_escaped(start) } else { escaped(&hidden, CHARACTERS_MAX) }
}

/// Returns text as `escaped` shows it, and each byte that is not UTF-8 as `\xHH`.
fn bytes_escaped(bytes: &[u8]) -> String {
    let mut units = bytes.utf8_chunks().flat_map(|chunk| {
        let letters = chunk.valid().chars().map(|letter| escaped(&letter.to_string(), 1));
        letters.chain(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")))
    });
    let mut printed: String = units.by_ref().take(CHARACTERS_MAX).collect();
    if units.next().is_some() {
        printed.push('…');
    }
    printed
}

/// Counts the lines of the current second.
#[derive(Debug, Default)]
struct LineRateLimit {
    second: AtomicU64,
    logged: AtomicU32,
    missed: AtomicU64,
}

impl LineRateLimit {
    /// Returns `None` if a line in `second` may not be logged, else the number of lines before it
    /// that were not logged.
    fn take(&self, second: u64) -> Option<u64> {
        let is_known = self.second.load(Ordering::Relaxed) == second;
        if !is_known && self.second.swap(second, Ordering::Relaxed) != second {
            self.logged.store(0, Ordering::Relaxed);
        }
        if self.logged.load(Ordering::Relaxed) >= LINES_PER_SECOND {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.logged.fetch_add(1, Ordering::Relaxed);
        Some(self.missed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 48: a flood of messages uses a limited share of the log, and the log shows
    /// how many lines are missing.
    #[test]
    fn regression_a_flood_of_messages_is_bounded_and_counted() {
        let pace = LineRateLimit::default();
        let logged = (0..5000).filter_map(|_| pace.take(7)).count();
        assert_eq!(logged, LINES_PER_SECOND as usize);
        assert_eq!((pace.take(8), pace.take(8)), (Some(4000), Some(0)));
    }

    fn shown(bytes: &[u8]) -> String {
        let hide: RedactLine = |text| match text.strip_prefix("/oper ") {
            Some(_) => "/oper ***".into(),
            None => text.into(),
        };
        printable(ReceivedLine::new(1, 0, None, bytes), hide)
    }

    /// Issue 11, item 48: two lines that differ in a byte also differ in the log.
    #[test]
    fn regression_bytes_of_a_logged_message_are_escaped() {
        for (bytes, wanted) in [
            (&b"hello"[..], "hello"),
            (b"a\x1b[31m", "a\\u{1b}[31m"),
            ("bl\u{fffd}e".as_bytes(), "bl\u{fffd}e"),
            (b"bl\xfce \x80", "bl\\xfce \\x80"),
            (b"/oper secret \xff", "/oper ***"),
        ] {
            assert_eq!(shown(bytes), wanted, "{bytes:?}");
        }
        let long = shown(&[0xff; 4000]);
        assert_eq!((long.matches("\\xff").count(), long.ends_with('…')), (CHARACTERS_MAX, true));
        assert_eq!(shown("ä".repeat(4000).as_bytes()).chars().count(), CHARACTERS_MAX + 1);
        assert_eq!(shown(&[b"x".repeat(900), vec![0xff]].concat()).len(), CHARACTERS_MAX + 3);
    }
}
