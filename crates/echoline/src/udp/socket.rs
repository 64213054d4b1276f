//! A bound UDP socket.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::stat::fstat;
use socket2::{Domain, Protocol, Type};

use super::guard::ANSWER_MARK;
use crate::listener::address::{Address, Scheme, is_loopback};
use crate::listener::bind::ListenerOptions;
use crate::listener::bind_error::{say, unsupported};
use crate::listener::one_port::bind_all;

/// The requested size of the receive buffer in bytes. The system limits it to `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// A UDP socket that is bound. Datagrams queue up from now on and are served by a
/// [`DatagramServer`](crate::udp::DatagramServer).
#[derive(Debug)]
pub struct DatagramListener {
    socket: UdpSocket,
}

impl DatagramListener {
    /// Binds all socket addresses to which `address` resolves, or none. A name may have an IPv4 and
    /// an IPv6 address. With port 0 all of them get the same free port. Cancel safe.
    ///
    /// # Errors
    /// One sentence with the address and the reason. Any scheme but `udp://` is an error. An
    /// address family that the host does not support is skipped if another one can be bound.
    pub async fn bind(address: &Address) -> io::Result<Vec<Self>> {
        Self::bind_with(address, &ListenerOptions::default()).await
    }

    /// Like [`bind`](Self::bind), with options. Only the option `reuse_port` applies to datagrams.
    /// Cancel safe.
    ///
    /// # Errors
    /// Like [`bind`](Self::bind).
    pub async fn bind_with(address: &Address, options: &ListenerOptions) -> io::Result<Vec<Self>> {
        if address.scheme() != Scheme::Udp {
            let text = format!(
                "DatagramListener::bind takes udp://HOST:PORT, and {} has no datagrams: bind it \
                 with Listener::bind",
                address.scheme().name()
            );
            return Err(unsupported(address, &text));
        }
        let resolved = address.resolve().await.map_err(|error| say(address, &error))?;
        let bound = bind_all(&resolved, |candidate| {
            let listener = Self::from_std(bind_one(candidate, options)?)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        });
        bound.map_err(|error| say(address, &error))
    }

    /// Takes over a socket that a service manager or a predecessor has bound.
    ///
    /// # Errors
    /// If an option cannot be set, for example because it is not a UDP socket.
    pub fn inherit(socket: OwnedFd) -> io::Result<Self> {
        Self::from_std(socket.into())
    }

    /// Takes over a socket that is bound already.
    ///
    /// # Errors
    /// When an option cannot be set.
    pub fn from_std(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = socket2::SockRef::from(&socket);
        // Request two facts about each datagram: its destination address, from which the answer is
        // sent, and the header byte with the mark of answers.
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            options.set_recv_tos_v4(true)?;
            options.set_tos_v4(ANSWER_MARK.into())?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            options.set_recv_tclass_v6(true)?;
            options.set_tclass_v6(ANSWER_MARK.into())?;
        }
        options.set_recv_buffer_size(RECEIVE_BUFFER)?;
        Ok(Self { socket })
    }

    /// Duplicates the socket for another process, which takes it over with
    /// [`inherit`](Self::inherit). Call [`retire`](crate::Shutdown::retire) on this server
    /// afterwards, so that no datagram is lost.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn hand_on(&self) -> io::Result<OwnedFd> {
        Ok(self.socket.try_clone()?.into())
    }

    /// Returns the socket address that was bound, with the actual port if port 0 was requested.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Returns whether only this host can reach the socket.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn is_loopback(&self) -> io::Result<bool> {
        Ok(is_loopback(self.socket.local_addr()?.ip()))
    }

    /// Returns the address to which clients send, with the bound port.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn address(&self) -> io::Result<Address> {
        Ok(Address::at(Scheme::Udp, self.socket.local_addr()?, ""))
    }

    /// Returns the inode number, which identifies the socket in the system's tables.
    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(fstat(&self.socket)?.st_ino)
    }

    pub(super) fn into_tokio(self) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::from_std(self.socket)
    }
}

fn bind_one(address: SocketAddr, options: &ListenerOptions) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // With this option, [::] and 0.0.0.0 can be bound at the same time on every system.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(options.reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
