//! Out of descriptors: whoever is waiting is told, and the listener goes on.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::listener::AcceptOutcome;
use super::stream::Stream;
use echoline_base::backoff::Backoff;

/// The pause of a listener that cannot accept, at first and at most.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The state of a listener while accept(2) fails.
pub(super) struct AcceptErrors {
    pub(super) backoff: Backoff,
    pub(super) reserve: ReserveDescriptor,
    /// What somebody hears for whom there is no descriptor.
    pub(super) words: String,
    /// When the trouble was last told.
    logged: Option<Instant>,
}

impl AcceptErrors {
    pub(super) fn new(words: Option<String>) -> Self {
        let words = words.unwrap_or_default();
        let backoff = Backoff::new(PAUSE, PAUSE_MAX);
        Self { backoff, reserve: ReserveDescriptor::open(), words, logged: None }
    }

    pub(super) fn log(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now - logged >= Duration::from_secs(1)) {
            self.logged = Some(now);
            let hint = "raise the descriptor limit (ulimit -n)";
            tracing::warn!(%error, "cannot accept connections; {hint}");
        }
    }
}

/// A descriptor to give up when no other is left, so that whoever is waiting can be told.
#[derive(Debug)]
pub(super) struct ReserveDescriptor(Option<File>);

impl ReserveDescriptor {
    pub(super) fn open() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Tells the next one, whom `accept` accepts, that there is no place.
    pub(super) fn refuse(
        &mut self,
        accept: impl FnOnce() -> AcceptOutcome,
        words: &str,
    ) -> ReserveOutcome {
        self.0 = None;
        let refused = match accept() {
            AcceptOutcome::Connection(stream, _) => {
                // Best effort: with no descriptors left there is no lingering.
                let _ = tell(stream, words);
                ReserveOutcome::Refused
            }
            // The system looks for a descriptor before it looks at the queue, so "none left" says
            // nothing about whether somebody waits.
            AcceptOutcome::QueueEmpty | AcceptOutcome::ConnectionLost => ReserveOutcome::QueueEmpty,
            AcceptOutcome::Exhausted(_) => ReserveOutcome::NoDescriptor,
        };
        *self = Self::open();
        refused
    }
}

/// What came of an attempt to tell somebody that there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReserveOutcome {
    Refused,
    /// Nobody was waiting.
    QueueEmpty,
    /// Not even the reserve helped.
    NoDescriptor,
}

fn tell(stream: Stream, words: &str) -> io::Result<()> {
    let mut stream = stream.into_socket()?;
    stream.write_all(words.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // What lies unread would turn the close into a reset.
    let mut unread = [0; 4096];
    while stream.read(&mut unread)? > 0 {}
    Ok(())
}
