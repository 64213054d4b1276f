//! Counters and measurements of a server: snapshots, service times, connection summaries.

pub(crate) mod observer;
pub(crate) mod service_times;
pub(crate) mod snapshot;
pub(crate) mod summary;
pub(crate) mod worker_stats;

pub use crate::server::usage::ConnectionUsage;
pub use observer::{LivenessProbe, Observer};
pub use service_times::ServiceTimes;
pub use snapshot::{Snapshot, Traffic, WorkerState};
pub use summary::{ConnectionSummary, ReceivedLine};
