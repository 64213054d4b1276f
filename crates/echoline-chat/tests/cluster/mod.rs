//! Tests of one chat on several nodes, with simulated failures and a paused clock.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../simulation/bus.rs"]
pub(crate) mod bus;
pub(crate) mod check;
pub(crate) mod cluster_harness;
pub(crate) mod evening;
mod gone;
pub(crate) mod guest;
mod loss;
mod order;
#[path = "../simulation/random.rs"]
pub(crate) mod random;
pub(crate) mod storm;
mod strangers;
