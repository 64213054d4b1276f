//! The metrics of a server. Pure. `docs/admin.md` explains each of them.
//!
//! No label contains a value that a client can choose. The number of samples is therefore
//! independent of the number of clients, and the metrics do not reveal who the clients are.

use std::time::Duration;

use super::exposition::Exposition;
use super::observed_server::{ExtraMetric, ExtraMetricKind};
use super::process::ProcessState;
use echoline::metrics::Snapshot;
use echoline::sources::{SourceAction, Sources};
use echoline::udp::{DatagramRefusal, DatagramSnapshot};
use echoline::{Closed, Limits, Phase};

/// The data behind the metrics.
#[derive(Debug)]
pub(super) struct MetricsInput<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) process: &'a ProcessState,
    /// The time at which the process began to serve, in seconds since 1970.
    pub(super) started: f64,
    /// The service's name: a mode of the echo server, or `chat`.
    pub(super) mode: &'a str,
    /// The datagram counters; `None` if the server takes no datagrams.
    pub(super) datagrams: Option<&'a DatagramSnapshot>,
    /// Every kind of planned fault and how often it was injected; `None` if the server cannot have
    /// planned faults.
    pub(super) faults: Option<&'a [(&'static str, u64)]>,
    /// The time until which the certificate is valid, in seconds since 1970; `None` without TLS.
    pub(super) certificate_expires: Option<f64>,
    pub(super) sources: SourceFigures,
    /// Requests to the admin address with a wrong secret.
    pub(super) refused_secrets: u64,
    /// Additional metrics of the command.
    pub(super) others: &'a [ExtraMetric],
}

/// Counts about the rate limits of sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceFigures {
    /// Refusals of each action, in the order of [`SourceAction::ALL`].
    pub(super) refused: [u64; SourceAction::ALL.len()],
    /// The number of sources in the table.
    pub(super) known: usize,
    /// The number of sources with a penalty.
    pub(super) penalised: usize,
}

impl SourceFigures {
    pub(super) fn of(sources: &Sources) -> Self {
        let (known, penalised) = sources.counts();
        let refused = SourceAction::ALL.map(|action| sources.refused(action));
        Self { refused, known, penalised }
    }
}

/// Returns the metrics as text.
pub(super) fn text(figures: &MetricsInput<'_>) -> String {
    let mut to = Exposition::default();
    connections(&mut to, figures.snapshot);
    traffic(&mut to, figures.snapshot);
    workers(&mut to, figures.snapshot);
    limits(&mut to, &figures.snapshot.limits);
    sources(&mut to, &figures.sources);
    if let Some(figures) = figures.datagrams {
        datagrams(&mut to, figures);
    }
    if let Some(faults) = figures.faults {
        let help = "Planned faults that took place.";
        to.counters("echoline_faults_total", help, "kind", faults.iter().copied());
    }
    if let Some(expires) = figures.certificate_expires {
        let help = "End of the validity of the certificate, in seconds since 1970.";
        to.gauge("echoline_certificate_expiry_timestamp_seconds", help, expires);
    }
    let help = "Requests to the admin address with a wrong secret.";
    to.counter("echoline_admin_wrong_secrets_total", help, figures.refused_secrets);
    for ExtraMetric { name, help, kind, value } in figures.others {
        match kind {
            ExtraMetricKind::Counter => to.counter(name, help, *value),
            ExtraMetricKind::Gauge => to.gauge(name, help, *value),
        }
    }
    process(&mut to, figures);
    to.into_text()
}

fn connections(to: &mut Exposition, snapshot: &Snapshot) {
    to.gauge("echoline_connections_open", "Open connections.", snapshot.open);
    let help = "Accepted connections, including refused ones.";
    to.counter("echoline_connections_accepted_total", help, snapshot.accepted);
    let help = "Ended connections by reason; busy, busy_address and source_rate were refused.";
    let ended = Closed::LABELS.iter().map(|label| (label, snapshot.ended(label)));
    to.counters("echoline_closed_total", help, "reason", ended);
    let help = "1 while connections are accepted; 0 before that and while the server ends.";
    let is_ready = snapshot.phase == Some(Phase::Running);
    to.gauge("echoline_ready", help, u32::from(is_ready));
}

fn traffic(to: &mut Exposition, snapshot: &Snapshot) {
    let traffic = snapshot.traffic();
    let help = "Bytes of all connections: in was read, out was passed to the system.";
    directions(to, "echoline_bytes_total", help, traffic.received, traffic.sent);
    let help = "Lines from clients; in raw mode, reads.";
    to.counter("echoline_messages_total", help, traffic.messages);
    let times = &traffic.service;
    let help = "Time from a wake-up for input to the last written reply; under load one of sixteen \
                is measured.";
    let name = "echoline_service_seconds";
    to.times(name, help, times.cumulative(), times.count(), times.sum());
}

