//! Settings that all connections of one server share: limits, line end, farewell and shutdown.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::limits::{Closed, Limits};
use crate::metrics::summary::LineHook;
use crate::server::shutdown::Shutdown;
use crate::transport::origin::{Origin, OriginHistory};
use crate::transport::steps::{Refusal, Transport};
use echoline_base::poison::IgnorePoison;

/// The line end that is appended to each written line.
///
/// ```
/// use echoline::testing::TestServer;
/// use echoline::{Connection, Eol};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // SMTP, as most Internet protocols, has "\r\n".
/// let server = TestServer::new(async |mut client: Connection| client.write_line("220").await)
///     .configure(|server| server.eol(Eol::CrLf));
/// server.connect().expect("220\r\n").await;
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Eol {
    /// `\n`, as Unix programs write it.
    #[default]
    Lf,
    /// `\r\n`, as in RFC 854 (Telnet) and most Internet line protocols.
    CrLf,
}

impl Eol {
    /// Returns the line end as text.
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// The message to the peer when the server ends the connection, and not its handler.
///
/// ```
/// use std::sync::Arc;
///
/// use echoline::testing::TestServer;
/// use echoline::{Closed, Connection, Farewell, Limits};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A protocol with codes: SMTP names an unavailable service 421 (RFC 5321, 3.8).
/// let farewell = Farewell::Custom(Arc::new(|closed| match closed {
///     Closed::Busy | Closed::IdleTimeout => Some(format!("421 {closed}")),
///     _ => None,
/// }));
/// let limits = Limits { max_connections: 1, ..Limits::default() };
/// let server = TestServer::new(async |mut client: Connection| client.echo().await)
///     .configure(|server| server.limits(limits).farewell(farewell));
/// let _first = server.connect();
/// server.connect().expect_line("421 no connection slot was free").await;
/// # }
/// ```
#[derive(Clone, Default)]
pub enum Farewell {
    /// The peer gets no message.
    Silent,
    /// The peer gets one sentence if the server refuses the connection, and otherwise nothing. This
    /// is for servers that pass bytes on unchanged.
    Refusal,
    /// The peer gets one sentence for each close reason that it can avoid.
    #[default]
    Sentences,
    /// The peer gets the message that the function returns for the close reason, or nothing if it
    /// returns `None`.
    Custom(Arc<dyn Fn(Closed) -> Option<String> + Send + Sync>),
}

impl Farewell {
    /// Returns the message for `closed`, without a line end.
    fn words(&self, closed: Closed, limits: &Limits) -> Option<String> {
        match self {
            Self::Custom(words) => words(closed),
            Self::Sentences => sentence(closed, limits),
            Self::Refusal if closed.is_refusal() => sentence(closed, limits),
            Self::Refusal | Self::Silent => None,
        }
    }
}

fn sentence(closed: Closed, limits: &Limits) -> Option<String> {
    let words = match closed {
        _ if closed.is_refusal() => return Some(closed.refusal().into_owned()),
        Closed::IdleTimeout | Closed::LineTimeout => "Connection timeout. Goodbye!",
        Closed::LineTooLong => {
            return Some(format!("Line too long (limit {} bytes). Goodbye!", limits.max_line));
        }
        Closed::Panicked | Closed::Application => "Server error. Goodbye!",
        _ => return None,
    };
    Some(words.to_owned())
}

impl fmt::Debug for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "Silent",
            Self::Refusal => "Refusal",
            Self::Sentences => "Sentences",
            Self::Custom(_) => "Custom",
        })
    }
}

/// The settings of one server's connections.
#[derive(Debug)]
pub(crate) struct ConnectionConfig {
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    pub(crate) eol: Eol,
    pub(crate) farewell: Farewell,
    /// The hook that is called with each received line.
    pub(crate) on_line: Option<Arc<LineHook>>,
    /// Has one permit for each connection that may linger.
    pub(crate) lingering: Semaphore,
    /// One permit for each connection that may be in its handshake.
    pub(crate) handshakes: Semaphore,
    /// The origins of a connection that no server has accepted. Such a connection has settings of
    /// its own; those of a server's connections are in their slots.
    pub(crate) origins: OriginHistory,
}

