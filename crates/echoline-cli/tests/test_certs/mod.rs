//! Sends datagrams with forged sources.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Sends a datagram with a forged source. Returns an error if the process lacks the permission.
pub(crate) fn forge(from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { panic!("IPv4 only") };
    let raw = socket2::Protocol::from(libc::IPPROTO_RAW);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(raw))?;
    // The system fills in the length and the checksum of the IP header; the checksum of the UDP
    // header may be 0.
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, libc::IPPROTO_UDP as u8, 0, 0];
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let length = 8 + bytes.len() as u16;
    for field in [from.port(), to.port(), length, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(bytes);
    socket.send_to(&packet, &SocketAddrV4::new(*to.ip(), 0).into()).map(drop)
}

/// Returns whether this process may forge datagrams. If not, prints that the test is skipped.
pub(crate) fn may_forge() -> bool {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let forged = forge(nobody, nobody, b"");
    if let Err(error) = &forged {
        eprintln!("skipped: a forged datagram needs CAP_NET_RAW ({error})");
    }
    forged.is_ok()
}
