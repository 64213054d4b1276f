//! Turns flags into bound addresses. This happens before any thread starts, and with the privileges
//! that only binding needs.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use socket2::{SockRef, Type};

use crate::admin::Admin;
use crate::admin::ExtraMetrics;
use crate::process::Lifecycle;
use crate::process::descriptors::Descriptors;
use crate::process::inherited::{HandoverSocket, Inherited, key};
use crate::process::notify::Notifier;
use crate::process::privileges::ProcessIdentity;
use crate::process::resources;
use crate::process::upgrade::{self, UpgradePlan};
use crate::server::args::ServingArgs;
use crate::server::bounds::{LimitInputs, NetworkReach};
use crate::server::faults::FaultChanges;
use crate::server::port_owner::with_holder;
use crate::server::ready_file;
use crate::server::service::{Service, needs_connections, usual_address};
use crate::server::service_address::ServiceAddress;
use crate::usage_error::UsageError;
use echoline::faults::Faults;
use echoline::listener::{FileOwner, Scheme};
use echoline::metrics::ConnectionUsage;
use echoline::sources::Sources;
use echoline::tls::Certificates;
use echoline::udp::DatagramListener;
use echoline::{Address, Limits, Listener, ListenerOptions};

/// A service with bound addresses, and the state of its process.
#[derive(Debug)]
pub(crate) struct BoundServer {
    pub(crate) service: Service,
    pub(crate) basis: LimitInputs,
    pub(crate) limits: Limits,
    /// The sockets of each configured address.
    pub(crate) sockets: Vec<ServiceSockets>,
    /// The certificates of the TLS listeners.
    pub(crate) certificates: Option<Certificates>,
    pub(crate) admin: Option<Admin>,
    pub(crate) faults: Option<Faults>,
    pub(crate) life: Lifecycle,
    /// Metrics of the service, besides those of connections.
    pub(crate) figures: Option<ExtraMetrics>,
    /// The hook that is called when nearly all connection slots are in use.
    pub(crate) on_nearly_full: Option<OnNearlyFull>,
    /// The rates of each source, and the active penalties.
    pub(crate) sources: Arc<Sources>,
}

impl BoundServer {
    /// Returns the number of listeners of each address; listeners are numbered consecutively.
    pub(crate) fn counts(&self) -> impl Iterator<Item = usize> {
        self.sockets.iter().map(|sockets| match sockets {
            ServiceSockets::Streams(listeners) => listeners.len(),
            ServiceSockets::Datagrams(_) => 0,
        })
    }
}

/// A hook that gets the server's usage when nearly all connection slots are in use.
pub(crate) struct OnNearlyFull(pub(crate) Box<dyn Fn(ConnectionUsage) + Send + Sync>);

impl std::fmt::Debug for OnNearlyFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnNearlyFull")
    }
}

/// The sockets of one configured address.
#[derive(Debug)]
pub(crate) enum ServiceSockets {
    Streams(Vec<Listener>),
    Datagrams(Vec<DatagramListener>),
}

impl ServiceSockets {
    /// Returns the addresses that the sockets are bound to.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        match self {
            Self::Streams(listeners) => listeners.iter().map(Listener::address).collect(),
            Self::Datagrams(sockets) => sockets.iter().map(DatagramListener::address).collect(),
        }
    }

    /// Returns whether only this host can reach the sockets.
    fn are_loopback(&self) -> io::Result<bool> {
        let all = |answers: io::Result<Vec<bool>>| Ok(answers?.into_iter().all(|is| is));
        match self {
            Self::Streams(listeners) => all(listeners.iter().map(Listener::is_loopback).collect()),
            Self::Datagrams(sockets) => {
                all(sockets.iter().map(DatagramListener::is_loopback).collect())
            }
        }
    }

    /// Returns the listeners of all addresses, and the sockets of datagrams.
    pub(crate) fn split(all: Vec<Self>) -> (Vec<Listener>, Vec<DatagramListener>) {
        let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
        for sockets in all {
            match sockets {
                Self::Streams(bound) => listeners.extend(bound),
                Self::Datagrams(bound) => datagrams.extend(bound),
            }
        }
        (listeners, datagrams)
    }

    /// Duplicates the sockets for a successor, each with the owner of its file.
    fn hand_on(&self) -> io::Result<Vec<(OwnedFd, FileOwner)>> {
        let udp = |socket: &DatagramListener| Ok((socket.hand_on()?, FileOwner::Somebody));
        match self {
            Self::Streams(listeners) => listeners.iter().map(Listener::hand_on).collect(),
            Self::Datagrams(sockets) => sockets.iter().map(udp).collect(),
        }
    }
}

