//! Queries to the writer thread, with the channels for their results.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::error::StoreError;
use super::super::record::{PasswordGuesses, SearchPage};
use super::super::sql::{audit, read};
use echoline_chat_core::SearchTerms;
use echoline_chat_core::StoredLine;

/// The channel for a result. Its receiver may be gone.
pub(crate) type QueryReply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A query. A search takes several steps, all others take one.
#[derive(Debug)]
pub(crate) enum StoreQuery {
    Lines { room: String, from: u64, to: u64, most: usize, reply: QueryReply<Vec<StoredLine>> },
    Last { room: String, before: u64, count: usize, reply: QueryReply<Vec<StoredLine>> },
    Trimmed { room: String, reply: QueryReply<u64> },
    Search(SearchQuery),
    Audit { most: usize, reply: QueryReply<Vec<(u64, String, String)>> },
    Guesses { most: usize, reply: QueryReply<Vec<PasswordGuesses>> },
}

/// The maximum lines and bytes that one search scans: about 5 ms. Another search can continue it.
const SEARCH_LINES_MAX: usize = 20_000;
const SEARCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A search with its progress.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub(crate) room: String,
    pub(crate) terms: SearchTerms,
    pub(crate) most: usize,
    pub(crate) before: u64,
    /// Lines and bytes that were scanned.
    pub(crate) scanned: (usize, usize),
    pub(crate) found: Vec<StoredLine>,
    pub(crate) reply: QueryReply<SearchPage>,
}

impl StoreQuery {
    /// Runs the query, or one step of it, and sends the result. Returns an unfinished query.
    pub(crate) fn run(
        self,
        connection: &Connection,
        failed: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Option<Self> {
        match self {
            Self::Lines { room, from, to, most, reply } => {
                let lines = read::lines(connection, &room, from, to, most);
                send(reply, lines.map_err(|error| failed(&error)))
            }
            Self::Last { room, before, count, reply } => {
                let lines = read::last(connection, &room, before, count);
                send(reply, lines.map_err(|error| failed(&error)))
            }
            Self::Trimmed { room, reply } => {
                let trimmed = read::trimmed(connection, &room);
                send(reply, trimmed.map_err(|error| failed(&error)))
            }
            Self::Audit { most, reply } => {
                let entries = audit::entries(connection, most);
                send(reply, entries.map_err(|error| failed(&error)))
            }
            Self::Guesses { most, reply } => {
                let guesses = audit::guesses(connection, most);
                send(reply, guesses.map_err(|error| failed(&error)))
            }
            Self::Search(search) => search.step(connection, failed).map(Self::Search),
        }
    }

    /// Sends an error as the result.
    pub(crate) fn fail(self, error: StoreError) {
        let _: Option<()> = match self {
            Self::Lines { reply, .. } | Self::Last { reply, .. } => send(reply, Err(error)),
            Self::Search(search) => send(search.reply, Err(error)),
            Self::Trimmed { reply, .. } => send(reply, Err(error)),
            Self::Audit { reply, .. } => send(reply, Err(error)),
            Self::Guesses { reply, .. } => send(reply, Err(error)),
        };
    }
}

impl SearchQuery {
    fn step(
        mut self,
        connection: &Connection,
        failed: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Option<Self> {
        // The caller no longer waits for the result.
        if self.reply.is_closed() {
            return None;
        }
        let Self { room, terms, before, most, found, .. } = &mut self;
        let most = (*most).min(read::LINES_MAX) - found.len();
        let range = read::SearchRange { room, terms, before: *before, most };
        let progress = match read::search_step(connection, &range, found) {
            Ok(progress) => progress,
            Err(error) => return send(self.reply, Err(failed(&error))),
        };
        let lines = self.scanned.0 + progress.lines;
        let bytes = self.scanned.1 + progress.bytes;
        let is_over = lines >= SEARCH_LINES_MAX
            || bytes >= SEARCH_BYTES_MAX
            || self.found.len() >= self.most.min(read::LINES_MAX);
        match progress.before {
            Some(before) if !is_over => Some(Self { before, scanned: (lines, bytes), ..self }),
            before => send(self.reply, Ok(SearchPage { lines: self.found, before })),
        }
    }
}

/// Sends a result, even if the caller no longer waits. Returns `None`, because the query is done.
fn send<T, Rest>(reply: QueryReply<T>, result: Result<T, StoreError>) -> Option<Rest> {
    let _ = reply.send(result);
    None
}
