//! The run of a server: from bound addresses to an exit code.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::admin::{Admin, ObservedServer};
use crate::log::access::AccessLog;
use crate::log::received::{RedactLine, log_messages};
use crate::log::{NewestLines, ServerLog};
use crate::process::descriptors::Descriptors;
use crate::process::reload::{Reload, ReloadHook};
use crate::process::resources;
use crate::process::upgrade::SuccessorStatus;
use crate::server::args::{ServerCommand, ServingArgs};
use crate::server::binding::{BoundServer, OnNearlyFull, ServiceSockets};
use crate::server::bounds;
use crate::server::datagrams::DatagramThread;
use crate::server::faults;
use crate::server::ready_file;
use crate::server::service::{Service, WebPage};
use crate::server::service_address::ServiceAddress;
use crate::server::tls;
use crate::server::web;
use echoline::sources::{SourceLimits, Sources};
use echoline::tls::Certificates;
use echoline::{Address, Closed, Connection, Limits, Listener, Phase, Report, Server, Shutdown};

impl ServingArgs {
    /// Starts the log, and registers it for reloads. Dropping the log ends it.
    pub(crate) fn start_log<A: ServerCommand>(
        &self,
        reload: &mut Reload<A>,
    ) -> anyhow::Result<ServerLog> {
        let newest =
            if self.admin.is_asked_for() { NewestLines::Kept } else { NewestLines::Forgotten };
        let log = ServerLog::start(&self.log, newest)?;
        reload.always(log.reopener());
        reload.add(part(log.reload_hook(), |serving| &serving.log));
        Ok(log)
    }

