//! A chat with many users on a clock of its own, and what has to be true of it whatever happens.
#![allow(clippy::unwrap_used, reason = "a test may")]

pub(crate) mod bus;
pub(crate) mod client;
pub(crate) mod follow;
pub(crate) mod model;
pub(crate) mod order;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod talk;
pub(crate) mod world;
