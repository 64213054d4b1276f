//! Where replies are shown: stdout, unchanged; or above a prompt, safe for a terminal.

use std::io;

use tokio::io::{AsyncWriteExt, Stdout};

use super::prompt::Printer;

/// Shows what the server says.
pub(super) struct Screen {
    stdout: Stdout,
    /// `None` where there is no prompt, or not any more.
    printer: Option<Printer>,
    /// Somebody reads this on a terminal, which obeys what is written to it.
    interactive: bool,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        Self { stdout: tokio::io::stdout(), printer: None, interactive: false }
    }

    pub(super) fn prompt(printer: Option<Printer>) -> Self {
        Self { stdout: tokio::io::stdout(), printer, interactive: true }
    }

    /// Whether pieces of a line are better shown together: above a prompt each piece takes a line.
    pub(super) fn wants_lines(&self) -> bool {
        self.printer.is_some()
    }

    pub(super) async fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.interactive {
            self.stdout.write_all(bytes).await?;
            return self.stdout.flush().await;
        }
        let text = printable(bytes);
        if let Some(mut printer) = self.printer.take() {
            // Waits for the thread of the prompt, so it needs one of its own.
            let shown = tokio::task::spawn_blocking({
                let text = text.clone();
                move || printer.print(text).map(|()| printer)
            });
            // Without a prompt any more the text goes straight to the terminal, from now on.
            if let Ok(Ok(printer)) = shown.await {
                self.printer = Some(printer);
                return Ok(());
            }
        }
        self.stdout.write_all(text.as_bytes()).await?;
        self.stdout.flush().await
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
