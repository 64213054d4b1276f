//! Options of a store, and the events that it reports.

use std::sync::Arc;

/// The limits of a store, and its durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The maximum number of lines that a room keeps. The oldest are trimmed first. The newest line
    /// is always kept, so that its number is not used again. Default: 10,000.
    pub keep_lines: u64,
    /// The maximum number of bytes that a room keeps: names, texts, and 32 bytes for each line.
    /// Default: 64 MiB.
    pub keep_bytes: u64,
    /// When the store makes changes durable. Default: [`SyncPolicy::Second`].
    pub sync: SyncPolicy,
    /// The maximum number of changes in the queue. The queue also has at most 64 MiB. Lines, rooms
    /// and tokens use at most seven eighths of it, so there is always space for a ban. Default:
    /// 16,384, enough for three seconds with 5,000 lines per second.
    pub queue: usize,
    /// Whether the store accepts a folder in which other users can replace files. Default:
    /// [`SharedFolder::Refuse`].
    pub shared: SharedFolder,
}

/// The policy for a folder in which other users than root and the user of this process can replace
/// files. This is possible if another user owns the folder, or may write to it or to a folder above
/// it.
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

/// When changes become durable. With both policies, each transaction is synced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At once. Changes that arrive during a transaction are written in the next one.
    Each,
    /// Within a second. There is at most one transaction per second, unless the queue is half full.
    #[default]
    Second,
}

/// An event of a store, reported on its writer thread. The receiver must not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// The lines of these rooms are durable up to these numbers, except for lines that were lost.
    Committed(Vec<(Arc<str>, u64)>),
    /// An outage started, for this reason. Nothing can be written, or changes arrive faster than
    /// they can be written. Reported once per outage.
    Failing(String),
    /// The outage is over, and all waiting changes are written.
    Recovered {
        /// The number of changes that did not fit in the queue or can never be written.
        lost: u64,
    },
}
