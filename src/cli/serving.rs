//! What every serving command has in common: where to listen, what to bound, how to end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::admin::{Admin, AdminFlags, Served};
use super::binding::Bound;
use super::descriptors::Descriptors;
use super::destination::Destination;
use super::life::Heir;
use super::life::flags::LifeFlags;
use super::log::{self, Newest};
use super::values::{self, Timeout};
use super::wires::WireFlags;
use crate::net::{
    Address, Asset, Closed, Connection, Eol, Farewell, Framing, Limits, Listener, ListenerOptions,
    Report, Scheme, Server,
};

/// The flags of every command that serves.
#[derive(Debug, Args)]
pub(super) struct ServingFlags {
    /// Write the addresses that were really bound to this file, one a line, once connections are
    /// accepted, then `admin` and the address of --admin; remove it at the end.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,

    #[command(flatten)]
    bounds: Bounds,

    /// Threads that serve connections. [default: one per core]
    #[arg(long, env = "ECHOLINE_WORKERS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    workers: Option<NonZeroUsize>,

    /// Look for work this long after each message before sleeping, for example 50us: less
    /// latency for few connections, at the price of the core.
    #[arg(long, env = "ECHOLINE_BUSY_POLL", value_name = "DURATION")]
    #[arg(value_parser = values::duration)]
    busy_poll: Option<Duration>,

    #[command(flatten)]
    wires: WireFlags,

    #[command(flatten)]
    pub(super) admin: AdminFlags,

    #[command(flatten)]
    pub(super) life: LifeFlags,

    #[command(flatten)]
    log: log::LogFlags,
}

/// The flags that bound what a client can take.
#[derive(Debug, Args)]
struct Bounds {
    /// Connections at once; one more hears `Server is busy. Try again later.` [default: 10000, or
    /// what the descriptor limit leaves room for]
    #[arg(long, env = "ECHOLINE_MAX_CONNECTIONS", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_connections: Option<NonZeroUsize>,

    /// Connections at once from one address (IPv6: one /64 network). [default: a quarter of
    /// --max-connections; no limit where only loopback addresses are listened on]
    #[arg(long, env = "ECHOLINE_MAX_PER_IP", value_name = "N")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_per_ip: Option<NonZeroUsize>,

    /// The longest line, its end not counted. [default: 64KiB; in a chat 4KiB]
    #[arg(long, env = "ECHOLINE_MAX_LINE", value_name = "BYTES", value_parser = values::bytes)]
    max_line: Option<usize>,

    /// How long to wait for the next line.
    #[arg(long, env = "ECHOLINE_IDLE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "off")]
    idle_timeout: Timeout,

    /// How long one line may take from its first byte to its end.
    #[arg(long, env = "ECHOLINE_LINE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "30s")]
    line_timeout: Timeout,

    /// How long a client may leave unread what was sent to it. [default: 30s; in a chat 10s]
    #[arg(long, env = "ECHOLINE_STALL_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout)]
    stall_timeout: Option<Timeout>,

    /// How long connections may take to finish after SIGTERM or Ctrl-C; the rest is broken off.
    #[arg(long, env = "ECHOLINE_DRAIN_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::duration, default_value = "30s")]
    drain_timeout: Duration,

    /// Connections that the system queues until they are accepted.
    #[arg(long, env = "ECHOLINE_BACKLOG", value_name = "N", default_value = "1024")]
    backlog: u32,
}

/// What a command serves.
#[derive(Debug)]
pub(super) struct Service {
    /// All of them are bound before the first is served. Where there are none, what a service
    /// manager has passed is served, or else 127.0.0.1:8080.
    pub(super) listen: Vec<Address>,
    /// Addresses that are never left to the service manager.
    pub(super) also: Vec<Address>,
    /// Where browsers get a page instead.
    pub(super) page: Option<Page>,
    /// Said in the log.
    pub(super) what: &'static str,
    pub(super) eol: Eol,
    pub(super) farewell: Farewell,
    /// How messages of a WebSocket are what the handler reads and writes.
    pub(super) framing: Framing,
    /// What holds where the flags say nothing.
    pub(super) limits: Limits,
    /// Whether another process can take the service over while this one still has connections;
    /// if not, why.
    pub(super) upgrade: Result<(), &'static str>,
}

/// A page, at the last addresses of a service.
#[derive(Debug)]
pub(super) struct Page {
    /// How many.
    pub(super) addresses: usize,
    pub(super) assets: &'static [Asset],
}

impl ServingFlags {
    /// Starts the log; the guard writes the rest of it when it is dropped.
    pub(super) fn start_log(&self) -> impl Drop + use<> {
        let newest = if self.admin.is_asked_for() { Newest::Kept } else { Newest::Forgotten };
        log::start(&self.log, newest)
    }

