//! A chat: what is kept of it.

pub mod history;
