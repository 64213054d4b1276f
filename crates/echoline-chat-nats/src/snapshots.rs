//! Takes, writes, restores and removes snapshots.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::stream::Info;
use tokio::time::sleep;

use super::active_connection::ActiveConnection;
use super::connect::reason;
use super::error::DriverError;
use super::snapshot_catalog::SnapshotCatalog;
use super::snapshot_label::{SnapshotLabel, newest, restorable, useless};
use super::stream;
use echoline_chat_core::StateSnapshot;

/// The maximum number of snapshots that wait to be written. The oldest is dropped first.
const WAITING_MAX: usize = 4;
/// The pause after a failed attempt to write a snapshot.
const RETRY: Duration = Duration::from_secs(1);

impl ActiveConnection<'_> {
    /// Restores the state from the best snapshot whose following entries are all in the stream.
    /// `first` is the sequence of the first readable entry of the stream.
    pub(super) async fn restore(&self, info: &Info, first: u64) -> Result<(), DriverError> {
        let driver = self.driver;
        let last = info.state.last_sequence;
        let catalog = self.open_or_create_catalog().await?;
        let labels = catalog.labels(driver.key.as_ref()).await;
        let mut labels = labels.map_err(|reason| self.snapshot_error(reason))?;
        labels.retain(|label| {
            let is_wrong = driver.written.borrow().is_wrong(label);
            label.created_ns == info.created.unix_timestamp_nanos() && !is_wrong
        });
        let applied = driver.state.applied();
        let mut error = DriverError::NoSnapshot { stream: driver.names.stream.clone(), first };
        for label in restorable(&labels, applied, first, last) {
            let sequence = label.sequence;
            if sequence >= first && !self.has_last_entry_of(label).await? {
                tracing::warn!("skipped the snapshot after entry {sequence}: it has lost entries");
                continue;
            }
            let restored = match catalog.read(label).await {
                Ok(snapshot) => driver.state.restore(&snapshot),
                Err(reason) => Err(reason),
            };
            let Err(reason) = restored else {
                self.restored(sequence);
                return Ok(());
            };
            error = self.snapshot_error(format!("the snapshot after entry {sequence}: {reason}"));
            driver.log_throttled(&error);
        }
        Err(error)
    }

    /// Returns whether the stream still has the last entry of the snapshot.
    async fn has_last_entry_of(&self, label: &SnapshotLabel) -> Result<bool, DriverError> {
        let stream = self.jetstream.get_stream_no_info(&self.driver.names.stream).await;
        let stream = stream.map_err(|error| self.snapshot_error(reason(&error)))?;
        let entry = stream.get_raw_message(label.sequence).await;
        let entry = entry.map_err(|error| self.snapshot_error(reason(&error)))?;
        Ok(entry.time.unix_timestamp_nanos() / 1_000_000 == i128::from(label.time_ms))
    }

    fn restored(&self, sequence: u64) {
        tracing::info!("restored the snapshot after entry {sequence}");
        self.driver.cursor.borrow_mut().forget_entries();
        self.driver.schedule.borrow_mut().record(sequence);
        self.driver.status.update(|status| {
            status.restores += 1;
            status.applied = sequence;
        });
        self.moved.send_replace(());
    }

    /// Returns whether this node must take a snapshot after the entry in this message. If a
    /// snapshot of another node is overdue, requests it from
    /// [`write_snapshots`](Self::write_snapshots) instead, so that reading continues.
    pub(super) fn is_snapshot_due(&self, message: &Message) -> bool {
        let schedule = self.driver.schedule.borrow();
        if schedule.is_due() && self.is_own(message) {
            return true;
        }
        if schedule.is_overdue() {
            self.snapshot_requested.notify_one();
        }
        false
    }

    /// Returns whether the message contains a proposal of this node.
    fn is_own(&self, message: &Message) -> bool {
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        id.is_some_and(|id| self.driver.in_flight.borrow().contains(id.as_str()))
    }

    /// Takes a snapshot of the current state. It is written later.
    pub(super) fn take_snapshot(&self) {
        let Some(snapshot) = self.current_snapshot() else { return };
        let mut waiting = self.snapshots.borrow_mut();
        waiting.push_back(snapshot);
        if waiting.len() > WAITING_MAX {
            waiting.pop_front();
        }
        self.snapshot_requested.notify_one();
    }

    /// Returns a snapshot of the current state, and the time of its last entry.
    fn current_snapshot(&self) -> Option<(StateSnapshot, u64)> {
        let time_ms = self.driver.cursor.borrow().time_ms()?;
        let snapshot = self.driver.state.snapshot();
        self.driver.schedule.borrow_mut().record(snapshot.sequence);
        Some((snapshot, time_ms))
    }

    /// Writes snapshots when they are due, and removes useless ones. Returns only if an error
    /// occurs.
    pub(super) async fn write_snapshots(&self) -> DriverError {
        loop {
            self.snapshot_requested.notified().await;
            if let Err(error) = self.write_snapshot().await {
                self.driver.log_throttled(&error);
                sleep(RETRY).await;
            }
        }
    }

    async fn write_snapshot(&self) -> Result<(), DriverError> {
        let driver = self.driver;
        let unusable = |reason| self.snapshot_error(reason);
        let catalog = self.open_or_create_catalog().await?;
        let Some(created_ns) = driver.cursor.borrow().created_ns else { return Ok(()) };
        let mut labels = catalog.labels(driver.key.as_ref()).await.map_err(unusable)?;
        labels.retain(|label| driver.written.borrow().is_wrong(label));
        for label in &labels {
            catalog.remove(label).await.map_err(unusable)?;
        }
        let waiting = self.snapshots.borrow_mut().pop_front();
        let snapshot = match waiting {
            Some(snapshot) => Some(snapshot),
            None => self.overdue_snapshot(&catalog, created_ns).await.map_err(unusable)?,
        };
        let Some((snapshot, time_ms)) = snapshot else { return Ok(()) };
        let writer = (driver.random.borrow_mut().next_u64() >> 32) as u32;
        let label = catalog.label((&snapshot, time_ms), created_ns, writer, driver.key.as_ref());
        driver.written.borrow_mut().add(&label);
        catalog.write(&label, &snapshot.state).await.map_err(unusable)?;
        driver.status.update(|status| status.snapshots += 1);
        if !self.snapshots.borrow().is_empty() {
            self.snapshot_requested.notify_one();
        }
        self.remove_useless(&catalog).await
    }

    async fn remove_useless(&self, catalog: &SnapshotCatalog) -> Result<(), DriverError> {
        let found = stream::look_up(&self.jetstream, &self.driver.names).await?;
        let Some(info) = found else { return Ok(()) };
        let created_ns = info.created.unix_timestamp_nanos();
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let labels = catalog.labels(self.driver.key.as_ref()).await;
        let labels = labels.map_err(|reason| self.snapshot_error(reason))?;
        for label in useless(&labels, created_ns, first, last) {
            catalog.remove(label).await.map_err(|reason| self.snapshot_error(reason))?;
        }
        Ok(())
    }

    /// Returns a snapshot of the current state if one is overdue. Returns `None` if another node
    /// has written one.
    async fn overdue_snapshot(
        &self,
        catalog: &SnapshotCatalog,
        created_ns: i128,
    ) -> Result<Option<(StateSnapshot, u64)>, String> {
        let driver = self.driver;
        let labels = catalog.labels(driver.key.as_ref()).await?;
        let last = driver.status.read().last_sequence.max(driver.state.applied());
        driver.schedule.borrow_mut().record(newest(&labels, created_ns, last));
        let is_overdue = driver.schedule.borrow().is_overdue();
        if !is_overdue || driver.cursor.borrow().created_ns != Some(created_ns) {
            return Ok(None);
        }
        // All tasks run on this thread, so no entry is being applied now.
        Ok(self.current_snapshot())
    }

    async fn open_or_create_catalog(&self) -> Result<SnapshotCatalog, DriverError> {
        let (options, names) = (&self.driver.options, &self.driver.names);
        SnapshotCatalog::open_or_create(&self.jetstream, options, names).await
    }

    fn snapshot_error(&self, reason: String) -> DriverError {
        DriverError::Stream { stream: self.driver.names.snapshot_stream.clone(), reason }
    }
}
