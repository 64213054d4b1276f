//! Writes replies to stdout or above a prompt. On a terminal, control characters are removed.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::prompt::Printer;
use echoline_base::printable::is_harmful;

/// A text that changes nothing on the screen: it moves the cursor up a line and down again. An
/// empty text would add an empty line above the prompt.
const NOTHING: &str = "\x1b[A\n";

/// The time limit for the prompt to show all pending texts at the end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that the prompt needs between two typed lines.
const BETWEEN_LINES: Duration = Duration::from_millis(10);

/// Shows the replies of the server.
pub(super) struct Screen {
    output: Box<dyn AsyncWrite + Unpin>,
    /// `None` if there is no prompt, or if it has ended.
    printer: Option<Printer>,
    /// Removes control characters for a terminal; `None` if the output is no terminal.
    terminal: Option<TerminalText>,
}

impl Screen {
    /// Writes all bytes unchanged to `output`.
    #[cfg(test)]
    pub(super) fn plain(output: impl AsyncWrite + Unpin + 'static) -> Self {
        Self { output: Box::new(output), printer: None, terminal: None }
    }

    /// Writes to stdout. Removes control characters only if stdout is a terminal.
    pub(super) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal().then(TerminalText::default);
        Self { output: Box::new(tokio::io::stdout()), printer: None, terminal }
    }

    /// Writes above the prompt, and to stdout once the prompt has ended.
    pub(super) fn prompt(printer: Option<Printer>) -> Self {
        let terminal = Some(TerminalText::default());
        Self { output: Box::new(tokio::io::stdout()), printer, terminal }
    }

    /// Returns whether only whole lines may be shown. Above a prompt each text must be a whole
    /// line.
    pub(super) fn wants_lines(&self) -> bool {
        self.printer.is_some()
    }

    pub(super) async fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(terminal) = &mut self.terminal else {
            self.output.write_all(bytes).await?;
            return self.output.flush().await;
        };
        let text = terminal.push(bytes);
        self.show_text(text).await
    }

    /// Shows the end of a reply that was cut off in the middle of a character.
    async fn show_rest(&mut self) -> io::Result<()> {
        let text = self.terminal.as_mut().map(TerminalText::finish).unwrap_or_default();
        self.show_text(text).await
    }

    async fn show_text(&mut self, text: String) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.print(text.clone()).await {
            return Ok(());
        }
        self.output.write_all(text.as_bytes()).await?;
        self.output.flush().await
    }

    /// Waits until everything is on the screen, before the program ends.
    pub(super) async fn settle(&mut self) {
        // An error is ignored, because the earlier call that failed first has reported it.
        let _ = self.show_rest().await;
        // The prompt does not report when it has shown a text. Its queue holds one text, so it
        // accepts a second one only after it has shown the first. Texts bypass the prompt between
        // two typed lines, so this check runs a second time a moment later.
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, async {
            for pause in [Duration::ZERO, BETWEEN_LINES] {
                tokio::time::sleep(pause).await;
                let shown = self.print(NOTHING.to_owned()).await;
                if !shown || !self.print(NOTHING.to_owned()).await {
                    break;
                }
            }
        })
        .await;
    }

    /// Passes `text` to the prompt. Returns false if the prompt has ended.
    async fn print(&mut self, text: String) -> bool {
        let Some(mut printer) = self.printer.take() else { return false };
        // `print` blocks until the thread of the prompt is ready, so it runs on a blocking thread.
        let given = tokio::task::spawn_blocking(move || printer.print(text).map(|()| printer));
        // If the prompt has ended, texts go straight to the terminal from now on.
        self.printer = given.await.ok().and_then(Result::ok);
        self.printer.is_some()
    }
}

/// Converts bytes, piece by piece, into text without control sequences.
#[derive(Debug, Default)]
struct TerminalText {
    /// The end of the last piece, if it could be the beginning of a character or of CRLF.
    rest: Vec<u8>,
}

impl TerminalText {
    /// Returns the text of the next piece. Keeps an incomplete character at its end for the next
    /// call.
    fn push(&mut self, bytes: &[u8]) -> String {
        let mut piece = std::mem::take(&mut self.rest);
        piece.extend_from_slice(bytes);
        let last = piece.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let is_begun = str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
        let kept = if is_begun { last.len() } else { usize::from(piece.ends_with(b"\r")) };
        self.rest = piece.split_off(piece.len() - kept);
        harmless(&piece)
    }

    /// Returns the text of the kept bytes, which were never completed.
    fn finish(&mut self) -> String {
        harmless(&std::mem::take(&mut self.rest))
    }
}

fn harmless(bytes: &[u8]) -> String {
    let keeps = |letter: char| !is_harmful(letter) || matches!(letter, '\n' | '\t');
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.chars().map(|letter| if keeps(letter) { letter } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let shown = harmless("a\r\n\tü\x1b[2J\x07\u{9b}b\rc".as_bytes());
        assert_eq!(shown, "a\n\tü\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(harmless(b"\xff"), "\u{fffd}");
    }

    /// Issue 12, item 15: a terminal gets the same text in whatever pieces a reply arrives, without
    /// control sequences and broken characters.
    #[test]
    fn attack_a_reply_in_pieces_does_not_control_the_terminal() {
        let reply = "zwölf\r\n\x1b]0;x\x07\u{9b}2J\u{202e}\x7f 👩 \r".as_bytes();
        let whole = harmless(reply);
        assert_eq!(whole, "zwölf\n\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}\u{fffd} 👩 \u{fffd}");
        for first in 0..=reply.len() {
            for second in first..=reply.len() {
                let mut text = TerminalText::default();
                let pieces = [&reply[..first], &reply[first..second], &reply[second..]];
                let shown: String = pieces.map(|piece| text.push(piece)).concat();
                assert_eq!(shown + &text.finish(), whole, "{first} {second}");
            }
        }
        // An 8-bit control character is not valid UTF-8. The character after it stays whole.
        let mut text = TerminalText::default();
        assert_eq!(text.push(b"\x9b\xc3") + &text.push(b"\xbc"), "\u{fffd}ü");
        assert_eq!(harmless(b"\x9b2J\xc2"), "\u{fffd}2J\u{fffd}");
    }
}
