//! The rate limit of connections: decides whether a source may open one more, and sends the
//! refusal.

use std::sync::Arc;

use super::registry::{ConnectionRegistry, ConnectionSlot};
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::Connection;
use crate::sources::{SourceAction, SourceRefusal, Sources};
use crate::transport::origin::Origin;
use crate::transport::steps::Transport;
use crate::transport::stream::Stream;

/// The rate limits of a server's connections. Without [`Sources`] there are no limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    sources: Option<Arc<Sources>>,
}

impl Admission {
    pub(crate) fn new(sources: Arc<Sources>) -> Self {
        Self { sources: Some(sources) }
    }

    /// Takes a token of the source for a connection from `origin`.
    ///
    /// # Errors
    /// The refusal if the source has none left.
    #[inline]
    pub(crate) fn take(&self, origin: &Origin) -> Result<(), SourceRefusal> {
        match &self.sources {
            Some(sources) => sources.take(origin.source(), SourceAction::Connection),
            None => Ok(()),
        }
    }

    /// Works like `take`, after a trusted proxy has named the client. A connection of the proxy
    /// itself, such as a health check, has no limit.
    pub(crate) fn take_proxied(&self, origin: &Origin) -> Result<(), SourceRefusal> {
        match origin.source {
            Some(_) => self.take(origin),
            None => Ok(()),
        }
    }
}

/// Counts a connection that was refused when it was accepted, and ends it.
pub(crate) fn refuse(
    refusal: SourceRefusal,
    stream: Stream,
    origin: &Origin,
    transport: &Transport,
    config: &Arc<ConnectionConfig>,
    registry: &ConnectionRegistry,
) {
    registry.count_source_refusal(origin, refusal);
    let words = config.refusal(transport, refusal.closed());
    end(refusal, stream, words, config);
}

/// Ends a connection whose client, which a proxy has named, is refused. The connection already has
/// a slot.
pub(crate) fn refuse_proxied(
    refusal: SourceRefusal,
    stream: Stream,
    origin: &Origin,
    transport: &Transport,
    config: &Arc<ConnectionConfig>,
    slot: &ConnectionSlot,
) {
    if !refusal.is_new_penalty {
        slot.suppress_summary();
    }
    let words = config.refusal_after_proxy(transport, origin, refusal.closed());
    end(refusal, stream, words, config);
}

/// Ends a refused connection. Only the first refusal of a penalty waits until the client can read
/// its message. All others cost one system call each, so that a flood is cheap.
fn end(
    refusal: SourceRefusal,
    stream: Stream,
    words: Option<String>,
    config: &Arc<ConnectionConfig>,
) {
    let Some(words) = words else { return };
    match refusal.is_new_penalty {
        true => Connection::with_config(stream, Arc::clone(config), None).close_with(&words),
        false => stream.end_at_once(&words),
    }
}
