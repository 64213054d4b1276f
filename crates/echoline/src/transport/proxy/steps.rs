//! The PROXY header as a step of a transport: a server reads it from trusted proxies, and a client
//! sends it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::facts::ProxyFacts;
use super::header::{HeaderProgress, ProxyVersion, progress};
use super::tlv::ProxyHeaderError;
use crate::connection::limits::Closed;
use crate::transport::origin::Origin;
use crate::transport::steps::{OpenFuture, Refusal, Step};
use crate::transport::stream::Stream;

/// The maximum wait for the header, which a proxy can send as soon as it connects.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The step that reads a PROXY header from connections of trusted proxies, which must send one. On
/// all other connections, every byte belongs to the client.
#[derive(Debug)]
pub struct AcceptProxy {
    networks: Vec<IpNet>,
    unix: bool,
    users: Vec<u32>,
}

impl AcceptProxy {
    /// Creates a step that trusts the proxies in `networks`.
    #[must_use]
    pub fn from_networks(networks: Vec<IpNet>) -> Self {
        Self { networks, unix: false, users: Vec::new() }
    }

    /// Also requires the header from every client of a Unix socket. The permissions of the socket
    /// file must exclude other users. If every user may connect (mode 0666, or a name in the
    /// abstract namespace), each of them could pose as any client.
    #[must_use]
    pub fn and_unix(self) -> Self {
        Self { unix: true, ..self }
    }

    /// Also requires the header from programs that run as one of these user IDs and connect to a
    /// Unix socket.
    #[must_use]
    pub fn and_users(self, users: Vec<u32>) -> Self {
        Self { users, ..self }
    }

    fn trusts(&self, origin: &Origin) -> bool {
        let Some(peer) = origin.peer else {
            return self.unix
                || origin.credentials.is_some_and(|peer| self.users.contains(&peer.uid));
        };
        let ip = peer.ip().to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

impl Step for AcceptProxy {
    fn open<'a>(&'a self, mut stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            if self.trusts(origin) {
                let read = timeout(HEADER_TIMEOUT, read_header(&mut stream)).await;
                match read.unwrap_or(Err(HeaderReadError::Late)) {
                    Ok(facts) => {
                        origin.source = facts.source();
                        origin.is_proxy_itself = facts.is_local();
                        origin.proxy = Some(Box::new(facts));
                    }
                    // This is a health check. A proxy connects every few seconds to check that the
                    // port is open.
                    Err(HeaderReadError::Nothing) => return Err(Closed::Finished),
                    Err(trouble) => {
                        let (words, closed) = trouble.describe();
                        tracing::warn!(proxy = ?origin.peer, "refused a proxy: {words}");
                        origin.failure = Some(words);
                        return Err(closed);
                    }
                }
            }
            Ok(stream)
        })
    }

    /// This step does not change the sent bytes, so the next step determines the refusal.
    fn refusal(&self, _: Closed) -> Refusal {
        Refusal::Next
    }

    fn speaks_for_others(&self, origin: &Origin) -> bool {
        self.trusts(origin)
    }
}

/// The reason for which no header could be read.
enum HeaderReadError {
    /// The proxy ended the connection without a byte.
    Nothing,
    Late,
    Malformed(ProxyHeaderError),
    Ended(Closed),
}

impl HeaderReadError {
    fn describe(self) -> (String, Closed) {
        match self {
            Self::Late => {
                let words = format!("no complete PROXY header arrived within {HEADER_TIMEOUT:?}");
                (words, Closed::HandshakeTimeout)
            }
            Self::Malformed(error) => (error.to_string(), Closed::HandshakeFailed),
            Self::Ended(closed) => ("it ended before its PROXY header".to_owned(), closed),
            Self::Nothing => ("it sent nothing".to_owned(), Closed::Finished),
        }
    }
}

/// Reads exactly the header; the bytes after it stay in the stream.
async fn read_header(stream: &mut Stream) -> Result<ProxyFacts, HeaderReadError> {
    let mut header = Vec::new();
    loop {
        let more = match progress(&header).map_err(HeaderReadError::Malformed)? {
            HeaderProgress::More(more) => more,
            HeaderProgress::Complete(details) => return Ok(ProxyFacts::of(&header, &details)),
        };
        let start = header.len();
        header.resize(start + more, 0);
        match stream.read(&mut header[start..]).await {
            Ok(0) | Err(_) if start == 0 => return Err(HeaderReadError::Nothing),
            Ok(0) => return Err(HeaderReadError::Ended(Closed::HandshakeFailed)),
            Ok(count) => header.truncate(start + count),
            Err(error) => return Err(HeaderReadError::Ended(error.into())),
        }
    }
}

