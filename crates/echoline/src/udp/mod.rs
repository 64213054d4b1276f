//! Datagrams: the sockets, the rules for answers, and the server.

mod batch;
mod bucket;
mod counters;
mod guard;
mod server;
mod socket;
pub(crate) mod socket_error;
mod socket_faults;

pub use counters::{DatagramCounts, DatagramSnapshot};
pub use guard::{AnswerLength, DatagramRefusal, DatagramRules, Loopback, SourcePorts};
pub use server::{DatagramAnswer, DatagramServer};
pub use socket::DatagramListener;
