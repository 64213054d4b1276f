//! What a chat keeps: its rooms' lines, topics, bans, tokens and the operators' audit log, in one
//! SQLite file, `chat.sqlite3`.
//!
//! One thread owns the database. [`Store::write`] hands a change over and returns at once; all
//! changes that wait go into one transaction, which is synced to the disk (`synchronous = FULL`)
//! before [`StoreEvent::Committed`] says so. What that event named is there after a `kill -9` or a
//! power failure; of what was written later, the beginning may be there, never a later part without
//! an earlier one.
//!
//! A full disk or one that fails does not stop anybody: changes wait in a bounded queue, the thread
//! tries again with pauses that grow to five seconds, and [`StoreEvent::Failing`] and
//! [`StoreEvent::Recovered`] say when an outage begins and ends and what it cost. After an error
//! other than a full disk the database is opened anew before anything is written: a sync that
//! failed once must not be believed the next time.
//!
//! Every line has a checksum. A file that is damaged is set aside under another name, never
//! deleted, and [`Restored::notices`] says so. What cannot be seen is a log (`chat.sqlite3-wal`)
//! that was cut or deleted exactly between two transactions.

mod audit;
mod checksum;
mod copy;
mod database;
mod erase;
mod error;
mod folder;
mod keeper;
mod options;
mod pace;
mod question;
mod queue;
mod read;
mod record;
mod schema;
mod tables;
mod trim;
mod words;
mod write_ahead_log;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

pub use audit::Guesses;
#[cfg(feature = "nats")]
pub(super) use checksum::Checksum;
pub use copy::{HistoryReader, restore};
pub use erase::{Erased, erase};
pub use error::StoreError;
pub use options::{SharedFolder, StoreEvent, StoreOptions, Sync};
pub use question::Found;
pub use record::{Ban, Change, DELETED, Kind, MISSING, Restored, RestoredRoom, Stored, Token};

use echoline_base::poison::IgnorePoison;
use folder::Folder;
use keeper::Keeper;
use question::{Question, Reply, Search};
use queue::{Queue, Refusal, now};
pub(super) use words::{Folded, Words};

