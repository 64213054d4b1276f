//! The flags that every serving command has.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::admin::AdminArgs;
use crate::config::ConfigArgs;
use crate::files::shared_files::SharedFilesArgs;
use crate::log::LogArgs;
use crate::log::access::AccessLogArgs;
use crate::process::args::ProcessArgs;
use crate::process::descriptors::Descriptors;
use crate::server::bounds::{self, BoundsArgs, LimitInputs, NetworkReach};
use crate::server::check_report::{self, CheckReport};
use crate::server::faults::FaultArgs;
use crate::server::service::{Service, needs_connections, usual_address};
use crate::server::socket_args::SocketArgs;
use crate::server::tls::TlsArgs;
use crate::server::transport_args::TransportArgs;
use echoline::listener::Scheme;
use echoline::{Address, Limits, Listener, ListenerOptions};

/// The flags of a command that serves.
pub(crate) trait ServerCommand: Send + 'static {
    /// Returns the flags of every server.
    fn serving(&self) -> &ServingArgs;

    /// Returns an error message if flags that are valid on their own contradict each other.
    fn mistake(&self) -> Option<String> {
        None
    }

    /// Checks whether a server would start, without listening.
    ///
    /// # Errors
    /// If the check itself fails.
    fn check(&self, findings: &mut CheckReport) -> anyhow::Result<()>;
}

/// The flags of every command that serves.
#[derive(Debug, Args)]
pub(crate) struct ServingArgs {
    #[command(flatten)]
    pub(crate) sockets: SocketArgs,

    #[command(flatten)]
    pub(crate) wires: TransportArgs,

    /// File that the server creates once it accepts connections.
    ///
    /// The file lists the bound addresses, one per line, with a line `admin ADDR` for each address
    /// of --admin. The server removes the file when it ends.
    #[arg(long, env = "ECHOLINE_READY_FILE", value_name = "FILE", help_heading = "Listening")]
    pub(crate) ready_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,

    #[command(flatten)]
    pub(crate) life: ProcessArgs,

    #[command(flatten)]
    pub(crate) faults: FaultArgs,

    #[command(flatten)]
    pub(crate) log: LogArgs,

    #[command(flatten)]
    pub(crate) access: AccessLogArgs,

    /// Log each line from a client, at level info.
    ///
    /// Lines are escaped and cut to 256 characters, and at most 1,000 lines per second are logged.
    /// A chat hides passwords and tokens. In echo --mode raw, which has no lines, the bytes of each
    /// read are logged. Datagrams are not logged.
    #[arg(long, env = "ECHOLINE_LOG_MESSAGES", help_heading = "Logging")]
    pub(crate) log_messages: bool,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl ServingArgs {
    /// Checks whether the server would start, without listening.
    pub(crate) fn check(
        &self,
        service: &Service,
        findings: &mut CheckReport,
    ) -> anyhow::Result<()> {
        let usual = usual_address();
        let listen = if service.listen.is_empty() { &[usual][..] } else { &service.listen };
        for at in listen.iter().chain(&service.also) {
            let address = &at.address;
            if address.scheme() == Scheme::Udp && service.datagrams.is_none() {
                findings.wrong(needs_connections(service, at));
                continue;
            }
            if let Err(error) = self.probe_folder(address) {
                findings.wrong(at.name_in(&format!("cannot listen on {address}: {error}")));
                continue;
            }
            self.wires.check(address, self.sockets.unix_mode(), findings);
            check_report::listening("listens on", at, findings)?;
        }
        let addresses = listen.iter().chain(&service.also);
        self.tls.check(addresses, service.outdated, findings);
        self.admin.check(self.shared_files(), findings)?;
        self.bounds.check(&self.basis(service, Descriptors::raise()), findings);
        self.faults.check(listen.iter().map(|at| &at.address), findings);
        self.log.check(findings);
        self.access.check(findings);
        if let Some(path) = &self.ready_file {
            check_report::writable("--ready-file", path, findings);
        }
        Ok(())
    }

    /// Checks the folder of a Unix socket, if the socket is created without --user.
    fn probe_folder(&self, address: &Address) -> io::Result<()> {
        let path = address.unix_path().filter(|path| !path.starts_with('@'));
        match path.filter(|_| self.life.user.is_none()) {
            Some(path) => Listener::probe_folder(Path::new(path)),
            None => Ok(()),
        }
    }

    /// Returns the flag that accepts files that other users can read or write.
    pub(crate) fn shared_files(&self) -> &SharedFilesArgs {
        &self.tls.shared_files
    }

    /// Checks that other users cannot read the configuration file if it contains `secret`.
    pub(crate) fn check_config(&self, secret: &str) -> anyhow::Result<()> {
        let Some(path) = &self.config.config else { return Ok(()) };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.contains(secret) {
            self.shared_files().check_secret("--config", path)
        } else {
            Ok(())
        }
    }

    /// Returns the inputs of the limits that are known before the addresses are bound.
    pub(crate) fn basis(&self, service: &Service, descriptors: Descriptors) -> LimitInputs {
        LimitInputs {
            defaults: service.limits.clone(),
            listeners: service.listen.len() + service.also.len(),
            reach: NetworkReach::Network,
            workers: self.workers(),
            descriptors,
        }
    }

    pub(crate) fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.life.workers.unwrap_or_else(cores)
    }

    /// Returns the number of threads of the server, for the memory check.
    pub(crate) fn threads(&self) -> usize {
        self.workers().get().saturating_add(usize::from(self.admin.is_asked_for()))
    }

    pub(crate) fn listener_options(&self, limits: &Limits) -> ListenerOptions {
        self.sockets.apply(ListenerOptions {
            backlog: self.bounds.backlog(),
            unacknowledged_timeout: bounds::unacknowledged_timeout(limits),
            ..ListenerOptions::default()
        })
    }
}
