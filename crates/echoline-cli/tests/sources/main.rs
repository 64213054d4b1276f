//! Tests of the rates and penalties per source, with servers of the library and with whole
//! programs.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../programs/mod.rs"]
mod programs;

#[path = "../../../echoline-chat/tests/chat_harness/mod.rs"]
mod chat_harness;

mod chat;
mod class;
mod floods;
mod server;
mod source_harness;
