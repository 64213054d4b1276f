//! The flags that become steps of a transport, between a socket and its handler or client.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;
use nix::unistd::User;

use crate::config;
use crate::server::check_report::CheckReport;
use crate::server::socket_args::admits_everybody;
use echoline::listener::Scheme;
use echoline::proxy::{AcceptProxy, ProxySource, ProxyVersion, SendProxy};
use echoline::site::{Asset, Site};
use echoline::tls::Certificates;
use echoline::transport::{Step, Transport};
use echoline::websocket::{AcceptWebSocket, Framing, OpenWebSocket, OriginPolicy};
use echoline::{Address, Listener};
use echoline_base::file_access;

/// The flags of every command that serves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct TransportArgs {
    /// Networks of trusted proxies that send a PROXY header.
    ///
    /// A connection from these networks must begin with a PROXY header, version 1 or 2, which names
    /// the client. `unix:USER` trusts the processes of a user at a Unix socket. `unix` trusts every
    /// process that connects to a Unix socket; the permissions of the socket must exclude other
    /// users. A header from any other client is ordinary data.
    #[arg(long, env = "ECHOLINE_PROXY_FROM", value_name = "CIDR,...", value_delimiter = ',')]
    proxy_from: Vec<TrustedProxies>,

    /// Other web sites whose pages may open a WebSocket to this server, or '*'.
    ///
    /// Write a site without a path: `https://chat.example.com`.
    #[arg(long, env = "ECHOLINE_ALLOW_ORIGIN", value_name = "ORIGIN,...", value_delimiter = ',')]
    #[arg(value_parser = origin)]
    allow_origin: Vec<String>,

    /// Host names under which browsers may reach this server without TLS, or '*'.
    ///
    /// For example `chat.example.com`. Always accepted: IP addresses, localhost, the host name of
    /// the system, the host of the listening address, and the hosts of --allow-origin.
    #[arg(long, env = "ECHOLINE_WEB_HOST", value_name = "NAME,...", value_delimiter = ',')]
    #[arg(value_parser = host_name)]
    web_host: Vec<String>,
}

/// The proxies whose PROXY headers are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrustedProxies {
    Network(IpNet),
    /// Every process that may connect to a Unix socket.
    Unix,
    /// The processes of this user, at a Unix socket.
    User(u32),
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Some(user) = text.strip_prefix("unix:") {
            return local_user(user).map(Self::User);
        }
        network(text).map(Self::Network)
    }
}

/// Parses the name or number of a user of this host. Returns the user id.
fn local_user(text: &str) -> Result<u32, String> {
    let known = || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    let user = text.parse().ok().or_else(known);
    let user = user.ok_or_else(|| {
        format!("there is no user '{text}' on this host: write unix:USER, for example unix:haproxy")
    })?;
    if file_access::is_unmapped(user) {
        return Err(format!(
            "user {user} represents all users without a number in this user namespace \
             (PrivateUsers= of a unit, rootless containers): use 'unix', and a socket whose mode \
             excludes other users"
        ));
    }
    Ok(user)
}

/// Parses a network, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse().ok().map(|ip: std::net::IpAddr| IpNet::from(ip.to_canonical()));
    text.parse().ok().or_else(one).ok_or_else(|| {
        format!(
            "'{text}' is not a network: write for example 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1"
        )
    })
}

fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map(|(_, host)| host);
    let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
    if text == "*" || is_origin {
        return Ok(text.to_owned());
    }
    let bare = text.trim_end_matches('/');
    Err(format!(
        "'{text}' is not an origin: write scheme and host without a path, for example https://{}, \
         or '*' for every site",
        if bare.is_empty() || bare.contains('/') { "chat.example.com" } else { bare }
    ))
}

fn host_name(text: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if text == "*" || (!text.is_empty() && text.chars().all(is_letter)) {
        return Ok(text.strip_suffix('.').unwrap_or(text).to_owned());
    }
    Err(format!(
        "'{text}' is not a host name: write it without scheme, port and path, for example \
         chat.example.com (xn--… for other letters), or '*' for every name"
    ))
}

