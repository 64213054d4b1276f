//! What a command serves.

use std::net::Ipv4Addr;

use super::datagrams::DatagramService;
use super::log::received::Shown;
use super::tls::Outdated;
use echoline::{Address, Asset, Eol, Farewell, Framing, Limits, SourceLimits};

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

/// What is wrong with datagrams where there is nothing to be done with them.
pub(super) fn needs_connections(service: &Service, address: &Address) -> String {
    format!("cannot listen on {address}: a {} needs connections", service.what)
}

/// Where a server listens when nobody says where.
pub(super) fn usual_address() -> Address {
    Address::from((Ipv4Addr::LOCALHOST.into(), 8080))
}
