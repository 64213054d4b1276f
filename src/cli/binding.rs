//! From flags to bound addresses: before there is any thread, and with the rights that only this
//! needs.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::admin::{Admin, AdminFlags};
use super::bounds::Basis;
use super::descriptors::Descriptors;
use super::faults::Changeable;
use super::holder::holder;
use super::life::Life;
use super::life::inherited::{Inherited, Parcel, key};
use super::life::notify::Notifier;
use super::life::privileges;
use super::life::upgrade::{self, Upgrade};
use super::serving::{self, Service, ServingFlags};
use crate::net::fault::Faults;
use crate::net::{Address, Certificates, FileOwner, Limits, Listener};

/// A service whose addresses are bound; and who the process is from now on.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) service: Service,
    pub(super) basis: Basis,
    pub(super) limits: Limits,
    /// For each address its listeners.
    pub(super) listeners: Vec<Vec<Listener>>,
    /// What is shown where TLS is listened for.
    pub(super) certificates: Option<Certificates>,
    pub(super) admin: Option<Admin>,
    pub(super) faults: Option<Faults>,
    pub(super) life: Life,
}

impl Bound {
    /// How many listeners each address has become: they are numbered through.
    pub(super) fn counts(&self) -> impl Iterator<Item = usize> {
        self.listeners.iter().map(Vec::len)
    }
}

impl ServingFlags {
    /// Binds all addresses or none, and gives up rights that only that needs. To be called before
    /// there are other threads.
    pub(super) fn bind(&self, mut service: Service) -> anyhow::Result<Bound> {
        upgrade::hold();
        let faults = self.faults.start(match self.admin.address() {
            Some(_) => Changeable::Yes,
            None => Changeable::No,
        })?;
        let mut inherited = Inherited::take_all()?;
        let notifier = Notifier::from_environment()?;
        let descriptors = Descriptors::raise();
        if service.listen.is_empty() {
            let also = service.also.iter().chain(self.admin.address()).collect::<Vec<_>>();
            service.listen = default_addresses(&inherited, &also)?;
        }
        let basis = self.basis(&service, descriptors);
        let limits = self.bounds.limits(&basis);
        // Not the one that serves: looking names up starts threads, which end with it.
        let runtime = serving::runtime()?;
        let (bound, admin) = runtime.block_on(async {
            let bound = self.bind_all(&mut inherited, &service, &limits).await?;
            let given = match self.admin.address() {
                Some(address) => inherited.take_for_admin(address).await?,
                None => Vec::new(),
            };
            anyhow::Ok((bound, self.admin.bind(given)?))
        })?;
        drop(runtime);
        let predecessor = inherited.finish()?;
        if predecessor.is_none() {
            self.ready_file.as_deref().map_or(Ok(()), serving::remove)?;
        }
        // While there are still the rights to read a key that only root may read.
        let certificates = self.tls.load(bound.iter().map(|(address, _)| address))?;
        let parcels = parcels(&bound, &self.admin, admin.as_ref());
        let parcels = parcels.context("cannot keep a socket for a later upgrade")?;
        let life = Life {
            notifier,
            upgrade: self.upgrade(&service, parcels)?,
            predecessor,
            status: String::new(),
        };
        if let Some(account) = &self.life.user {
            privileges::drop_to(account, &files(&bound))?;
        }
        let listeners = bound.into_iter().map(|(_, listeners)| listeners).collect();
        Ok(Bound { service, basis, limits, listeners, certificates, admin, faults, life })
    }

    /// For each address its listeners: those that the process was born with, or new ones.
    async fn bind_all(
        &self,
        inherited: &mut Inherited,
        service: &Service,
        limits: &Limits,
    ) -> anyhow::Result<Vec<(Address, Vec<Listener>)>> {
        let options = self.listener_options(limits);
        let mut bound = Vec::new();
        for address in service.listen.iter().chain(&service.also) {
            let given = inherited.take(address).await?;
            let inherit = |parcel: Parcel| {
                Listener::inherit(parcel.socket, address.scheme(), parcel.owner, &options)
                    .with_context(|| format!("cannot take over the socket for {address}"))
            };
            let listeners = if given.is_empty() {
                let bound = Listener::bind(address, &options).await;
                bound.map_err(|error| name_holder(&error, address.port()))?
            } else {
                given.into_iter().map(inherit).collect::<Result<_, _>>()?
            };
            bound.push((address.clone(), listeners));
        }
        Ok(bound)
    }

    /// What SIGUSR2 does; or why it does nothing.
    fn upgrade(
        &self,
        service: &Service,
        parcels: Vec<Parcel>,
    ) -> anyhow::Result<Result<Upgrade, &'static str>> {
        if let Err(reason) = service.upgrade {
            return Ok(Err(reason));
        }
        if std::process::id() == 1 {
            return Ok(Err("a container ends with its first process: start a new container"));
        }
        Upgrade::new(parcels, self.life.times()).map(Ok)
    }
}

/// What is listened on where nothing was asked for; `also` is for something else.
fn default_addresses(inherited: &Inherited, also: &[&Address]) -> anyhow::Result<Vec<Address>> {
    let passed = inherited.passed_addresses(also)?;
    Ok(if passed.is_empty() { vec![usual_address()] } else { passed })
}

/// Where a server listens when nobody says where.
pub(super) fn usual_address() -> Address {
    Address::from((Ipv4Addr::LOCALHOST.into(), 8080))
}

/// What a successor gets: every socket that listens, and for what it was bound.
fn parcels(
    bound: &[(Address, Vec<Listener>)],
    admin_flags: &AdminFlags,
    admin: Option<&Admin>,
) -> io::Result<Vec<Parcel>> {
    let mut parcels = Vec::new();
    let mut seen = HashMap::new();
    for (address, listeners) in bound {
        let asked = key(address, &mut seen);
        for listener in listeners {
            let (socket, owner) = listener.hand_on()?;
            parcels.push(Parcel { asked: asked.clone(), owner, socket });
        }
    }
    if let Some((admin, address)) = admin.zip(admin_flags.address()) {
        for listener in &admin.listeners {
            let (asked, owner) = (format!("admin {address}"), FileOwner::Somebody);
            parcels.push(Parcel { asked, owner, socket: listener.try_clone()?.into() });
        }
    }
    Ok(parcels)
}

/// The files of Unix sockets that are ours.
fn files(bound: &[(Address, Vec<Listener>)]) -> Vec<&Path> {
    let paths = bound.iter().filter_map(|(address, _)| address.unix_path());
    paths.filter(|path| !path.starts_with('@')).map(Path::new).collect()
}

/// The sentence of `error`, and who has the port where somebody has it.
fn name_holder(error: &io::Error, port: u16) -> anyhow::Error {
    match holder(port).filter(|_| error.kind() == io::ErrorKind::AddrInUse) {
        Some((name, id)) => anyhow!("{error}. It is '{name}', process {id}"),
        None => anyhow!("{error}"),
    }
}
