//! Where replies are shown: stdout, unchanged; or above a prompt, safe for a terminal.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::prompt::Printer;

/// A text that changes nothing on the screen: a line up, a line down. (An empty one would become an
/// empty line above the prompt.)
const NOTHING: &str = "\x1b[A\n";

/// How long the prompt has to show what it was given, at the end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the prompt may be between two lines that were typed.
const BETWEEN_LINES: Duration = Duration::from_millis(10);

/// Shows what the server says.
pub(super) struct Screen {
    output: Box<dyn AsyncWrite + Unpin>,
    /// `None` where there is no prompt, or not any more.
    printer: Option<Printer>,
    /// Somebody reads this on a terminal, which obeys what is written to it.
    interactive: bool,
}

impl Screen {
    /// Everything as it comes.
    pub(super) fn plain(output: impl AsyncWrite + Unpin + 'static) -> Self {
        Self { output: Box::new(output), printer: None, interactive: false }
    }

    /// Above the prompt, and on stdout once that has gone.
    pub(super) fn prompt(printer: Option<Printer>) -> Self {
        Self { output: Box::new(tokio::io::stdout()), printer, interactive: true }
    }

    /// Whether pieces of a line are better shown together: above a prompt each piece takes a line.
    pub(super) fn wants_lines(&self) -> bool {
        self.printer.is_some()
    }

    pub(super) async fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.interactive {
            self.output.write_all(bytes).await?;
            return self.output.flush().await;
        }
        let text = printable(bytes);
        if self.print(text.clone()).await {
            return Ok(());
        }
        self.output.write_all(text.as_bytes()).await?;
        self.output.flush().await
    }

    /// Waits until everything is on the screen, before the program ends.
    pub(super) async fn settle(&mut self) {
        // The prompt does not say when it has shown a text, but there is room for one text between
        // it and us, so it takes the second after this only once the first is shown. Between two
        // lines that are typed texts pass it by: hence a second time, a moment later.
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

    /// Gives `text` to the prompt; false where there is none any more.
    async fn print(&mut self, text: String) -> bool {
        let Some(mut printer) = self.printer.take() else { return false };
        // Waits for the thread of the prompt, so it needs one of its own.
        let given = tokio::task::spawn_blocking(move || printer.print(text).map(|()| printer));
        // Where the prompt has ended, texts go straight to the terminal from now on.
        self.printer = given.await.ok().and_then(Result::ok);
        self.printer.is_some()
    }
}

/// `bytes` as text that a terminal shows and does not obey.
fn printable(bytes: &[u8]) -> String {
    let keeps = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    text.chars().map(|letter| if keeps(letter) { letter } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_no_orders() {
        let shown = printable("a\r\n\tü\x1b[2J\x07\u{9b}b\rc".as_bytes());
        assert_eq!(shown, "a\n\tü\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }
}