/// Adds a counter with one sample for each direction.
fn directions(to: &mut Exposition, name: &str, help: &str, inward: u64, outward: u64) {
    to.counters(name, help, "direction", [("in", inward), ("out", outward)]);
}

fn sources(to: &mut Exposition, figures: &SourceFigures) {
    let help = "Actions that were refused because their source exceeded a rate.";
    let refused = SourceAction::ALL.map(SourceAction::label).into_iter().zip(figures.refused);
    to.counters("echoline_source_refusals_total", help, "action", refused);
    let help = "Sources (addresses, IPv6 networks, local users) in the table of rates.";
    to.gauge("echoline_sources", help, figures.known);
    let help = "Sources with a penalty.";
    to.gauge("echoline_sources_penalised", help, figures.penalised);
}

fn datagrams(to: &mut Exposition, figures: &DatagramSnapshot) {
    let help = "Received datagrams and sent replies.";
    directions(to, "echoline_datagrams_total", help, figures.received, figures.answered);
    let help = "Bytes of received datagrams and sent replies.";
    let (inward, outward) = (figures.received_bytes, figures.answered_bytes);
    directions(to, "echoline_datagram_bytes_total", help, inward, outward);
    let help = "Datagrams without a reply by reason; overflow: the system dropped them unread.";
    let refused = DatagramRefusal::ALL.map(DatagramRefusal::label).into_iter().zip(figures.refused);
    let others = [("not_sent", figures.not_sent), ("overflow", figures.overflowed)];
    to.counters("echoline_datagrams_dropped_total", help, "reason", refused.chain(others));
}

fn workers(to: &mut Exposition, snapshot: &Snapshot) {
    let workers = || snapshot.workers.iter().enumerate();
    let help = "Open connections of each worker thread.";
    let open = workers().map(|(n, worker)| (vec![("worker", n.to_string())], worker.connections));
    to.gauges("echoline_worker_connections", help, open);
    let help = "Working time of each worker thread, without waits.";
    let busy = workers().map(|(n, worker)| (n, worker.busy.as_secs_f64()));
    to.counters("echoline_worker_busy_seconds_total", help, "worker", busy);
}

fn limits(to: &mut Exposition, limits: &Limits) {
    to.gauge("echoline_limit_connections", "Connections at once.", limits.max_connections as u64);
    let name = "echoline_limit_connections_per_address";
    let help = "Limit of open connections from one address.";
    match limits.max_per_ip {
        Some(most) => to.gauge(name, help, most as u64),
        None => to.gauge(name, help, f64::INFINITY),
    }
    to.gauge("echoline_limit_line_bytes", "The longest line.", limits.max_line as u64);
    let mut seconds = |name, help, time: Option<Duration>| {
        // A missing limit is shown as infinite.
        to.gauge(name, help, time.map_or(f64::INFINITY, |time| time.as_secs_f64()));
    };
    let help = "Time-out for the next line.";
    seconds("echoline_limit_idle_seconds", help, limits.idle_timeout);
    let help = "Time-out for one line.";
    seconds("echoline_limit_line_seconds", help, limits.line_timeout);
    let help = "Time-out for a client that does not read.";
    seconds("echoline_limit_stall_seconds", help, limits.stall_timeout);
    let help = "Time for connections to finish when the server ends.";
    seconds("echoline_limit_drain_seconds", help, Some(limits.drain_timeout));
}

fn process(to: &mut Exposition, figures: &MetricsInput<'_>) {
    let help = "Always 1; the labels describe the program.";
    let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
    let labels = vec![version, ("mode", figures.mode.to_owned())];
    to.gauges("echoline_build_info", help, [(labels, 1u32)]);
    let help = "Start time of the server, in seconds since 1970.";
    to.gauge("process_start_time_seconds", help, figures.started);
    let process = figures.process;
    // Values that the system does not provide are omitted, because 0 would be wrong.
    if let Some(time) = process.processor_time {
        let help = "Processor time used, in user and system mode together.";
        to.counter("process_cpu_seconds_total", help, time.as_secs_f64());
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", process.resident_bytes),
        ("process_threads", "Threads.", process.threads),
        ("process_open_fds", "Open descriptors.", process.descriptors),
        ("process_max_fds", "Limit of open descriptors.", process.descriptors_max),
    ] {
        if let Some(value) = value {
            to.gauge(name, help, value);
        }
    }
}
