//! The form in which operations travel between the nodes of a cluster, and the checks on it. Pure.

pub mod envelope;
pub mod inspect;
pub mod inspect_snapshot;
pub mod leases;
pub mod node_down_line;
pub mod record;

/// The session of operations whose author is a node itself.
pub const NODE: u64 = 0;

/// Gone nodes, and ended sessions, that are remembered: what they sent may still arrive. So many
/// users who went with a node too: the node may ask what became of their operations.
pub const GONE_MAX: usize = 1000;

/// Lines in one operation.
pub const SAY_LINES: usize = 1024;