impl ServingArgs {
    /// Binds all addresses or none, and then drops the rights that only binding needs. Call it
    /// before other threads exist.
    pub(crate) fn bind(&self, mut service: Service) -> anyhow::Result<BoundServer> {
        upgrade::hold();
        let faults = self.faults.start(match self.admin.may_change_faults() {
            true => FaultChanges::Yes,
            false => FaultChanges::No,
        })?;
        let mut inherited = Inherited::take_all()?;
        let notifier = Notifier::from_environment();
        let descriptors = Descriptors::raise();
        resources::check_memory(self.threads())?;
        if service.listen.is_empty() {
            let also = service.also.iter().map(|also| &also.address);
            let also = also.chain(self.admin.addresses()).collect::<Vec<_>>();
            service.listen = default_addresses(&inherited, &also)?;
        }
        let mut basis = self.basis(&service, descriptors);
        let identity = self.life.user.as_ref().map(ProcessIdentity::of).transpose()?;
        // This runtime only binds sockets. Dropping it removes their registrations, and each socket
        // is registered again in the runtime that serves it.
        let runtime = resources::runtime()?;
        let (bound, admin) = runtime.block_on(async {
            let unix_user = identity.as_ref().map(ProcessIdentity::file_user);
            let options = ListenerOptions {
                unix_user: unix_user.clone(),
                ..self.listener_options(&self.bounds.limits(&basis))
            };
            let bound = self.bind_all(&mut inherited, &service, &options).await?;
            anyhow::Ok((
                bound,
                self.admin.bind(&mut inherited, unix_user, self.shared_files()).await?,
            ))
        })?;
        drop(runtime);
        basis.reach = reach(&bound).context("cannot read the address of a socket")?;
        let limits = self.bounds.limits(&basis);
        let predecessor = inherited.finish()?;
        // The keys are read here, while the process can still read files of root.
        let certificates = self.tls.load(bound.iter().map(|(at, _)| at), service.outdated)?;
        let parcels = parcels(&bound, admin.as_ref());
        let parcels = parcels.context("cannot keep a socket for a later upgrade")?;
        let life = Lifecycle {
            notifier,
            upgrade: self.upgrade(&service, parcels)?,
            predecessor,
            status: String::new(),
        };
        if let Some(identity) = &identity {
            identity.assume_for_good()?;
        }
        // This runs without root privileges, because another user may be able to replace the file's
        // folder.
        if life.predecessor.is_none() {
            self.ready_file.as_deref().map_or(Ok(()), ready_file::remove)?;
        }
        let sockets = bound.into_iter().map(|(_, sockets)| sockets).collect();
        let sources = Arc::new(Sources::new(self.bounds.source_limits(&service.source_limits)));
        Ok(BoundServer {
            service,
            basis,
            limits,
            sockets,
            certificates,
            admin,
            faults,
            life,
            figures: None,
            on_nearly_full: None,
            sources,
        })
    }

