//! The admin address: metrics, health and a live page over HTTP, on its own thread, so that it
//! replies even if the server is busy.

mod access;
mod chart;
mod exposition;
mod gate;
mod history;
mod http;
mod metrics;
mod observed_server;
mod process;
mod refusals;
mod reply;
mod site;
mod socket;
mod view;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;

use crate::files::shared_files::SharedFilesArgs;
use crate::process::inherited::{HandoverSocket, Inherited};
use crate::process::restart::keep_running;
use crate::server::check_report::{self, CheckReport};
use crate::server::service_address::ServiceAddress;
use crate::server::socket_args;
use crate::usage_error::UsageError;
use access::AdminSecret;
use echoline::internals::{is_loopback, unresolved};
use echoline::listener::{FileUser, Scheme};
use echoline::{Address, ListenerOptions};
use gate::AdminReach;
pub(crate) use observed_server::{ExtraMetric, ExtraMetrics, FaultControl, ObservedServer};
use site::AdminSite;
use socket::{ADMIN, AdminSocket};

/// The flags of the admin address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Administration")]
pub(crate) struct AdminArgs {
    /// Address for metrics, health and the admin page.
    ///
    /// The flag is repeatable. A loopback HOST:PORT, for example 127.0.0.1:9090, or unix:PATH. It
    /// serves /metrics, /healthz, /readyz and a live page (/) over HTTP. Requests over a Unix
    /// socket can read the log and change faults (/faults); over TCP they need the secret of
    /// --admin-secret-file.
    #[arg(long, env = "ECHOLINE_ADMIN", value_name = "ADDR", value_delimiter = ',')]
    admin: Vec<Address>,

    /// File whose first line is the secret for full access over TCP.
    ///
    /// The secret has at least 16 characters. Other users must not be able to read the file.
    #[arg(long, env = "ECHOLINE_ADMIN_SECRET_FILE", value_name = "FILE", requires = "admin")]
    admin_secret_file: Option<PathBuf>,

    /// Permissions of an admin socket, in octal.
    ///
    /// If other users may connect (0666), requests have the same rights as over TCP without a
    /// secret.
    #[arg(long, env = "ECHOLINE_ADMIN_MODE", value_name = "MODE", default_value = "0600")]
    #[arg(value_parser = socket_args::mode, requires = "admin")]
    admin_mode: u32,

    /// Group of an admin socket, by name or number [default: that of the process].
    #[arg(long, env = "ECHOLINE_ADMIN_GROUP", value_name = "GROUP", requires = "admin")]
    #[arg(value_parser = socket_args::group)]
    admin_group: Option<u32>,

    /// Allow an --admin address that other hosts can reach.
    ///
    /// The admin address has no TLS, so the network can read the secret. Protect it with a firewall
    /// or a proxy with TLS.
    #[arg(long, env = "ECHOLINE_ADMIN_ALLOW_REMOTE", requires = "admin")]
    admin_allow_remote: bool,
}

/// A bound admin address. It queues connections, and answers them after [`Admin::start`].
#[derive(Debug)]
pub(crate) struct Admin {
    sockets: Vec<AdminSocket>,
    reach: AdminReach,
    secret: Option<AdminSecret>,
}

/// The sockets of a running admin address. Dropping this value removes their files.
#[derive(Debug)]
pub(crate) struct RunningAdmin(Vec<AdminSocket>);

impl AdminArgs {
    /// Returns whether an admin address is configured.
    pub(crate) fn is_asked_for(&self) -> bool {
        !self.admin.is_empty()
    }

    /// Returns the addresses of the flags.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.admin
    }

    /// Returns whether any request could be authorised to change faults.
    pub(crate) fn may_change_faults(&self) -> bool {
        self.admin_secret_file.is_some() || self.admin.iter().any(|at| at.unix_path().is_some())
    }

    /// Checks whether the admin address could be bound, without listening.
    pub(crate) fn check(
        &self,
        shared: &SharedFilesArgs,
        findings: &mut CheckReport,
    ) -> anyhow::Result<()> {
        for address in &self.admin {
            match self.admit(address) {
                Ok(()) => {
                    let at = ServiceAddress::typed(ADMIN, address.to_string(), address.clone());
                    check_report::listening("serves the admin page on", &at, findings)?;
                }
                Err(error) => findings.wrong(format!("{error:#}")),
            }
        }
        if let Err(error) = self.secret(shared) {
            findings.wrong(format!("{error:#}"));
        }
        Ok(())
    }

    /// Binds the configured addresses without starting a thread, or takes over inherited sockets.
    /// Also reads the secret, because its file may be readable only for root. `unix_user` becomes
    /// the owner of the socket files.
    pub(crate) async fn bind(
        &self,
        inherited: &mut Inherited,
        unix_user: Option<FileUser>,
        shared: &SharedFilesArgs,
    ) -> anyhow::Result<Option<Admin>> {
        if self.admin.is_empty() {
            return Ok(None);
        }
        let options = ListenerOptions {
            unix_mode: self.admin_mode,
            unix_group: self.admin_group,
            unix_user,
            ..ListenerOptions::default()
        };
        let mut sockets = Vec::new();
        for address in &self.admin {
            self.admit(address)?;
            let (asked, given) = inherited.take_for_admin(address).await?;
            sockets.extend(AdminSocket::open(address, &asked, given, &options).await?);
        }
        Ok(Some(Admin { sockets, reach: self.reach(), secret: self.secret(shared)? }))
    }

    fn secret(&self, shared: &SharedFilesArgs) -> anyhow::Result<Option<AdminSecret>> {
        let path = self.admin_secret_file.as_deref();
        path.map(|path| AdminSecret::read(path, shared)).transpose()
    }

    fn reach(&self) -> AdminReach {
        if self.admin_allow_remote { AdminReach::Remote } else { AdminReach::Loopback }
    }

    /// # Errors
    /// The address has an unsupported scheme, or other hosts could reach it without
    /// `--admin-allow-remote`.
    fn admit(&self, address: &Address) -> anyhow::Result<()> {
        if address.scheme() == Scheme::Unix {
            return Ok(());
        }
        if address.scheme() != Scheme::Tcp {
            let text = format!("--admin {address} cannot be served: write HOST:PORT or unix:PATH");
            return Err(UsageError::new(text).into());
        }
        let found = (address.host(), address.port()).to_socket_addrs();
        let found: Vec<SocketAddr> =
            found.map_err(|error| anyhow!("--admin {address}: {}", unresolved(&error)))?.collect();
        let far = found.iter().find(|at| !is_loopback(at.ip()));
        if let (Some(far), AdminReach::Loopback) = (far, self.reach()) {
            let text = format!(
                "--admin {far} would be open to other hosts, over HTTP without TLS: use \
                 127.0.0.1:{}, or add --admin-allow-remote",
                far.port()
            );
            return Err(UsageError::new(text).into());
        }
        Ok(())
    }
}

