//! What every serving command has in common: where to listen, what to bound, how to end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::admin::{Admin, AdminFlags, Served};
use super::datagrams::{DatagramService, DatagramThread};
use super::descriptors::Descriptors;
use super::destination::Destination;
use super::holder::holder;
use super::life;
use super::log::{self, Newest};
use super::values::{self, Timeout};
use crate::net::{
    Address, Closed, Connection, DatagramListener, DatagramServer, Eol, Farewell, Limits, Listener,
    ListenerOptions, Report, Scheme, Server,
};

/// The flags of every command that serves.
#[derive(Debug, Args)]
pub(super) struct ServingFlags {
    /// Write the addresses that were really bound to this file, one a line, once connections are
    /// accepted, then `admin` and the address of --admin; remove it at the end.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,

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
    admin: AdminFlags,

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
    /// All of them are bound before the first is served.
    pub(super) listen: Vec<Address>,
    /// Said in the log.
    pub(super) what: &'static str,
    pub(super) eol: Eol,
    pub(super) farewell: Farewell,
    /// What holds where the flags say nothing.
    pub(super) limits: Limits,
    /// What is done with datagrams; `None` where only connections are served.
    pub(super) datagrams: Option<DatagramService>,
}

impl ServingFlags {
    /// Starts the log; the guard writes the rest of it when it is dropped.
    pub(super) fn start_log(&self) -> impl Drop + use<> {
        let newest = if self.admin.is_asked_for() { Newest::Kept } else { Newest::Forgotten };
        log::start(&self.log, newest)
    }

    /// Serves until it is told to end. Exit code 0 when every client got its answers, else 1.
    /// `bound` learns how many listeners each address has become, in the order in which they were
    /// asked for: they are numbered through.
    pub(super) fn run<H, F>(
        &self,
        service: Service,
        bound: impl FnOnce(&[usize]),
        handler: H,
    ) -> anyhow::Result<ExitCode>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let descriptors = Descriptors::raise();
        let limits = self.limits(&service, &descriptors);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let serving = self.serve(service, limits, &descriptors, bound, handler);
        let report = runtime.block_on(serving)?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn serve<H, F>(
        &self,
        service: Service,
        limits: Limits,
        descriptors: &Descriptors,
        bound: impl FnOnce(&[usize]),
        handler: H,
    ) -> anyhow::Result<Report>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        if let Some(path) = &self.ready_file {
            remove(path)?;
        }
        let Bound { listeners, datagrams, addresses } = self.bind(&service, &limits).await?;
        bound(&listeners.iter().map(Vec::len).collect::<Vec<_>>());
        let admin = self.admin.bind()?;
        let mut server = Server::new(listeners.into_iter().flatten().collect())
            .limits(limits.clone())
            .eol(service.eol)
            .farewell(service.farewell)
            .workers(self.workers());
        if let Some(length) = self.busy_poll {
            server = server.busy_poll(length);
        }
        let admin_at = admin.as_ref().map_or(Ok(Vec::new()), Admin::addresses)?;
        if let Some(admin) = admin {
            admin
                .start(Served {
                    observer: server.observe(),
                    mode: service.what,
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                    faults: None,
                })
                .context("cannot start the thread of --admin")?;
        }
        let datagrams = DatagramServer::new(datagrams)?.shutdown(server.shutdown());
        let datagrams = match service.datagrams {
            Some(wanted) if !datagrams.addresses()?.is_empty() => {
                Some(DatagramThread::start(datagrams, wanted).context("cannot serve udp://")?)
            }
            _ => None,
        };
        let datagrams = async {
            match datagrams {
                Some(thread) => thread.ended().await,
                None => Ok(()),
            }
        };
        let serving = life::serve(server, handler);
        let ready = async {
            // The tasks that accept have been started; they run before this goes on.
            tokio::task::yield_now().await;
            self.announce(service.what, &addresses, &admin_at, &limits, descriptors)
        };
        let serving = async { serving.await.context("cannot serve") };
        // In this order: by the time the file is there, connections are accepted. A file that
        // cannot be written ends the server: whoever waits for it would wait for ever.
        let (report, (), ()) = tokio::try_join!(serving, datagrams, ready)?;
        if let Some(path) = &self.ready_file {
            remove(path)?;
        }
        log_report(&report);
        Ok(report)
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

    fn limits(&self, service: &Service, descriptors: &Descriptors) -> Limits {
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

    /// Binds all addresses or none.
    async fn bind(&self, service: &Service, limits: &Limits) -> anyhow::Result<Bound> {
        let default = ListenerOptions::default();
        let options = ListenerOptions {
            backlog: self.bounds.backlog,
            // A peer that takes nothing is given up by --stall-timeout, not before it.
            unacknowledged_timeout: limits
                .stall_timeout
                .map(|stall| default.unacknowledged_timeout.unwrap_or(stall).max(stall)),
            ..default
        };
        let mut bound = Bound::default();
        for address in &service.listen {
            let named = |error| name_holder(&error, address);
            if address.scheme() == Scheme::Udp && service.datagrams.is_some() {
                let sockets = DatagramListener::bind(address).await.map_err(named)?;
                for socket in &sockets {
                    bound.addresses.push(socket.address()?);
                }
                bound.datagrams.extend(sockets);
                bound.listeners.push(Vec::new());
            } else {
                let listeners = Listener::bind(address, &options).await.map_err(named)?;
                for listener in &listeners {
                    bound.addresses.push(listener.address()?);
                }
                bound.listeners.push(listeners);
            }
        }
        Ok(bound)
    }
}

/// What was bound, in the order in which it was asked for.
#[derive(Debug, Default)]
struct Bound {
    /// For each address that was asked for; none for datagrams.
    listeners: Vec<Vec<Listener>>,
    datagrams: Vec<DatagramListener>,
    /// The real ones, of both.
    addresses: Vec<Address>,
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

/// The sentence of `error`, and who has the port where somebody has it.
fn name_holder(error: &io::Error, address: &Address) -> anyhow::Error {
    match holder(address).filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, id)) => anyhow!("{error}. It is '{name}', process {id}"),
        None => anyhow!("{error}"),
    }
}

fn is_loopback(address: &Address) -> bool {
    let host = address.host();
    address.scheme() == Scheme::Unix
        || host == "localhost"
        || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn remove(path: &Path) -> anyhow::Result<()> {
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
