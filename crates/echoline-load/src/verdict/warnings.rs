//! Warnings that the figures of a run are unreliable. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::nanos;
use crate::statistics::{Percentile, RunRecord};
use crate::verdict::lag::{LagEffect, find_dominant};

/// The share of processor time, of all cores that its threads can use, above which the tester may
/// be the bottleneck.
const SATURATED: f64 = 0.95;

/// The minimum processor time for a warning. The system counts in ticks of up to 10 ms, and a run
/// begins with work other than sending.
const PROCESSOR_TIME_MIN: Duration = Duration::from_millis(500);

/// A reason why the figures of a run are unreliable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum MeasurementWarning {
    /// The tester sent late: its lag is more than half of a reported percentile.
    Lag {
        /// The 99th percentile of the lag.
        #[serde(rename = "p99_ns", with = "nanos")]
        p99: Duration,
        /// The median of the latency.
        #[serde(rename = "median_ns", with = "nanos")]
        median: Duration,
        /// Whether the run used `--busy-poll` already.
        #[serde(default)]
        busy_poll: bool,
        /// The percentile, from 0 to 100; older reports have none, and no values of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percentile: Option<f64>,
        /// Its reported value.
        #[serde(
            rename = "latency_ns",
            with = "nanos::option",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        latency: Option<Duration>,
        /// Its value without the lag.
        #[serde(
            rename = "without_lag_ns",
            with = "nanos::option",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        without_lag: Option<Duration>,
    },
    /// The tester used nearly all processor time that its threads can get.
    ProcessorSaturated {
        /// The processor time used per second, in cores.
        cores: f64,
        /// The number of threads that sent messages.
        workers: usize,
    },
    /// The system had no local port left for so many connections.
    PortsUsedUp {
        /// The number of failed attempts.
        times: u64,
    },
    /// The run had fewer open connections than planned.
    FewerConnections {
        /// The planned number of connections.
        wanted: u32,
        /// The highest number of connections that were open at the same time.
        opened: u32,
    },
    /// Merged runs overlapped only for a part of the shortest run.
    #[serde(rename = "partly_together")]
    PartialOverlap {
        /// The time during which all merged runs ran.
        #[serde(rename = "together_ns", with = "nanos")]
        overlap: Duration,
        /// The length of the shortest run.
        #[serde(rename = "shortest_ns", with = "nanos")]
        shortest: Duration,
    },
    /// Merged runs did not run at the same time.
    #[serde(rename = "not_together")]
    NotConcurrent,
}

/// The measurements of the tester itself, from which warnings are derived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasurementConditions<'run> {
    pub(crate) record: &'run RunRecord,
    pub(crate) processor: Option<ProcessorTime>,
    pub(crate) workers: usize,
    /// Whether threads poll before due times.
    pub(crate) busy_polls: bool,
    /// The number of attempts to connect that found no free local port.
    pub(crate) ports_used_up: u64,
    /// The planned number of connections, and the highest number that were open at the same time.
    pub(crate) connections: (u32, u32),
}

