//! The servers under test, and how clients connect to them.

use std::net::IpAddr;

use echoline::Address;
use echoline::transport::Transport;

/// The address family of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4 and IPv6.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// The times at which names are resolved, and the order in which addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolvePolicy {
    /// Names are resolved once; each connection tries the addresses in the resolver's order.
    #[default]
    Once,
    /// Names are resolved once. Each connection begins with the next address, so that all addresses
    /// get their share.
    Rotate,
    /// Names are resolved for each connection.
    Each,
}

/// The servers under test, and the way to them.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The addresses of the servers. Clients use them in turn.
    pub addresses: Vec<Address>,
    /// The transport of each address in `addresses`, in the same order. Addresses without an entry
    /// use a plain transport. Connecting fails if the scheme of an address needs a protocol that
    /// its transport does not have.
    pub transports: Vec<Transport>,
    /// The address family of connections.
    pub family: IpFamily,
    /// The times at which names are resolved, and the order in which addresses are used.
    pub resolve: ResolvePolicy,
    /// Local addresses, used in turn. If empty, the system chooses. Each address has its own ports,
    /// so more addresses allow more connections.
    pub sources: Vec<IpAddr>,
    /// The options of each socket.
    pub socket: SocketOptions,
}

/// The socket options that affect the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `TCP_NODELAY`. Without it, the second packet of a message waits for the acknowledgement of
    /// the first.
    pub nodelay: bool,
    /// `SO_SNDBUF` in bytes; `None` for the default of the system.
    pub send_buffer: Option<u32>,
    /// `SO_RCVBUF` in bytes; `None` for the default of the system.
    pub receive_buffer: Option<u32>,
    /// Ends connections with a reset, which frees the local port at once. A FIN would keep the port
    /// in TIME_WAIT for a minute.
    pub reset: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, send_buffer: None, receive_buffer: None, reset: false }
    }
}
