//! Tests of TLS: handshakes, connection ends, replaced certificates, and other programs as peers.
// The validity of certificates depends on the wall clock.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod commands;
mod damaged;
mod ends;
mod names;
mod pairs;
#[path = "../programs/mod.rs"]
mod programs;
mod reload;
mod secrets;
mod served;
mod shown;
mod upgrade;
