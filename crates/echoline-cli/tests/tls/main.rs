//! TLS: handshakes, ends, certificates that change, and what other programs make of it.
// Certificates live by the wall clock.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod commands;
mod damaged;
mod docs;
mod ends;
mod pairs;
#[path = "../programs/mod.rs"]
mod programs;
mod reload;
mod secrets;
mod served;
mod shown;
