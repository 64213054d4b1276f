//! The metrics of a server. Pure. What each of them means stands in `docs/admin.md` too.
//!
//! No label holds anything that a client can choose, so the number of samples is the same however
//! many clients come, and whoever reads the metrics learns nothing of who they are.

use super::exposition::{Exposition, Kind, Seconds};
use super::figure::Figure;
use super::process::ProcessState;
use echoline::{
    Closed, DatagramRefusal, Datagrams, Limits, Phase, Snapshot, SourceAction, Sources,
};

/// All that is told in metrics.
#[derive(Debug)]
pub(super) struct Figures<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) process: &'a ProcessState,
    /// When the process began to serve, in seconds since 1970.
    pub(super) started: f64,
    /// What is served: a mode of the echo, or `chat`.
    pub(super) mode: &'a str,
    /// What became of datagrams; `None` where the server takes none.
    pub(super) datagrams: Option<&'a Datagrams>,
    /// Every kind of planned fault, and how often it has happened; `None` where the server cannot
    /// have any.
    pub(super) faults: Option<&'a [(&'static str, u64)]>,
    /// Until when the certificate is valid, in seconds since 1970; `None` if there is none.
    pub(super) certificate_expires: Option<f64>,
    pub(super) sources: SourceFigures,
    /// Requests to the admin address with a wrong secret.
    pub(super) refused_secrets: u64,
    /// What a command tells of itself.
    pub(super) others: &'a [Figure],
}

/// The rates of each source in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceFigures {
    /// Refusals of each action, in the order of [`SourceAction::ALL`].
    pub(super) refused: [u64; SourceAction::ALL.len()],
    /// Sources that the table holds.
    pub(super) known: usize,
    /// Sources that have a penalty now.
    pub(super) penalised: usize,
}

impl SourceFigures {
    pub(super) fn of(sources: &Sources) -> Self {
        let (known, penalised) = sources.counts();
        let refused = SourceAction::ALL.map(|action| sources.refused(action));
        Self { refused, known, penalised }
    }
}

/// The metrics as text.
pub(super) fn text(figures: &Figures<'_>) -> String {
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
        let mut family =
            to.family("echoline_faults_total", Kind::Counter, "Planned faults that happened.");
        faults.iter().for_each(|(kind, count)| family.of("kind", kind, count));
    }
    if let Some(expires) = figures.certificate_expires {
        let help = "Until when the certificate is valid, in seconds since 1970.";
        to.family("echoline_certificate_expiry_timestamp_seconds", Kind::Gauge, help).is(expires);
    }
    let help = "Requests to the admin address with a wrong secret.";
    to.family("echoline_admin_wrong_secrets_total", Kind::Counter, help)
        .is(figures.refused_secrets);
    for Figure { name, help, kind, value } in figures.others {
        to.family(name, *kind, help).is(*value);
    }
    process(&mut to, figures);
    to.into_text()
}

fn connections(to: &mut Exposition, snapshot: &Snapshot) {
    to.family("echoline_connections_open", Kind::Gauge, "Connections that are open.")
        .is(snapshot.open);
    to.family(
        "echoline_connections_accepted_total",
        Kind::Counter,
        "Connections that the system gave us, refused ones too.",
    )
    .is(snapshot.accepted);
    let help = "Connections that ended, and why; busy, busy_address and source_rate were refused.";
    let mut family = to.family("echoline_closed_total", Kind::Counter, help);
    for label in Closed::LABELS {
        family.of("reason", label, snapshot.ended(label));
    }
    let help = "1 while connections are accepted; 0 before that and while the server ends.";
    let is_ready = snapshot.phase == Some(Phase::Running);
    to.family("echoline_ready", Kind::Gauge, help).is(u8::from(is_ready));
}

fn traffic(to: &mut Exposition, snapshot: &Snapshot) {
    let traffic = snapshot.traffic();
    let help = "Bytes of all connections: in was read, out was taken by the system to be sent.";
    let mut family = to.family("echoline_bytes_total", Kind::Counter, help);
    family.directions(traffic.received, traffic.sent);
    to.family(
        "echoline_messages_total",
        Kind::Counter,
        "Lines that clients sent; in raw mode, reads.",
    )
    .is(traffic.messages);
    let times = &traffic.service;
    to.family(
        "echoline_service_seconds",
        Kind::Histogram,
        "From waking up for input to all answers written; of many turns one of sixteen is timed.",
    )
    .times(times.cumulative(), times.count(), times.sum());
}