impl ConnectionConfig {
    pub(crate) fn new(limits: Limits, shutdown: Shutdown, eol: Eol, farewell: Farewell) -> Self {
        let lingering = Semaphore::new(limits.max_lingering.min(Semaphore::MAX_PERMITS));
        let handshakes = Semaphore::new(limits.max_handshakes.clamp(1, Semaphore::MAX_PERMITS));
        let (on_line, origins) = (None, OriginHistory::default());
        Self { limits, shutdown, eol, farewell, on_line, lingering, handshakes, origins }
    }

    /// Returns the same settings with new semaphores, whose sizes are those of the limits. A
    /// connection returns its permit to the old semaphore. So until the old permits are returned,
    /// more permits than the limit may be in use.
    pub(crate) fn with_fresh_permits(&self) -> Self {
        let (shutdown, farewell) = (self.shutdown.clone(), self.farewell.clone());
        let with_fresh_permits = Self::new(self.limits.clone(), shutdown, self.eol, farewell);
        Self { on_line: self.on_line.clone(), ..with_fresh_permits }
    }

    /// Returns the sentence for a client without a connection slot.
    pub(crate) fn refusal(&self, transport: &Transport, closed: Closed) -> Option<String> {
        self.words(transport.refusal(closed), closed)
    }

    /// Returns the refusal after a proxy has named the client.
    pub(crate) fn refusal_after_proxy(
        &self,
        transport: &Transport,
        origin: &Origin,
        closed: Closed,
    ) -> Option<String> {
        self.words(transport.refusal_after_proxy(origin, closed), closed)
    }

    fn words(&self, refusal: Refusal, closed: Closed) -> Option<String> {
        match refusal {
            Refusal::Next => self.farewell(closed),
            Refusal::Words(words) => Some(words),
            Refusal::Silence => None,
        }
    }

    /// Returns the farewell for `closed`, with its line end.
    pub(crate) fn farewell(&self, closed: Closed) -> Option<String> {
        let mut words = self.farewell.words(closed, &self.limits)?;
        words.push_str(self.eol.as_str());
        Some(words)
    }
}

/// A handle that changes the limits of a running server; see
/// [`Server::live_limits`](crate::Server::live_limits).
///
/// ```
/// use echoline::{Limits, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let server = Server::bind("127.0.0.1:0").await?;
/// let live = server.live_limits();
/// // Later, for example on a signal, while the server serves:
/// live.set(Limits { max_connections: 500, ..live.current() });
/// assert_eq!(live.current().max_connections, 500);
/// # Ok(())
/// # }
/// ```
///
/// New connections get the new limits. An open connection keeps the limits with which it was
/// accepted, because its handler may have announced them to the client. But changes of the
/// connection limits and of the drain time-out take effect at once.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    config: Arc<Mutex<Arc<ConnectionConfig>>>,
}

impl LiveLimits {
    pub(crate) fn new(config: ConnectionConfig) -> Self {
        Self { config: Arc::new(Mutex::new(Arc::new(config))) }
    }

    /// Returns the limits of new connections.
    #[must_use]
    pub fn current(&self) -> Limits {
        self.config().limits.clone()
    }

    /// Applies `limits` to new connections. If the connection limit falls below the current count,
    /// open connections stay and new ones are refused until enough have closed.
    pub fn set(&self, limits: Limits) {
        self.change(|config| config.limits = limits);
    }

    /// Returns the settings for a connection that is accepted now.
    pub(crate) fn config(&self) -> Arc<ConnectionConfig> {
        Arc::clone(&self.config.lock().ignore_poison())
    }

    /// Changes a copy of the current settings, and makes it the current one.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ConnectionConfig)) {
        let mut config = self.config.lock().ignore_poison();
        let mut new = config.with_fresh_permits();
        change(&mut new);
        // The semaphores are also new, because their permits depend on the limits.
        *config = Arc::new(new.with_fresh_permits());
    }
}
