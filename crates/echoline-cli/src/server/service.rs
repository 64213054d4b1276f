//! The description of the service that a command runs.

use std::net::Ipv4Addr;

use crate::log::received::RedactLine;
use crate::process::upgrade::UpgradeTimeouts;
use crate::server::datagrams::DatagramService;
use crate::server::service_address::ServiceAddress;
use crate::server::tls::ExpiredCertificatePolicy;
use echoline::site::Asset;
use echoline::sources::SourceLimits;
use echoline::websocket::Framing;
use echoline::{Address, Eol, Farewell, Limits};

/// The service that a command runs.
#[derive(Debug)]
pub(crate) struct Service {
    /// The addresses to listen on. All are bound before the first is served. If the list is empty,
    /// the server uses the sockets of the service manager, or else 127.0.0.1:8080.
    pub(crate) listen: Vec<ServiceAddress>,
    /// Additional addresses, of bots and of the web page. If `listen` is empty, inherited sockets
    /// at these addresses do not become listening addresses.
    pub(crate) also: Vec<ServiceAddress>,
    /// The web page for browsers and its addresses.
    pub(crate) page: Option<WebPage>,
    /// The name of the service in the log.
    pub(crate) what: &'static str,
    pub(crate) eol: Eol,
    pub(crate) farewell: Farewell,
    /// The form in which the handler reads and writes the messages of a WebSocket.
    pub(crate) framing: Framing,
    /// The treatment of a certificate that has expired or is not valid yet.
    pub(crate) outdated: ExpiredCertificatePolicy,
    /// The limits that apply if no flag changes them.
    pub(crate) limits: Limits,
    /// The rates of each source without flags.
    pub(crate) source_limits: SourceLimits,
    /// Hides the secrets of a received line from the log.
    pub(crate) shown: RedactLine,
    /// The datagram service; `None` if the command only serves connections.
    pub(crate) datagrams: Option<DatagramService>,
    /// The time-outs of an upgrade, in which a new process takes the service over while this one
    /// still has connections; or the reason why the service cannot be upgraded.
    pub(crate) upgrade: Result<UpgradeTimeouts, &'static str>,
}

/// A web page. Its addresses are the last ones of the service.
#[derive(Debug)]
pub(crate) struct WebPage {
    /// The number of addresses.
    pub(crate) addresses: usize,
    pub(crate) assets: &'static [Asset],
}

/// Returns the error message for a datagram address of a service that cannot serve datagrams.
pub(crate) fn needs_connections(service: &Service, at: &ServiceAddress) -> String {
    let address = &at.address;
    at.name_in(&format!(
        "cannot listen on {address}: a {} needs connections, not datagrams: remove udp://",
        service.what
    ))
}

/// Returns the address that a server listens on by default.
pub(crate) fn usual_address() -> ServiceAddress {
    Address::from((Ipv4Addr::LOCALHOST, 8080)).into()
}
