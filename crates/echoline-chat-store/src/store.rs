//! The handle of an open history. It passes changes and queries to the writer thread.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use echoline_base::poison::IgnorePoison;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::data_folder::DataFolder;
use super::error::StoreError;
use super::opening;
use super::options::{StoreEvent, StoreOptions};
use super::record::{PasswordGuesses, RestoredHistory, SearchPage, StoreChange};
use super::sql::{audit, read};
use super::worker::{HistoryWriter, QueryReply, SearchQuery, StoreQuery, WorkQueue, now};
use echoline_chat_core::{SearchTerms, StoredLine};

/// The maximum time for which the writer thread retries after [`Store::close`] or a drop.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// An open history. If it is dropped without [`close`](Self::close), nothing waits until the queued
/// changes are written: the thread writes them as long as the process lives.
#[derive(Debug)]
pub struct Store {
    queue: Arc<WorkQueue>,
    /// The writer thread; `None` after the store was closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the history in a folder, and reads it. For each room this returns the `recent` newest
    /// lines (at most 10,000), and the same number of newest lines that users said.
    ///
    /// If the folder does not exist, it is created with mode 0700. Files have mode 0600. A damaged
    /// file is renamed and replaced by a new one; see [`RestoredHistory::notices`].
    ///
    /// Blocks for at most ten seconds while it reads the whole file to find damage. `on_event` is
    /// called on the writer thread and must not block.
    ///
    /// # Errors
    /// If another process uses the folder, if other users can replace files in it, if the file is
    /// from a newer version or another program, or if the folder or its disk cannot be used.
    pub fn open(
        folder: &Path,
        options: StoreOptions,
        recent: usize,
        on_event: impl Fn(StoreEvent) + Send + 'static,
    ) -> Result<(Self, RestoredHistory), StoreError> {
        let folder = DataFolder::lock(folder, options.shared)?;
        let path = folder.database();
        let (connection, restored) = opening::open(&folder, recent)?;
        let queue = Arc::new(WorkQueue::new(options.queue, options.sync));
        let writer = HistoryWriter::new(folder, options, Arc::clone(&queue), on_event, connection)?;
        let thread = Builder::new().name("chat-history".to_owned()).spawn(|| writer.run());
        let thread = thread.map_err(|error| StoreError::file(&path, error))?;
        Ok((Self { queue, thread: Mutex::new(Some(thread)) }, restored))
    }

    /// Queues a change. Never waits and never fails. If the queue is full, the change is dropped
    /// and counted. [`StoreEvent::Failing`] and [`StoreEvent::Recovered`] report this.
    pub fn write(&self, change: StoreChange) {
        self.queue.push(change);
    }

    /// Returns the lines of a room with these numbers, the oldest first: at most `most`, and never
    /// more than 10,000. Missing lines are left out. An unknown room has no lines.
    ///
    /// This query and all others are cancel safe. A query sees all changes that were written before
    /// it, durable or not. During an outage it sees only durable changes.
    ///
    /// # Errors
    /// If the database cannot be read, if too many queries are waiting, or if the store is closed.
    pub async fn lines(
        &self,
        room: &str,
        numbers: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let (room, (from, to)) = (room.to_owned(), numbers.into_inner());
        self.read(move |connection| read::lines(connection, &room, from, to, most)).await
    }

    /// Returns the newest `count` lines of a room (at most 10,000) with numbers below `before`, the
    /// oldest first.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn last(
        &self,
        room: &str,
        before: u64,
        count: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let room = room.to_owned();
        self.read(move |connection| read::last(connection, &room, before, count)).await
    }

    /// Returns the number up to which a room has only lines that users said, because other lines
    /// were trimmed. Returns 0 if no lines were trimmed.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn trimmed(&self, room: &str) -> Result<u64, StoreError> {
        let room = room.to_owned();
        self.read(move |connection| read::trimmed(connection, &room)).await
    }

    /// Searches a room for lines that contain each of the words, in the name or in the text. Only
    /// lines with numbers below `before` are searched. Returns the newest lines first: at most
    /// `most`, and never more than 10,000. A word also matches a part of a word, and case is
    /// ignored in all scripts. Only the first 16 words count. Without words, nothing is found.
    ///
    /// One call scans at most 20,000 lines and 4 MiB. The result states where the next call must
    /// continue. Searches run in short steps while no other query is waiting.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines). [`StoreError::Busy`] if 100 searches are waiting.
    pub async fn search(
        &self,
        room: &str,
        words: &str,
        before: u64,
        most: usize,
    ) -> Result<SearchPage, StoreError> {
        let (room, terms) = (room.to_owned(), SearchTerms::new(words));
        if terms.is_empty() || most == 0 {
            return Ok(SearchPage { lines: Vec::new(), before: None });
        }
        let (scanned, found) = ((0, 0), Vec::new());
        self.query(|reply| {
            StoreQuery::Search(SearchQuery { room, terms, most, before, scanned, found, reply })
        })
        .await
    }

    /// Returns the newest entries of the audit log, the newest first. Each has the time in
    /// milliseconds since 1970 (UTC), the operator, and the action. The log keeps the newest 10,000
    /// entries of the chat's operators, and the same number of rooms' operators.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn audit(&self, most: usize) -> Result<Vec<(u64, String, String)>, StoreError> {
        self.read(move |connection| audit::entries(connection, most)).await
    }

    /// Returns the sources of wrong operators' passwords, the newest first. The newest 1,000 are
    /// kept.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn guesses(&self, most: usize) -> Result<Vec<PasswordGuesses>, StoreError> {
        self.read(move |connection| audit::guesses(connection, most)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.query(|reply| StoreQuery::read(read, reply)).await
    }

    async fn query<T>(
        &self,
        query: impl FnOnce(QueryReply<T>) -> StoreQuery,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push_query(query(reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Like [`close_within`](Self::close_within), with a limit of six seconds.
    pub fn close(self) -> u64 {
        self.close_within(CLOSE_MAX + CLOSE_MAX / 5)
    }

    /// Writes and syncs all waiting changes, and closes the file. Returns the number of changes
    /// that could not be written in time. It is 0 unless the disk fails or another program has
    /// locked the file.
    ///
    /// Blocks for at most `limit`. Afterwards, queries of other owners of the store fail with
    /// [`StoreError::Closed`], and their changes are dropped.
    pub fn close_within(&self, limit: Duration) -> u64 {
        let start = now();
        self.queue.close(start + limit * 5 / 6);
        // The last attempt of the thread may end slightly after its limit, and still counts.
        let (has_ended, unwritten) = self.queue.wait_for_end(start + limit);
        let thread = self.thread.lock().ignore_poison().take();
        if let Some(thread) = thread.filter(|_| has_ended) {
            // At this point, the thread only releases the lock of the folder.
            let _ = thread.join();
        }
        unwritten
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.thread.get_mut().ignore_poison().is_some() {
            self.queue.close(now() + CLOSE_MAX);
        }
    }
}
