//! How a store is to be kept, and what it tells.

use std::sync::Arc;

/// How much is kept, and how surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Lines of a room that are kept; the oldest give way. Default 10,000. The newest line is
    /// always kept, because its number must not be given again.
    pub keep_lines: u64,
    /// Bytes of a room that are kept: of names and texts, with 32 more for each line.
    /// Default 64 MiB.
    pub keep_bytes: u64,
    /// When what was written is made durable. Default [`Sync::Second`].
    pub sync: Sync,
    /// Changes that wait at most, be it for the disk's turn or for its recovery; at most 64 MiB of
    /// them. Lines, rooms and tokens have seven eighths of this, so that a ban still finds room
    /// where they do not. Default 16,384: three seconds at the 5,000 lines a second of a thousand
    /// fast writers.
    pub queue: usize,
    /// Whether a folder is used in which other users can replace files. Default
    /// [`SharedFolder::Refuse`].
    pub shared: SharedFolder,
}

/// The treatment of a folder in which users other than root and this one can replace files: it
/// belongs to one of them, its mode lets them write, or that is so for a folder above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedFolder {
    /// It is refused.
    #[default]
    Refuse,
    /// It is used.
    Allow,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            keep_lines: 10_000,
            keep_bytes: 64 * 1024 * 1024,
            sync: Sync::Second,
            queue: 16_384,
            shared: SharedFolder::Refuse,
        }
    }
}

/// When what was written is made durable. Each transaction is synced to the disk in both cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// At once; what comes meanwhile goes together into the next transaction.
    Each,
    /// Within a second, at most one transaction a second unless the queue is half full.
    #[default]
    Second,
}

/// What a store tells. It is told on the store's own thread, which must not be held up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Durable, whatever happens: of each of these rooms the lines up to this number that were
    /// not counted as lost.
    Committed(Vec<(Arc<str>, u64)>),
    /// Nothing can be written, or not as fast as it comes: why. Said once per outage.
    Failing(String),
    /// The outage is over: what waited is written.
    Recovered {
        /// Changes that found no room meanwhile, or could never be written.
        lost: u64,
    },
}
