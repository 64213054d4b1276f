//! The core of a chat: names, text, commands, rooms, operations and how they are applied. Pure.
//!
//! [`ChatState::apply`](state::ChatState::apply) is the only way in which a chat changes. Nothing
//! here has a clock, a socket, a task or a lock: time and random numbers are arguments, and what
//! has to be done outside of the state is an [`Effect`](effect::Effect).
//!
//! The interface serves the other crates of the workspace and may change with any release.

pub mod answer_limits;
pub mod command;
pub mod days;
pub mod effect;
pub mod flood;
pub mod idle_policy;
pub mod name;
pub mod notification;
pub mod operation;
pub mod outcome;
pub mod protocol;
mod replicated_state;
pub mod replication;
pub mod room;
mod search_terms;
pub mod state;
mod stored_line;
pub mod text;

pub use replicated_state::{Link, Proposal, ReplicatedState, StateSnapshot, StreamEntry};
pub use search_terms::{CaseFoldBuffer, SearchTerms};
pub use stored_line::{DELETED, LineKind, MISSING, StoredLine};
