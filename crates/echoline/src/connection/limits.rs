//! The limits of connections, and the reasons why connections end.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::lines::LineTooLong;

/// The limits of one server, or of one connection. Each default states its reason. A later release
/// may add fields, so end a literal with `..Limits::default()`.
///
/// ```
/// use echoline::Limits;
/// use std::time::Duration;
///
/// let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
/// assert_eq!(limits.max_line, 65_536);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of open connections. A further one is refused and ends as
    /// [`Closed::Busy`]. Default 10,000, as in Redis.
    pub max_connections: usize,
    /// The maximum number of open connections from one address (IPv6: one /64 network). A further
    /// one ends as [`Closed::BusyAddress`]. Default `None`, no limit, because all clients behind a
    /// local proxy share one address. (The program sets a quarter of `max_connections` unless it
    /// listens on loopback addresses only.)
    pub max_per_ip: Option<usize>,
    /// The maximum number of bytes in one line without its line end. A longer line ends as
    /// [`Closed::LineTooLong`]. Default 65,536, as in asyncio.
    pub max_line: usize,
    /// The maximum wait for the next line (in `read`: the next byte) before
    /// [`Closed::IdleTimeout`], like `asyncio.wait_for(reader.readline(), 60)`. Default `None`: an
    /// interactive user may pause for any length of time.
    pub idle_timeout: Option<Duration>,
    /// The maximum time from the first byte of a line to its end before [`Closed::LineTimeout`], so
    /// that a client cannot hold a connection by sending single bytes. Default 30 s.
    pub line_timeout: Option<Duration>,
    /// The maximum time without progress in sending pending output before [`Closed::StallTimeout`].
    /// Default 30 s.
    pub stall_timeout: Option<Duration>,
    /// The number of unsent bytes beyond which a write waits for the peer. Default 64 KiB, as in
    /// asyncio.
    pub write_high: usize,
    /// The maximum time for the steps before the handler (TLS, WebSocket, a PROXY header) before
    /// [`Closed::HandshakeTimeout`]. Default 10 s.
    pub handshake_timeout: Duration,
    /// The maximum number of connections in their handshake. Further ones wait for their turn, and
    /// this wait counts towards their time-out. So a flood of handshakes leaves processor time for
    /// established connections. Default 256.
    pub max_handshakes: usize,
    /// The maximum time for which a closed connection continues to read, so that a reset does not
    /// discard the last line. Default 2 s (nginx: 5 s).
    pub linger_timeout: Duration,
    /// The maximum number of bytes that a closed connection reads. Default 256 KiB.
    pub linger_bytes: usize,
    /// The maximum number of closed connections that continue to read at the same time. Further
    /// ones are closed at once, so their clients may lose the last line. Default 1,024.
    pub max_lingering: usize,
    /// The maximum time that a draining server waits for its connections before it ends the rest as
    /// [`Closed::Aborted`]. Default 30 s, because systemd kills a service after 90 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_per_ip: None,
            max_line: 64 * 1024,
            idle_timeout: None,
            line_timeout: Some(Duration::from_secs(30)),
            stall_timeout: Some(Duration::from_secs(30)),
            write_high: 64 * 1024,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 256,
            linger_timeout: Duration::from_secs(2),
            linger_bytes: 256 * 1024,
            max_lingering: 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The close reason of a connection. The log, the report and the metrics use its
