//! What every serving command has in common: where to listen, what to bound, how to end.

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use super::admin::{Admin, AdminFlags, Served};
use super::binding::{self, Bound, OnCrowded, Sockets};
use super::bounds::{self, Basis, BoundsFlags, Reach};
use super::check::{self, Findings};
use super::config::ConfigFlags;
use super::datagrams::{DatagramService, DatagramThread};
use super::descriptors::Descriptors;
use super::destination::Destination;
use super::faults::{self, FaultFlags};
use super::life::Heir;
use super::life::flags::LifeFlags;
use super::log::access::{AccessLog, AccessLogFlags};
use super::log::received::{Shown, log_messages};
use super::log::{Log, LogFlags, Newest};
use super::reload::Reload;
use super::resources;
use super::shared_files::SharedFilesFlag;
use super::socket_flags::SocketFlags;
use super::source_limits;
use super::tls::{Outdated, TlsFlags};
use super::values;
use super::web;
use super::wires::WireFlags;
use echoline::listener::Scheme;
use echoline::site::Asset;
use echoline::sources::SourceLimits;
use echoline::tls::Certificates;
use echoline::websocket::Framing;
use echoline::{
    Address, Closed, Connection, Eol, Farewell, Limits, Listener, ListenerOptions, Phase, Report,
    Server, Shutdown,
};
use echoline_base::file_access::if_there;

/// The flags of every command that serves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Serving")]
pub(super) struct ServingFlags {
    /// Write the addresses that were really bound to this file, one a line, once connections are
    /// accepted, then `admin` and each address of --admin; remove it at the end.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "PATH")]
    pub(super) ready_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) bounds: BoundsFlags,

    #[command(flatten)]
    pub(super) sockets: SocketFlags,

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
    pub(super) tls: TlsFlags,

    #[command(flatten)]
    pub(super) admin: AdminFlags,

    #[command(flatten)]
    pub(super) life: LifeFlags,

    #[command(flatten)]
    pub(super) faults: FaultFlags,

    #[command(flatten)]
    pub(super) log: LogFlags,

    #[command(flatten)]
    access: AccessLogFlags,

    /// Log each line that a client sends, at level info: escaped, at most 256 characters of it, and
    /// at most 1,000 lines a second. A chat hides passwords and tokens. In --mode raw, the bytes of
    /// each read; no datagrams.
    #[arg(long, env = "ECHOLINE_LOG_MESSAGES")]
    log_messages: bool,

    #[command(flatten)]
    config: ConfigFlags,
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
    /// The form in which the handler reads and writes the messages of a WebSocket.
    pub(super) framing: Framing,
    /// Whether a certificate that is not valid now is served.
    pub(super) outdated: Outdated,
    /// The limits without flags.
    pub(super) limits: Limits,
    /// The rates of each source without flags.
    pub(super) source_limits: SourceLimits,
    /// Hides the secrets of a received line from the log.
    pub(super) shown: Shown,
    /// What is done with datagrams; `None` where only connections are served.
    pub(super) datagrams: Option<DatagramService>,
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

