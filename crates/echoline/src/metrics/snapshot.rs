//! A server's state at one moment, as plain data. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::service_times::ServiceTimes;
use crate::connection::limits::{Closed, Limits};
use crate::server::shutdown::Phase;

/// The state of a server at one moment; see
/// [`Observer::snapshot`](crate::metrics::Observer::snapshot).
///
/// The numbers are read one after the other while the server works. So they may be some
/// microseconds apart, but each of them is exact.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The phase of the server; `None` before it serves.
    pub phase: Option<Phase>,
    /// The number of connections accepted so far, including refused ones.
    pub accepted: u64,
    /// The number of open connections, including those that linger.
    pub open: usize,
    /// The number of ended connections for each close reason, including refused ones.
    pub ends: BTreeMap<Closed, u64>,
    /// The limits of new connections.
    pub limits: Limits,
    /// The state of each worker, in the order in which the workers started.
    pub workers: Vec<WorkerState>,
    /// The thread or task whose panic ends the server; `None` while all of them work.
    pub failure: Option<String>,
}

/// The state of one worker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// The number of open connections of this worker.
    pub connections: usize,
    /// The traffic of the open and the closed connections of this worker.
    pub traffic: Traffic,
    /// The time for which this worker was busy since its start, without waits.
    pub busy: Duration,
}

/// The traffic of connections since the server began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// The number of bytes that were read.
    pub received: u64,
    /// The number of bytes that the system has accepted for sending.
    pub sent: u64,
    /// The number of lines, or other units of input, that handlers have received. In a raw echo it
    /// is the number of reads.
    pub messages: u64,
    /// The duration of turns, from the wake-up of a connection's task until all answers are
    /// written. Only turns that read something count. After each snapshot, all of the next 500
    /// turns of each worker are timed, and then a random one in sixteen.
    pub service: ServiceTimes,
}

impl Snapshot {
    /// Returns the traffic of all workers together.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut all = Traffic::default();
        for Traffic { received, sent, messages, service } in self.workers.iter().map(|w| &w.traffic)
        {
            all.received += received;
            all.sent += sent;
            all.messages += messages;
            all.service.merge(service);
        }
        all
    }

    /// Returns the number of connections that ended for the reason with this
    /// [label](Closed::label).
    #[must_use]
    pub fn ended(&self, label: &str) -> u64 {
        let alike = self.ends.iter().filter(|(closed, _)| closed.label() == label);
        alike.map(|(_, count)| count).sum()
    }
}
