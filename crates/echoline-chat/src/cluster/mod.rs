//! A chat as one node of a cluster. Each operation is first sent to the stream, and every node
//! applies it when the stream delivers it.
//!
//! Nothing here blocks. A proposal leaves through a channel, and its author learns the outcome
//! later. `proposals` and `newcomers` do not depend on [`Chat`](super::Chat), because the chat owns
//! them. The other files connect the two.

mod follow;
#[cfg(test)]
mod hostile_tests;
mod link;
mod newcomers;
mod node_lifecycle;
mod proposals;
mod snapshot;
mod status;
mod write_path;

pub use proposals::ClusterOptions;
pub(super) use proposals::{Backpressure, Cluster, Proposed};
pub use status::ClusterStatus;