impl Admin {
    /// Returns the actual addresses, with the assigned port if port 0 was configured.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        self.sockets.iter().map(AdminSocket::address).collect()
    }

    /// Duplicates the sockets for a successor.
    pub(crate) fn hand_on(&self) -> io::Result<Vec<HandoverSocket>> {
        self.sockets.iter().map(AdminSocket::hand_on).collect()
    }

    /// Starts the thread that answers requests until the process ends.
    pub(crate) fn start(self, served: ObservedServer) -> io::Result<RunningAdmin> {
        for warning in self.sockets.iter().filter_map(AdminSocket::warning) {
            tracing::warn!("{warning}");
        }
        let shutdown = served.shutdown.clone();
        let doors: io::Result<Vec<_>> = self.sockets.iter().map(AdminSocket::door).collect();
        let (site, doors) = (Arc::new(AdminSite::new(served, self.reach, self.secret)), doors?);
        let work = move || http::serve(&doors, &site, &shutdown);
        let thread = std::thread::Builder::new().name("admin".to_owned());
        thread.spawn(move || keep_running("the admin address", work))?;
        Ok(RunningAdmin(self.sockets))
    }
}

impl RunningAdmin {
    /// Drops the sockets but keeps their files, for the process that has taken them over.
    pub(crate) fn leave(self) {
        self.0.into_iter().for_each(AdminSocket::leave);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::access::Access;
    use super::*;

    fn flags(address: &str) -> AdminArgs {
        AdminArgs {
            admin: vec![address.parse().unwrap()],
            admin_secret_file: None,
            admin_mode: 0o600,
            admin_group: None,
            admin_allow_remote: false,
        }
    }

    fn bind_with(flags: &AdminArgs) -> anyhow::Result<Admin> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(flags.bind(&mut Inherited::default(), None, &SharedFilesArgs::default()))
            .map(Option::unwrap)
    }

    fn bind(address: &str, admin_allow_remote: bool) -> anyhow::Result<Admin> {
        bind_with(&AdminArgs { admin_allow_remote, ..flags(address) })
    }

    /// Fault 70: the admin address is never reachable from other hosts by mistake.
    #[test]
    fn an_address_for_other_hosts_needs_a_flag() {
        for (address, sentence) in [
            ("0.0.0.0:0", "--admin 0.0.0.0:0 would be open to other hosts, over HTTP without TLS"),
            ("[::]:0", "use 127.0.0.1:0, or add --admin-allow-remote"),
            ("tls://127.0.0.1:1", "cannot be served: write HOST:PORT or unix:PATH"),
            ("udp://127.0.0.1:1", "cannot be served: write HOST:PORT or unix:PATH"),
        ] {
            let said = bind(address, false).unwrap_err().to_string();
            assert!(said.contains(sentence), "{address}: {said}");
        }
        for (address, remote) in
            [("127.0.0.1:0", false), ("localhost:0", false), ("0.0.0.0:0", true)]
        {
            let admin = bind(address, remote).unwrap();
            assert!(admin.addresses().unwrap().iter().all(|at| at.port() != 0), "{address}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_a_sentence() {
        let taken = bind("127.0.0.1:0", false).unwrap();
        let at = &taken.addresses().unwrap()[0];
        let error = bind(&at.to_string(), false).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("--admin: cannot listen on {at}: ")));
    }

    /// Issue 12, item 11: an admin socket that every user of the host may connect to gives the same
    /// rights as TCP. A socket that only its owner may open gives all rights.
    #[test]
    fn attack_a_socket_that_every_user_may_open_gives_metrics_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let address = format!("unix:{}", path.display());
        for (admin_mode, access) in
            [(0o600, Access::Full), (0o660, Access::Full), (0o666, Access::Metrics)]
        {
            let admin = bind_with(&AdminArgs { admin_mode, ..flags(&address) }).unwrap();
            let made = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(made.mode() & 0o777, admin_mode);
            assert_eq!(admin.sockets[0].access(), access, "{admin_mode:o}");
            let is_warned = admin.sockets[0].warning().is_some();
            assert_eq!(is_warned, access == Access::Metrics, "{admin_mode:o}");
        }
        assert!(!path.exists(), "the file is removed");
        // An abstract name has no permissions.
        let name = format!("unix:@echoline-admin-{}", std::process::id());
        let admin = bind(&name, false).unwrap();
        assert_eq!(admin.sockets[0].access(), Access::Metrics);
        let warning = admin.sockets[0].warning().unwrap();
        assert!(warning.contains("every user of this host may connect"), "{warning}");
    }
}
