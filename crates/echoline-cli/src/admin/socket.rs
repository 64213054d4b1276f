//! A socket of the admin address, and the rights of its clients.

use std::io;

use anyhow::anyhow;

use super::access::Access;
use super::http::AdminListener;
use crate::process::inherited::HandoverSocket;
use crate::server::port_owner::with_holder;
use crate::server::socket_args::admits_everybody;
use echoline::{Address, Listener, ListenerOptions};

/// The flag of the admin address.
pub(super) const ADMIN: &str = "--admin";

/// A bound socket. Dropping this value removes the file of a Unix socket.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: Listener,
    /// The name under which a successor finds the socket.
    asked: String,
    access: Access,
}

impl AdminSocket {
    /// Takes over the sockets `given`, or binds new ones if there are none.
    pub(super) async fn open(
        address: &Address,
        asked: &str,
        given: Vec<HandoverSocket>,
        options: &ListenerOptions,
    ) -> anyhow::Result<Vec<Self>> {
        let listeners = if given.is_empty() {
            Listener::bind(address, options).await
        } else {
            let inherit = |parcel: HandoverSocket| {
                Listener::inherit(parcel.socket, address.scheme(), parcel.owner, options)
            };
            given.into_iter().map(inherit).collect()
        };
        let listeners =
            listeners.map_err(|error| anyhow!("{ADMIN}: {}", with_holder(&error, address)))?;
        listeners.into_iter().map(|listener| Self::new(listener, asked)).collect()
    }

    fn new(listener: Listener, asked: &str) -> anyhow::Result<Self> {
        let address = listener.address()?;
        let access = match address.unix_path() {
            Some(path) if !admits_everybody(path) => Access::Full,
            _ => Access::Metrics,
        };
        Ok(Self { listener, asked: asked.to_owned(), access })
    }

    pub(super) fn address(&self) -> io::Result<Address> {
        self.listener.address()
    }

    /// Returns the rights of a request without a secret.
    #[cfg(test)]
    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// Returns a warning if a Unix socket gives only the rights of [`Access::Metrics`], because
    /// every user of the host may connect to it.
    pub(super) fn warning(&self) -> Option<String> {
        let address = self.address().ok()?;
        let path = address.unix_path().filter(|_| self.access == Access::Metrics)?;
        let remedy = if path.starts_with('@') { "use a path" } else { "use the mode 0600 or 0660" };
        Some(format!(
            "--admin {address} shows figures only, because every user of this host may connect to \
             it: {remedy}"
        ))
    }

    /// Returns the listener for the thread that answers.
    pub(super) fn door(&self) -> io::Result<AdminListener> {
        let (socket, _) = self.listener.hand_on()?;
        let is_unix = self.address()?.unix_path().is_some();
        Ok(AdminListener { socket, is_unix, access: self.access })
    }

    /// Duplicates the socket for a successor.
    pub(super) fn hand_on(&self) -> io::Result<HandoverSocket> {
        let (socket, owner) = self.listener.hand_on()?;
        Ok(HandoverSocket { asked: self.asked.clone(), owner, socket })
    }

    /// Drops the socket but keeps its file, for another process.
    pub(super) fn leave(self) {
        self.listener.leave();
    }
}
