//! The exchange of operations and snapshots between the nodes of a cluster, and the checks on what
//! arrives.

pub(crate) mod cluster_state;
pub(crate) mod envelope;
pub(crate) mod inspect;
pub(crate) mod inspect_snapshot;
pub(crate) mod leases;
pub(crate) mod node_down_line;
pub(crate) mod outbox;
pub(crate) mod record;

pub use cluster_state::{LeaveState, Replication, remember};
pub use envelope::Envelope;
pub use inspect::{NUMBER_MAX, REJOINING_MAX, TIME_MAX_MS};
pub use inspect_snapshot::{ROOMS_MAX, read_snapshot};
pub use leases::{Heartbeat, Leases};
pub use node_down_line::{NodeDownLine, node_down_line, read_node_down_line};
pub use outbox::{Outbox, PendingReply, QueuedOperation, Sent};
pub use record::{AppliedOperations, OperationStatus, Record, UserRecord};

/// The session number of operations whose author is a node itself.
pub const NODE: u64 = 0;

/// The maximum number of downed nodes, and of ended sessions, that are remembered, because their
/// operations may still arrive. Also the maximum number of remembered users of downed nodes: a node
/// that rejoins must learn the outcome of their operations.
pub const GONE_MAX: usize = 1000;

/// The maximum number of lines in one operation.
pub const SAY_LINES: usize = 1024;

/// The number of ticks for which lines are held back while the link is lost.
pub const HELD_TICKS: u64 = 60;

/// The maximum gap between the numbers of an author's operations. Gaps occur when a node rejoins
/// after its lease expired, because it sends its pending operations again under new numbers. A
/// larger gap means that the number is forged.
pub const JUMP_MAX: u64 = 1024;

/// The maximum number of nodes whose operation numbers are tracked.
const NODES_MAX: usize = 10_000;

/// If a proposal has not come back after this number of ticks, the link is considered lost.
const UNHEARD_TICKS: u64 = 3;