/// Returns every warning that applies.
pub(crate) fn find_warnings(conditions: &MeasurementConditions<'_>) -> Vec<MeasurementWarning> {
    let record = conditions.record;
    let processor = conditions.processor.filter(|used| used.elapsed >= PROCESSOR_TIME_MIN);
    let cores = processor.map_or(0.0, |processor| processor.working_cores());
    let (wanted, opened) = conditions.connections;
    let workers = conditions.workers;
    let busy_poll = conditions.busy_polls;
    let saturated = cores >= SATURATED * workers as f64;
    [
        find_dominant(record).and_then(|effect| lag_warning(record, effect, busy_poll)),
        saturated.then_some(MeasurementWarning::ProcessorSaturated { cores, workers }),
        (conditions.ports_used_up > 0)
            .then_some(MeasurementWarning::PortsUsedUp { times: conditions.ports_used_up }),
        (opened < wanted).then_some(MeasurementWarning::FewerConnections { wanted, opened }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lag_warning(
    record: &RunRecord,
    effect: LagEffect,
    busy_poll: bool,
) -> Option<MeasurementWarning> {
    Some(MeasurementWarning::Lag {
        p99: record.lag.percentile(Percentile::P99)?,
        median: record.latency.percentile(Percentile::P50)?,
        busy_poll,
        percentile: Some(effect.percentile.percent()),
        latency: Some(effect.latency),
        without_lag: Some(effect.without_lag),
    })
}

impl fmt::Display for MeasurementWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag { p99, median, busy_poll, percentile, latency, without_lag } => {
                let remedy = match busy_poll {
                    true => "give the tester idle cores, or use more --workers or a lower --rate",
                    false => "use --busy-poll auto, more --workers or a lower --rate",
                };
                write!(
                    f,
                    "the tester itself sent late (lag p99 {p99:.1?}, median latency {median:.1?})"
                )?;
                if let (Some(p), Some(latency), Some(without)) = (percentile, latency, without_lag)
                {
                    write!(f, "; without its lag, p{p} is {without:.1?} instead of {latency:.1?}")?;
                }
                write!(f, ": {remedy}")
            }
            Self::ProcessorSaturated { cores, workers } => write!(
                f,
                "the tester used {cores:.2} cores with --workers {workers} and may be the \
                 bottleneck: use more --workers, more machines or a lower --rate"
            ),
            Self::PortsUsedUp { times } => write!(
                f,
                "no local port was free ({times} times): use --source with more addresses, or --rst"
            ),
            Self::FewerConnections { opened: 0, .. } => {
                f.write_str("no connection was opened: check the address and the server")
            }
            Self::FewerConnections { wanted, opened } => {
                write!(
                    f,
                    "at most {opened} of {wanted} connections were open at the same time: check \
                     the limits of the server, or use fewer --clients"
                )
            }
            Self::PartialOverlap { overlap, shortest } => write!(
                f,
                "the merged runs overlapped for only {overlap:.1?}, and the shortest took \
                 {shortest:.1?}, but their rates and clients are added up: start the runs together"
            ),
            Self::NotConcurrent => f.write_str(
                "the merged runs did not overlap, so no server had the sum of their clients: start \
                 the runs together",
            ),
        }
    }
}

/// The processor time that the tester used during the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessorTime {
    /// The time in user mode.
    #[serde(rename = "user_ns", with = "nanos")]
    pub user: Duration,
    /// The time in system mode.
    #[serde(rename = "system_ns", with = "nanos")]
    pub system: Duration,
    /// The wall-clock time of the measurement.
    #[serde(rename = "elapsed_ns", with = "nanos")]
    pub elapsed: Duration,
    /// The part of it for which threads polled before due times, to be on time.
    #[serde(
        rename = "polled_ns",
        with = "nanos",
        default,
        skip_serializing_if = "Duration::is_zero"
    )]
    pub polled: Duration,
    /// Pauses in which no thread polled, because another program needed the core.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub polling_pauses: u32,
}

/// Returns whether there is nothing to write.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl ProcessorTime {
    /// Returns the cores in use: 1.0 is one core all the time.
    #[must_use]
    pub fn cores(&self) -> f64 {
        let elapsed = self.elapsed.as_secs_f64();
        if elapsed > 0.0 { (self.user + self.system).as_secs_f64() / elapsed } else { 0.0 }
    }

    /// Returns the cores that were used for messages: without those that polled.
    #[must_use]
    pub fn working_cores(&self) -> f64 {
        let elapsed = self.elapsed.as_secs_f64();
        let polled = if elapsed > 0.0 { self.polled.as_secs_f64() / elapsed } else { 0.0 };
        (self.cores() - polled).max(0.0)
    }
}

