//! The pure core of the chat: what it knows, and how operations change it.
//!
//! Nothing here has a clock, a socket, a task or a lock. Time and random numbers are arguments.

mod replicated_state;
mod search_terms;
mod stored_line;

pub use replicated_state::{Link, Proposal, ReplicatedState, StateSnapshot, StreamEntry};
pub use search_terms::{CaseFoldBuffer, SearchTerms};
pub use stored_line::{DELETED, LineKind, MISSING, StoredLine};