    /// Serves until it is told to end. Exit code 0 when every client got its answers, else 1.
    pub(super) fn run<H, F>(&self, bound: Bound, handler: H) -> anyhow::Result<ExitCode>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let report = runtime()?.block_on(self.serve(bound, handler))?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn serve<H, F>(&self, bound: Bound, handler: H) -> anyhow::Result<Report>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let Bound { service, descriptors, limits, listeners, admin, mut life } = bound;
        let mut server = Server::new(self.dress(&service, listeners))
            .limits(limits.clone())
            .eol(service.eol)
            .farewell(service.farewell)
            .workers(self.workers());
        if let Some(length) = self.busy_poll {
            server = server.busy_poll(length);
        }
        let addresses = server.addresses()?;
        let admin_at = admin.as_ref().map_or(Ok(Vec::new()), Admin::addresses)?;
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        life.status = format!("serving {} on {}", service.what, shown.join(" "));
        if let Some(admin) = admin {
            admin
                .start(Served {
                    observer: server.observe(),
                    shutdown: server.shutdown(),
                    mode: service.what,
                    addresses: shown,
                    faults: None,
                })
                .context("cannot start the thread of --admin")?;
        }
        // A ready file that cannot be written ends the server: whoever waits for it would wait for
        // ever.
        let announce = || self.announce(service.what, &addresses, &admin_at, &limits, &descriptors);
        let (report, heir) = life.serve(server, announce, handler).await?;
        if let (Some(path), Heir::Nobody) = (&self.ready_file, heir) {
            remove(path)?;
        }
        log_report(&report);
        Ok(report)
    }

    /// All listeners, each with the steps that its address asks for.
    fn dress(&self, service: &Service, listeners: Vec<Vec<Listener>>) -> Vec<Listener> {
        let mut dressed = Vec::new();
        let pages = service.page.as_ref().map_or(0, |page| page.addresses);
        let without_page = listeners.len() - pages;
        let addresses = service.listen.iter().chain(&service.also);
        for (place, (address, listeners)) in addresses.zip(listeners).enumerate() {
            let mut transport = self.wires.transport(address, service.framing);
            if let Some(page) = service.page.as_ref().filter(|_| place >= without_page) {
                transport = transport.then(self.wires.site(address, page.assets));
            }
            let dress = |listener: Listener| {
                listener.transport(transport.clone()).resource(address.resource())
            };
            dressed.extend(listeners.into_iter().map(dress));
        }
        dressed
    }

    fn announce(
        &self,
        what: &str,
        addresses: &[Address],
        admin_at: &[SocketAddr],
        limits: &Limits,
        descriptors: &Descriptors,
    ) -> anyhow::Result<()> {
        for address in addresses {
            tracing::info!("listening on {address}");
        }
        for address in admin_at {
            tracing::info!("admin on http://{address}/");
        }
        tracing::info!(
            max_connections = limits.max_connections,
            descriptors = descriptors.limit,
            workers = self.workers(),
            mode = what,
            "ready"
        );
        if let Some(asked) = self.bounds.max_connections
            && asked.get() > limits.max_connections
        {
            tracing::warn!(
                "--max-connections {asked} does not fit the limit of {} descriptors: {} it is",
                descriptors.limit,
                limits.max_connections
            );
        }
        self.ready_file.as_deref().map_or(Ok(()), |path| write_ready(path, addresses, admin_at))
    }

    pub(super) fn limits(&self, service: &Service, descriptors: &Descriptors) -> Limits {
        let bounds = &self.bounds;
        let asked = bounds.max_connections.map(NonZeroUsize::get);
        let places = descriptors.places(asked, service.listen.len(), self.workers().get());
        let public = service.listen.iter().any(|address| !is_loopback(address));
        let quarter = public.then_some((places.connections / 4).max(1));
        Limits {
            max_connections: places.connections,
            max_lingering: places.lingering,
            max_per_ip: bounds.max_per_ip.map(NonZeroUsize::get).or(quarter),
            max_line: bounds.max_line.unwrap_or(service.limits.max_line),
            idle_timeout: bounds.idle_timeout.0,
            line_timeout: bounds.line_timeout.0,
            stall_timeout: bounds
                .stall_timeout
                .map_or(service.limits.stall_timeout, |timeout| timeout.0),
            drain_timeout: bounds.drain_timeout,
            ..service.limits.clone()
        }
    }

    fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }

    pub(super) fn listener_options(&self, limits: &Limits) -> ListenerOptions {
        let default = ListenerOptions::default();
        ListenerOptions {
            backlog: self.bounds.backlog,
            // A peer that takes nothing is given up by --stall-timeout, not before it.
            unacknowledged_timeout: limits
                .stall_timeout
                .map(|stall| default.unacknowledged_timeout.unwrap_or(stall).max(stall)),
            ..default
        }
    }
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start the runtime")
}

fn log_report(report: &Report) {
    let ends: Vec<String> =
        report.ends.iter().map(|(closed, count)| format!("{}={count}", closed.label())).collect();
    tracing::info!(
        connections = report.accepted,
        still_open = report.still_open,
        "ended; {}",
        if ends.is_empty() { "nobody came".to_owned() } else { ends.join(" ") }
    );
}

pub(super) fn is_loopback(address: &Address) -> bool {
    let host = address.host();
    address.scheme() == Scheme::Unix
        || host == "localhost"
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove --ready-file {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whoever waits for the file must never see half of it.
fn write_ready(path: &Path, addresses: &[Address], admin_at: &[SocketAddr]) -> anyhow::Result<()> {
    let served = addresses.iter().map(|address| format!("{address}\n"));
    let admin = admin_at.iter().map(|address| format!("admin {address}\n"));
    let lines: String = served.chain(admin).collect();
    Destination::File(path.to_owned())
        .write(&lines)
        .with_context(|| format!("cannot write --ready-file {}", path.display()))
}
