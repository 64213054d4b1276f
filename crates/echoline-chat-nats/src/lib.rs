//! The JetStream driver. It replicates the state of a chat over one stream of NATS servers.
//!
//! [`start`] connects a [`ReplicatedState`](echoline_chat_core::ReplicatedState) to the stream, and
//! blocks until the state is up to date. A thread then applies new entries and publishes proposals.
//! After any error the thread connects again, and continues after the last applied entry. Start and
//! recovery therefore share the same code. [`examine()`] inspects the servers and the stream
//! without joining the cluster.
//!
//! # How a proposal travels
//!
//! 1. The chat sends a [`Proposal`](echoline_chat_core::Proposal) over the channel whose other end
//!    it passed to [`start`].
//! 2. `publish` sends the proposal to the stream, and repeats this until it is settled. The servers
//!    drop repeated messages with the same id.
//! 3. On every node, `read` receives the entry in the order of the stream, and passes it to
//!    [`ReplicatedState::apply`](echoline_chat_core::ReplicatedState::apply).
//! 4. The state now reports the proposal as settled, and the driver forgets it.
//! 5. From time to time, `snapshots` writes a snapshot, so that a node can start without reading
//!    the whole stream.
//!
//! # Modules
//!
//! In the order of their dependencies:
//!
//! * values: `options`, `error`, `version`, `names`, `cluster_key`, `status`
//! * the state that survives a reconnect: `block_digests`, `stream_cursor`, `in_flight`,
//!   `snapshot_label`, `snapshot_schedule`, `pending_checks`, and `driver_state`, which owns them
//! * calls to the servers: `connect`, `stream`, `snapshot_catalog`
//! * the tasks of an `active_connection`: `monitor`, `divergence`, `heartbeat`, `publish`,
//!   `snapshots`, `read`
//! * `supervisor` and `driver` run the tasks, and `examine` is for diagnosis.

mod active_connection;
mod block_digests;
mod cluster_key;
mod connect;
mod divergence;
mod driver;
mod driver_state;
mod error;
mod examine;
mod in_flight;
mod monitor;
mod options;
mod pending_checks;
mod publish;
mod read;
mod snapshot_catalog;
mod snapshot_label;
mod snapshot_schedule;
mod snapshots;
mod status;
mod stream;
mod stream_cursor;
mod supervisor;
mod version;

pub use driver::{StreamDriver, start};
pub use error::DriverError;
pub use examine::{ClusterFinding, Severity, examine};
pub use options::{NatsIdentity, NatsOptions};
pub use status::DriverStatus;
