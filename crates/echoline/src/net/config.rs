//! What all connections of one server share: limits, line end, last words, the way to the end.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::limits::{Closed, Limits};
use super::shutdown::Shutdown;
use super::summary::LineHook;
use super::transport::{Origin, Refusal, Transport};

/// What a line that is written ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Eol {
    /// `\n`, as Unix programs write it.
    #[default]
    Lf,
    /// `\r\n`, as RFC 854 (Telnet) and most Internet line protocols have it.
    CrLf,
}

impl Eol {
    /// The bytes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// What a peer hears when the server, and not the dialogue, ends its connection.
#[derive(Clone, Default)]
pub enum Farewell {
    /// Nothing: the stream just ends.
    Silent,
    /// One sentence where there is no place, else nothing: for servers that otherwise pass bytes
    /// on unchanged.
    Refusal,
    /// One sentence for each reason that the peer can do something about.
    #[default]
    Sentences,
    /// What the function answers for the reason; `None` is silence.
    Custom(Arc<dyn Fn(Closed) -> Option<String> + Send + Sync>),
}

impl Farewell {
    /// The words for `closed`, without a line end.
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
        Closed::Panicked => "Server error. Goodbye!",
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

/// The terms of one server's connections.
#[derive(Debug)]
pub(super) struct ConnectionConfig {
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    pub(super) eol: Eol,
    pub(super) farewell: Farewell,
    /// Called with each line that is received.
    pub(super) on_line: Option<Arc<LineHook>>,
    /// One permit for each connection that may linger.
    pub(super) lingering: Semaphore,
    /// One permit for each connection that may be in its handshake.
    pub(super) handshakes: Semaphore,
}

impl ConnectionConfig {
    pub(super) fn new(limits: Limits, shutdown: Shutdown, eol: Eol, farewell: Farewell) -> Self {
        let lingering = Semaphore::new(limits.max_lingering.min(Semaphore::MAX_PERMITS));
        let handshakes = Semaphore::new(limits.max_handshakes.clamp(1, Semaphore::MAX_PERMITS));
        Self { limits, shutdown, eol, farewell, on_line: None, lingering, handshakes }
    }

    /// The same terms, with as many permits as the limits say. Who holds one of the old ones gives
    /// it back there: for as long as they take there may be more of them than the limit.
    pub(super) fn with_fresh_permits(&self) -> Self {
        let (shutdown, farewell) = (self.shutdown.clone(), self.farewell.clone());
        let with_fresh_permits = Self::new(self.limits.clone(), shutdown, self.eol, farewell);
        Self { on_line: self.on_line.clone(), ..with_fresh_permits }
    }

    /// The sentence for a client without a connection slot.
    pub(super) fn refusal(&self, transport: &Transport, closed: Closed) -> Option<String> {
        self.words(transport.refusal(closed), closed)
    }

    /// The same after a proxy has named the client.
    pub(super) fn refusal_after_proxy(
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

    /// The last words for `closed`, with their line end.
    pub(super) fn farewell(&self, closed: Closed) -> Option<String> {
        let mut words = self.farewell.words(closed, &self.limits)?;
        words.push_str(self.eol.as_str());
        Some(words)
    }
}
