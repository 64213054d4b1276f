//! The clients of a run: their connections, and the messages and replies on each of them.

pub(crate) mod account;
pub(crate) mod client;
mod datagram_matcher;
mod datagrams;
pub(crate) mod dial;
mod dispatcher;
mod plain_socket;
pub(crate) mod pool;
mod reply;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod worker;
