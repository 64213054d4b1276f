//! The server: accepts connections, runs their handlers on its workers, and ends in order.

mod accept;
mod admission;
pub(crate) mod builder;
mod drain_guard;
pub(crate) mod failure;
mod handler_task;
mod handshake;
pub(crate) mod parts;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod usage;
pub(crate) mod workers;
