//! The admin address: metrics, health and a live page over HTTP, on a thread of its own, so that
//! it answers however busy the server is.

mod chart;
mod control;
mod exposition;
mod figure;
mod gate;
mod history;
mod http;
mod metrics;
mod process;
mod reply;
mod site;
mod view;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::check::{self, Findings};
use super::supervise::keep_running;
use crate::net::{
    Address, Certificates, DatagramCounts, Observer, Scheme, Shutdown, Sources, is_loopback,
};
pub(super) use control::FaultControl;
pub(super) use figure::{Figure, Figures};
use gate::Reach;
use site::Site;

/// The flags of the admin address.
#[derive(Debug, Args)]
#[command(next_help_heading = "Administration")]
pub(super) struct AdminFlags {
    /// Serve metrics (/metrics), health (/healthz, /readyz) and a live page (/) over HTTP at this
    /// HOST:PORT of this machine, for example 127.0.0.1:9090. Port 0 is any free one.
    #[arg(long, env = "ECHOLINE_ADMIN", value_name = "ADDR")]
    admin: Option<Address>,

    /// Let --admin be an address that other machines can reach. It asks nobody for a password:
    /// have a firewall or a proxy before it.
    #[arg(long, env = "ECHOLINE_ADMIN_ALLOW_REMOTE", requires = "admin")]
    admin_allow_remote: bool,
}

/// An admin address that is bound. It queues connections and answers none before it is started.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) listeners: Vec<TcpListener>,
    reach: Reach,
}

/// The server that an admin address tells of.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) observer: Observer,
    pub(super) shutdown: Shutdown,
    /// A mode of the echo, or `chat`.
    pub(super) mode: &'static str,
    pub(super) addresses: Vec<String>,
    /// `None` where the server takes no datagrams.
    pub(super) datagrams: Option<DatagramCounts>,
    /// `None` where the server cannot have planned faults.
    pub(super) faults: Option<FaultControl>,
    /// `None` where no TLS is spoken.
    pub(super) certificates: Option<Certificates>,
    /// The rates of each source, and the penalties that there are.
    pub(super) sources: Arc<Sources>,
    /// What else there is to tell of what is served.
    pub(super) figures: Option<Figures>,
}

impl AdminFlags {
    /// Whether there will be an admin address.
    pub(super) fn is_asked_for(&self) -> bool {
        self.admin.is_some()
    }

    /// What was asked for.
    pub(super) fn address(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// Says whether there could be one, without listening.
    pub(super) fn check(&self, findings: &mut Findings) -> anyhow::Result<()> {
        let Some(address) = &self.admin else { return Ok(()) };
        match self.resolve(address) {
            Ok(_) => check::listening("shows itself at", address, findings)?,
            Err(error) => findings.wrong(format!("{error:#}")),
        }
        Ok(())
    }

    /// Binds what the flags ask for, without starting a thread; or takes over the sockets `given`,
    /// which are bound there already.
    pub(super) fn bind(&self, given: Vec<OwnedFd>) -> anyhow::Result<Option<Admin>> {
        let Some(address) = &self.admin else { return Ok(None) };
        let found = self.resolve(address)?;
        let listeners = if given.is_empty() {
            found.into_iter().map(bind_one).collect::<anyhow::Result<_>>()?
        } else {
            given.into_iter().map(TcpListener::from).collect()
        };
        Ok(Some(Admin { listeners, reach: self.reach() }))
    }

    fn reach(&self) -> Reach {
        if self.admin_allow_remote { Reach::Remote } else { Reach::Loopback }
    }

    /// Where that is, unless others could reach it who are not meant to.
    fn resolve(&self, address: &Address) -> anyhow::Result<Vec<SocketAddr>> {
        if address.scheme() != Scheme::Tcp {
            bail!("--admin {address}: it speaks HTTP over TCP: say HOST:PORT");
        }
        let found = (address.host(), address.port()).to_socket_addrs();
        let found: Vec<SocketAddr> =
            found.with_context(|| format!("--admin {address}: cannot find the host"))?.collect();
        let far = found.iter().find(|at| !is_loopback(at.ip()));
        if let (Some(far), Reach::Loopback) = (far, self.reach()) {
            bail!(
                "--admin {far} could be reached from other machines, and asks nobody for a \
                 password: say 127.0.0.1:{}, or add --admin-allow-remote",
                far.port()
            );
        }
        Ok(found)
    }
}

impl Admin {
    /// Where it really is: with the port, where 0 was asked for.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Answers from now on until the process ends.
    pub(super) fn start(self, served: Served) -> io::Result<()> {
        let shutdown = served.shutdown.clone();
        let site = Arc::new(Site::new(served, self.reach));
        let listeners = self.listeners;
        let work = move || http::serve(&listeners, &site, &shutdown);
        let thread = std::thread::Builder::new().name("admin".to_owned());
        thread.spawn(move || keep_running("the admin address", work))?;
        Ok(())
    }
}

fn bind_one(at: SocketAddr) -> anyhow::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR, so that a restart does not wait for old connections.
    let listener =
        TcpListener::bind(at).with_context(|| format!("--admin: cannot listen on {at}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str, admin_allow_remote: bool) -> anyhow::Result<Option<Admin>> {
        let admin = Some(address.parse().unwrap());
        AdminFlags { admin, admin_allow_remote }.bind(Vec::new())
    }

    /// Fault 70: nobody opens the admin address to others by mistake.
    #[test]
    fn only_who_says_so_lets_others_in() {
        for (address, sentence) in [
            (
                "0.0.0.0:0",
                "--admin 0.0.0.0:0 could be reached from other machines, and asks nobody",
            ),
            ("[::]:0", "say 127.0.0.1:0, or add --admin-allow-remote"),
            ("unix:/tmp/x", "it speaks HTTP over TCP: say HOST:PORT"),
            ("udp://127.0.0.1:1", "it speaks HTTP over TCP: say HOST:PORT"),
        ] {
            let said = bind(address, false).unwrap_err().to_string();
            assert!(said.contains(sentence), "{address}: {said}");
        }
        for (address, remote) in
            [("127.0.0.1:0", false), ("localhost:0", false), ("0.0.0.0:0", true)]
        {
            let admin = bind(address, remote).unwrap().unwrap();
            assert!(admin.addresses().unwrap().iter().all(|at| at.port() != 0), "{address}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_a_sentence() {
        let taken = bind("127.0.0.1:0", false).unwrap().unwrap().listeners;
        let at = taken[0].local_addr().unwrap();
        let error = bind(&at.to_string(), false).unwrap_err();
        assert!(format!("{error:#}").starts_with(&format!("--admin: cannot listen on {at}: ")));
    }
}
