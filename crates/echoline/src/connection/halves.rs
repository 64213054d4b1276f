//! The methods and polls that the borrowed and the owned halves of a connection share.

use std::borrow::BorrowMut;
use std::sync::Mutex;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;

use super::core::{poll_input, poll_next};
use super::deadlines::{Deadlines, OutputState};
use super::input::InputBuffer;
use super::limits::Closed;
use super::output::{OutputBuffer, length_of};
use echoline_base::poison::IgnorePoison;

/// The state of a reading half, without the stream.
pub(super) struct Reading<'a> {
    pub(super) input: &'a mut InputBuffer,
    pub(super) deadlines: &'a mut Deadlines,
    /// The close reason of the last failure, on which the farewell may depend.
    pub(super) ended: &'a mut Option<Closed>,
}

impl Reading<'_> {
    /// Like `Core::poll_read`, but sends no output, because the writing half does that. The stream
    /// is locked for each read.
    pub(super) fn poll<S: AsyncRead + Unpin + 'static, T>(
        self,
        stream: &Mutex<impl BorrowMut<S>>,
        cx: &mut Context<'_>,
        next: impl FnMut(&mut InputBuffer) -> Result<Option<T>, Closed>,
    ) -> Poll<Result<T, Closed>> {
        let Self { input, deadlines, ended } = self;
        poll_next(input, deadlines, ended, cx, next, |input, deadlines, cx| {
            let over = deadlines.check(input.has_partial())?;
            // After a panic under the lock the connection ends, so the stream is not used again.
            let mut stream = stream.lock().ignore_poison();
            poll_input((*stream).borrow_mut(), input, deadlines, over, OutputState::Sent, cx)
        })
    }
}

/// Writes `parts` at once if no wait for the peer is necessary, which is the usual case.
pub(super) fn write_at_once(
    output: &mut OutputBuffer,
    deadlines: &Deadlines,
    parts: &[&[u8]],
    eol: &str,
) -> bool {
    let length = length_of(parts) + eol.len();
    let fits = output.len().saturating_add(length) <= deadlines.config.limits.write_high;
    if !fits || output.is_direct(length) {
        return false;
    }
    for part in parts {
        output.push(part);
    }
    output.push(eol.as_bytes());
    true
}

/// The methods of a reading half that has `poll_read` and `reading`.
macro_rules! reader_methods {
    () => {
        /// Like [`Connection::read_line`](crate::Connection::read_line). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::read_line`](crate::Connection::read_line).
        pub async fn read_line(&mut self) -> Result<Option<Line>, Closed> {
            let line = poll_fn(|cx| self.poll_read(cx, InputBuffer::next_line)).await?;
            if let Some(line) = &line {
                self.reading().deadlines.note_line(line);
            }
            Ok(line)
        }

        /// Like [`Connection::peek`](crate::Connection::peek). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::read`](crate::Connection::read).
        pub async fn peek(&mut self) -> Result<Option<&[u8]>, Closed> {
            let has_some = poll_fn(|cx| self.poll_read(cx, InputBuffer::next_peek)).await?;
            Ok(has_some.then(|| self.reading().input.unread()))
        }

        /// Like [`Connection::skip_line`](crate::Connection::skip_line).
        pub fn skip_line(&mut self) {
            self.reading().input.skip_line();
        }

        /// Like [`Connection::read`](crate::Connection::read). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::read`](crate::Connection::read).
        pub async fn read(&mut self, most: usize) -> Result<Option<Bytes>, Closed> {
            poll_fn(|cx| self.poll_read(cx, |input| input.next_chunk(most))).await
        }

        /// Like [`Connection::read_exact`](crate::Connection::read_exact). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::read_exact`](crate::Connection::read_exact).
        pub async fn read_exact(&mut self, length: usize) -> Result<Bytes, Closed> {
            poll_fn(|cx| self.poll_read(cx, |input| input.next_exact(length))).await
        }

        /// Like [`Connection::read_until`](crate::Connection::read_until). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::read_until`](crate::Connection::read_until).
        pub async fn read_until(&mut self, separator: &[u8]) -> Result<Option<Bytes>, Closed> {
            poll_fn(|cx| self.poll_read(cx, |input| input.next_until(separator))).await
        }

        /// Like [`Connection::begin_message`](crate::Connection::begin_message).
        pub fn begin_message(&mut self) -> MessageGuard<'_, Self> {
            MessageGuard::begin(self, |reader, begun| {
                reader.reading().deadlines.set_in_message(begun)
            })
        }
    };
}

/// The methods of a writing half that has `with`, which locks the stream for one call.
macro_rules! writer_methods {
    () => {
        /// Like [`Connection::write`](crate::Connection::write), but nothing is written before it
        /// is awaited, and the buffer is sent only by [`flush`](Self::flush).
        ///
        /// # Errors
        /// Like [`Connection::write`](crate::Connection::write). Not cancel safe.
        pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Closed> {
            self.write_parts(&[bytes]).await
        }

        /// Writes all `parts` as one piece, as [`write`](Self::write) writes their concatenation.
        ///
        /// # Errors
        /// Like [`write`](Self::write). Not cancel safe.
        pub async fn write_parts(&mut self, parts: &[&[u8]]) -> Result<(), Closed> {
            self.write_all(parts, "").await
        }

        /// Writes `text` and the server's line end.
        ///
        /// # Errors
        /// Like [`write`](Self::write). Not cancel safe.
        pub async fn write_line(&mut self, text: impl fmt::Display) -> Result<(), Closed> {
            self.write_line_parts(&[text.to_string().as_bytes()]).await
        }

        /// Writes all `parts` and the server's line end as one line.
        ///
        /// # Errors
        /// Like [`write`](Self::write). Not cancel safe.
        pub async fn write_line_parts(&mut self, parts: &[&[u8]]) -> Result<(), Closed> {
            let eol = self.with(|_, _, deadlines| deadlines.config.eol.as_str());
            self.write_all(parts, eol).await
        }

        /// Sends all pending output. Like asyncio's `drain`. Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::flush`](crate::Connection::flush).
        pub async fn flush(&mut self) -> Result<(), Closed> {
            poll_fn(|cx| {
                self.with(|stream, output, deadlines| poll_output(stream, output, deadlines, cx))
            })
            .await
        }

        /// Like [`Connection::shutdown_write`](crate::Connection::shutdown_write). Cancel safe.
        ///
        /// # Errors
        /// Like [`Connection::shutdown_write`](crate::Connection::shutdown_write).
        #[doc(alias = "write_eof")]
        pub async fn shutdown_write(&mut self) -> Result<(), Closed> {
            poll_fn(|cx| {
                self.with(|stream, output, deadlines| poll_shutdown(stream, output, deadlines, cx))
            })
            .await
        }

        /// Returns the number of written bytes that the stream has not taken.
        #[must_use]
        pub fn unsent(&self) -> usize {
            self.output().len()
        }

        async fn write_all(&mut self, parts: &[&[u8]], eol: &str) -> Result<(), Closed> {
            if self.with(|_, output, deadlines| write_at_once(output, deadlines, parts, eol)) {
                return Ok(());
            }
            for mut part in parts.iter().copied().chain([eol.as_bytes()]) {
                poll_fn(|cx| {
                    self.with(|stream, output, deadlines| {
                        poll_write_part(stream, output, deadlines, &mut part, cx)
                    })
                })
                .await?;
            }
            Ok(())
        }
    };
}

pub(super) use {reader_methods, writer_methods};
