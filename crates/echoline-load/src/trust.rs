//! Whether the figures of a run say something about the server, or about the tester. Pure.

use std::fmt;
use std::time::Duration;

use super::record::Record;
use super::times::Percentile;

/// A lag of a tenth of the measured time is too much.
const LAG_DIVISOR: u32 = 10;

/// The share of its cores from which on the tester may be the bottleneck.
const SATURATED: f64 = 0.95;

/// The system counts processor time in ticks of up to 10 ms, and a run begins with work that is not
/// sending: in less time than this, the share of a core says nothing.
const PROCESSOR_TIME_MIN: Duration = Duration::from_millis(500);

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
    /// Merged runs overlapped in time for a part of the shortest only.
    PartlyTogether {
        /// The time for which all of them ran.
        together: Duration,
        /// The time that the shortest took.
        shortest: Duration,
    },
    /// Merged runs did not run at the same time.
    NotTogether,
}

/// What is known about the tester itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'run> {
    /// What was measured.
    pub(super) record: &'run Record,
    pub(super) processor: Option<Processor>,
    pub(super) workers: usize,
    /// Whether threads use their cores up by intent.
    pub(super) spins: bool,
    /// How often there was no local port left.
    pub(super) ports_used_up: u64,
    /// Connections of the plan, and the most that were open at the same time.
    pub(super) connections: (u32, u32),
}

/// Every reason not to trust a run.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<Distrust> {
    let record = evidence.record;
    let p99 = Percentile::P99;
    let lag = record.lag.percentile(p99).zip(record.latency.percentile(Percentile::P50));
    let processor = evidence.processor.filter(|used| used.elapsed >= PROCESSOR_TIME_MIN);
    let cores = processor.map_or(0.0, |processor| processor.cores());
    let (wanted, opened) = evidence.connections;
    let workers = evidence.workers;
    let saturated = !evidence.spins && cores >= SATURATED * workers as f64;
    [
        lag.filter(|&(lag, median)| lag > median / LAG_DIVISOR)
            .map(|(p99, median)| Distrust::Lag { p99, median }),
        saturated.then_some(Distrust::ProcessorSaturated { cores, workers }),
        (evidence.ports_used_up > 0)
            .then_some(Distrust::PortsUsedUp { times: evidence.ports_used_up }),
        (opened < wanted).then_some(Distrust::FewerConnections { wanted, opened }),
    ]
    .into_iter()
    .flatten()
    .collect()
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
            Self::PartlyTogether { together, shortest } => write!(
                f,
                "the merged runs overlapped for {together:.1?} only, and the shortest took \
                 {shortest:.1?}: their rates and clients are added as if they had run at the same \
                 time"
            ),
            Self::NotTogether => f.write_str(
                "the merged runs did not run at the same time: this is one after another, and no \
                 server had the sum of their clients",
            ),
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

#[cfg(test)]
mod tests {
    use super::super::record::Answer;
    use super::*;

    fn record(latency: Duration, lag: Duration) -> Record {
        let mut record = Record::default();
        for _ in 0..1000 {
            let at = Duration::ZERO;
            record.answer(Answer { at, latency: Some(latency), service: latency });
            record.lag.record(lag);
        }
        record
    }

    #[test]
    fn each_reason_is_found_and_says_what_to_do() {
        let micros = Duration::from_micros;
        let used = |millis| Processor {
            user: Duration::from_millis(millis),
            system: Duration::ZERO,
            elapsed: Duration::from_secs(1),
        };
        let late = record(micros(100), micros(11));
        let well = record(micros(100), micros(9));
        let good = Evidence {
            record: &well,
            processor: Some(used(900)),
            workers: 1,
            spins: false,
            ports_used_up: 0,
            connections: (5, 5),
        };
        assert_eq!(judge(&good), []);
        assert_eq!(judge(&Evidence { spins: true, processor: Some(used(999)), ..good }), []);
        for (evidence, wanted) in [
            (Evidence { record: &late, ..good }, "--busy-poll"),
            (Evidence { processor: Some(used(960)), ..good }, "0.96 cores"),
            (Evidence { ports_used_up: 3, ..good }, "local ports used up"),
            (Evidence { connections: (5, 4), ..good }, "4 of 5 connections"),
        ] {
            let found = judge(&evidence);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].to_string().contains(wanted), "{}", found[0]);
        }
    }

    /// Issue 11, item 39: a run of some milliseconds uses a whole core, which says nothing.
    #[test]
    fn regression_a_tiny_run_is_not_judged_by_its_processor_time() {
        let millis = Duration::from_millis;
        let record = Record::default();
        let found = |elapsed| {
            let used = Processor { user: elapsed, system: Duration::ZERO, elapsed };
            judge(&Evidence {
                record: &record,
                processor: Some(used),
                workers: 1,
                spins: false,
                ports_used_up: 0,
                connections: (1, 1),
            })
        };
        assert_eq!(found(millis(3)), []);
        assert_eq!(found(millis(499)), []);
        assert_eq!(found(millis(500)).len(), 1);
    }
}
