//! How it stands with the bus, for whoever asks.

use std::sync::Mutex;

use super::super::follower::Link;
use super::error::BusError;
use echoline_base::poison::IgnorePoison;

/// A bus as it is, and what became of everything so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether there is a connection over which the order is read.
    pub link: Link,
    /// The version that the server tells.
    pub server_version: String,
    /// The address of the server that we are connected to.
    pub server_address: String,
    /// The stream that is the order.
    pub stream: String,
    /// When the stream was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The last entry that was applied.
    pub applied: u64,
    /// The last entry there was when it was last looked for.
    pub last_sequence: u64,
    /// Entries applied since the start.
    pub entries: u64,
    /// Proposals that are stored or not wanted any more.
    pub settled: u64,
    /// Proposals that are not yet either.
    pub pending: u64,
    /// Times a proposal was sent.
    pub publishes: u64,
    /// Times one of them was sent again.
    pub retries: u64,
    /// Entries that came from a node with the key of the cluster; 0 without a key.
    pub authentic: u64,
    /// Messages that came from no node with the key of the cluster, and were refused.
    pub refused: u64,
    /// Times the order was read anew because something was missing in it.
    pub gaps: u64,
    /// Times the client dropped messages because they were not read fast enough.
    pub slow_consumers: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Snapshots that the chat went on from.
    pub restores: u64,
    /// Times the order turned out to be another one.
    pub renewals: u64,
    /// Times that what was applied was not what the stream has, and the chat began anew; these are
    /// renewals too.
    pub divergences: u64,
    /// By what it was known the last time.
    pub renewed_because: Option<String>,
    /// Times the connection came back.
    pub reconnects: u64,
    /// Times the driver began again after an error or a panic.
    pub restarts: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The status, which the driver changes and others read.
#[derive(Debug)]
pub(super) struct Board {
    status: Mutex<Status>,
    error: Mutex<Option<BusError>>,
}

impl Board {
    pub(super) fn new(stream: String) -> Self {
        let status = Status {
            link: Link::Down,
            server_version: String::new(),
            server_address: String::new(),
            stream,
            created_ms: 0,
            applied: 0,
            last_sequence: 0,
            entries: 0,
            settled: 0,
            pending: 0,
            publishes: 0,
            retries: 0,
            authentic: 0,
            refused: 0,
            gaps: 0,
            slow_consumers: 0,
            snapshots: 0,
            restores: 0,
            renewals: 0,
            divergences: 0,
            renewed_because: None,
            reconnects: 0,
            restarts: 0,
            last_error: None,
        };
        Self { status: Mutex::new(status), error: Mutex::default() }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().ignore_poison());
    }

    pub(super) fn read(&self) -> Status {
        self.status.lock().ignore_poison().clone()
    }

    /// The error happened. True if it is another one than the last.
    pub(super) fn fail(&self, error: &BusError) -> bool {
        let sentence = Some(error.to_string());
        *self.error.lock().ignore_poison() = Some(error.clone());
        let mut status = self.status.lock().ignore_poison();
        let is_new = status.last_error != sentence;
        status.last_error = sentence;
        is_new
    }

    pub(super) fn last_error(&self) -> Option<BusError> {
        self.error.lock().ignore_poison().clone()
    }
}