/// Returns the names of this host, without and with `.local`, the domain of multicast DNS.
fn host_names() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() || name.contains('.') {
        vec![name]
    } else {
        vec![format!("{name}.local"), name]
    }
}

impl TransportArgs {
    /// Returns the steps for the clients of `listener`, which was configured as `address`.
    pub(crate) fn transport(
        &self,
        address: &Address,
        listener: &Listener,
        framing: Framing,
        certificates: Option<&Certificates>,
    ) -> io::Result<Transport> {
        let mut transport = Transport::plain();
        if !self.proxy_from.is_empty() {
            let bound = listener.address()?;
            let is_open = bound.unix_path().is_some_and(admits_everybody);
            self.refuse_open_socket(&bound, is_open).map_err(io::Error::other)?;
            transport = transport.then(Arc::new(self.accept_proxy()));
        }
        if let Some(certificates) = certificates.filter(|_| address.scheme().is_tls()) {
            transport = transport.then(certificates.step());
        }
        if address.scheme().is_websocket() {
            let step = AcceptWebSocket::new(address, framing, self.policy(address, listener)?);
            // No command reads them.
            transport = transport.then(Arc::new(step.discard_headers()));
        }
        Ok(transport)
    }

    /// Returns the step that serves the web page and passes on its WebSocket connections.
    pub(crate) fn site(
        &self,
        address: &Address,
        listener: &Listener,
        assets: &[Asset],
    ) -> io::Result<Arc<dyn Step>> {
        Ok(Arc::new(Site::new(assets, self.policy(address, listener)?).discard_headers()))
    }

    /// Checks the trusted proxies of a Unix socket that the server will create. Adds an error if
    /// every user of this host could connect to it as a trusted proxy.
    pub(crate) fn check(&self, address: &Address, unix_mode: u32, findings: &mut CheckReport) {
        let is_open = |path: &str| path.starts_with('@') || unix_mode & 0o002 != 0;
        let is_open = address.unix_path().is_some_and(is_open);
        if let Err(sentence) = self.refuse_open_socket(address, is_open) {
            findings.wrong(sentence);
        }
    }

    /// Refuses `--proxy-from unix` for a socket that every user of this host may connect to.
    fn refuse_open_socket(&self, address: &Address, is_open: bool) -> Result<(), String> {
        if !is_open || !self.proxy_from.contains(&TrustedProxies::Unix) {
            return Ok(());
        }
        Err(format!(
            "--proxy-from unix: every user of this host may connect to {address}, and could pose \
             as any client: name the proxy's user (--proxy-from unix:USER), or use a path with the \
             mode 0600 or 0660 (--unix-mode, or SocketMode= of a .socket unit)"
        ))
    }

    /// Returns the policy for browsers. Whether the listener is loopback depends on its bound
    /// address, because the configured address may be any name of this host.
    fn policy(&self, address: &Address, listener: &Listener) -> io::Result<OriginPolicy> {
        let is_loopback = listener.is_loopback()?;
        let mut hosts = self.web_host.clone();
        if !is_loopback {
            hosts.push(address.host().to_owned());
            hosts.extend(host_names());
        }
        hosts.retain(|host| !host.is_empty());
        Ok(OriginPolicy { allowed: self.allow_origin.clone(), hosts, is_loopback })
    }

    fn accept_proxy(&self) -> AcceptProxy {
        let networks = self.proxy_from.iter().filter_map(|proxies| match proxies {
            TrustedProxies::Network(network) => Some(*network),
            TrustedProxies::Unix | TrustedProxies::User(_) => None,
        });
        let users = self.proxy_from.iter().filter_map(|proxies| match proxies {
            TrustedProxies::User(user) => Some(*user),
            TrustedProxies::Unix | TrustedProxies::Network(_) => None,
        });
        let step = AcceptProxy::from_networks(networks.collect()).and_users(users.collect());
        if self.proxy_from.contains(&TrustedProxies::Unix) { step.and_unix() } else { step }
    }
}

