//! The source of the lines: arguments, stdin, or a prompt.

use std::io;

use tokio::io::{AsyncReadExt, Stdin};

use super::line_ends::LineEnds;
use super::prompt::{Prompt, PromptEvent};

/// The size of the read buffer for stdin, in bytes. Memory holds no more of the input than this.
const CHUNK_BYTES: usize = 16 * 1024;

/// The lines to send.
#[derive(Debug)]
pub(super) struct Input {
    source: InputSource,
    line_ends: LineEnds,
}

#[derive(Debug)]
enum InputSource {
    Texts(std::vec::IntoIter<String>),
    Stdin { stdin: Stdin, chunk: Vec<u8> },
    Prompt(Prompt),
}

/// A piece of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextInput {
    /// Bytes to send, with this number of line ends.
    Lines(u64),
    /// The end of the input, with the number of lines (0 or 1) that it ends without a line end.
    End(u64),
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Input {
    pub(super) fn texts(texts: Vec<String>, line_ends: LineEnds) -> Self {
        Self { source: InputSource::Texts(texts.into_iter()), line_ends }
    }

    pub(super) fn stdin(line_ends: LineEnds) -> Self {
        let (stdin, chunk) = (tokio::io::stdin(), vec![0; CHUNK_BYTES]);
        Self { source: InputSource::Stdin { stdin, chunk }, line_ends }
    }

    pub(super) fn prompt(prompt: Prompt, line_ends: LineEnds) -> Self {
        Self { source: InputSource::Prompt(prompt), line_ends }
    }

    /// Replaces the contents of `out` with the next piece of the input.
    pub(super) async fn next(&mut self, out: &mut Vec<u8>) -> io::Result<NextInput> {
        out.clear();
        let text = match &mut self.source {
            InputSource::Texts(texts) => texts.next(),
            InputSource::Stdin { stdin, chunk } => {
                let count = stdin.read(chunk).await?;
                return Ok(match count {
                    0 => NextInput::End(self.line_ends.finish()),
                    _ => NextInput::Lines(self.line_ends.push(&chunk[..count], out)),
                });
            }
            InputSource::Prompt(prompt) => match prompt.next().await {
                PromptEvent::Line(line) => Some(line),
                PromptEvent::End => None,
                PromptEvent::Interrupted => return Ok(NextInput::Interrupted),
            },
        };
        let Some(text) = text else { return Ok(NextInput::End(0)) };
        let lines = self.line_ends.push(text.as_bytes(), out);
        Ok(NextInput::Lines(lines + self.line_ends.push(b"\n", out)))
    }
}
