//! The bus of a chat that is several machines, over NATS: one JetStream stream is the order.
//!
//! [`start`] puts a [`Follower`](super::Follower) on it. Whatever goes wrong later, the thread
//! that drives it begins again: it connects, looks the stream up, and reads on from the entry
//! after the last one that was applied. So there is one way to recover, and it is the way to
//! start.

mod blocks;
mod bus;
mod connect;
mod desk;
mod doubt;
mod error;
mod examine;
mod life;
mod mailing;
mod names;
mod options;
mod order;
mod place;
mod publish;
mod pulse;
mod read;
mod seal;
mod shelf;
mod snapshots;
mod status;
mod supervisor;
mod version;

pub use bus::{Bus, start};
pub use error::BusError;
pub use examine::{Finding, Severity, examine};
pub use options::{NatsIdentity, NatsOptions};
pub use status::Status;
