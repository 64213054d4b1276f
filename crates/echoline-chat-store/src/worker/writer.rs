//! The writer thread. It owns the connection, writes the waiting changes in one transaction when a
//! commit is due, and runs queries in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::data_folder::DataFolder;
use super::super::error::{ErrorAction, StoreError};
use super::super::options::{StoreEvent, StoreOptions};
use super::super::record::StoreChange;
use super::super::sql::{RejectedChange, TableWriter, audit, schema};
use super::query::StoreQuery;
use super::queue::{WorkQueue, now};
use super::schedule::{CommitSchedule, NextCommit, QueueLoad};

/// The state of the writer thread.
pub(crate) struct HistoryWriter<E: Fn(StoreEvent)> {
    folder: DataFolder,
    options: StoreOptions,
    queue: Arc<WorkQueue>,
    on_event: E,
    /// `None` after an error. The database must be opened again before it is used.
    connection: Option<Connection>,
    tables: TableWriter,
    batch: WriteBatch,
    schedule: CommitSchedule,
    outage: Option<WriteOutage>,
    /// The time of the next rewrite of the file; `None` if no text was deleted.
    rewrite_at: Option<Instant>,
    /// The time of the last rewrite.
    rewritten_at: Option<Instant>,
    /// The minimum interval between two rewrites.
    rewrite_pause: Duration,
    /// Whether the file was rewritten, but the write-ahead log could not be truncated yet.
    is_rewritten: bool,
}

/// The shortest possible interval between two rewrites of the file.
const REWRITE_EVERY: Duration = Duration::from_secs(5);
/// The interval between two rewrites, as a multiple of the duration of the last one. Rewriting
/// therefore takes at most a twentieth of the time, even if users delete many lines.
const REWRITE_SHARE: u32 = 20;

/// The changes in flight. Their transaction can be repeated.
#[derive(Debug, Default)]
struct WriteBatch {
    changes: Vec<StoreChange>,
    /// The number of changes that were applied in the open transaction; `None` if there is none.
    applied: Option<usize>,
    /// The id of the last durable entry of the audit log.
    audit_id: i64,
}

/// An outage. It lasts from the first failure until all waiting changes are written.
#[derive(Debug)]
struct WriteOutage {
    lost: u64,
    /// The earliest time at which the outage may end. Without this limit, a long flood of changes
    /// would be thousands of outages.
    earliest_end: Instant,
}

/// The minimum time between the last lost change and the end of an outage.
const QUIET_PERIOD: Duration = Duration::from_secs(1);

/// The error of a transaction.
#[derive(Debug)]
enum WriteError {
    Open(StoreError),
    Sqlite(rusqlite::Error),
    Change(RejectedChange),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl<E: Fn(StoreEvent)> HistoryWriter<E> {
    /// Creates the state of the thread, with a connection that was just opened.
    pub(crate) fn new(
        folder: DataFolder,
        options: StoreOptions,
        queue: Arc<WorkQueue>,
        on_event: E,
        connection: Connection,
    ) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::database(&folder.database(), &error);
        let mut tables = TableWriter::default();
        tables.find_oversized(&connection, &options).map_err(failed)?;
        let audit_id = audit::last_id(&connection).map_err(failed)?;
        let batch = WriteBatch { audit_id, ..WriteBatch::default() };
        let schedule = CommitSchedule::new(options.sync);
        let connection = Some(connection);
        let outage = None;
        Ok(Self {
            folder,
            options,
            queue,
            on_event,
            connection,
            tables,
            batch,
            schedule,
            outage,
            rewrite_at: None,
            rewritten_at: None,
            rewrite_pause: REWRITE_EVERY,
            is_rewritten: false,
        })
    }

