//! What a server is doing at one moment, as plain data. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::service_times::ServiceTimes;
use crate::connection::limits::{Closed, Limits};
use crate::server::shutdown::Phase;

/// A server at one moment; see [`Observer::snapshot`](crate::metrics::Observer::snapshot).
///
/// The numbers are read one after the other while the server works, so they may be some
/// microseconds apart; each of them is exact.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The phase of the server's life; `None` before it serves.
    pub phase: Option<Phase>,
    /// Connections that the system gave us so far, refused ones too.
    pub accepted: u64,
    /// Connections that are open now, lingering ones too.
    pub open: usize,
    /// How many ended in which way so far, refused ones too.
    pub ends: BTreeMap<Closed, u64>,
    /// What new connections may do.
    pub limits: Limits,
    /// Every worker, in the order in which they were started.
    pub workers: Vec<WorkerState>,
    /// Why the server ends by itself: which of its threads or tasks panicked. `None` while all of
    /// them work.
    pub failure: Option<String>,
}

/// One worker at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerState {
    /// Connections that are open on it.
    pub connections: usize,
    /// What has gone through them and those before.
    pub traffic: Traffic,
    /// How long it has worked since it was started, waits left out.
    pub busy: Duration,
}

/// What has gone through connections since the server began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that were read.
    pub received: u64,
    /// Bytes that the system has taken to send.
    pub sent: u64,
    /// Lines, or what else a handler asked for and got; in a raw echo, reads.
    pub messages: u64,
    /// How long a turn took, of those in which something was read: from the wake-up to all
    /// answers written. After each snapshot 500 turns of each worker are all timed, then one of
    /// sixteen, chosen by chance.
    pub service: ServiceTimes,
}

impl Snapshot {
    /// What has gone through the connections of all workers.
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

    /// How many connections ended so far for the reason with this
    /// [label](Closed::label).
    #[must_use]
    pub fn ended(&self, label: &str) -> u64 {
        let alike = self.ends.iter().filter(|(closed, _)| closed.label() == label);
        alike.map(|(_, count)| count).sum()
    }
}