    /// Serves until a signal ends the server. Returns exit code 0 if every client got its answers,
    /// else 1.
    pub(crate) fn run<A: ServerCommand, H, F>(
        &self,
        bound: BoundServer,
        reload: Reload<A>,
        handler: H,
    ) -> anyhow::Result<ExitCode>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        self.run_and_leave(bound, reload, handler).map(|(code, _)| code)
    }

    /// Works like `run`, but also returns the rest of --drain-timeout, for the steps that follow.
    pub(crate) fn run_and_leave<A: ServerCommand, H, F>(
        &self,
        bound: BoundServer,
        reload: Reload<A>,
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

    async fn serve<A: ServerCommand, H, F>(
        &self,
        bound: BoundServer,
        mut reload: Reload<A>,
        handler: H,
    ) -> anyhow::Result<(Report, Duration)>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), Closed>> + Send + 'static,
    {
        let BoundServer { service, basis, limits, sockets, certificates, admin, faults, .. } =
            bound;
        let (mut life, figures, sources) = (bound.life, bound.figures, bound.sources);
        let sockets = self.dress(&service, sockets, certificates.as_ref())?;
        let addresses = addresses(&sockets)?;
        let links =
            service.page.as_ref().map_or(Ok(Vec::new()), |page| page_links(page, &sockets))?;
        let (listeners, datagrams) = ServiceSockets::split(sockets);
        let mut server = self
            .server(listeners)
            .limits(limits.clone())
            .eol(service.eol)
            .farewell(service.farewell)
            .sources(Arc::clone(&sources));
        if let Some(faults) = &faults {
            server = server.faults(faults.clone());
            faults::announce(faults, service.listen.iter().map(|at| &at.address));
            reload.add(part(self.faults.reload_hook(faults), |serving| &serving.faults));
        }
        if let Some(OnNearlyFull(hook)) = bound.on_nearly_full {
            server = server.on_nearly_full(hook);
        }
        let (mut server, access_log) = self.log_clients(server, service.shown, &mut reload)?;
        let admin_at = admin.as_ref().map_or(Ok(Vec::new()), Admin::addresses)?;
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        life.status = format!("serving {} on {}", service.what, shown.join(" "));
        let datagrams = DatagramThread::start(datagrams, service.datagrams, faults.clone())?;
        let answering = admin.map(|admin| {
            admin
                .start(ObservedServer {
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
            self.follow_certificates(certificates, &mut reload)?;
        }
        let hook = bounds::reload_hook(basis.clone(), server.live_limits());
        reload.add(part(hook, |serving| &serving.bounds));
        reload.add(source_hook(&service.source_limits, &sources));
        // If the ready file cannot be written, the server ends: a script that waits for the file
        // would otherwise wait forever.
        let announce = || {
            links.iter().for_each(|link| tracing::info!("web page at {link}"));
            self.announce(service.what, &addresses, &admin_at, &limits, &basis.descriptors)
        };
        let datagrams = DatagramThread::end_with(server.shutdown(), datagrams);
        let (shutdown, live) = (server.shutdown(), server.live_limits());
        let serving = life.serve(server, move || reload.run(), announce, handler);
        let ended = async { tokio::try_join!(serving, datagrams) };
        let (ended, drained) = with_drain(&shutdown, ended).await;
        let ((report, successor), ()) = ended?;
        if let (Some(answering), SuccessorStatus::TookOver) = (answering, successor) {
            answering.leave();
        }
        self.remove_ready_file(successor)?;
        faults.as_ref().inspect(|faults| faults::log_counts(faults));
        // Dropping the access log writes its queued lines before the last line of the log.
        drop(access_log);
        log_report(&report);
        Ok((report, live.current().drain_timeout.saturating_sub(drained)))
    }

    /// Reloads `certificates` when their files change, and at each reload.
    fn follow_certificates<A: ServerCommand>(
        &self,
        certificates: &Certificates,
        reload: &mut Reload<A>,
    ) -> anyhow::Result<()> {
        let hook = tls::watch::follow(&self.tls, certificates);
        let hook = hook.context("cannot start the thread that watches --cert")?;
        reload.add(part(hook, |serving| &serving.tls));
        Ok(())
    }

    /// Returns a server with the threads that the flags ask for.
    fn server(&self, listeners: Vec<Listener>) -> Server {
        let server = Server::new(listeners).workers(self.workers());
        match self.life.busy_poll {
            Some(length) => server.busy_poll(length),
            None => server,
        }
    }

    /// Removes the ready file, unless another process continues the service.
    fn remove_ready_file(&self, successor: SuccessorStatus) -> anyhow::Result<()> {
        match (&self.ready_file, successor) {
            (Some(path), SuccessorStatus::None) => ready_file::remove(path),
            _ => Ok(()),
        }
    }

    /// Makes `server` log its connections and their lines, if the flags ask for it.
    fn log_clients<A>(
        &self,
        mut server: Server,
        shown: RedactLine,
        reload: &mut Reload<A>,
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

    /// Returns all sockets, and adds to each listener the transport steps of its address.
    fn dress(
        &self,
        service: &Service,
        sockets: Vec<ServiceSockets>,
        certificates: Option<&Certificates>,
    ) -> io::Result<Vec<ServiceSockets>> {
        let pages = service.page.as_ref().map_or(0, |page| page.addresses);
        let without_page = sockets.len() - pages;
        let dress = |(place, (at, sockets)): (usize, (&ServiceAddress, ServiceSockets))| {
            let address = &at.address;
            let ServiceSockets::Streams(listeners) = sockets else { return Ok(sockets) };
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
            Ok(ServiceSockets::Streams(
                listeners.into_iter().map(dress).collect::<io::Result<_>>()?,
            ))
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
        self.ready_file
            .as_deref()
            .map_or(Ok(()), |path| ready_file::write_ready(path, addresses, admin_at))
    }
}

/// Turns the hook of one group of flags, which `part` returns, into a hook of the whole command.
fn part<A: ServerCommand, P: 'static>(
    hook: ReloadHook<P>,
    part: fn(&ServingArgs) -> &P,
) -> ReloadHook<A> {
    hook.within(move |args: &A| part(args.serving()))
}

/// Returns the reload hook of the rates and penalties of sources.
fn source_hook<A: ServerCommand>(defaults: &SourceLimits, sources: &Arc<Sources>) -> ReloadHook<A> {
    let hook = bounds::source_reload_hook(defaults.clone(), Arc::clone(sources));
    part(hook, |serving| &serving.bounds.sources)
}

/// Waits for the end of the server. Also returns how long it drained.
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

/// Returns the bound addresses of all sockets.
fn addresses(sockets: &[ServiceSockets]) -> io::Result<Vec<Address>> {
    let bound = sockets.iter().map(ServiceSockets::addresses).collect::<io::Result<Vec<_>>>()?;
    Ok(bound.into_iter().flatten().collect())
}

/// Returns the links to type into a browser. `sockets` are all sockets of the service.
fn page_links(page: &WebPage, sockets: &[ServiceSockets]) -> io::Result<Vec<String>> {
    let sockets = &sockets[sockets.len() - page.addresses..];
    Ok(addresses(sockets)?.iter().map(web::link).collect())
}

fn log_report(report: &Report) {
    let ends: Vec<String> =
        report.ends.iter().map(|(closed, count)| format!("{}={count}", closed.label())).collect();
    tracing::info!(
        connections = report.accepted,
        still_open = report.still_open,
        "ended; {}",
        if ends.is_empty() { "no connections".to_owned() } else { ends.join(" ") }
    );
}