    /// Returns the sockets of each address, inherited or new.
    async fn bind_all(
        &self,
        inherited: &mut Inherited,
        service: &Service,
        options: &ListenerOptions,
    ) -> anyhow::Result<Vec<(ServiceAddress, ServiceSockets)>> {
        let mut bound = Vec::new();
        for at in service.listen.iter().chain(&service.also) {
            let address = &at.address;
            let given = inherited.take(address).await?;
            let is_udp = address.scheme() == Scheme::Udp || given.iter().any(is_datagram);
            let named = |error| anyhow!(at.name_in(&with_holder(&error, address)));
            let sockets = if is_udp && service.datagrams.is_none() {
                return Err(UsageError::new(needs_connections(service, at)).into());
            } else if given.is_empty() && is_udp {
                let bound = DatagramListener::bind_with(address, options).await;
                ServiceSockets::Datagrams(bound.map_err(named)?)
            } else if given.is_empty() {
                ServiceSockets::Streams(Listener::bind(address, options).await.map_err(named)?)
            } else {
                inherit(given, address, options)
                    .with_context(|| format!("cannot take over the socket for {address}"))?
            };
            bound.push((at.clone(), sockets));
        }
        Ok(bound)
    }

    /// Returns the plan for an upgrade on SIGUSR2, or the reason why there is none.
    fn upgrade(
        &self,
        service: &Service,
        parcels: Vec<HandoverSocket>,
    ) -> anyhow::Result<Result<UpgradePlan, &'static str>> {
        let timeouts = match &service.upgrade {
            Ok(timeouts) => *timeouts,
            Err(reason) => return Ok(Err(reason)),
        };
        if std::process::id() == 1 {
            return Ok(Err("a container ends with its first process: start a new container"));
        }
        UpgradePlan::new(parcels, timeouts).map(Ok)
    }
}

/// Returns the hosts that can reach the sockets, by their bound addresses.
fn reach(bound: &[(ServiceAddress, ServiceSockets)]) -> io::Result<NetworkReach> {
    for (_, sockets) in bound {
        if !sockets.are_loopback()? {
            return Ok(NetworkReach::Network);
        }
    }
    Ok(NetworkReach::Loopback)
}

/// Converts the inherited sockets of one address. All of them are of the same kind.
fn inherit(
    given: Vec<HandoverSocket>,
    address: &Address,
    options: &ListenerOptions,
) -> io::Result<ServiceSockets> {
    if given.iter().any(is_datagram) {
        let sockets = given.into_iter().map(|parcel| DatagramListener::inherit(parcel.socket));
        return Ok(ServiceSockets::Datagrams(sockets.collect::<Result<_, _>>()?));
    }
    let inherit = |parcel: HandoverSocket| {
        Listener::inherit(parcel.socket, address.scheme(), parcel.owner, options)
    };
    Ok(ServiceSockets::Streams(given.into_iter().map(inherit).collect::<Result<_, _>>()?))
}

fn is_datagram(parcel: &HandoverSocket) -> bool {
    SockRef::from(&parcel.socket).r#type().is_ok_and(|kind| kind == Type::DGRAM)
}

/// Returns the addresses to listen on if none are configured, except those in `also`.
fn default_addresses(
    inherited: &Inherited,
    also: &[&Address],
) -> anyhow::Result<Vec<ServiceAddress>> {
    let passed = inherited.passed_addresses(also)?;
    Ok(match passed.is_empty() {
        true => vec![usual_address()],
        false => passed.into_iter().map(ServiceAddress::from).collect(),
    })
}

/// Returns everything that a successor inherits: every listening socket with its address.
fn parcels(
    bound: &[(ServiceAddress, ServiceSockets)],
    admin: Option<&Admin>,
) -> io::Result<Vec<HandoverSocket>> {
    let mut parcels = Vec::new();
    let mut seen = HashMap::new();
    for (at, sockets) in bound {
        let asked = key(&at.address, &mut seen);
        for (socket, owner) in sockets.hand_on()? {
            parcels.push(HandoverSocket { asked: asked.clone(), owner, socket });
        }
    }
    if let Some(admin) = admin {
        parcels.extend(admin.hand_on()?);
    }
    Ok(parcels)
}
