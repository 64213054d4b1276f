//! What is asked of the store's thread, with where the answer goes.

use rusqlite::Connection;
use tokio::sync::oneshot;

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
}

/// A search, and how far it has come.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) room: String,
    pub(super) words: Words,
    pub(super) most: usize,
    pub(super) before: u64,
    pub(super) found: Vec<Stored>,
    pub(super) reply: Reply<Vec<Stored>>,
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
                let entries = read::audit(connection, most);
                tell(reply, entries.map_err(|error| failed(&error)))
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
        };
    }
}

impl Search {
    fn step(
        mut self,
        connection: &Connection,
        failed: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        let (room, words, found) = (&self.room, &self.words, &mut self.found);
        match read::search_step(connection, room, words, self.before, found, self.most) {
            Ok(Some(before)) => Some(Self { before, ..self }),
            Ok(None) => tell(self.reply, Ok(self.found)),
            Err(error) => tell(self.reply, Err(failed(&error))),
        }
    }
}

/// Nothing is left to do, whether or not somebody still waits for the answer.
fn tell<T, Rest>(reply: Reply<T>, answer: Result<T, StoreError>) -> Option<Rest> {
    let _ = reply.send(answer);
    None
}
