//! TLS: handshakes, ends, certificates that change, and what other programs make of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod commands;
mod damaged;
mod docs;
mod ends;
mod pairs;
#[path = "../programs/mod.rs"]
mod programs;
mod reload;
mod served;
mod shown;
