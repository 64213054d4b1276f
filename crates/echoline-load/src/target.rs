//! The servers under test, and how clients connect to them.

use std::net::IpAddr;

use echoline::{Address, Transport};

/// Which addresses of a name are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressFamily {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// What is done with the addresses of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResolvePolicy {
    /// Names are resolved once; each connection tries the addresses in the resolver's order.
    #[default]
    Once,
    /// Names are resolved once; each connection begins with the next address, so that all get
    /// their share.
    Rotate,
    /// A name is resolved anew for each connection.
    Each,
}

/// The servers and the way to them.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Clients take them in turn.
    pub addresses: Vec<Address>,
    /// The transport of each of `addresses`; plain if there are fewer. A scheme
    /// that a transport does not speak is an error.
    pub transports: Vec<Transport>,
    /// Which addresses of a name are taken.
    pub family: AddressFamily,
    /// What is done with the addresses of a name.
    pub resolve: ResolvePolicy,
    /// Local addresses, taken in turn; empty for what the system chooses. Each has its own ports,
    /// so that more of them allow more connections.
    pub sources: Vec<IpAddr>,
    /// Options of each socket.
    pub socket: SocketOptions,
}

/// Options of a socket that change what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `TCP_NODELAY`: else a message of two packets waits for the acknowledgement of the first.
    pub nodelay: bool,
    /// `SO_SNDBUF` in bytes; `None` for the system's.
    pub send_buffer: Option<u32>,
    /// `SO_RCVBUF` in bytes; `None` for the system's.
    pub receive_buffer: Option<u32>,
    /// Ends connections by reset, which leaves nothing behind, instead of by FIN, after which the
    /// local port is in use for another minute.
    pub reset: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, send_buffer: None, receive_buffer: None, reset: false }
    }
}
