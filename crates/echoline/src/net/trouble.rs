//! Out of descriptors: whoever is waiting is told, and the listener goes on.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::listener::Accepted;
use super::stream::Stream;
use echoline_base::backoff::Backoff;

/// The pause of a listener that cannot accept, at first and at most.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The state of a listener while accept(2) fails.
pub(super) struct Trouble {
    pub(super) backoff: Backoff,
    pub(super) reserve: Reserve,
    /// What somebody hears for whom there is no descriptor.
    pub(super) words: String,
    /// When the trouble was last told.
    logged: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(words: Option<String>) -> Self {
        let words = words.unwrap_or_default();
        let backoff = Backoff::new(PAUSE, PAUSE_MAX);
        Self { backoff, reserve: Reserve::open(), words, logged: None }
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
pub(super) struct Reserve(Option<File>);

impl Reserve {
    pub(super) fn open() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Tells the next one, whom `accept` accepts, that there is no place.
    pub(super) fn refuse(&mut self, accept: impl FnOnce() -> Accepted, words: &str) -> Refused {
        self.0 = None;
        let refused = match accept() {
            Accepted::Connection(stream, _) => {
                // Best effort: with no descriptors left there is no lingering.
                let _ = tell(stream, words);
                Refused::Told
            }
            // The system looks for a descriptor before it looks at the queue, so "none left" says
            // nothing about whether somebody waits.
            Accepted::Nobody | Accepted::Gone => Refused::Nobody,
            Accepted::Exhausted(_) => Refused::Not,
        };
        *self = Self::open();
        refused
    }
}

/// What came of an attempt to tell somebody that there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Told,
    /// Nobody was waiting.
    Nobody,
    /// Not even the reserve helped.
    Not,
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