/// Sends the header before all other bytes, as a proxy does.
#[derive(Debug)]
pub struct SendProxy {
    version: ProxyVersion,
    source: ProxySource,
    sent: AtomicU64,
}

/// The client that a proxy claims to connect for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// The proxy claims to be the client itself, with its own end of the connection.
    Own,
    /// The client always has this address.
    Address(SocketAddr),
    /// Each connection has the next address of the network as its client, with its own port.
    Network(IpNet),
}

impl SendProxy {
    /// Creates a step that sends a header of this version, which names `source` as the client.
    #[must_use]
    pub fn new(version: ProxyVersion, source: ProxySource) -> Self {
        Self { version, source, sent: AtomicU64::new(0) }
    }

    fn header(&self, stream: &Stream) -> io::Result<Vec<u8>> {
        let ends = stream.local_addr().zip(stream.peer_addr());
        let (own, server) = ends.ok_or_else(|| {
            let text = "a PROXY header needs a TCP connection, because it has addresses";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        let source = match &self.source {
            ProxySource::Own => own,
            ProxySource::Address(source) => *source,
            ProxySource::Network(network) => SocketAddr::new(nth(network, number), own.port()),
        };
        Ok(self.version.header(source, server))
    }
}

/// Returns address `number` of a network, starting again after the last one. The network and
/// broadcast addresses are omitted if the network has other addresses.
fn nth(network: &IpNet, number: u64) -> IpAddr {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
    let (first, count) = if bits >= 2 { (1, all - 2) } else { (0, all) };
    let offset = first + u128::from(number) % count;
    match network.network() {
        // The offset is less than 2^32, because an IPv4 network has no more addresses.
        IpAddr::V4(ip) => std::net::Ipv4Addr::from_bits(ip.to_bits() + offset as u32).into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() + offset).into(),
    }
}

impl Step for SendProxy {
    fn open<'a>(&'a self, mut stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            let header = match self.header(&stream) {
                Ok(header) => header,
                Err(error) => {
                    origin.failure = Some(error.to_string());
                    return Err(Closed::HandshakeFailed);
                }
            };
            stream.write_all(&header).await?;
            Ok(stream)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::credentials::PeerCredentials;

    #[test]
    fn a_network_gives_one_address_after_the_other() {
        let take = |network: &str| {
            let network = network.parse().unwrap();
            let taken: Vec<String> = (0..4).map(|n| nth(&network, n).to_string()).collect();
            taken.join(" ")
        };
        assert_eq!(take("10.0.0.0/8"), "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
        assert_eq!(take("192.0.2.4/30"), "192.0.2.5 192.0.2.6 192.0.2.5 192.0.2.6");
        assert_eq!(take("192.0.2.4/31"), "192.0.2.4 192.0.2.5 192.0.2.4 192.0.2.5");
        assert_eq!(take("2001:db8::/32"), "2001:db8::1 2001:db8::2 2001:db8::3 2001:db8::4");
        assert_eq!(nth(&"::/0".parse().unwrap(), 0).to_string(), "::1");
    }

    #[test]
    fn trusts_only_the_listed_networks() {
        let step = AcceptProxy::from_networks(vec!["192.0.2.0/24".parse().unwrap()]);
        let trusts = |peer: &str| {
            step.trusts(&Origin { peer: Some(peer.parse().unwrap()), ..Origin::default() })
        };
        assert!(trusts("192.0.2.7:1") && trusts("[::ffff:192.0.2.7]:1"));
        assert!(!trusts("198.51.100.1:1") && !trusts("[::1]:1"));
    }

    /// Issue 12, item 17: at a Unix socket only the listed users are trusted, and never a user with
    /// an unknown id.
    #[test]
    fn attack_another_local_user_is_no_proxy() {
        let step = AcceptProxy::from_networks(vec!["0.0.0.0/0".parse().unwrap()]);
        let step = step.and_users(vec![1000]);
        let trusts = |uid: Option<u32>| {
            let credentials = uid.map(|uid| PeerCredentials::new(Some(1), uid, 0));
            step.trusts(&Origin { credentials, ..Origin::default() })
        };
        assert!(trusts(Some(1000)));
        assert!(!trusts(Some(1001)) && !trusts(Some(0)) && !trusts(None));
    }
}