/// [`label`](Self::label).
///
/// A handler passes it on with `?`. It can also handle one, because the connection stays usable
/// after a time-out or a line that is too long:
///
/// ```
/// use echoline::testing::TestServer;
/// use echoline::{Closed, Connection, Limits};
///
/// async fn echo(mut client: Connection) -> Result<(), Closed> {
///     loop {
///         match client.read_line().await {
///             Ok(Some(line)) => client.write_line(line).await?,
///             Ok(None) => return Ok(()),
///             Err(Closed::LineTooLong) => {
///                 client.skip_line();
///                 client.write_line("that line is too long").await?;
///             }
///             Err(closed) => return Err(closed),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limits = Limits { max_line: 5, ..Limits::default() };
/// let mut client = TestServer::new(echo).configure(|server| server.limits(limits)).connect();
/// client.send("short\na long line\nagain\n").await;
/// client.expect("short\nthat line is too long\nagain\n").await;
/// client.shutdown_write().await;
/// client.expect_closed(Closed::EndOfStream).await;
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Closed {
    /// The peer ended the stream and got all its answers.
    #[error("the peer ended the stream")]
    EndOfStream,
    /// The handler ended the dialogue.
    #[error("the handler ended the dialogue")]
    Finished,
    /// The peer, or the network, reset the connection (RST, broken pipe).
    #[error("the connection was reset")]
    Reset,
    /// The peer's stream ended without the end that TLS requires (`close_notify`), so it may have
    /// been cut off. Complete lines were answered, but a partial last line was not.
    #[error("the peer's stream was cut off")]
    Truncated,
    /// The stream ended before `read_exact` or `read_until` had all its input.
    #[error("the stream ended too early")]
    Incomplete,
    /// No line arrived within [`Limits::idle_timeout`].
    #[error("no line arrived within the idle time-out")]
    IdleTimeout,
    /// A line did not end within [`Limits::line_timeout`].
    #[error("the line did not end within the line time-out")]
    LineTimeout,
    /// The peer read nothing for [`Limits::stall_timeout`].
    #[error("the peer read nothing within the stall time-out")]
    StallTimeout,
    /// A line was longer than [`Limits::max_line`].
    #[error("a line was longer than the limit")]
    LineTooLong,
    /// The handshake was not over within [`Limits::handshake_timeout`].
    #[error("the handshake did not end within its time-out")]
    HandshakeTimeout,
    /// The handshake (TLS, WebSocket, the PROXY header) went wrong.
    #[error("the handshake failed")]
    HandshakeFailed,
    /// The peer broke the rules of a layer below, WebSocket or TLS, after the handshake. A handler
    /// may return it if the peer breaks the rules of its own protocol.
    #[error("the peer violated the protocol")]
    Malformed,
    /// There were already [`Limits::max_connections`] connections, or no descriptor was left.
    #[error("no connection slot was free")]
    Busy,
    /// The address already had [`Limits::max_per_ip`] connections.
    #[error("no connection slot of the address was free")]
    BusyAddress,
    /// The address connected more often than [`SourceLimits`](crate::sources::SourceLimits) allow.
    /// It may try again after this number of seconds. A [`Report`](crate::Report) counts all such
    /// connections as `SourceRate(0)`.
    #[error("the address connected too often")]
    SourceRate(u16),
    /// The server drained and the connection had nothing left to answer.
    #[error("the server shut down")]
    Drained,
    /// The server ended the connection before the handler had finished: at the end of the drain
    /// time-out, or at a second signal.
    #[error("the server aborted the connection")]
    Aborted,
    /// The handler panicked; only its own connection ended.
    #[error("the handler panicked")]
    Panicked,
    /// The handler returned an error of its own, which the server logs; only its own connection
    /// ended. See [`Server::serve`](crate::Server::serve).
    #[error("the handler failed")]
    Application,
    /// Any other error of the system.
    #[error("input/output error: {0}")]
    Io(io::ErrorKind),
}

impl Closed {
    /// Every [`label`](Self::label), in the order of the variants.
    pub const LABELS: &[&str] = &Self::labels();

    /// One close reason for each label.
    pub(crate) const REASONS: [Self; 20] = [
        Self::EndOfStream,
        Self::Finished,
        Self::Reset,
        Self::Truncated,
        Self::Incomplete,
        Self::IdleTimeout,
        Self::LineTimeout,
        Self::StallTimeout,
        Self::LineTooLong,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::Malformed,
        Self::Busy,
        Self::BusyAddress,
        Self::SourceRate(0),
        Self::Drained,
        Self::Aborted,
        Self::Panicked,
        Self::Application,
        Self::Io(io::ErrorKind::Other),
    ];

    const fn labels() -> [&'static str; Self::REASONS.len()] {
        let mut labels = [""; Self::REASONS.len()];
        let mut index = 0;
        while index < labels.len() {
            labels[index] = Self::REASONS[index].label();
            index += 1;
        }
        labels
    }