impl fmt::Display for ProcessorTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cores, user, system) =
            (self.cores(), self.user.as_secs_f64(), self.system.as_secs_f64());
        write!(f, "{cores:.2} cores (user {user:.2} s, system {system:.2} s)")?;
        if !self.polled.is_zero() {
            write!(f, ", of which {:.2} polled to send on time", cores - self.working_cores())?;
        }
        match self.polling_pauses {
            0 => Ok(()),
            1 => f.write_str("\nPolling paused once, because another program needed the core."),
            pauses => write!(
                f,
                "\nPolling paused {pauses} times, because other programs needed the core."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::CorrectReply;

    fn record(latency: Duration, lag: Duration) -> RunRecord {
        let mut record = RunRecord::default();
        for _ in 0..1000 {
            let at = Duration::ZERO;
            record.reply(CorrectReply { at, latency: Some(latency), service: latency });
            record.latency_without_lag.record(latency - lag);
            record.lag.record(lag);
        }
        record
    }

    /// If no connection was opened, the warning does not suggest fewer clients, because that would
    /// not help.
    #[test]
    fn a_run_without_a_connection_names_the_server() {
        let warning = MeasurementWarning::FewerConnections { wanted: 2, opened: 0 };
        assert!(warning.to_string().ends_with("check the address and the server"));
        let warning = MeasurementWarning::FewerConnections { wanted: 2, opened: 1 };
        assert!(warning.to_string().ends_with("use fewer --clients"));
    }

    #[test]
    fn finds_each_warning_and_names_the_remedy() {
        let micros = Duration::from_micros;
        let used = |millis| ProcessorTime {
            user: Duration::from_millis(millis),
            elapsed: Duration::from_secs(1),
            ..ProcessorTime::default()
        };
        let late = record(micros(100), micros(51));
        let well = record(micros(100), micros(49));
        let good = MeasurementConditions {
            record: &well,
            processor: Some(used(900)),
            workers: 1,
            busy_polls: false,
            ports_used_up: 0,
            connections: (5, 5),
        };
        assert_eq!(find_warnings(&good), []);
        assert_eq!(
            find_warnings(&MeasurementConditions {
                busy_polls: true,
                processor: Some(ProcessorTime { polled: Duration::from_millis(500), ..used(999) }),
                ..good
            }),
            []
        );
        for (conditions, wanted) in [
            (MeasurementConditions { record: &late, ..good }, "--busy-poll"),
            (MeasurementConditions { processor: Some(used(960)), ..good }, "0.96 cores"),
            (
                MeasurementConditions { ports_used_up: 3, ..good },
                "no local port was free (3 times)",
            ),
            (MeasurementConditions { connections: (5, 4), ..good }, "4 of 5 connections"),
        ] {
            let found = find_warnings(&conditions);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].to_string().contains(wanted), "{}", found[0]);
        }
        let polling = MeasurementConditions { record: &late, busy_polls: true, ..good };
        let advice = find_warnings(&polling)[0].to_string();
        assert!(advice.contains("idle cores") && !advice.contains("--busy-poll"), "{advice}");
    }

    #[test]
    fn the_time_of_polling_is_named_and_is_not_work() {
        let used = ProcessorTime {
            user: Duration::from_millis(600),
            system: Duration::from_millis(400),
            elapsed: Duration::from_secs(1),
            polled: Duration::from_millis(750),
            polling_pauses: 0,
        };
        assert_eq!((used.cores(), used.working_cores()), (1.0, 0.25));
        let text = "1.00 cores (user 0.60 s, system 0.40 s), of which 0.75 polled to send on time";
        assert_eq!(used.to_string(), text);
        let paused = ProcessorTime { polling_pauses: 2, ..used }.to_string();
        assert!(
            paused.ends_with("\nPolling paused 2 times, because other programs needed the core.")
        );
        let idle = ProcessorTime { polled: Duration::ZERO, ..used };
        assert_eq!(idle.to_string(), "1.00 cores (user 0.60 s, system 0.40 s)");
    }

    /// Issue 11, item 39: a run of a few milliseconds uses a whole core, which causes no warning.
    #[test]
    fn regression_a_tiny_run_is_not_judged_by_its_processor_time() {
        let millis = Duration::from_millis;
        let record = RunRecord::default();
        let found = |elapsed| {
            let used = ProcessorTime { user: elapsed, elapsed, ..ProcessorTime::default() };
            find_warnings(&MeasurementConditions {
                record: &record,
                processor: Some(used),
                workers: 1,
                busy_polls: false,
                ports_used_up: 0,
                connections: (1, 1),
            })
        };
        assert_eq!(found(millis(3)), []);
        assert_eq!(found(millis(499)), []);
        assert_eq!(found(millis(500)).len(), 1);
    }
}
