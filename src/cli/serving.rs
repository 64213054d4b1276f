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
use super::bounds::{self, Basis, BoundsFlags};
use super::check::{self, Findings};
use super::config::ConfigFlags;
use super::descriptors::Descriptors;
use super::destination::Destination;
use super::holder::holder;
use super::life;
use super::log::{Log, LogFlags, Newest};
use super::reload::Reload;
use super::values;
use crate::net::{
    Address, Closed, Connection, Eol, Farewell, Limits, Listener, ListenerOptions, Report, Server,
};

/// The flags of every command that serves.
#[derive(Debug, Args)]
pub(super) struct ServingFlags {
    /// Write the addresses that were really bound to this file, one a line, once connections are
    /// accepted, then `admin` and the address of --admin; remove it at the end.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) bounds: BoundsFlags,

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
    pub(super) log: LogFlags,

    #[command(flatten)]
    config: ConfigFlags,
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
}

impl ServingFlags {
    /// Starts the log, which ends when it is dropped, and has it take part in reloads.
    pub(super) fn start_log(&self, reload: &mut Reload) -> anyhow::Result<Log> {
        let newest = if self.admin.is_asked_for() { Newest::Kept } else { Newest::Forgotten };
        let log = Log::start(&self.log, newest)?;
        reload.always(log.reopener());
        reload.add(log.renewal());
        Ok(log)
    }

    /// Serves until it is told to end. Exit code 0 when every client got its answers, else 1.
    /// `bound` learns how many listeners each address has become, in the order in which they were
    /// asked for: they are numbered through.
    pub(super) fn run<H, F>(
        &self,
        service: Service,
        reload: Reload,
        bound: impl FnOnce(&[usize]),
        handler: H,
    ) -> anyhow::Result<ExitCode>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let descriptors = Descriptors::raise();
        let basis = self.basis(&service, descriptors);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let serving = self.serve(service, basis, reload, bound, handler);
        let report = runtime.block_on(serving)?;
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn serve<H, F>(
        &self,
        service: Service,
        basis: Basis,
        mut reload: Reload,
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
        let limits = self.bounds.limits(&basis);
        let listeners = self.bind(&service.listen, &limits).await?;
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
        let addresses = server.addresses()?;
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
        reload.add(bounds::renewal(basis.clone(), server.live_limits()));
        let serving = life::serve(server, reload, handler);
        let ready = async {
            // The tasks that accept have been started; they run before this goes on.
            tokio::task::yield_now().await;
            self.announce(service.what, &addresses, &admin_at, &limits, &basis.descriptors)
        };
        let serving = async { serving.await.context("cannot serve") };
        // In this order: by the time the file is there, connections are accepted. A file that
        // cannot be written ends the server: whoever waits for it would wait for ever.
        let (report, ()) = tokio::try_join!(serving, ready)?;
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
        if let Some(sentence) = self.bounds.shortage(limits, *descriptors) {
            tracing::warn!("{sentence}");
        }
        self.ready_file.as_deref().map_or(Ok(()), |path| write_ready(path, addresses, admin_at))
    }

    /// Says whether all of this is right, without listening.
    pub(super) fn check(&self, service: &Service, findings: &mut Findings) -> anyhow::Result<()> {
        for address in &service.listen {
            check::listening("listens on", address, findings)?;
        }
        self.admin.check(findings)?;
        self.bounds.check(&self.basis(service, Descriptors::raise()), findings);
        self.log.check(findings);
        if let Some(path) = &self.ready_file {
            check::writable("--ready-file", path, findings);
        }
        Ok(())
    }

    fn basis(&self, service: &Service, descriptors: Descriptors) -> Basis {
        Basis {
            defaults: service.limits.clone(),
            listen: service.listen.clone(),
            workers: self.workers(),
            descriptors,
        }
    }

    fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }

    /// Binds all addresses or none.
    async fn bind(
        &self,
        addresses: &[Address],
        limits: &Limits,
    ) -> anyhow::Result<Vec<Vec<Listener>>> {
        let options = ListenerOptions {
            backlog: self.bounds.backlog(),
            unacknowledged_timeout: bounds::unacknowledged_timeout(limits),
            ..ListenerOptions::default()
        };
        let mut listeners = Vec::new();
        for address in addresses {
            let bound = Listener::bind(address, &options).await;
            listeners.push(bound.map_err(|error| name_holder(&error, address.port()))?);
        }
        Ok(listeners)
    }
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
fn name_holder(error: &io::Error, port: u16) -> anyhow::Error {
    match holder(port).filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, id)) => anyhow!("{error}. It is '{name}', process {id}"),
        None => anyhow!("{error}"),
    }
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