    /// Returns the reason in one word, for logs and metrics, for example `idle_timeout`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::EndOfStream => "end_of_stream",
            Self::Finished => "finished",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Incomplete => "incomplete",
            Self::IdleTimeout => "idle_timeout",
            Self::LineTimeout => "line_timeout",
            Self::StallTimeout => "stall_timeout",
            Self::LineTooLong => "line_too_long",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::BusyAddress => "busy_address",
            Self::SourceRate(_) => "source_rate",
            Self::Drained => "drained",
            Self::Aborted => "aborted",
            Self::Panicked => "panicked",
            Self::Application => "application",
            Self::Io(_) => "io",
        }
    }

    /// Returns the reason as reports count it: without the number of seconds in
    /// [`Self::SourceRate`].
    pub(crate) const fn counted(self) -> Self {
        match self {
            Self::SourceRate(_) => Self::SourceRate(0),
            other => other,
        }
    }

    /// Returns whether the server refused the connection, so that no handler ran.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Busy | Self::BusyAddress | Self::SourceRate(_))
    }

    /// Returns the sentence for a connection that the server refuses.
    pub fn refusal(self) -> Cow<'static, str> {
        match self {
            Self::SourceRate(seconds) => Cow::Owned(format!(
                "Too many connections from your address; try again in {seconds} s."
            )),
            Self::BusyAddress => {
                Cow::Borrowed("Too many connections from your address. Try again later.")
            }
            _ => Cow::Borrowed("Server is busy. Try again later."),
        }
    }

    /// Returns whether the connection is unusable, so that no farewell and no FIN can be sent.
    #[must_use]
    pub(crate) const fn is_broken(self) -> bool {
        matches!(self, Self::Reset | Self::Aborted | Self::StallTimeout | Self::Io(_))
    }
}

impl From<io::Error> for Closed {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        // An `io::Error` from a `ConnectionStream` contains a `Closed`: return it.
        if let Some(closed) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return *closed;
        }
        match error.kind() {
            // The system reports a reset by the peer under several names.
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset,
            Kind::UnexpectedEof => Self::Incomplete,
            // Layers report this kind if the peer violates their protocol, for example WebSocket.
            Kind::InvalidData => Self::Malformed,
            kind => Self::Io(kind),
        }
    }
}

impl From<LineTooLong> for Closed {
    fn from(_: LineTooLong) -> Self {
        Self::LineTooLong
    }
}

impl From<LineTooLong> for io::Error {
    fn from(error: LineTooLong) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl From<Closed> for io::Error {
    fn from(closed: Closed) -> Self {
        let kind = match closed {
            Closed::Reset => io::ErrorKind::ConnectionReset,
            Closed::Incomplete | Closed::Truncated => io::ErrorKind::UnexpectedEof,
            Closed::IdleTimeout
            | Closed::LineTimeout
            | Closed::StallTimeout
            | Closed::HandshakeTimeout => io::ErrorKind::TimedOut,
            Closed::LineTooLong | Closed::Malformed | Closed::HandshakeFailed => {
                io::ErrorKind::InvalidData
            }
            Closed::Aborted => io::ErrorKind::ConnectionAborted,
            Closed::Io(kind) => kind,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults 28, 36: all error kinds of a lost connection have the same close reason.
    #[test]
    fn all_names_of_a_reset_give_one_close_reason() {
        for kind in [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
        ] {
            assert_eq!(Closed::from(io::Error::from(kind)), Closed::Reset);
        }
        let malformed = io::Error::from(io::ErrorKind::InvalidData);
        assert_eq!(Closed::from(malformed), Closed::Malformed);
        assert_eq!(Closed::from(io::Error::other("?")), Closed::Io(io::ErrorKind::Other));
    }

    #[test]
    fn a_reason_keeps_its_sentence_as_an_io_error() {
        let error = io::Error::from(Closed::LineTimeout);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), Closed::LineTimeout.to_string());
    }

    #[test]
    fn a_reason_survives_the_way_through_an_io_error() {
        for closed in [Closed::Drained, Closed::Truncated, Closed::Io(io::ErrorKind::TimedOut)] {
            assert_eq!(Closed::from(io::Error::from(closed)), closed);
        }
    }
}
