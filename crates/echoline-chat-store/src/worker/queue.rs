//! The bounded queue of the writer thread. It contains changes, queries and searches.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use echoline_base::poison::IgnorePoison;

use super::super::error::StoreError;
use super::super::options::SyncPolicy;
use super::super::record::StoreChange;
use super::query::StoreQuery;
use super::schedule::{NextCommit, QueueLoad};

/// The maximum size of waiting changes, in bytes.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// The maximum number of waiting queries, not counting searches.
const QUERIES_MAX: usize = 1000;
/// The maximum number of waiting searches.
const SEARCHES_MAX: usize = 100;

/// A bounded queue. Changes that the thread is writing still count until they are durable.
#[derive(Debug)]
pub(crate) struct WorkQueue {
    state: Mutex<State>,
    /// Wakes the writer thread.
    work: Condvar,
    /// Wakes the callers that wait until the thread has ended.
    end: Condvar,
    /// The maximum number of changes.
    limit: usize,
    sync: SyncPolicy,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<StoreChange>,
    bytes: usize,
    /// The number and the size of the changes that the thread is writing.
    in_flight: (usize, usize),
    /// The number of dropped changes that were not reported yet.
    lost: u64,
    queries: VecDeque<StoreQuery>,
    /// The searches. They take turns, one step at a time, while no other query waits.
    searches: VecDeque<StoreQuery>,
    /// The time at which the thread stops retrying. Set when the store is closed.
    closing: Option<Instant>,
    /// The number of changes that were not written. Set when the thread has ended.
    ended: Option<u64>,
    /// Whether the thread is waiting. Otherwise it need not be woken, which saves a system call.
    asleep: bool,
}

/// The next work for the thread.
#[derive(Debug)]
pub(crate) struct WorkItem {
    pub(crate) query: Option<StoreQuery>,
    pub(crate) write: bool,
    /// The number of changes that were lost since the last item.
    pub(crate) lost: u64,
    /// Whether the thread must end, because there is no work left or no time.
    pub(crate) end: bool,
}

impl WorkQueue {
    pub(crate) fn new(limit: usize, sync: SyncPolicy) -> Self {
        let (state, work, end) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { state, work, end, limit: limit.max(8), sync }
    }

    /// Adds a change, or counts it as lost if it does not fit.
    pub(crate) fn push(&self, change: StoreChange) {
        let size = change.size();
        let mut state = self.lock();
        let reserved = if change.is_unlimited() { 8 } else { 0 };
        let part = |limit: usize| limit - limit.checked_div(reserved).unwrap_or(0);
        let (count, bytes) = (state.count(), state.bytes + state.in_flight.1);
        let was_half_full = self.is_half_full(&state);
        if state.ended.is_some() || count >= part(self.limit) || bytes + size > part(BYTES_MAX) {
            state.lost += 1;
        } else {
            state.changes.push_back(change);
            state.bytes += size;
        }
        // A further line does not make the next commit earlier, so it needs no wake-up.
        let must_wake = self.sync == SyncPolicy::Each
            || count == 0
            || (!was_half_full && self.is_half_full(&state));
        self.wake(state, must_wake);
    }

