//! The core of a chat: names, text, commands, rooms, and the operations that change them. Pure.
//!
//! [`ChatState::apply`](state::ChatState::apply) is the only way in which a chat changes. This
//! crate uses no clock, socket, task or lock: time and random numbers are arguments, and each
//! action outside of the state is an [`Effect`](effect::Effect).
//!
//! The main modules, in reading order: [`name`] and [`text`] define valid input, [`command`] parses
//! a line, [`operation`] and [`outcome`] are the changes of the chat and their results. [`state`]
//! applies operations, [`room`] has the lines and members of a room, and [`effect`] lists the
//! actions outside of the state. [`protocol`] has the messages of programs and pages,
//! [`ReplicatedState`] and [`replication`] the exchange between the nodes of a cluster.
//!
//! # The way of one line
//!
//! 1. [`Command::parse`](command::Command::parse) recognises the line of a user as a command, or as
//!    text to say.
//! 2. The caller checks the rate with [`flood`], and proposes an
//!    [`Operation`](operation::Operation). In a cluster [`replication`] sends it to all nodes and
//!    brings it back in the order of the stream.
//! 3. [`ChatState::apply`](state::ChatState::apply) changes the state. It returns the
//!    [`Outcome`](outcome::Outcome) for the author, and passes the actions outside of the state to
//!    [`Effects`](effect::Effects): private messages, and changes to store.
//! 4. Each member of the [`room`] takes the line from its log as a batch of bytes.
//!
//! # Design
//!
//! **One order.** A room is a log: an append gives the line its number and its time, both larger
//! than those before. Joins, leaves, renames and topics are lines too, so membership changes at
//! one position of the room's order.
//!
//! **Fan-out without copies.** A line is encoded once, as a terminal shows it, into a chunk of
//! bytes. A member is a number: the next line to see. A batch for a member is a few slices of those
//! chunks. A member that does not read costs at most one line of memory. In the end the log drops
//! the lines that the member has not seen, and counts them as missed.
//!
//! **Names** are looked up by keys that look-alikes share. While a user is renamed, both names are
//! theirs.
//!
//! **Lines may be held back.** If each line is synced to the store, a line has its number at once
//! but is visible only when the store has committed it. During an outage of the store, lines are
//! visible at once.
//!
//! **Replication.** An operation goes into its author's outbox and leaves in an envelope. It comes
//! back as an entry of the stream, and all nodes apply it: the result depends on the state, the
//! operation and the entry's time only. There is no leader and no lock between nodes, and the
//! snapshots of two nodes after the same entry are the same bytes.
//!
//! * *Exactly once.* An author has one operation on its way. Each author numbers its operations,
//!   and a number is applied once, even if the stream stores it twice. An operation is sent again
//!   until it comes back. Only an operation that was never sent can be given up, and its author is
//!   told.
//! * *Lines gather* behind the operation on its way, up to 64 KiB: a fast author costs one
//!   operation for each round trip.
//! * *A node has a number*, a new one after each start and when it rejoins after its lease expired.
//!   Operations of the old number have no effect after the entry that says that the node is down.
//! * *Time* is counted in ticks of the driver and in the times of entries.

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
