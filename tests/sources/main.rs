//! Rates and penalties per source, from outside: servers of the library and whole programs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../programs/mod.rs"]
mod programs;

#[path = "../parlour/mod.rs"]
mod parlour;

mod chat;
mod class;
mod floods;
mod rig;
mod server;
