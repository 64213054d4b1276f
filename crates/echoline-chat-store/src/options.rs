//! Options of a store, and the events that it reports.

use std::sync::Arc;

/// The limits of a store, and its durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The number of lines that a room keeps; the oldest are trimmed. Default 10,000. The newest
    /// line is always kept, so that its number is not used again.
    pub keep_lines: u64,
    /// The number of bytes that a room keeps: names, texts, and 32 for each line. Default 64 MiB.
    pub keep_bytes: u64,
    /// When the store makes changes durable. Default [`SyncPolicy::Second`].
    pub sync: SyncPolicy,
    /// The maximum number of changes in the queue, which has at most 64 MiB. Default 16,384: three
    /// seconds of a thousand fast writers, who write 5,000 lines per second. Lines, rooms and
    /// tokens use at most seven eighths of the queue, so that a ban still fits when they do not.
    pub queue: usize,
    /// Whether the store accepts a folder in which other users can replace files. Default
    /// [`SharedFolder::Refuse`].
    pub shared: SharedFolder,
}

/// The policy for a folder in which a user other than root and this process's user can replace
/// files. This is a folder of another user, one whose mode lets others write, or one below such a
/// folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedFolder {
    /// Opening fails with [`StoreError::Exposed`](super::StoreError::Exposed).
    #[default]
    Refuse,
    /// The folder is used.
    Allow,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            keep_lines: 10_000,
            keep_bytes: 64 * 1024 * 1024,
            sync: SyncPolicy::Second,
            queue: 16_384,
            shared: SharedFolder::Refuse,
        }
    }
}

/// When changes become durable. Each transaction is synced to the disk in both cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At once. Changes that arrive during a transaction form the next one.
    Each,
    /// Within a second: at most one transaction per second, unless the queue is half full.
    #[default]
    Second,
}

/// An event of a store, reported on its writer thread. The receiver must not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// The lines of these rooms are durable up to these numbers, except lost lines.
    Committed(Vec<(Arc<str>, u64)>),
    /// An outage began, for this reason: nothing can be written, or changes arrive faster than they
    /// are written. Reported once per outage.
    Failing(String),
    /// The outage is over, and all waiting changes are written.
    Recovered {
        /// Changes that did not fit in the queue, or can never be written.
        lost: u64,
    },
}
