//! Where replies are shown: stdout, unchanged; or above a prompt, safe for a terminal.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::prompt::Printer;

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
        self.output.write_all(text.as_bytes()).await?;
        self.output.flush().await
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
