//! The summary of a connection that has ended, for an access log. Connections are counted only if
//! the server has a hook for summaries, or logs at level debug.

use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::connection::limits::Closed;
use crate::transport::origin::Origin;

/// One connection that has ended, or that was refused; see
/// [`Server::on_closed`](crate::Server::on_closed).
///
/// The counts cover the dialogue only, without the handshake (TLS, WebSocket, a PROXY header) and
/// the files of a page. The number of lines is the number of line feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionSummary {
    /// The origin of the connection. Its number is 0 if the connection was refused.
    pub origin: Origin,
    /// The time for which the connection was open.
    pub duration: Duration,
    /// The number of bytes that the peer sent.
    pub bytes_received: u64,
    /// The number of line feeds in these bytes.
    pub lines_received: u64,
    /// The number of bytes that the system accepted for sending.
    pub bytes_sent: u64,
    /// The number of line feeds in these bytes.
    pub lines_sent: u64,
    /// The close reason.
    pub closed: Closed,
}

/// A line as a connection received it; see [`Server::on_line`](crate::Server::on_line).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceivedLine<'a> {
    /// The number of the connection, as in [`Origin::number`].
    pub number: u64,
    /// The index, among the server's listeners, of the one that accepted the connection.
    pub listener: usize,
    /// The address of the client, as in [`Origin::client`].
    pub client: Option<SocketAddr>,
    /// The line without its end; in a raw echo, the bytes of one read.
    pub bytes: &'a [u8],
}

impl<'a> ReceivedLine<'a> {
    /// Creates a line of `bytes`, for tests of a hook.
    #[must_use]
    pub fn new(number: u64, listener: usize, client: Option<SocketAddr>, bytes: &'a [u8]) -> Self {
        Self { number, listener, client, bytes }
    }
}

/// A closure that a server calls.
pub(crate) struct Hook<T: ?Sized>(pub(crate) Box<T>);

impl<T: ?Sized> fmt::Debug for Hook<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// A hook that is called with the summary of each connection that has ended.
pub(crate) type ClosedHook = Hook<dyn Fn(ConnectionSummary) + Send + Sync>;

/// A hook that is called with each received line.
pub(crate) type LineHook = Hook<dyn Fn(ReceivedLine<'_>) + Send + Sync>;

/// The counts of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionCounters {
    begun: Instant,
    bytes_received: AtomicU64,
    lines_received: AtomicU64,
    bytes_sent: AtomicU64,
    lines_sent: AtomicU64,
    closed: OnceLock<Closed>,
}

/// A number of bytes in one direction, with the number of line feeds if lines are counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amount {
    pub(crate) bytes: usize,
    lines: usize,
    counts_lines: bool,
}

impl Amount {
    /// Creates an amount of zero.
    #[inline]
    pub(crate) fn new(counts_lines: bool) -> Self {
        Self { counts_lines, ..Self::default() }
    }

    /// Creates an amount of bytes whose line feeds are not counted.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        Self { bytes, ..Self::default() }
    }

    #[inline]
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        if self.counts_lines {
            self.lines += memchr::memchr_iter(b'\n', bytes).count();
        }
    }
}

impl ConnectionCounters {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            bytes_received: AtomicU64::default(),
            lines_received: AtomicU64::default(),
            bytes_sent: AtomicU64::default(),
            lines_sent: AtomicU64::default(),
            closed: OnceLock::new(),
        }
    }

    pub(crate) fn note_received(&self, amount: Amount) {
        self.bytes_received.fetch_add(amount.bytes as u64, Ordering::Relaxed);
        self.lines_received.fetch_add(amount.lines as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_sent(&self, amount: Amount) {
        self.bytes_sent.fetch_add(amount.bytes as u64, Ordering::Relaxed);
        self.lines_sent.fetch_add(amount.lines as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_closed(&self, closed: Closed) {
        self.closed.get_or_init(|| closed);
    }

    /// Returns the summary of the connection from `origin`.
    pub(crate) fn summary(&self, origin: Origin) -> ConnectionSummary {
        ConnectionSummary {
            origin,
            duration: self.begun.elapsed(),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            lines_received: self.lines_received.load(Ordering::Relaxed),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            lines_sent: self.lines_sent.load(Ordering::Relaxed),
            closed: self.closed.get().copied().unwrap_or(Closed::Aborted),
        }
    }
}

impl ConnectionSummary {
    /// Creates the summary of a connection that was refused, without duration and traffic.
    pub fn of(origin: Origin, closed: Closed) -> Self {
        Self {
            origin,
            duration: Duration::ZERO,
            bytes_received: 0,
            lines_received: 0,
            bytes_sent: 0,
            lines_sent: 0,
            closed,
        }
    }

    pub(crate) fn log(&self) {
        tracing::debug!(
            slot = self.origin.number,
            reason = self.closed.label(),
            duration = ?self.duration,
            bytes_received = self.bytes_received,
            lines_received = self.lines_received,
            bytes_sent = self.bytes_sent,
            lines_sent = self.lines_sent,
            "closed"
        );
    }
}
