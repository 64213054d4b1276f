//! The conversions of a connection: to a layered or upgraded one, to halves, to a byte stream.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::core::Core;
use super::handle::Connection;
use super::limits::Closed;
use super::owned::{OwnedReader, OwnedWriter};
use super::split::{Reader, Writer};
use super::stream::ConnectionStream;
use crate::server::handshake::in_bounded_time;
use crate::transport::steps::{OpenError, Transport};
use crate::transport::stream::Layer;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Moves the connection to a stream that is a layer over the current one. Call it before the
    /// first read or write.
    #[must_use]
    pub fn layer<T: Layer<Below = S>>(self, wrap: impl FnOnce(S) -> T) -> Connection<T> {
        Connection::from_core(Box::new(self.into_core().layer(wrap)))
    }

    /// Splits the connection into a reader and a writer, like asyncio's `StreamReader` and
    /// `StreamWriter`. A handler can then read and write at the same time (`tokio::join!`,
    /// `select!`). While the reader waits, the output is not sent automatically: call
    /// [`Writer::flush`].
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    ///
    /// // Sends a question of any length while the answer already arrives.
    /// async fn ask(mut server: Connection, question: &[u8]) -> Result<Option<String>, Closed> {
    ///     let (mut reader, mut writer) = server.split();
    ///     let asking = async {
    ///         writer.write_line_parts(&[question]).await?;
    ///         writer.flush().await
    ///     };
    ///     let ((), answer) = tokio::try_join!(asking, reader.read_line())?;
    ///     Ok(answer.map(|line| line.to_string()))
    /// }
    /// # let _ = ask;
    /// ```
    pub fn split(&mut self) -> (Reader<'_, S>, Writer<'_, S>) {
        super::split::split(self.core_mut())
    }

    /// Splits the connection into halves that two tasks can own, like tokio's
    /// `TcpStream::into_split`. The writer sends its output on [`OwnedWriter::flush`]. When both
    /// halves are dropped, the connection is closed in the background, as when a connection is
    /// dropped.
    ///
    /// A server counts the end of the connection when its handler returns. So the handler must wait
    /// for the tasks that own the halves:
    ///
    /// ```
    /// use echoline::{Closed, Connection};
    /// use tokio::sync::mpsc;
    ///
    /// async fn upper(client: Connection) -> Result<(), Closed> {
    ///     let (mut reader, mut writer) = client.into_split();
    ///     let (answers, mut queue) = mpsc::channel::<String>(16);
    ///     let writing = tokio::spawn(async move {
    ///         while let Some(answer) = queue.recv().await {
    ///             writer.write_line(answer).await?;
    ///             writer.flush().await?;
    ///         }
    ///         Ok(())
    ///     });
    ///     while let Some(line) = reader.read_line().await? {
    ///         if answers.send(line.to_string().to_uppercase()).await.is_err() {
    ///             break;
    ///         }
    ///     }
    ///     drop(answers);
    ///     writing.await.unwrap_or(Err(Closed::Panicked))
    /// }
    /// # let _ = upper;
    /// ```
    #[must_use]
    pub fn into_split(self) -> (OwnedReader<S>, OwnedWriter<S>) {
        super::owned::into_split(*self.into_core())
    }

    /// Returns the connection as a byte stream, which begins with the bytes that were read ahead.
    /// It is for code that takes any stream: `tokio::io::copy_bidirectional`,
    /// `tokio_util::codec::Framed`, another protocol. See [`ConnectionStream`] for the limits that
    /// still hold.
    ///
    /// ```
    /// use echoline::Connection;
    /// use tokio::net::TcpStream;
    ///
    /// // A tunnel, whose first line names the target.
    /// async fn tunnel(mut client: Connection) -> std::io::Result<()> {
    ///     let Some(target) = client.read_line().await? else { return Ok(()) };
    ///     let mut target = TcpStream::connect(target.to_string()).await?;
    ///     let mut client = client.into_stream();
    ///     // A drain waits for the tunnel, for at most `Limits::drain_timeout`.
    ///     let mut client = client.begin_message();
    ///     tokio::io::copy_bidirectional(&mut *client, &mut target).await?;
    ///     Ok(())
    /// }
    /// # let _ = tunnel;
    /// ```
    #[must_use]
    pub fn into_stream(self) -> ConnectionStream<S> {
        ConnectionStream::new(self.into_core())
    }
}

impl Connection {
    /// Runs the steps of `transport` in the middle of a dialogue, as STARTTLS does, and returns the
    /// connection over the new stream. The new connection keeps the limits, the deadlines and the
    /// connection slot. Pending output is sent first.
    ///
    /// ```
    /// use echoline::transport::Transport;
    /// use echoline::{Closed, Connection};
    ///
    /// // `tls` has the step of `echoline::tls::Certificates`.
    /// async fn mail(mut client: Connection, tls: Transport) -> Result<(), Closed> {
    ///     while let Some(line) = client.read_line().await? {
    ///         if line == *b"STARTTLS" {
    ///             client.write_line("220 go ahead").await?;
    ///             client = client.upgrade(&tls).await?;
    ///         } else {
    ///             client.write_line("250 OK").await?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = mail;
    /// ```
    ///
    /// # Errors
    /// [`Closed::Malformed`] if the peer has sent more than the line that asked for the upgrade,
    /// because input from before the handshake must not count as input after it (RFC 3207, section
    /// 4.2). [`Closed::HandshakeTimeout`] after
    /// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout), [`Closed::Drained`], the
    /// error of a step, or of [`flush`](Self::flush). The connection is closed then.
    ///
    /// Not cancel safe: dropping the future closes the connection.
    pub async fn upgrade(mut self, transport: &Transport) -> Result<Self, Closed> {
        self.flush().await?;
        if self.core_mut().input.has_partial() {
            self.core_mut().ended = Some(Closed::Malformed);
            return Err(Closed::Malformed);
        }
        let mut origin = self.origin();
        let Core { stream, input, output, mut deadlines, is_silent, .. } = *self.into_core();
        let config = Arc::clone(&deadlines.config);
        let opened = in_bounded_time(&config, async {
            transport.open(stream, &mut origin).await.map_err(OpenError::Step)
        });
        let opened = opened.await.map_err(OpenError::closed);
        let number = origin.number;
        if let Err(closed) = &opened {
            let why = origin.failure.clone().unwrap_or_else(|| closed.to_string());
            tracing::info!(slot = number, "{why}");
        }
        match &deadlines.slot {
            Some(slot) => slot.note_origin(origin),
            None => deadlines.config.origins.note(origin),
        }
        deadlines.note_input();
        let core = Core::with_parts(opened?, input, output, deadlines, is_silent);
        Ok(Self::from_core(Box::new(core)))
    }
}