fn sources(to: &mut Exposition, figures: &SourceFigures) {
    let help = "Actions that were refused because their source went over a rate.";
    let mut family = to.family("echoline_source_refusals_total", Kind::Counter, help);
    for (action, count) in SourceAction::ALL.into_iter().zip(figures.refused) {
        family.of("action", action.label(), count);
    }
    let help = "Sources (addresses, IPv6 networks, local users) in the table of rates.";
    to.family("echoline_sources", Kind::Gauge, help).is(figures.known);
    let help = "Sources that have a penalty now.";
    to.family("echoline_sources_penalised", Kind::Gauge, help).is(figures.penalised);
}

fn datagrams(to: &mut Exposition, figures: &Datagrams) {
    let help = "Datagrams that came in, and answers that went out.";
    let mut family = to.family("echoline_datagrams_total", Kind::Counter, help);
    family.directions(figures.received, figures.answered);
    let help = "The bytes of these.";
    let mut family = to.family("echoline_datagram_bytes_total", Kind::Counter, help);
    family.directions(figures.received_bytes, figures.answered_bytes);
    let help = "Datagrams that got no answer, and why; overflow: the system dropped them unread.";
    let mut family = to.family("echoline_datagrams_dropped_total", Kind::Counter, help);
    for (refusal, count) in DatagramRefusal::ALL.into_iter().zip(figures.refused) {
        family.of("reason", refusal.label(), count);
    }
    family.of("reason", "not_sent", figures.not_sent);
    family.of("reason", "overflow", figures.overflowed);
}

fn workers(to: &mut Exposition, snapshot: &Snapshot) {
    let workers = || snapshot.workers.iter().enumerate();
    let mut family = to.family(
        "echoline_worker_connections",
        Kind::Gauge,
        "Connections that are open on each worker thread.",
    );
    workers().for_each(|(n, worker)| family.of("worker", &n.to_string(), worker.connections));
    let mut family = to.family(
        "echoline_worker_busy_seconds_total",
        Kind::Counter,
        "How long each worker thread has worked, waits left out.",
    );
    workers().for_each(|(n, worker)| family.of("worker", &n.to_string(), Seconds(worker.busy)));
}

fn limits(to: &mut Exposition, limits: &Limits) {
    let mut gauge = |name, help, value: Option<f64>| {
        // What has no limit is limited by infinity, which has a spelling of its own.
        let value = value.map_or_else(|| "+Inf".to_owned(), |value| value.to_string());
        to.family(name, Kind::Gauge, help).is(value);
    };
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
    gauge(
        "echoline_limit_connections",
        "Connections at once.",
        Some(limits.max_connections as f64),
    );
    gauge(
        "echoline_limit_connections_per_address",
        "Connections at once from one address.",
        limits.max_per_ip.map(|most| most as f64),
    );
    gauge("echoline_limit_line_bytes", "The longest line.", Some(limits.max_line as f64));
    gauge(
        "echoline_limit_idle_seconds",
        "How long the next line is waited for.",
        seconds(limits.idle_timeout),
    );
    gauge(
        "echoline_limit_line_seconds",
        "How long one line may take.",
        seconds(limits.line_timeout),
    );
    gauge(
        "echoline_limit_stall_seconds",
        "How long a client may take nothing of what is sent.",
        seconds(limits.stall_timeout),
    );
    gauge(
        "echoline_limit_drain_seconds",
        "How long connections may take to finish when the server ends.",
        seconds(Some(limits.drain_timeout)),
    );
}

fn process(to: &mut Exposition, figures: &Figures<'_>) {
    let help = "Always 1; the labels say what runs.";
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("mode", figures.mode)];
    to.family("echoline_build_info", Kind::Gauge, help).labelled(&labels, 1);
    let process = figures.process;
    let mut told = |name, kind, help, value: Option<f64>| {
        // What the system does not tell is left out: 0 would be a lie.
        if let Some(value) = value {
            to.family(name, kind, help).is(value);
        }
    };
    let number = |value: Option<u64>| value.map(|value| value as f64);
    told(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the server was started, in seconds since 1970.",
        Some(figures.started),
    );
    told(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time used, in user and system mode together.",
        process.processor_time.map(|time| time.as_secs_f64()),
    );
    told(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory that is resident.",
        number(process.resident_bytes),
    );
    told("process_threads", Kind::Gauge, "Threads.", number(process.threads));
    told("process_open_fds", Kind::Gauge, "Open descriptors.", number(process.descriptors));
    told(
        "process_max_fds",
        Kind::Gauge,
        "The limit of open descriptors.",
        number(process.descriptors_max),
    );
}
