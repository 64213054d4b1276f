//! The store's thread: it owns the connection, writes what waits in one transaction when it is
//! due, and answers questions in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::audit;
use super::error::{Fault, StoreError};
use super::folder::Folder;
use super::options::{StoreEvent, StoreOptions};
use super::pace::{Load, Next, Pace};
use super::question::Question;
use super::queue::{Queue, now};
use super::record::Change;
use super::schema;
use super::tables::{Refused, Tables};

/// The state of the thread that writes.
pub(super) struct Keeper<E: Fn(StoreEvent)> {
    folder: Folder,
    options: StoreOptions,
    queue: Arc<Queue>,
    on_event: E,
    /// `None`: it has to be opened anew before anything is written or believed.
    connection: Option<Connection>,
    tables: Tables,
    batch: Batch,
    pace: Pace,
    outage: Option<Outage>,
    /// When to rewrite the file, because words were deleted from it; and the time of the last
    /// rewrite.
    rewrite_at: Option<Instant>,
    rewritten_at: Option<Instant>,
    /// Between two times that the file is rewritten.
    rewrite_pause: Duration,
    /// The file is rewritten, and its log still has to be emptied.
    is_rewritten: bool,
}

/// Between two times that the file is rewritten, at least; and so many times as long as it took, so
/// that users who delete a line now and then do not keep the disk busy.
const REWRITE_EVERY: Duration = Duration::from_secs(5);
const REWRITE_SHARE: u32 = 20;

/// What is in hand until it is durable: a transaction that can be begun again.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    /// How many of them are in the open transaction; `None` where there is none.
    applied: Option<usize>,
    /// The last entry of the audit log that is durable.
    audit_id: i64,
}

/// From the first failure until everything that waited is written.
#[derive(Debug)]
struct Outage {
    lost: u64,
    /// Not over before: so that a steady flood is one outage and not thousands.
    over_at: Instant,
}

/// Between the last change that was lost and the end of an outage.
const QUIET: Duration = Duration::from_secs(1);