/// A PROXY protocol version, optionally with the claimed source: `v2=192.0.2.1:4711`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxyClaim {
    version: ProxyVersion,
    source: Option<SocketAddr>,
}

impl FromStr for ProxyClaim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not a PROXY header: write v1, v2 or, for example, v2=192.0.2.1:4711"
            )
        };
        let (version, source) = match text.split_once('=') {
            Some((version, source)) => (version, Some(source.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let version = match version {
            "v1" => ProxyVersion::V1,
            "v2" => ProxyVersion::V2,
            _ => return Err(wrong()),
        };
        Ok(Self { version, source })
    }
}

/// The flags of every command that connects.
#[derive(Debug, Args)]
pub(crate) struct ClientTransportArgs {
    /// Begin each connection with a PROXY header of this version, v1 or v2.
    ///
    /// The header names this end of the connection as the client; `v2=192.0.2.1:4711` names another
    /// client.
    #[arg(long, env = "ECHOLINE_PROXY", value_name = "VERSION[=IP:PORT]")]
    #[arg(help_heading = "Connections")]
    proxy: Option<ProxyClaim>,
}

impl ClientTransportArgs {
    /// Returns the error message if --proxy has no effect on one of `addresses`.
    pub(crate) fn usage_error(&self, addresses: &[Address]) -> Option<String> {
        let udp = addresses.iter().find(|address| address.scheme() == Scheme::Udp)?;
        // The variable may be meant for other runs in the same environment.
        (self.proxy.is_some() && !config::may_set("proxy")).then(|| {
            format!("--proxy has no effect on {udp}, which has no connections: remove --proxy")
        })
    }

    /// Returns the transport steps of connections to `address`. Their PROXY headers claim the
    /// addresses of `network` in turn.
    pub(crate) fn transport(
        &self,
        address: &Address,
        network: Option<IpNet>,
        tls: Option<Arc<dyn Step>>,
    ) -> Transport {
        let mut transport = Transport::plain();
        if let Some(claim) = self.proxy {
            let source = match (network, claim.source) {
                (Some(network), _) => ProxySource::Network(network),
                (None, Some(source)) => ProxySource::Address(source),
                (None, None) => ProxySource::Own,
            };
            transport = transport.then(Arc::new(SendProxy::new(claim.version, source)));
        }
        if let Some(step) = tls {
            transport = transport.then(step);
        }
        if address.scheme().is_websocket() {
            transport = transport.then(Arc::new(OpenWebSocket::new(address)));
        }
        transport
    }
}

/// Returns the value of a flag that names a network.
pub(crate) fn network_value(text: &str) -> Result<IpNet, String> {
    network(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_refused_with_the_right_form() {
        for (text, wanted) in
            [("10.0.0.0/33", "10.0.0.0/8"), ("localhost", "127.0.0.1"), ("", "10.0.0.0/8")]
        {
            assert!(text.parse::<TrustedProxies>().unwrap_err().contains(wanted), "{text}");
        }
        assert_eq!(
            "127.0.0.1".parse(),
            Ok(TrustedProxies::Network("127.0.0.1/32".parse().unwrap()))
        );
        for text in ["v3", "v1=localhost", "v2=192.0.2.1", "="] {
            assert!(text.parse::<ProxyClaim>().unwrap_err().contains("v2=192.0.2.1:4711"));
        }
        assert!(origin("chat.example.com").unwrap_err().contains("https://chat.example.com"));
        assert!(origin("https://a.example/").is_err() && origin("*").is_ok());
        for text in ["https://a.example", "a.example:80", "a.example/x", "", "a b", "ü.example"] {
            assert!(host_name(text).unwrap_err().contains("chat.example.com"), "{text}");
        }
        assert_eq!(host_name("a.example."), Ok("a.example".to_owned()));
        assert!(host_name("*").is_ok() && !host_names().is_empty());
    }
}
