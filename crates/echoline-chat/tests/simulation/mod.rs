//! A chat with many users on a simulated clock, and checks of its promises.
#![allow(clippy::unwrap_used, reason = "a test may")]

pub(crate) mod bus;
pub(crate) mod client;
pub(crate) mod follow;
pub(crate) mod model;
pub(crate) mod order;
#[path = "../pipes/mod.rs"]
pub(crate) mod pipes;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod talk;
pub(crate) mod world;
