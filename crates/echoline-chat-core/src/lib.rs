//! The core of a chat: names, text, commands, rooms, operations and how they are applied. Pure.
//!
//! [`ChatState::apply`](state::ChatState::apply) is the only way in which a chat changes. Nothing
//! here reads a clock, takes a lock, waits, or does input and output: time is an argument, and what
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
pub mod replication;
pub mod room;
pub mod state;
pub mod text;
