//! The status of the driver.

use std::sync::Mutex;

use super::error::DriverError;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::Link;

/// The state of a driver, and its counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverStatus {
    /// Whether the stream can be read and appended to.
    pub link: Link,
    /// The version of the connected server.
    pub server_version: String,
    /// The address of the connected server, as the server itself states it.
    pub server_address: String,
    /// The name of the stream.
    pub stream: String,
    /// The creation time of the stream, in milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// The sequence of the last applied entry.
    pub applied: u64,
    /// The sequence of the stream's last entry, when the stream was last looked up.
    pub last_sequence: u64,
    /// The number of applied entries.
    pub entries: u64,
    /// The number of proposals that arrived as entries or became obsolete.
    pub settled: u64,
    /// The number of proposals that are not settled yet.
    pub pending: u64,
    /// The number of publishes, including retries.
    pub publishes: u64,
    /// The number of retries of publishes.
    pub retries: u64,
    /// The number of entries with a valid tag of the cluster's key; 0 without a key.
    pub authentic: u64,
    /// The number of messages that were refused because they had no valid tag of the cluster's key.
    pub refused: u64,
    /// The number of times that the stream was read again because an entry was missing or the
    /// server was silent.
    pub gaps: u64,
    /// The number of times that the client dropped messages because they were read too slowly.
    pub slow_consumers: u64,
    /// The number of snapshots that this node has written.
    pub snapshots: u64,
    /// The number of snapshots that this node has restored.
    pub restores: u64,
    /// The number of times that the state was reset because the stream was replaced or had
    /// different entries.
    pub resets: u64,
    /// The number of resets that were caused by an entry that differs from the stream's.
    pub divergences: u64,
    /// The reason of the last reset.
    pub reset_reason: Option<String>,
    /// The number of times that the client reconnected.
    pub reconnects: u64,
    /// The number of times that the driver started again after an error or a panic.
    pub restarts: u64,
    /// The last error.
    pub last_error: Option<String>,
}

/// The status, updated by the driver and read by other threads.
#[derive(Debug)]
pub(super) struct StatusCell {
    status: Mutex<DriverStatus>,
    error: Mutex<Option<DriverError>>,
}

impl StatusCell {
    pub(super) fn new(stream: String) -> Self {
        let status = DriverStatus { stream, ..DriverStatus::default() };
        Self { status: Mutex::new(status), error: Mutex::default() }
    }

    pub(super) fn update(&self, update: impl FnOnce(&mut DriverStatus)) {
        update(&mut self.status.lock().ignore_poison());
    }

    pub(super) fn read(&self) -> DriverStatus {
        self.status.lock().ignore_poison().clone()
    }

    /// Records an error. Returns true if its text differs from that of the previous error.
    pub(super) fn record_error(&self, error: &DriverError) -> bool {
        let sentence = Some(error.to_string());
        *self.error.lock().ignore_poison() = Some(error.clone());
        let mut status = self.status.lock().ignore_poison();
        let is_new = status.last_error != sentence;
        status.last_error = sentence;
        is_new
    }

    pub(super) fn last_error(&self) -> Option<DriverError> {
        self.error.lock().ignore_poison().clone()
    }
}