    /// Runs until the store is closed and all changes are written, or until the time is over.
    pub(crate) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        loop {
            let item = queue.wait(|load| self.next(load));
            if item.lost > 0 {
                self.lose(item.lost, "changes arrive faster than they can be written");
            }
            if let Some(query) = item.query {
                self.run_query(query);
            }
            if item.write {
                self.write();
            }
            if self.rewrite_at.is_some_and(|at| at <= now()) && self.batch.applied.is_none() {
                self.rewrite();
            }
            if item.end {
                break;
            }
        }
        self.roll_back();
        self.recover();
        if self.rewrite_at.is_some() {
            self.rewrite();
        }
        // Dropping `self` reports that the thread has ended. The file must be closed before that.
        self.connection = None;
    }

    /// Returns the time of the next event: a commit, the end of an outage, or a rewrite.
    fn next(&self, load: QueueLoad) -> NextCommit {
        let waiting = load.waiting || (self.tables.has_oversized() && !load.closing);
        match (self.schedule.next(QueueLoad { waiting, ..load }), &self.outage, self.rewrite_at) {
            (NextCommit::Idle, Some(outage), _) if !load.closing => {
                NextCommit::At(outage.earliest_end)
            }
            (NextCommit::Idle, None, Some(at)) if !load.closing => NextCommit::At(at),
            (next, ..) => next,
        }
    }

    /// Writes all waiting changes in one transaction, and makes them durable.
    fn write(&mut self) {
        match self.transaction() {
            Ok(()) => self.committed(),
            Err(error) => self.failed(error),
        }
        if self.outage.as_ref().is_some_and(|outage| outage.earliest_end <= now()) {
            self.recover();
        }
    }

    fn transaction(&mut self) -> Result<(), WriteError> {
        self.connect()?;
        self.apply()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        if self.batch.applied.is_some() {
            let added = self.batch.changes.len() as u64;
            self.tables.finish(connection, added, &self.options)?;
            connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// Opens the database again after an error. Only a start moves a damaged database aside.
    fn connect(&mut self) -> Result<(), WriteError> {
        if self.connection.is_none() {
            self.connection =
                Some(schema::open(&self.folder.database()).map_err(WriteError::Open)?);
        }
        Ok(())
    }

    /// Applies all waiting changes in the open transaction. Begins a transaction if there is none.
    fn apply(&mut self) -> Result<(), WriteError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        self.batch.changes.extend(self.queue.take());
        if self.batch.changes.is_empty() && !self.tables.has_oversized() {
            return Ok(());
        }
        if self.batch.applied.is_none() {
            connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        let applied = *self.batch.applied.get_or_insert(0);
        let (before, rest) = self.batch.changes.split_at(applied);
        let audit_id = self.batch.audit_id + count_audit_entries(before);
        self.tables.apply(connection, rest, audit_id).map_err(|rejected| {
            WriteError::Change(RejectedChange { index: applied + rejected.index, ..rejected })
        })?;
        self.batch.applied = Some(self.batch.changes.len());
        Ok(())
    }

    fn committed(&mut self) {
        self.schedule.committed(now());
        if self.batch.applied.take().is_none() {
            return;
        }
        self.batch.audit_id += count_audit_entries(&self.batch.changes);
        let deletes = |change: &StoreChange| matches!(change, StoreChange::LineDeleted { .. });
        if self.tables.take_removed_words() || self.batch.changes.iter().any(deletes) {
            let earliest = self.rewritten_at.map_or_else(now, |at| at + self.rewrite_pause);
            self.rewrite_at.get_or_insert(earliest);
            self.is_rewritten = false;
        }
        let mut rooms = BTreeMap::new();
        for change in self.batch.changes.drain(..) {
            if let StoreChange::Line { room, line } = change {
                let last = rooms.entry(room).or_insert(line.number);
                *last = line.number.max(*last);
            }
        }
        self.queue.done();
        if !rooms.is_empty() {
            (self.on_event)(StoreEvent::Committed(rooms.into_iter().collect()));
        }
    }

    /// Removes deleted text from the disk. An error does not count as an outage, because a later
    /// call tries again.
    fn rewrite(&mut self) {
        let Some(connection) = &self.connection else { return };
        let start = now();
        match schema::erase_remains(connection, &mut self.is_rewritten) {
            Ok(()) => {
                (self.rewrite_at, self.rewritten_at) = (None, Some(now()));
                self.rewrite_pause = REWRITE_EVERY.max(start.elapsed() * REWRITE_SHARE);
            }
            Err(error) => {
                tracing::warn!(%error, "deleted text is still on the disk; trying again");
                self.rewrite_at = Some(now() + REWRITE_EVERY);
            }
        }
    }

    fn failed(&mut self, error: WriteError) {
        self.roll_back();
        let path = self.folder.database();
        let (action, reason) = match error {
            WriteError::Open(error) => (ErrorAction::Reopen, error.to_string()),
            WriteError::Sqlite(error) => {
                (ErrorAction::of(&error), StoreError::database(&path, &error).to_string())
            }
            WriteError::Change(RejectedChange { index, error }) => {
                let action = ErrorAction::of(&error);
                if action == ErrorAction::Reject {
                    self.batch.changes.remove(index);
                    return self.lose(1, &format!("a change can never be written ({error})"));
                }
                (action, StoreError::database(&path, &error).to_string())
            }
        };
        if action != ErrorAction::Retry {
            self.connection = None;
        }
        self.schedule.failed(now());
        self.outage(&reason, now());
    }

    fn roll_back(&mut self) {
        if self.batch.applied.take().is_some() {
            self.tables.reset();
        }
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            self.connection = None;
        }
    }

    /// Counts lost changes as a part of an outage.
    fn lose(&mut self, count: u64, reason: &str) {
        let reason = format!("the chat's history falls behind: {reason}");
        self.outage(&reason, now() + QUIET_PERIOD).lost += count;
    }

    /// Returns the current outage. If there is none, begins one and reports it.
    fn outage(&mut self, reason: &str, earliest_end: Instant) -> &mut WriteOutage {
        if self.outage.is_none() {
            (self.on_event)(StoreEvent::Failing(reason.to_owned()));
        }
        let outage = self.outage.get_or_insert(WriteOutage { lost: 0, earliest_end });
        outage.earliest_end = outage.earliest_end.max(earliest_end);
        outage
    }

    /// Ends the outage if all changes are written, and reports this.
    fn recover(&mut self) {
        if self.batch.changes.is_empty()
            && !self.schedule.is_failing()
            && let Some(WriteOutage { lost, .. }) = self.outage.take()
        {
            (self.on_event)(StoreEvent::Recovered { lost });
        }
    }

    /// Runs a query, or one step of a search. It sees all changes that were written before it,
    /// durable or not. During an outage it sees only durable changes.
    fn run_query(&mut self, query: StoreQuery) {
        if !self.schedule.is_failing()
            && let Err(error) = self.apply()
        {
            self.failed(error);
        }
        let path = self.folder.database();
        let Some(connection) = &self.connection else {
            let reason = "it could not be opened again yet after an error".to_owned();
            return query.fail(StoreError::Database { path, reason });
        };
        if let Some(unfinished) = query.run(connection, &path) {
            self.queue.requeue(unfinished);
        }
    }
}

impl<E: Fn(StoreEvent)> Drop for HistoryWriter<E> {
    /// Wakes all threads that wait until this thread has ended. A panic is reported as an outage.
    fn drop(&mut self) {
        self.queue.end();
        if std::thread::panicking() {
            let text = "the thread of the chat's history panicked; start the chat again";
            (self.on_event)(StoreEvent::Failing(text.to_owned()));
        }
    }
}

fn count_audit_entries(changes: &[StoreChange]) -> i64 {
    changes.iter().filter(|change| matches!(change, StoreChange::Audit { .. })).count() as i64
}