    /// Adds a query. Fails if too many are waiting, or if the thread has ended.
    pub(crate) fn push_query(&self, query: StoreQuery) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Err(StoreError::Closed);
        }
        let is_search = matches!(query, StoreQuery::Search(_));
        let (waiting, most) = match is_search {
            true => (&mut state.searches, SEARCHES_MAX),
            false => (&mut state.queries, QUERIES_MAX),
        };
        if waiting.len() >= most {
            return Err(StoreError::Busy);
        }
        waiting.push_back(query);
        self.wake(state, true);
        Ok(())
    }

    /// Waits for work. `next` returns the time of the next commit.
    pub(crate) fn wait(&self, next: impl Fn(QueueLoad) -> NextCommit) -> WorkItem {
        let mut state = self.lock();
        loop {
            let now = now();
            let late = state.closing.is_some_and(|until| until <= now);
            let closing = state.closing.is_some();
            let (waiting, half_full) = (state.count() > 0, self.is_half_full(&state));
            let next = next(QueueLoad { waiting, half_full, closing });
            let write = match next {
                NextCommit::Now => true,
                NextCommit::At(time) => time <= now,
                NextCommit::Idle => false,
            };
            let end = late || (closing && next == NextCommit::Idle && state.queries.is_empty());
            let query = state.queries.pop_front().or_else(|| state.searches.pop_front());
            if write || end || query.is_some() {
                let lost = std::mem::take(&mut state.lost);
                return WorkItem { query, write, lost, end };
            }
            let until = match next {
                NextCommit::At(time) => Some(state.closing.map_or(time, |until| until.min(time))),
                _ => state.closing,
            };
            state = self.sleep(state, until.map(|until| until - now));
        }
    }

    /// Takes all waiting changes, and counts them as in flight.
    pub(crate) fn take(&self) -> VecDeque<StoreChange> {
        let mut state = self.lock();
        let taken = std::mem::take(&mut state.changes);
        let bytes = std::mem::take(&mut state.bytes);
        state.in_flight = (state.in_flight.0 + taken.len(), state.in_flight.1 + bytes);
        taken
    }

    /// Stops counting the changes in flight, because they were written or given up.
    pub(crate) fn done(&self) {
        self.lock().in_flight = (0, 0);
    }

    /// Puts an unfinished search back, after all other searches.
    pub(crate) fn requeue(&self, search: StoreQuery) {
        self.lock().searches.push_back(search);
    }

    /// Tells the thread to write all changes, and to end by `until`.
    pub(crate) fn close(&self, until: Instant) {
        let mut state = self.lock();
        state.closing = Some(until);
        self.wake(state, true);
    }

    /// Waits until the thread has ended, but not longer than until `until`. Returns whether it has
    /// ended, and the number of changes that were not written.
    pub(crate) fn wait_for_end(&self, until: Instant) -> (bool, u64) {
        let mut state = self.lock();
        loop {
            let rest = until.saturating_duration_since(now());
            match state.ended {
                Some(left) => return (true, left),
                None if rest.is_zero() => return (false, state.count() as u64 + state.lost),
                None => state = self.end.wait_timeout(state, rest).ignore_poison().0,
            }
        }
    }

    /// Records that the thread has ended. Drops all queries, so that their callers get an error.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = Some(state.count() as u64 + state.lost);
        state.queries.clear();
        state.searches.clear();
        state.changes.clear();
        self.end.notify_all();
    }

    fn is_half_full(&self, state: &State) -> bool {
        state.count() * 2 >= self.limit || (state.bytes + state.in_flight.1) * 2 >= BYTES_MAX
    }

    fn wake(&self, mut state: MutexGuard<'_, State>, must_wake: bool) {
        if must_wake && std::mem::take(&mut state.asleep) {
            self.work.notify_one();
        }
    }

    fn sleep<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        length: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        state.asleep = true;
        let mut state = match length {
            Some(length) => self.work.wait_timeout(state, length).ignore_poison().0,
            None => self.work.wait(state).ignore_poison(),
        };
        state.asleep = false;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().ignore_poison()
    }
}

impl State {
    fn count(&self) -> usize {
        self.changes.len() + self.in_flight.0
    }
}

/// Returns the current time of the system. The writer thread does not use tokio's clock, because it
/// waits for the disk.
#[expect(clippy::disallowed_methods, reason = "the writer thread does not use tokio's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::query::SearchQuery;
    use super::*;
    use echoline_chat_core::SearchTerms;

    fn search() -> StoreQuery {
        let (scanned, found, reply) = ((0, 0), Vec::new(), oneshot::channel().0);
        let (room, terms) = ("lobby".to_owned(), SearchTerms::new("x"));
        StoreQuery::Search(SearchQuery { room, terms, most: 1, before: 9, scanned, found, reply })
    }

    /// Issue 12, item 13: searches run after all other queries, and have a limit of their own.
    #[test]
    fn attack_searches_delay_no_other_query() {
        let queue = WorkQueue::new(8, SyncPolicy::Second);
        for _ in 0..SEARCHES_MAX {
            queue.push_query(search()).unwrap();
        }
        assert!(matches!(queue.push_query(search()), Err(StoreError::Busy)));
        let (reply, _answer) = oneshot::channel();
        queue.push_query(StoreQuery::read(|_| Ok(()), reply)).unwrap();
        let next = || queue.wait(|_| NextCommit::Idle).query;
        assert!(matches!(next(), Some(StoreQuery::Read(_))));
        let Some(step @ StoreQuery::Search(_)) = next() else { panic!("a search is next") };
        queue.requeue(step);
        let (reply, _answer) = oneshot::channel();
        queue.push_query(StoreQuery::read(|_| Ok(()), reply)).unwrap();
        assert!(matches!(next(), Some(StoreQuery::Read(_))));
    }
}
