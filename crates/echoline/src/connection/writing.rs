//! Writing to a connection, and closing it.

use std::fmt;
use std::future::poll_fn;
use std::io::Write as _;

use tokio::io::{AsyncRead, AsyncWrite};

use super::borrows::Write;
use super::closing::Closing;
use super::core::{Core, poll_shutdown};
use super::handle::Connection;
use super::limits::Closed;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Writes bytes. If the unsent bytes then do not exceed
    /// [`Limits::write_high`](crate::Limits::write_high), the bytes are buffered at once. Otherwise
    /// the write must be awaited, and waits until the peer has read enough for the rest to fit.
    /// Pieces of 8 KiB and more bypass an empty buffer when the write is awaited. This is asyncio's
    /// `write` and `drain` together.
    ///
    /// # Errors
    /// [`Closed::StallTimeout`] if the peer reads nothing, or the error of the stream.
    ///
    /// Not cancel safe. If a write that has to wait is dropped before it was awaited, nothing is
    /// written. If it is dropped half-way, only the beginning of the bytes is written.
    #[doc(alias = "write_all")]
    pub fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Write<'a> {
        self.write_parts(&[bytes])
    }

    /// Writes all `parts` as one piece. It has the same effect as [`write`](Self::write) with the
    /// concatenated parts, but does not copy them together first. Use it for bytes that are not
    /// text.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// // A frame: two bytes of length, then the payload.
    /// async fn frame(client: &mut Connection, payload: &[u8]) -> Result<(), Closed> {
    ///     let length = u16::try_from(payload.len()).map_err(|_| Closed::LineTooLong)?;
    ///     client.write_parts(&[&length.to_be_bytes(), payload]).await
    /// }
    /// # let _ = frame;
    /// ```
    ///
    /// # Errors
    /// Like [`write`](Self::write).
    #[doc(alias = "writelines")]
    #[doc(alias = "write_vectored")]
    #[inline]
    pub fn write_parts<'a>(&'a mut self, parts: &[&'a [u8]]) -> Write<'a> {
        let core = self.core_mut();
        if !core.takes_at_once(parts, 0) {
            return write_later(core, parts, "");
        }
        for part in parts {
            core.output.push(part);
        }
        Write::done(Ok(()))
    }

    /// Writes `text` and the line end (`\n` unless [`Server::eol`](crate::Server::eol) sets
    /// another). The line is buffered at once, at any length. When awaited, it waits until at most
    /// [`Limits::write_high`](crate::Limits::write_high) bytes are unsent. It is cancel safe: a
    /// line whose write is dropped is sent with the next write.
    ///
    /// In a handler that must be `Send`, use `format!`, not `format_args!`, because its value
    /// cannot be held across an `await`.
    ///
    /// # Errors
    /// Like [`write`](Self::write).
    pub fn write_line(&mut self, text: impl fmt::Display) -> Write<'_> {
        let core = self.core_mut();
        let eol = core.deadlines.config.eol.as_str();
        if let Err(error) = write!(core.output.buffer(), "{text}{eol}") {
            return Write::done(Err(error.into()));
        }
        if core.needs_room(0) { Write::later(core.flush()) } else { Write::done(Ok(())) }
    }

    /// Writes all `parts` and the line end as one line. Use it for bytes that may not be text.
    ///
    /// # Errors
    /// Like [`write`](Self::write).
    #[inline]
    pub fn write_line_parts<'a>(&'a mut self, parts: &[&'a [u8]]) -> Write<'a> {
        let core = self.core_mut();
        let eol = core.deadlines.config.eol;
        if !core.takes_at_once(parts, eol.as_str().len()) {
            return write_later(core, parts, eol.as_str());
        }
        core.output.push_line(parts, eol);
        Write::done(Ok(()))
    }

    /// Sends all pending output and waits until the stream has taken it. Like asyncio's `drain`,
    /// but waits until the buffer is empty. Cancel safe.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    /// use std::time::Duration;
    ///
    /// // A handler that reads nothing sends its output by `flush`.
    /// async fn count_down(mut client: Connection) -> Result<(), Closed> {
    ///     for number in (1..=3).rev() {
    ///         client.write_line(number).await?;
    ///         client.flush().await?;
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = count_down;
    /// ```
    ///
    /// # Errors
    /// [`Closed::StallTimeout`], or the error of the stream.
    #[doc(alias = "drain")]
    pub async fn flush(&mut self) -> Result<(), Closed> {
        self.core_mut().flush().await
    }

    /// Sends all pending output and shuts down the sending side. Input can still be read. This is
    /// asyncio's `write_eof` and tokio's `shutdown`: FIN over TCP, `close_notify` over TLS, a Close
    /// frame over WebSocket. A later write fails, and no [`Farewell`](crate::Farewell) is sent.
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// // Sends a question, and reads the answer until the server ends its stream.
    /// async fn finger(mut server: Connection, user: &str) -> Result<Vec<u8>, Closed> {
    ///     server.write_line(user).await?;
    ///     server.shutdown_write().await?;
    ///     let mut answer = Vec::new();
    ///     while let Some(bytes) = server.read(usize::MAX).await? {
    ///         answer.extend_from_slice(&bytes);
    ///     }
    ///     Ok(answer)
    /// }
    /// # let _ = finger;
    /// ```
    ///
    /// # Errors
    /// [`Closed::StallTimeout`], or the error of the stream. Cancel safe.
    #[doc(alias = "write_eof")]
    #[doc(alias = "shutdown")]
    pub async fn shutdown_write(&mut self) -> Result<(), Closed> {
        let core = self.core_mut();
        poll_fn(|cx| {
            let Core { stream, output, deadlines, .. } = core;
            let polled = poll_shutdown(stream, output, deadlines, cx);
            core.note_end(polled)
        })
        .await
    }

    /// Sends all pending output and ends the stream (FIN). Then it reads and discards input for at
    /// most [`Limits::linger_timeout`](crate::Limits::linger_timeout) and
    /// [`Limits::linger_bytes`](crate::Limits::linger_bytes), so that a reset does not discard the
    /// last line. Like asyncio's `close` and `wait_closed`. Dropping the connection does the same
    /// in the background.
    ///
    /// ```
    /// use echoline::{Closed, Connection, Limits};
    /// use tokio::net::TcpStream;
    ///
    /// async fn leave(address: &str) -> Result<(), Closed> {
    ///     let mut server = Connection::new(TcpStream::connect(address).await?, Limits::default());
    ///     server.write_line("QUIT").await?;
    ///     // A program that ends at once must not drop the connection instead.
    ///     server.close().await;
    ///     Ok(())
    /// }
    /// # let _ = leave;
    /// ```
    ///
    /// Not cancel safe: dropping the future closes the socket at once, and unsent output is lost.
    #[doc(alias = "wait_closed")]
    pub async fn close(self) {
        Closing::begin(self.into_core()).run().await;
    }

    /// Returns the number of written bytes that the stream has not taken.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.core().output.len()
    }
}

/// Returns the write of `parts` and `end`, which begins when it is awaited.
#[cold]
fn write_later<'a, S>(core: &'a mut Core<S>, parts: &[&'a [u8]], end: &'a str) -> Write<'a>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = [parts, &[end.as_bytes()]].concat();
    Write::later(async move { core.write_waiting(&parts).await })
}
