//! What is asked of the store's thread, with where the answer goes.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::audit::{self, Guesses};
use super::error::StoreError;
use super::read;
use super::record::Stored;
use super::words::Words;

/// Where an answer goes; nobody may be waiting for it any longer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A question that can be answered a step at a time.
#[derive(Debug)]
pub(super) enum Question {
    Lines { room: String, from: u64, to: u64, most: usize, reply: Reply<Vec<Stored>> },
    Last { room: String, before: u64, count: usize, reply: Reply<Vec<Stored>> },
    Trimmed { room: String, reply: Reply<u64> },
    Search(Search),
    Audit { most: usize, reply: Reply<Vec<(u64, String, String)>> },
    Guesses { most: usize, reply: Reply<Vec<Guesses>> },
}

/// Lines, and bytes of them, that one search looks at: about 5 ms. The next search goes on.
const SEARCH_LINES_MAX: usize = 20_000;
const SEARCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A search, and how far it has come.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) room: String,
    pub(super) words: Words,
    pub(super) most: usize,
    pub(super) before: u64,
    /// Lines and bytes that were looked at.
    pub(super) looked: (usize, usize),
    pub(super) found: Vec<Stored>,
    pub(super) reply: Reply<Found>,
}

/// The answer to a search: a bounded part of the room was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The lines that have the words, newest first.
    pub lines: Vec<Stored>,
    /// The lines below this number were not looked at; `None` if there are none.
    pub before: Option<u64>,
}

impl Question {
    /// Answers, or takes a step towards the answer and returns what is left to do.
    pub(super) fn answer(
        self,
        connection: &Connection,
        failed: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Option<Self> {
        match self {
            Self::Lines { room, from, to, most, reply } => {
                let lines = read::lines(connection, &room, from, to, most);
                tell(reply, lines.map_err(|error| failed(&error)))
            }
            Self::Last { room, before, count, reply } => {
                let lines = read::last(connection, &room, before, count);
                tell(reply, lines.map_err(|error| failed(&error)))
            }
            Self::Trimmed { room, reply } => {
                let trimmed = read::trimmed(connection, &room);
                tell(reply, trimmed.map_err(|error| failed(&error)))
            }
            Self::Audit { most, reply } => {
                let entries = audit::acts(connection, most);
                tell(reply, entries.map_err(|error| failed(&error)))
            }
            Self::Guesses { most, reply } => {
                let guesses = audit::guesses(connection, most);
                tell(reply, guesses.map_err(|error| failed(&error)))
            }
            Self::Search(search) => search.step(connection, failed).map(Self::Search),
        }
    }

    /// Answers that there is no answer.
    pub(super) fn refuse(self, error: StoreError) {
        let _: Option<()> = match self {
            Self::Lines { reply, .. } | Self::Last { reply, .. } => tell(reply, Err(error)),
            Self::Search(search) => tell(search.reply, Err(error)),
            Self::Trimmed { reply, .. } => tell(reply, Err(error)),
            Self::Audit { reply, .. } => tell(reply, Err(error)),
            Self::Guesses { reply, .. } => tell(reply, Err(error)),
        };
    }
}

impl Search {
    fn step(
        mut self,
        connection: &Connection,
        failed: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Option<Self> {
        // The asker may have left.
        if self.reply.is_closed() {
            return None;
        }
        let Self { room, words, before, most, found, .. } = &mut self;
        let most = (*most).min(read::LINES_MAX) - found.len();
        let step = read::Step { room, words, before: *before, most };
        let looked = match read::search_step(connection, &step, found) {
            Ok(looked) => looked,
            Err(error) => return tell(self.reply, Err(failed(&error))),
        };
        let (lines, bytes) = (self.looked.0 + looked.lines, self.looked.1 + looked.bytes);
        let is_over = lines >= SEARCH_LINES_MAX
            || bytes >= SEARCH_BYTES_MAX
            || self.found.len() >= self.most.min(read::LINES_MAX);
        match looked.before {
            Some(before) if !is_over => Some(Self { before, looked: (lines, bytes), ..self }),
            before => tell(self.reply, Ok(Found { lines: self.found, before })),
        }
    }
}

/// Nothing is left to do, whether or not somebody still waits for the answer.
fn tell<T, Rest>(reply: Reply<T>, answer: Result<T, StoreError>) -> Option<Rest> {
    let _ = reply.send(answer);
    None
}
