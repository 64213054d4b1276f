//! The exchange of operations and snapshots between the nodes of a cluster, and the checks on both.
//! Pure.

pub mod cluster_state;
pub mod envelope;
pub mod inspect;
pub mod inspect_snapshot;
pub mod leases;
pub mod node_down_line;
pub mod outbox;
pub mod record;

/// The session of operations whose author is a node itself.
pub const NODE: u64 = 0;

/// The maximum number of downed nodes, and of ended sessions, that are remembered: their operations
/// may still arrive. Also the maximum number of users of downed nodes, because the node may ask for
/// the outcome of their operations.
pub const GONE_MAX: usize = 1000;

/// The maximum number of lines in one operation.
pub const SAY_LINES: usize = 1024;

/// The number of ticks for which lines are held while the link is lost.
pub const HELD_TICKS: u64 = 60;

/// The maximum count of numbers that an author may skip. When a node rejoins after its lease has
/// expired, it sends its pending operations again under other numbers. A larger gap means that the
/// number is forged.
pub const JUMP_MAX: u64 = 1024;

/// The maximum number of nodes whose operations are counted.
const NODES_MAX: usize = 10_000;

/// The number of ticks after which a missing proposal shows that the link is lost.
const UNHEARD_TICKS: u64 = 3;
