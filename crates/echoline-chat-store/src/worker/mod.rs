//! The writer thread, and the queue that feeds it.

mod query;
mod queue;
mod schedule;
mod writer;

pub(crate) use query::{QueryReply, SearchQuery, StoreQuery};
pub(crate) use queue::{WorkQueue, now};
pub(crate) use writer::HistoryWriter;
