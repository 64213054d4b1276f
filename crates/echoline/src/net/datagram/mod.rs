//! Datagrams: sockets, who is answered, and the server around them.

mod batch;
mod broken;
mod bucket;
mod counts;
mod guard;
mod planned;
mod server;
mod socket;

pub use broken::broken;
pub use counts::{DatagramCounts, Datagrams};
pub use guard::{AnswerLength, DatagramRefusal, DatagramRules, Loopback, SourcePorts};
pub use server::{DatagramAnswer, DatagramServer};
pub use socket::DatagramListener;
