//! The output of a WebSocket: queued frames, and the unfinished line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::encode::push_frame;
use super::frame::{EndpointRole, Opcode};
use crate::connection::buffers;

/// The maximum number of buffered bytes of a line. A longer line is sent in fragments.
const LINE_HELD_MAX: usize = 1024 * 1024;

/// The number of mask keys that are generated at a time.
const KEYS: usize = 64;

/// The queued frames, and the unfinished line.
#[derive(Debug)]
pub(super) struct FrameWriter {
    /// The queued frames. The buffer is borrowed from the worker while it is not empty.
    frames: Vec<u8>,
    sent: usize,
    /// The written bytes of a line whose end was not written yet.
    line: Vec<u8>,
    /// The opcode of the message, if fragments of the unfinished line were already sent.
    fragment: Option<Opcode>,
    /// The mask keys of a client.
    keys: Option<MaskKeys>,
}

impl FrameWriter {
    pub(super) fn new(role: EndpointRole) -> Self {
        let keys = (role == EndpointRole::Client).then(MaskKeys::default);
        Self { frames: Vec::new(), sent: 0, line: Vec::new(), fragment: None, keys }
    }

    /// Returns the number of queued bytes that were not sent yet.
    pub(super) fn len(&self) -> usize {
        self.frames.len() - self.sent
    }

    /// Queues a single frame.
    pub(super) fn push(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let key = self.keys.as_mut().map(MaskKeys::next).transpose()?;
        push_frame(self.buffer(), opcode, true, payload, key);
        Ok(())
    }

    /// Queues complete frames.
    pub(super) fn push_raw(&mut self, frames: &[u8]) {
        self.buffer().extend_from_slice(frames);
    }

    /// Queues each complete line as a message; an unfinished line waits for its end.
    pub(super) fn push_lines(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.line.is_empty() && self.fragment.is_none() {
                self.push_message(strip(&bytes[..end]))?;
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                let line = std::mem::take(&mut self.line);
                self.push_rest(strip(&line))?;
            }
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LINE_HELD_MAX {
            self.push_fragment()?;
        }
        Ok(())
    }

    /// Queues an unfinished line as a message, if there is one.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        if self.line.is_empty() && self.fragment.is_none() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.push_rest(&line)
    }

    fn push_message(&mut self, line: &[u8]) -> io::Result<()> {
        // A text message must be UTF-8; other lines are sent as binary messages.
        let is_text = std::str::from_utf8(line).is_ok();
        self.push(if is_text { Opcode::Text } else { Opcode::Binary }, line)
    }

    fn push_rest(&mut self, line: &[u8]) -> io::Result<()> {
        match self.fragment.take() {
            None => self.push_message(line),
            Some(kind) => {
                if kind == Opcode::Text && std::str::from_utf8(line).is_err() {
                    return Err(late());
                }
                self.push(Opcode::Continuation, line)
            }
        }
    }

    /// Queues the beginning of a long line as a fragment. If this part is valid UTF-8, the message
    /// is text, and the rest of the line must be valid UTF-8 too.
    fn push_fragment(&mut self) -> io::Result<()> {
        let valid = match std::str::from_utf8(&self.line) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => 0,
        };
        let begun = self.fragment;
        let kind = match begun {
            Some(Opcode::Text) if valid == 0 => return Err(late()),
            Some(kind) => kind,
            None if valid > 0 => Opcode::Text,
            None => Opcode::Binary,
        };
        let length = if kind == Opcode::Text { valid } else { self.line.len() };
        let rest = self.line.split_off(length);
        let piece = std::mem::replace(&mut self.line, rest);
        let key = self.keys.as_mut().map(MaskKeys::next).transpose()?;
        let opcode = if begun.is_some() { Opcode::Continuation } else { kind };
        push_frame(self.buffer(), opcode, false, &piece, key);
        self.fragment = Some(kind);
        Ok(())
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.frames.capacity() == 0 {
            self.frames = buffers::take_write();
        }
        &mut self.frames
    }

    /// Sends all frames, and then returns the buffer to the worker.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.frames.len() {
            let rest = &self.frames[self.sent..];
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
        if self.frames.capacity() > 0 {
            buffers::give_write(std::mem::take(&mut self.frames));
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

fn late() -> io::Error {
    let text = "a line of more than 1 MiB began as text and went on as something else";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Removes the CR of a line end.
fn strip(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Unpredictable mask keys (RFC 6455, 5.3), generated in batches to save system calls.
#[derive(Debug)]
struct MaskKeys {
    bytes: [u8; 4 * KEYS],
    used: usize,
}

impl Default for MaskKeys {
    fn default() -> Self {
        Self { bytes: [0; 4 * KEYS], used: 4 * KEYS }
    }
}

impl MaskKeys {
    fn next(&mut self) -> io::Result<[u8; 4]> {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes).map_err(io::Error::other)?;
            self.used = 0;
        }
        let mut key = [0; 4];
        key.copy_from_slice(&self.bytes[self.used..self.used + 4]);
        self.used += 4;
        Ok(key)
    }
}