/// How long [`Store::close`] waits, and the thread goes on trying.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A store that is open. Dropped without [`close`](Self::close), its thread writes what waits as
/// long as the process lives, and nobody waits for it.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    /// `None` once the store is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in a folder, which is made where it is missing (mode 0700; the files have
    /// 0600), and reads what it holds: of each room the `recent` newest lines, 10,000 at most, and
    /// as many that users said.
    ///
    /// A damaged file is set aside and a new one begun; see [`Restored::notices`]. This reads the
    /// whole file once to find damage, for ten seconds at most, and blocks meanwhile.
    ///
    /// `on_event` is called on the store's own thread, which must not be held up.
    ///
    /// # Errors
    /// When another process has the folder, the file is of a newer version or of another program,
    /// other users can replace files in the folder, or the folder or its disk cannot be used.
    pub fn open(
        folder: &Path,
        options: StoreOptions,
        recent: usize,
        on_event: impl Fn(StoreEvent) + Send + 'static,
    ) -> Result<(Self, Restored), StoreError> {
        let folder = Folder::enter(folder, options.shared)?;
        let path = folder.database();
        let (connection, restored) = database::open(&folder, recent)?;
        let queue = Arc::new(Queue::new(options.queue, options.sync));
        let keeper = Keeper::new(folder, options, Arc::clone(&queue), on_event, connection)?;
        let thread = Builder::new().name("chat-history".to_owned()).spawn(|| keeper.run());
        let thread = thread.map_err(|error| StoreError::file(&path, error))?;
        Ok((Self { queue, thread: Mutex::new(Some(thread)) }, restored))
    }

    /// Hands a change over. Never waits and never fails: a change that finds no place in the queue
    /// is counted, and told with [`StoreEvent::Failing`] and [`StoreEvent::Recovered`].
    pub fn write(&self, change: Change) {
        self.queue.push(change);
    }

    /// Lines of a room by their numbers, oldest first, at most `most` of them and 10,000; those
    /// that are not kept are left out, and a room that is not known has none.
    ///
    /// Cancel safe, as are the other questions. Each sees what was written before it was asked,
    /// durable or not yet; in an outage only what is durable.
    ///
    /// # Errors
    /// When the database cannot be read, too many questions wait, or the store is closed.
    pub async fn lines(
        &self,
        room: &str,
        numbers: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let (room, (from, to)) = (room.to_owned(), numbers.into_inner());
        self.ask(|reply| Question::Lines { room, from, to, most, reply }).await
    }

    /// The newest `count` lines of a room, 10,000 at most, whose numbers are below `before`;
    /// oldest first.
    ///
    /// # Errors
    /// As [`lines`](Self::lines).
    pub async fn last(
        &self,
        room: &str,
        before: u64,
        count: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let room = room.to_owned();
        self.ask(|reply| Question::Last { room, before, count, reply }).await
    }

    /// The number up to which only the lines of a room are kept that users said, because others
    /// were trimmed. 0 if none were.
    ///
    /// # Errors
    /// As [`lines`](Self::lines).
    pub async fn trimmed(&self, room: &str) -> Result<u64, StoreError> {
        let room = room.to_owned();
        self.ask(|reply| Question::Trimmed { room, reply }).await
    }

    /// Lines of a room in which each of the words occurs, in the name or the text, as a part of a
    /// word too, in any case of any script; newest first, at most `most` of them and 10,000.
    /// No words find nothing; only the first 16 count.
    ///
    /// Looks at the whole room, in pages of [`search_before`](Self::search_before).
    ///
    /// # Errors
    /// As [`lines`](Self::lines).
    pub async fn search(
        &self,
        room: &str,
        words: &str,
        most: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let (mut lines, mut before) = (Vec::new(), Some(u64::MAX));
        let most = most.min(read::LINES_MAX);
        while let Some(number) = before.filter(|_| lines.len() < most) {
            let found = self.search_before(room, words, number, most - lines.len()).await?;
            lines.extend(found.lines);
            before = found.before;
        }
        Ok(lines)
    }

    /// As [`search`](Self::search), for one page: looks at 20,000 lines and 4 MiB at most, whose
    /// numbers are below `before`. Searches go on while no other question waits, in short steps.
    ///
    /// # Errors
    /// As [`lines`](Self::lines); [`StoreError::Busy`] if 100 searches wait.
    pub async fn search_before(
        &self,
        room: &str,
        words: &str,
        before: u64,
        most: usize,
    ) -> Result<Found, StoreError> {
        let (room, words) = (room.to_owned(), Words::new(words));
        if words.is_empty() || most == 0 {
            return Ok(Found { lines: Vec::new(), before: None });
        }
        let (looked, found) = ((0, 0), Vec::new());
        self.ask(|reply| {
            Question::Search(Search { room, words, most, before, looked, found, reply })
        })
        .await
    }

    /// The newest entries of the audit log, newest first: when (in milliseconds since 1970, UTC),
    /// who, and what. The newest 10,000 of the chat's operators are kept, and as many of rooms'.
    ///
    /// # Errors
    /// As [`lines`](Self::lines).
    pub async fn audit(&self, most: usize) -> Result<Vec<(u64, String, String)>, StoreError> {
        self.ask(|reply| Question::Audit { most, reply }).await
    }

    /// The sources of the newest guesses at the operators' password, newest first. The newest
    /// 1,000 are kept.
    ///
    /// # Errors
    /// As [`lines`](Self::lines).
    pub async fn guesses(&self, most: usize) -> Result<Vec<Guesses>, StoreError> {
        self.ask(|reply| Question::Guesses { most, reply }).await
    }

    async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Question) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.ask(question(reply)).map_err(|refusal| match refusal {
            Refusal::Busy => StoreError::Busy,
            Refusal::Closed => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// As [`close_within`](Self::close_within) six seconds.
    pub fn close(self) -> u64 {
        self.close_within(CLOSE_MAX + CLOSE_MAX / 5)
    }

    /// Writes and syncs everything that waits, and closes the file. Blocks, for `limit` at most;
    /// returns how many changes could not be written in that time (0 unless the disk fails or
    /// another program locks the file).
    pub fn close_within(self, limit: Duration) -> u64 {
        self.finish(limit)
    }

    /// As [`close_within`](Self::close_within), for a store that has other owners.
    pub(super) fn finish(&self, limit: Duration) -> u64 {
        let begun = now();
        self.queue.close(begun + limit * 5 / 6);
        // A little longer, so that the thread's last attempt counts.
        let (ended, left) = self.queue.await_end(begun + limit);
        let thread = self.thread.lock().ignore_poison().take();
        if let Some(thread) = thread.filter(|_| ended) {
            // It has nothing left to do but to give the folder's lock back.
            let _ = thread.join();
        }
        left
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.thread.get_mut().ignore_poison().is_some() {
            self.queue.close(now() + CLOSE_MAX);
        }
    }
}
