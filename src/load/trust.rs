//! Whether the figures of a run say something about the server, or about the tester. Pure.

use std::fmt;
use std::time::Duration;

/// A reason not to trust a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distrust {
    /// The tester sent late by itself: its lag is a good part of what was measured.
    Lag {
        /// The 99th percentile of the lag.
        p99: Duration,
        /// The median of the latency.
        median: Duration,
    },
    /// The tester used up the processor time that its threads can have.
    ProcessorSaturated {
        /// Processor seconds per second.
        cores: f64,
        /// Threads that sent.
        workers: usize,
    },
    /// The system had no local port left for so many connections.
    PortsUsedUp {
        /// How often.
        times: u64,
    },
    /// The run never had all the connections that it was to have.
    FewerConnections {
        /// Connections of the plan.
        wanted: u32,
        /// The most that were open at the same time.
        opened: u32,
    },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag { p99, median } => write!(
                f,
                "the tester itself sent late (lag p99 {p99:.1?}, median latency {median:.1?}): \
                 use --busy-poll, more --workers or a lower --rate"
            ),
            Self::ProcessorSaturated { cores, workers } => write!(
                f,
                "the tester used {cores:.2} cores with --workers {workers}: it may be the \
                 bottleneck; use more workers, more machines or a lower --rate"
            ),
            Self::PortsUsedUp { times } => write!(
                f,
                "local ports used up ({times} times): use --source with more addresses, or --rst"
            ),
            Self::FewerConnections { wanted, opened } => {
                write!(f, "{opened} of {wanted} connections were open at best")
            }
        }
    }
}

/// Processor time that the tester used while it measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Processor {
    /// In the program.
    pub user: Duration,
    /// In the system, on its behalf.
    pub system: Duration,
    /// The time that it was measured over.
    pub elapsed: Duration,
}

impl Processor {
    /// Cores in use: 1.0 is one core all the time.
    #[must_use]
    pub fn cores(&self) -> f64 {
        let elapsed = self.elapsed.as_secs_f64();
        if elapsed > 0.0 { (self.user + self.system).as_secs_f64() / elapsed } else { 0.0 }
    }
}
