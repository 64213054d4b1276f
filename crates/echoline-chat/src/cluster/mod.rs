//! A chat as one node of a cluster: each operation is sent to the stream first, and every node
//! applies it when it comes back, in the order of the stream.
//!
//! Nothing here blocks. A proposal leaves through a channel, and the author learns the outcome
//! later. `proposals` and `newcomers` do not use [`Chat`](super::Chat): the chat owns them, and the
//! other files connect both.

mod follow;
#[cfg(test)]
mod hostile_tests;
mod link;
mod newcomers;
mod node_lifecycle;
mod proposals;
mod propose;
mod snapshot;
mod status;

pub use proposals::ClusterOptions;
pub(super) use proposals::{Backpressure, Cluster, Proposed};
pub use status::ClusterStatus;
