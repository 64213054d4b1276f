//! The rate of connections: whether a source may make one more, and the words of a refusal.

use std::sync::Arc;

use super::connection::Connection;
use super::place::{Place, Places};
use super::sources::{SourceAction, SourceRefusal, Sources};
use super::stream::Stream;
use super::terms::Terms;
use super::transport::{Origin, Transport};

/// The rates of connections of a server; without [`Sources`] there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    sources: Option<Arc<Sources>>,
}

impl Admission {
    pub(super) fn new(sources: Arc<Sources>) -> Self {
        Self { sources: Some(sources) }
    }

    /// Takes a token of the source for a connection that comes from `origin`.
    ///
    /// # Errors
    /// The refusal if the source has none left.
    #[inline]
    pub(super) fn take(&self, origin: &Origin) -> Result<(), SourceRefusal> {
        match &self.sources {
            Some(sources) => sources.take(origin.source(), SourceAction::Connection),
            None => Ok(()),
        }
    }

    /// The same once a trusted proxy has named the client. A connection that the proxy makes for
    /// itself, as a health check, has no limit.
    pub(super) fn take_proxied(&self, origin: &Origin) -> Result<(), SourceRefusal> {
        match origin.source {
            Some(_) => self.take(origin),
            None => Ok(()),
        }
    }
}

/// Counts a connection that was refused when it was accepted, and ends it.
pub(super) fn refuse(
    refusal: SourceRefusal,
    stream: Stream,
    origin: &Origin,
    transport: &Transport,
    terms: &Arc<Terms>,
    places: &Places,
) {
    places.count_source_refusal(origin, refusal);
    let words = terms.refusal(transport, refusal.closed());
    end(refusal, stream, words, terms);
}

/// Ends a connection whose client, named by a proxy, is refused; it has a place already.
pub(super) fn refuse_proxied(
    refusal: SourceRefusal,
    stream: Stream,
    origin: &Origin,
    transport: &Transport,
    terms: &Arc<Terms>,
    place: &Place,
) {
    if !refusal.is_new_penalty {
        place.keep_untold();
    }
    let words = terms.refusal_after_proxy(transport, origin, refusal.closed());
    end(refusal, stream, words, terms);
}

/// Only the refusal that begins a penalty takes the time to have its words read: the others cost a
/// system call each, so that a flood costs little.
fn end(refusal: SourceRefusal, stream: Stream, words: Option<String>, terms: &Arc<Terms>) {
    let Some(words) = words else { return };
    match refusal.is_new_penalty {
        true => Connection::with_terms(stream, Arc::clone(terms), None).end_with(&words),
        false => stream.end_at_once(&words),
    }
}
