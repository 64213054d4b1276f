//! The core of a chat: names, text, commands, rooms, and the operations that change them.
//!
//! [`ChatState::apply`](state::ChatState::apply) is the only way to change a chat. This crate is
//! pure: it uses no clock, socket, task or lock. Time and random numbers are arguments, and each
//! action outside of the state is an [`Effect`].
//!
//! In reading order: [`Name`] and [`text`] define valid input, and [`command`] parses a line.
//! [`Operation`] and [`Outcome`] are the changes of the chat and their results. [`state`] applies
//! operations, [`room`] has the lines and members of a room, and [`Effect`] lists the actions
//! outside of the state. [`protocol`] has the messages of programs and pages. [`ReplicatedState`]
//! and [`replication`] are the exchange between the nodes of a cluster.
//!
//! # How a line travels
//!
//! 1. [`Command::parse`](command::Command::parse) decides whether a user's line is a command or a
//!    text to say.
//! 2. The caller checks the rate with [`Flood`], and proposes an [`Operation`]. In a cluster,
//!    [`replication`] sends it to all nodes, which receive all operations in the order of the
//!    stream.
//! 3. [`ChatState::apply`](state::ChatState::apply) changes the state and returns the [`Outcome`]
//!    for the author. It passes actions outside of the state to [`Effects`]: private messages, and
//!    changes to store.
//! 4. Each member of the [`room`] receives the line from the room's log, in a batch of bytes.
//!
//! # Design
//!
//! **One order.** A room is a log: each appended line gets a number and a time, both larger than
//! those of the line before. Joins, leaves, renames and topics are lines too, so every change of
//! the membership has a definite position among the lines.
//!
//! **Fan-out without copies.** A line is encoded once, as a terminal shows it, into a chunk of
//! bytes. In the log, a member is only a number: that of the next line to receive. A batch for a
//! member is a few slices of those chunks. A member that does not read costs at most one line of
//! memory. If the log drops lines that a member has not received, they are counted as missed.
//!
//! **Names** are looked up by keys, which names that look alike share. While a user is renamed,
//! both names belong to this user.
//!
//! **Lines may be held back.** If each line is synced to the store, a line gets its number at once,
//! but members see it only when the store has committed it. During an outage of the store, lines
//! are visible at once.
//!
//! **Replication.** An author's outbox sends an operation in an envelope. The stream delivers it to
//! all nodes as an entry, and every node applies it. The result depends only on the state, the
//! operation and the entry's time. There is no leader and no lock between nodes. The snapshots of
//! two nodes after the same entry are the same, byte for byte.
//!
//! * *Exactly once.* Each author has at most one operation in flight. An author numbers its
//!   operations, and a number is applied only once, even if the stream stores the operation twice.
//!   An operation is sent again until it comes back. Only an operation that was never sent can be
//!   given up, and its author is told.
//! * *Lines gather* behind the operation in flight, up to 64 KiB, so a fast author needs only one
//!   operation per round trip.
//! * *Each node has a number.* It gets a new one at each start, and when it rejoins after its lease
//!   expired. Once the stream contains the entry that the node is down, operations with the old
//!   number have no effect.
//! * *Time* is measured in ticks of the driver and in the times of entries.

mod answer_limits;
pub mod command;
mod days;
mod effect;
mod flood;
mod idle_policy;
mod misdirected_protocol;
mod name;
mod operation;
mod outcome;
pub mod protocol;
mod replicated_state;
pub mod replication;
pub mod room;
mod search_terms;
pub mod state;
mod stored_line;
pub mod telnet;
pub mod text;
pub mod transcript;

pub use answer_limits::{
    AWAY_CHARACTERS_MAX, Budget, LIST_BYTES_MAX, PAST_BYTES_MAX, lags_in_words, names_in_words,
    topic_in_list,
};
pub use days::Days;
pub use effect::{Disconnect, Effect, Effects, Notification};
pub use flood::{Flood, FloodLimits, Verdict};
pub use idle_policy::{Presence, choose};
pub use misdirected_protocol::MisdirectedProtocol;
pub use name::Name;
pub use name::key::Key;
pub use name::name_error::{NameError, NameFault, NameKind};
pub use operation::{
    Credential, Operation, OperationContext, RejoiningUser, RestoredSession, ResumeToken,
    RoomChange, SaidLine,
};
pub use outcome::{ClaimNameError, Entered, JoinError, Joined, OperationError, Outcome};
pub use replicated_state::{Link, Proposal, ReplicatedState, StateSnapshot, StreamEntry};
pub use search_terms::{CaseFoldBuffer, SearchTerms};
pub use stored_line::{DELETED, LineKind, MISSING, RESTARTED, StoredLine};
