//! The handle of an open history: hands changes and queries to the writer thread.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use echoline_base::poison::IgnorePoison;
use tokio::sync::oneshot;

use super::data_folder::DataFolder;
use super::error::StoreError;
use super::opening;
use super::options::{StoreEvent, StoreOptions};
use super::record::{PasswordGuesses, RestoredHistory, SearchPage, StoreChange};
use super::sql::read::LINES_MAX;
use super::worker::{
    HistoryWriter, QueryReply, QueueError, SearchQuery, StoreQuery, WorkQueue, now,
};
use echoline_chat_core::SearchTerms;
use echoline_chat_core::StoredLine;

/// The longest time that the writer thread retries after [`Store::close`] or a drop.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// An open history. If it is dropped without [`close`](Self::close), its thread writes the waiting
/// changes while the process lives, and nothing waits for it.
#[derive(Debug)]
pub struct Store {
    queue: Arc<WorkQueue>,
    /// `None` once the store is closed.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the history in a folder, and reads it. Of each room this returns the `recent` newest
    /// lines, at most 10,000, and the same number of lines that users said.
    ///
    /// If the folder is missing, it is created with mode 0700; files have mode 0600. A damaged file
    /// is renamed and a new one is created; see [`RestoredHistory::notices`].
    ///
    /// Blocks while it reads the whole file to find damage, for ten seconds at most. `on_event` is
    /// called on the writer thread and must not block.
    ///
    /// # Errors
    /// When another process uses the folder, the file is of a newer version or of another program,
    /// other users can replace files in the folder, or the folder or its disk cannot be used.
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
    /// and counted; [`StoreEvent::Failing`] and [`StoreEvent::Recovered`] report this.
    pub fn write(&self, change: StoreChange) {
        self.queue.push(change);
    }

    /// Returns lines of a room by their numbers, oldest first, at most `most` and never more than
    /// 10,000. Missing lines are left out. An unknown room has no lines.
    ///
    /// This and the other queries are cancel safe. Each sees all changes that were written before
    /// it, durable or not. During an outage it sees only durable changes.
    ///
    /// # Errors
    /// When the database cannot be read, too many queries wait, or the store is closed.
    pub async fn lines(
        &self,
        room: &str,
        numbers: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let (room, (from, to)) = (room.to_owned(), numbers.into_inner());
        self.query(|reply| StoreQuery::Lines { room, from, to, most, reply }).await
    }

    /// Returns the newest `count` lines of a room, 10,000 at most, whose numbers are below
    /// `before`; oldest first.
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
        self.query(|reply| StoreQuery::Last { room, before, count, reply }).await
    }

    /// Returns the number up to which a room keeps only lines that users said, because others were
    /// trimmed. Returns 0 if none were.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn trimmed(&self, room: &str) -> Result<u64, StoreError> {
        let room = room.to_owned();
        self.query(|reply| StoreQuery::Trimmed { room, reply }).await
    }

    /// Returns lines of a room that contain each of the words in the name or the text, newest
    /// first, at most `most` and never more than 10,000. A word matches parts of words too, in any
    /// case of any script. Only the first 16 words count. Without words nothing matches.
    ///
    /// Searches the whole room, in pages of [`search_before`](Self::search_before).
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn search(
        &self,
        room: &str,
        words: &str,
        most: usize,
    ) -> Result<Vec<StoredLine>, StoreError> {
        let (mut lines, mut before) = (Vec::new(), Some(u64::MAX));
        let most = most.min(LINES_MAX);
        while let Some(number) = before.filter(|_| lines.len() < most) {
            let page = self.search_before(room, words, number, most - lines.len()).await?;
            lines.extend(page.lines);
            before = page.before;
        }
        Ok(lines)
    }

    /// Does the same as [`search`](Self::search) for one page: scans at most 20,000 lines and 4
    /// MiB, with numbers below `before`. Searches run in short steps while no other query waits.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines); [`StoreError::Busy`] if 100 searches wait.
    pub async fn search_before(
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

    /// Returns the newest entries of the audit log, newest first: the time in milliseconds since
    /// 1970 (UTC), the operator, and the action. The log keeps the newest 10,000 entries of the
    /// chat's operators, and as many of rooms' operators.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn audit(&self, most: usize) -> Result<Vec<(u64, String, String)>, StoreError> {
        self.query(|reply| StoreQuery::Audit { most, reply }).await
    }

    /// Returns the sources of wrong operators' passwords, newest first. The newest 1,000 are kept.
    ///
    /// # Errors
    /// Like [`lines`](Self::lines).
    pub async fn guesses(&self, most: usize) -> Result<Vec<PasswordGuesses>, StoreError> {
        self.query(|reply| StoreQuery::Guesses { most, reply }).await
    }

    async fn query<T>(
        &self,
        query: impl FnOnce(QueryReply<T>) -> StoreQuery,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push_query(query(reply)).map_err(|error| match error {
            QueueError::Full => StoreError::Busy,
            QueueError::Closed => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Does the same as [`close_within`](Self::close_within) with six seconds.
    pub fn close(self) -> u64 {
        self.close_within(CLOSE_MAX + CLOSE_MAX / 5)
    }

    /// Writes and syncs all waiting changes, and closes the file. Returns the number of changes
    /// that could not be written in time. It is 0 unless the disk fails or another program locks
    /// the file.
    ///
    /// Blocks for `limit` at most. Other owners of the store get [`StoreError::Closed`] from
    /// queries afterwards, and their changes are dropped.
    pub fn close_within(&self, limit: Duration) -> u64 {
        let start = now();
        self.queue.close(start + limit * 5 / 6);
        // The last attempt of the thread may end a little after the limit and still counts.
        let (has_ended, unwritten) = self.queue.wait_for_end(start + limit);
        let thread = self.thread.lock().ignore_poison().take();
        if let Some(thread) = thread.filter(|_| has_ended) {
            // The thread now only releases the lock of the folder.
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
