//! Datagrams: sockets, who is answered, and the server around them.

mod batch;
mod bucket;
mod counters;
mod guard;
mod server;
mod socket;
mod socket_error;
mod socket_faults;

pub use counters::{DatagramCounts, DatagramSnapshot};
pub use guard::{AnswerLength, DatagramRefusal, DatagramRules, Loopback, SourcePorts};
pub use server::{DatagramAnswer, DatagramServer};
pub use socket::DatagramListener;
pub use socket_error::socket_error;