impl Page {
    /// What to type into a browser. `sockets` are all of the service.
    fn links(&self, sockets: &[Sockets]) -> io::Result<Vec<String>> {
        let mut links = Vec::new();
        for sockets in &sockets[sockets.len() - self.addresses..] {
            links.extend(sockets.addresses()?.iter().map(web::link));
        }
        Ok(links)
    }
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
    pub(super) fn run<H, F>(
        &self,
        bound: Bound,
        reload: Reload,
        handler: H,
    ) -> anyhow::Result<ExitCode>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        self.run_and_leave(bound, reload, handler).map(|(code, _)| code)
    }

    /// As `run`; also returns what is left of --drain-timeout for the steps that follow.
    pub(super) fn run_and_leave<H, F>(
        &self,
        bound: Bound,
        reload: Reload,
        handler: H,
    ) -> anyhow::Result<(ExitCode, Duration)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let (report, left) = resources::runtime()?.block_on(self.serve(bound, reload, handler))?;
        let code = if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        Ok((code, left))
    }

    async fn serve<H, F>(
        &self,
        bound: Bound,
        mut reload: Reload,
        handler: H,
    ) -> anyhow::Result<(Report, Duration)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let Bound { service, basis, limits, sockets, certificates, admin, faults, .. } = bound;
        let (mut life, figures, sources) = (bound.life, bound.figures, bound.sources);
        let sockets = self.dress(&service, sockets, certificates.as_ref())?;
        let mut addresses = Vec::new();
        for sockets in &sockets {
            addresses.extend(sockets.addresses()?);
        }
        let links = service.page.as_ref().map_or(Ok(Vec::new()), |page| page.links(&sockets))?;
        let (listeners, datagrams) = Sockets::split(sockets);
        let mut server = self
            .server(listeners)
            .limits(limits.clone())
            .eol(service.eol)
            .farewell(service.farewell)
            .sources(Arc::clone(&sources));
        if let Some(faults) = &faults {
            server = server.faults(faults.clone());
            faults::announce(faults, &service.listen);
            reload.add(self.faults.renewal(faults));
        }
        if let Some(OnCrowded(hook)) = bound.on_nearly_full {
            server = server.on_nearly_full(hook);
        }
        let (mut server, access_log) = self.log_clients(server, service.shown, &mut reload)?;
        let admin_at = admin.as_ref().map_or(Ok(Vec::new()), Admin::addresses)?;
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        life.status = format!("serving {} on {}", service.what, shown.join(" "));
        let datagrams = DatagramThread::start(datagrams, service.datagrams, faults.clone())?;
        let answering = admin.map(|admin| {
            admin
                .start(Served {
                    observer: server.observe(),
                    shutdown: server.shutdown(),
                    mode: service.what,
                    addresses: shown,
                    datagrams: datagrams.as_ref().map(DatagramThread::counts),
                    faults: faults.as_ref().map(faults::control),
                    certificates: certificates.clone(),
                    sources: Arc::clone(&sources),
                    figures,
                })
                .context("cannot start the thread of --admin")
        });
        let answering = answering.transpose()?;
        if let Some(certificates) = &certificates {
            let renewal = self.tls.follow(certificates);
            reload.add(renewal.context("cannot start the thread that looks after --cert")?);
        }
        reload.add(bounds::renewal(basis.clone(), server.live_limits()));
        reload.add(source_limits::renewal(service.source_limits.clone(), Arc::clone(&sources)));
        // A ready file that cannot be written ends the server: whoever waits for it would wait for
        // ever.
        let announce = || {
            links.iter().for_each(|link| tracing::info!("browsers come to {link}"));
            self.announce(service.what, &addresses, &admin_at, &limits, &basis.descriptors)
        };
        let datagrams = DatagramThread::end_with(server.shutdown(), datagrams);
        let (shutdown, live) = (server.shutdown(), server.live_limits());
        let serving = life.serve(server, reload, announce, handler);
        let ended = async { tokio::try_join!(serving, datagrams) };
        let (ended, drained) = with_drain(&shutdown, ended).await;
        let ((report, heir), ()) = ended?;
        if let (Some(answering), Heir::Successor) = (answering, heir) {
            answering.leave();
        }
        self.remove_ready_file(heir)?;
        faults.as_ref().inspect(|faults| faults::log_counts(faults));
        // All that it has queued is written before the last word of the log.
        drop(access_log);
        log_report(&report);
        Ok((report, live.current().drain_timeout.saturating_sub(drained)))
    }

    /// A server with the threads that the flags ask for.
    fn server(&self, listeners: Vec<Listener>) -> Server {
        let server = Server::new(listeners).workers(self.workers());
        match self.busy_poll {
            Some(length) => server.busy_poll(length),
            None => server,
        }
    }

    /// Removes the ready file, unless the service goes on in another process.
    fn remove_ready_file(&self, heir: Heir) -> anyhow::Result<()> {
        match (&self.ready_file, heir) {
            (Some(path), Heir::Nobody) => remove(path),
            _ => Ok(()),
        }
    }

    /// Has `server` log its connections and their lines, if the flags ask for it.
    fn log_clients(
        &self,
        mut server: Server,
        shown: Shown,
        reload: &mut Reload,
    ) -> anyhow::Result<(Server, Option<AccessLog>)> {
        let access_log = self.access.start(reload)?;
        if let Some(access_log) = &access_log {
            let addresses = server.addresses()?.iter().map(ToString::to_string).collect();
            server = access_log.follow(server, addresses);
        }
        if self.log_messages {
            server = log_messages(server, shown);
        }
        Ok((server, access_log))
    }

    /// All sockets, listeners with the steps that their addresses ask for.
    fn dress(
        &self,
        service: &Service,
        sockets: Vec<Sockets>,
        certificates: Option<&Certificates>,
    ) -> io::Result<Vec<Sockets>> {
        let pages = service.page.as_ref().map_or(0, |page| page.addresses);
        let without_page = sockets.len() - pages;
        let dress = |(place, (address, sockets)): (usize, (&Address, Sockets))| {
            let Sockets::Streams(listeners) = sockets else { return Ok(sockets) };
            let page = service.page.as_ref().filter(|_| place >= without_page);
            let dress = |listener: Listener| {
                let framing = service.framing;
                let wires = &self.wires;
                let mut transport = wires.transport(address, &listener, framing, certificates)?;
                if let Some(page) = page {
                    transport = transport.then(wires.site(address, &listener, page.assets)?);
                }
                Ok(listener.transport(transport).resource(address.resource()))
            };
            Ok(Sockets::Streams(listeners.into_iter().map(dress).collect::<io::Result<_>>()?))
        };
        service.listen.iter().chain(&service.also).zip(sockets).enumerate().map(dress).collect()
    }

    fn announce(
        &self,
        what: &str,
        addresses: &[Address],
        admin_at: &[Address],
        limits: &Limits,
        descriptors: &Descriptors,
    ) -> anyhow::Result<()> {
        for address in addresses {
            tracing::info!("listening on {address}");
        }
        for address in admin_at {
            match address.unix_path() {
                Some(_) => tracing::info!("admin on {address}"),
                None => tracing::info!("admin on http://{address}/"),
            }
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
        let usual = binding::usual_address();
        let listen = if service.listen.is_empty() { &[usual][..] } else { &service.listen };
        for address in listen.iter().chain(&service.also) {
            if address.scheme() == Scheme::Udp && service.datagrams.is_none() {
                findings.wrong(binding::needs_connections(service, address));
                continue;
            }
            if let Err(error) = self.probe_folder(address) {
                findings.wrong(format!("cannot listen on {address}: {error}"));
                continue;
            }
            self.wires.check(address, self.sockets.unix_mode(), findings);
            check::listening("listens on", address, findings)?;
        }
        let addresses = listen.iter().chain(&service.also);
        self.tls.check(addresses, service.outdated, findings);
        self.admin.check(self.shared_files(), findings)?;
        self.bounds.check(&self.basis(service, Descriptors::raise()), findings);
        self.faults.check(listen, findings);
        self.log.check(findings);
        self.access.check(findings);
        if let Some(path) = &self.ready_file {
            check::writable("--ready-file", path, findings);
        }
        Ok(())
    }

    /// Checks the folder of a Unix socket that root would make without the rights of --user.
    fn probe_folder(&self, address: &Address) -> io::Result<()> {
        let path = address.unix_path().filter(|path| !path.starts_with('@'));
        match path.filter(|_| self.life.user.is_none()) {
            Some(path) => Listener::probe_folder(Path::new(path)),
            None => Ok(()),
        }
    }

    /// The treatment of files that other users can read or write.
    pub(super) fn shared_files(&self) -> &SharedFilesFlag {
        &self.tls.shared_files
    }

    /// Checks that other users cannot read the configuration file if it contains `secret`.
    pub(super) fn check_config(&self, secret: &str) -> anyhow::Result<()> {
        let Some(path) = &self.config.config else { return Ok(()) };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.contains(secret) {
            self.shared_files().check_secret("--config", path)
        } else {
            Ok(())
        }
    }

    /// The facts that are known before the addresses are bound.
    pub(super) fn basis(&self, service: &Service, descriptors: Descriptors) -> Basis {
        Basis {
            defaults: service.limits.clone(),
            listeners: service.listen.len() + service.also.len(),
            reach: Reach::Network,
            workers: self.workers(),
            descriptors,
        }
    }

    fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(cores)
    }

    /// Threads of the server, each of which needs memory of its own.
    pub(super) fn threads(&self) -> usize {
        self.workers().get().saturating_add(usize::from(self.admin.is_asked_for()))
    }

    pub(super) fn listener_options(&self, limits: &Limits) -> ListenerOptions {
        self.sockets.apply(ListenerOptions {
            backlog: self.bounds.backlog(),
            unacknowledged_timeout: bounds::unacknowledged_timeout(limits),
            ..ListenerOptions::default()
        })
    }
}

/// Waits for the end of the server; also returns how long it drained.
async fn with_drain<T>(shutdown: &Shutdown, ended: impl Future<Output = T>) -> (T, Duration) {
    tokio::pin!(ended);
    tokio::select! {
        biased;
        ended = &mut ended => (ended, Duration::ZERO),
        () = shutdown.reached(Phase::Draining) => {
            let from = Instant::now();
            (ended.await, from.elapsed())
        }
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

pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if_there(std::fs::remove_file(path)).map(drop);
    removed.with_context(|| format!("cannot remove --ready-file {}", path.display()))
}

/// A program that waits for the file must never see half of it.
fn write_ready(path: &Path, addresses: &[Address], admin_at: &[Address]) -> anyhow::Result<()> {
    let served = addresses.iter().map(|address| format!("{address}\n"));
    let admin = admin_at.iter().map(|address| format!("admin {address}\n"));
    let lines: String = served.chain(admin).collect();
    Destination::File(path.to_owned())
        .write(&lines)
        .with_context(|| format!("cannot write --ready-file {}", path.display()))
}
