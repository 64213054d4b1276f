//! Settings that all connections of one server share: limits, line end, farewell and shutdown.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::limits::{Closed, Limits};
use crate::metrics::summary::LineHook;
use crate::server::shutdown::Shutdown;
use crate::transport::origin::Origin;
use crate::transport::steps::{Refusal, Transport};
use echoline_base::poison::IgnorePoison;

/// The line end that is appended to each written line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Eol {
    /// `\n`, as Unix programs write it.
    #[default]
    Lf,
    /// `\r\n`, as RFC 854 (Telnet) and most Internet line protocols have it.
    CrLf,
}

impl Eol {
    /// Returns the bytes.
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// The message to the peer when the server, and not the handler, ends its connection.
#[derive(Clone, Default)]
pub enum Farewell {
    /// Nothing: the stream just ends.
    Silent,
    /// One sentence if the server refuses the connection, otherwise nothing. For servers that pass
    /// bytes on unchanged.
    Refusal,
    /// One sentence for each reason that the peer can do something about.
    #[default]
    Sentences,
    /// The message that the function returns for the close reason. `None` sends nothing.
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
    /// Called with each line that is received.
    pub(crate) on_line: Option<Arc<LineHook>>,
    /// One permit for each connection that may linger.
    pub(crate) lingering: Semaphore,
    /// One permit for each connection that may be in its handshake.
    pub(crate) handshakes: Semaphore,
}

impl ConnectionConfig {
    pub(crate) fn new(limits: Limits, shutdown: Shutdown, eol: Eol, farewell: Farewell) -> Self {
        let lingering = Semaphore::new(limits.max_lingering.min(Semaphore::MAX_PERMITS));
        let handshakes = Semaphore::new(limits.max_handshakes.clamp(1, Semaphore::MAX_PERMITS));
        Self { limits, shutdown, eol, farewell, on_line: None, lingering, handshakes }
    }

    /// Returns the same settings with new semaphores sized by the limits. A connection returns its
    /// permit to the semaphore it came from, so until old permits are released there may be more in
    /// use than the limit.
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

/// A handle that changes the limits of a running server. New connections get the new limits. An
/// open connection keeps the limits it was accepted with, because its handler may have announced
/// them to the client. Only the connection limits and the drain time-out are read again on each
/// use.
#[derive(Clone, Debug)]
pub struct LiveLimits {
    config: Arc<Mutex<Arc<ConnectionConfig>>>,
}

impl LiveLimits {
    pub(crate) fn new(config: ConnectionConfig) -> Self {
        Self { config: Arc::new(Mutex::new(Arc::new(config))) }
    }

    /// Returns the limits that a new connection has.
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

    /// Replaces the current settings with changed ones.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ConnectionConfig)) {
        let mut config = self.config.lock().ignore_poison();
        let mut new = config.with_fresh_permits();
        change(&mut new);
        // The semaphores are new too, because their permits depend on the limits.
        *config = Arc::new(new.with_fresh_permits());
    }
}
