//! The JetStream driver: replicates the state of a chat over one stream of NATS servers.
//!
//! [`start`] connects a [`ReplicatedState`](echoline_chat_core::ReplicatedState) to the stream and
//! blocks until the state is up to date. A thread then applies new entries and publishes proposals.
//! After any error it connects again and continues after the last applied entry, so recovery and
//! start are the same code. [`examine()`] inspects servers and stream without joining the cluster.
//!
//! # The way of one proposal
//!
//! 1. The chat puts a [`Proposal`](echoline_chat_core::Proposal) into the channel that it passed to
//!    [`start`].
//! 2. `publish` sends it to the stream, again and again until it is settled. The servers drop
//!    repeated messages with the same id.
//! 3. `read` receives the entry in the order of the stream, on every node, and passes it to
//!    [`ReplicatedState::apply`](echoline_chat_core::ReplicatedState::apply).
//! 4. The state then reports the proposal as settled, and the driver forgets it.
//! 5. `snapshots` writes a snapshot from time to time, so that a start need not read the whole
//!    stream.
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
//! * `supervisor` and `driver` run the tasks; `examine` is for diagnosis.

mod active_connection;
mod block_digests;
mod cluster_key;
mod connect;
mod divergence;
mod driver;
mod driver_state;
mod error;
mod examine;
mod heartbeat;
mod in_flight;
mod monitor;
mod names;
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
