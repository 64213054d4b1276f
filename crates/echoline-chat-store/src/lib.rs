//! The history of a chat: lines of rooms, topics, bans, resume tokens and the audit log. All of it
//! is in one SQLite file, `chat.sqlite3`.
//!
//! One thread owns the database. [`Store::write`] puts a change into a bounded queue and returns at
//! once. The thread writes all waiting changes in one transaction, syncs it to the disk
//! (`synchronous = FULL`), and then reports [`StoreEvent::Committed`]. After a `kill -9` or a power
//! failure, all changes up to that event are there. Some later changes may be there too, but never
//! one without all changes before it.
//!
//! If the disk is full or fails, changes wait in the queue. The thread retries, with pauses that
//! grow to five seconds. [`StoreEvent::Failing`] reports the beginning of the outage.
//! [`StoreEvent::Recovered`] reports its end, and the number of lost changes. After any error other
//! than a full disk, the thread opens the database again before it writes. The reason is that after
//! a failed fsync(2), a later sync may succeed without having written the data.
//!
//! # Reading order
//!
//! 1. [`Store`] is the handle of a running chat. [`Store::open`] returns it with the
//!    [`RestoredHistory`].
//! 2. [`StoreChange`] is one change to write, and [`StoreEvent`] reports its result.
//! 3. [`HistoryReader`], [`restore`] and [`erase`] work on the folder of a history: backup and
//!    export, restoring, and erasing.
//!
//! # How a line travels
//!
//! 1. The chat passes the line to [`Store::write`] as a [`StoreChange`]. If the queue is full, the
//!    change is dropped and counted.
//! 2. The writer thread (`worker`) takes all waiting changes, and writes them in one transaction
//!    (`sql`).
//! 3. After the commit, it reports [`StoreEvent::Committed`] with the numbers of the last lines.
//! 4. At the next start, [`Store::open`] returns the newest lines of each room.
//!
//! # Damage
//!
//! SQLite recovers its write-ahead log (`chat.sqlite3-wal`): it keeps all transactions before the
//! first damaged one, and drops the others without an error. [`Store::open`] then runs `PRAGMA
//! quick_check` and checks the CRC-32C of every line. A damaged database file is renamed, never
//! deleted, and [`RestoredHistory::notices`] reports this. If a single line is damaged or missing,
//! only that line is lost.

mod backup;
mod data_folder;
mod erasure;
mod error;
mod opening;
mod options;
mod record;
mod sql;
mod store;
mod worker;

pub use backup::{HistoryReader, restore};
pub use echoline_chat_core::{CaseFoldBuffer, DELETED, LineKind, MISSING, SearchTerms, StoredLine};
pub use erasure::{ErasureReport, erase};
pub use error::StoreError;
pub use options::{SharedFolder, StoreEvent, StoreOptions, SyncPolicy};
pub use record::{
    PasswordGuesses, RestoredHistory, RestoredRoom, SearchPage, StoreChange, StoredBan, StoredToken,
};
pub use store::Store;
