//! Queries to the writer thread, with the channels for their results.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::error::StoreError;
use super::super::record::SearchPage;
use super::super::sql::read;
use echoline_chat_core::{SearchTerms, StoredLine};

/// The channel for a result. Its receiver may have been dropped.
pub(crate) type QueryReply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The database and its path, or the reason why the database cannot be read.
type ReadAccess<'a> = Result<(&'a Connection, &'a Path), StoreError>;

/// A query. A search takes several steps, and any other query takes one.
pub(crate) enum StoreQuery {
    Read(Box<dyn FnOnce(ReadAccess<'_>) + Send>),
    Search(SearchQuery),
}

/// The maximum number of lines and bytes that one search scans, which takes about 5 ms. Another
/// search can continue from there.
const SEARCH_LINES_MAX: usize = 20_000;
const SEARCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A search, and its progress.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    pub(crate) room: String,
    pub(crate) terms: SearchTerms,
    pub(crate) most: usize,
    pub(crate) before: u64,
    /// The number of lines and bytes that were scanned.
    pub(crate) scanned: (usize, usize),
    pub(crate) found: Vec<StoredLine>,
    pub(crate) reply: QueryReply<SearchPage>,
}

impl StoreQuery {
    /// Creates a query that runs `read` on the database, and sends the result to `reply`.
    pub(crate) fn read<T: Send + 'static>(
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        reply: QueryReply<T>,
    ) -> Self {
        Self::Read(Box::new(move |access: ReadAccess<'_>| {
            let result = access.and_then(|(connection, path)| {
                read(connection).map_err(|error| StoreError::database(path, &error))
            });
            let _ = reply.send(result);
        }))
    }

    /// Runs the query, or one step of a search, and sends the result. Returns the search if it is
    /// not finished.
    pub(crate) fn run(self, connection: &Connection, path: &Path) -> Option<Self> {
        match self {
            Self::Read(read) => {
                read(Ok((connection, path)));
                None
            }
            Self::Search(search) => search.step(connection, path).map(Self::Search),
        }
    }

    /// Sends an error as the result of the query.
    pub(crate) fn fail(self, error: StoreError) {
        match self {
            Self::Read(read) => read(Err(error)),
            Self::Search(search) => drop(search.reply.send(Err(error))),
        }
    }
}

impl fmt::Debug for StoreQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("Read"),
            Self::Search(search) => search.fmt(f),
        }
    }
}

impl SearchQuery {
    fn step(mut self, connection: &Connection, path: &Path) -> Option<Self> {
        // The caller no longer waits for the result, so the search ends.
        if self.reply.is_closed() {
            return None;
        }
        let Self { room, terms, before, most, found, .. } = &mut self;
        let most = (*most).min(read::LINES_MAX) - found.len();
        let range = read::SearchRange { room, terms, before: *before, most };
        let progress = match read::search_step(connection, &range, found) {
            Ok(progress) => progress,
            Err(error) => return self.send(Err(StoreError::database(path, &error))),
        };
        let lines = self.scanned.0 + progress.lines;
        let bytes = self.scanned.1 + progress.bytes;
        let is_over = lines >= SEARCH_LINES_MAX
            || bytes >= SEARCH_BYTES_MAX
            || self.found.len() >= self.most.min(read::LINES_MAX);
        match progress.before {
            Some(before) if !is_over => Some(Self { before, scanned: (lines, bytes), ..self }),
            before => {
                let lines = std::mem::take(&mut self.found);
                self.send(Ok(SearchPage { lines, before }))
            }
        }
    }

    /// Sends the result and ends the search. The caller may no longer be waiting.
    fn send(self, result: Result<SearchPage, StoreError>) -> Option<Self> {
        let _ = self.reply.send(result);
        None
    }
}