/// Why a transaction failed.
#[derive(Debug)]
enum Failure {
    Open(StoreError),
    Sqlite(rusqlite::Error),
    Change(Refused),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl<E: Fn(StoreEvent)> Keeper<E> {
    /// Over a connection that was just opened.
    pub(super) fn new(
        folder: Folder,
        options: StoreOptions,
        queue: Arc<Queue>,
        on_event: E,
        connection: Connection,
    ) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::database(&folder.database(), &error);
        let mut tables = Tables::default();
        tables.find_over(&connection, &options).map_err(failed)?;
        let audit_id = audit::last_id(&connection).map_err(failed)?;
        let batch = Batch { audit_id, ..Batch::default() };
        let pace = Pace::new(options.sync);
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
            pace,
            outage,
            rewrite_at: None,
            rewritten_at: None,
            rewrite_pause: REWRITE_EVERY,
            is_rewritten: false,
        })
    }

    /// Until the store is closed and nothing is left to write, or no time is.
    pub(super) fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        loop {
            let turn = queue.wait(|load| self.next(load));
            if turn.lost > 0 {
                self.lose(turn.lost, "more is said than can be written");
            }
            if let Some(question) = turn.question {
                self.answer(question);
            }
            if turn.write {
                self.write();
            }
            if self.rewrite_at.is_some_and(|at| at <= now()) && self.batch.applied.is_none() {
                self.rewrite();
            }
            if turn.end {
                break;
            }
        }
        self.roll_back();
        self.recover();
        if self.rewrite_at.is_some() {
            self.rewrite();
        }
        // Its end is told only once the file is closed.
        self.connection = None;
    }

    fn next(&self, load: Load) -> Next {
        let waiting = load.waiting || (self.tables.is_over() && !load.closing);
        match (self.pace.next(Load { waiting, ..load }), &self.outage, self.rewrite_at) {
            (Next::WhenAsked, Some(outage), _) if !load.closing => Next::At(outage.over_at),
            (Next::WhenAsked, None, Some(at)) if !load.closing => Next::At(at),
            (next, ..) => next,
        }
    }

    /// Writes what waits in one transaction, and makes it durable.
    fn write(&mut self) {
        match self.transaction() {
            Ok(()) => self.committed(),
            Err(failure) => self.failed(failure),
        }
        if self.outage.as_ref().is_some_and(|outage| outage.over_at <= now()) {
            self.recover();
        }
    }

    fn transaction(&mut self) -> Result<(), Failure> {
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

    /// Opens the database anew where the last connection is not to be believed. A database that is
    /// damaged now is not set aside behind everybody's back: that is for the next start.
    fn connect(&mut self) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(schema::open(&self.folder.database()).map_err(Failure::Open)?);
        }
        Ok(())
    }

    /// Brings all that waits into the transaction, which is begun where there is none.
    fn apply(&mut self) -> Result<(), Failure> {
        let Some(connection) = &self.connection else { return Ok(()) };
        self.batch.changes.extend(self.queue.take());
        if self.batch.changes.is_empty() && !self.tables.is_over() {
            return Ok(());
        }
        if self.batch.applied.is_none() {
            connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        let applied = *self.batch.applied.get_or_insert(0);
        let (before, rest) = self.batch.changes.split_at(applied);
        let audit_id = self.batch.audit_id + audits(before);
        self.tables.apply(connection, rest, audit_id).map_err(|refused| {
            Failure::Change(Refused { place: applied + refused.place, ..refused })
        })?;
        self.batch.applied = Some(self.batch.changes.len());
        Ok(())
    }

    fn committed(&mut self) {
        self.pace.committed(now());
        if self.batch.applied.take().is_none() {
            return;
        }
        self.batch.audit_id += audits(&self.batch.changes);
        let deletes = |change: &Change| matches!(change, Change::Deleted { .. });
        if self.tables.take_words_gone() || self.batch.changes.iter().any(deletes) {
            let earliest = self.rewritten_at.map_or_else(now, |at| at + self.rewrite_pause);
            self.rewrite_at.get_or_insert(earliest);
            self.is_rewritten = false;
        }
        let mut rooms = BTreeMap::new();
        for change in self.batch.changes.drain(..) {
            if let Change::Line { room, line } = change {
                let last = rooms.entry(room).or_insert(line.number);
                *last = line.number.max(*last);
            }
        }
        self.queue.done();
        if !rooms.is_empty() {
            (self.on_event)(StoreEvent::Committed(rooms.into_iter().collect()));
        }
    }

    /// Takes deleted words off the disk. An error is no outage: it is tried again.
    fn rewrite(&mut self) {
        let Some(connection) = &self.connection else { return };
        let start = now();
        match schema::erase_remains(connection, &mut self.is_rewritten) {
            Ok(()) => {
                (self.rewrite_at, self.rewritten_at) = (None, Some(now()));
                self.rewrite_pause = REWRITE_EVERY.max(start.elapsed() * REWRITE_SHARE);
            }
            Err(error) => {
                tracing::warn!(%error, "deleted words are still on the disk; trying again");
                self.rewrite_at = Some(now() + REWRITE_EVERY);
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        self.roll_back();
        let path = self.folder.database();
        let (fault, reason) = match failure {
            Failure::Open(error) => (Fault::Reopen, error.to_string()),
            Failure::Sqlite(error) => {
                (Fault::of(&error), StoreError::database(&path, &error).to_string())
            }
            Failure::Change(Refused { place, error }) => {
                let fault = Fault::of(&error);
                if fault == Fault::Refuse {
                    self.batch.changes.remove(place);
                    return self.lose(1, &format!("something can never be written ({error})"));
                }
                (fault, StoreError::database(&path, &error).to_string())
            }
        };
        if fault != Fault::Wait {
            self.connection = None;
        }
        self.pace.failed(now());
        self.outage(&reason, now());
    }

    fn roll_back(&mut self) {
        if self.batch.applied.take().is_some() {
            self.tables.forget();
        }
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            self.connection = None;
        }
    }

    fn lose(&mut self, count: u64, reason: &str) {
        let reason = format!("the chat's history falls behind: {reason}");
        self.outage(&reason, now() + QUIET).lost += count;
    }

    /// The outage that there is, or else a new one, which is told.
    fn outage(&mut self, reason: &str, over_at: Instant) -> &mut Outage {
        if self.outage.is_none() {
            (self.on_event)(StoreEvent::Failing(reason.to_owned()));
        }
        let outage = self.outage.get_or_insert(Outage { lost: 0, over_at });
        outage.over_at = outage.over_at.max(over_at);
        outage
    }

    /// Ends an outage where nothing is left of it.
    fn recover(&mut self) {
        if self.batch.changes.is_empty()
            && !self.pace.is_failing()
            && let Some(Outage { lost, .. }) = self.outage.take()
        {
            (self.on_event)(StoreEvent::Recovered { lost });
        }
    }

    /// Answers from what was written before the question, durable or not yet; in an outage from
    /// what is durable.
    fn answer(&mut self, question: Question) {
        if !self.pace.is_failing()
            && let Err(failure) = self.apply()
        {
            self.failed(failure);
        }
        let path = self.folder.database();
        let Some(connection) = &self.connection else {
            let reason = "it could not be opened anew yet after an error".to_owned();
            return question.refuse(StoreError::Database { path, reason });
        };
        let failed = |error: &rusqlite::Error| StoreError::database(&path, error);
        if let Some(rest) = question.answer(connection, failed) {
            self.queue.put_back(rest);
        }
    }
}

impl<E: Fn(StoreEvent)> Drop for Keeper<E> {
    /// Releases all threads that wait for this one, however it ends. A panic is an outage.
    fn drop(&mut self) {
        self.queue.ended();
        if std::thread::panicking() {
            let text = "the thread of the chat's history panicked; start the chat again";
            (self.on_event)(StoreEvent::Failing(text.to_owned()));
        }
    }
}

fn audits(changes: &[Change]) -> i64 {
    let is_act =
        |change: &&Change| matches!(change, Change::Audit { .. } | Change::RoomAudit { .. });
    changes.iter().filter(is_act).count() as i64
}
