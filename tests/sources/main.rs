//! Rates and penalties per source, from outside: servers of the library and whole programs.
#![allow(clippy::unwrap_used)]

#[path = "../programs/mod.rs"]
mod programs;

mod server;
