//! Receives and sends many datagrams with one system call (recvmmsg(2), sendmmsg(2)), without an
//! allocation.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
    recvmmsg, sendmmsg,
};

use super::guard::DatagramArrival;

/// The maximum number of datagrams per call. After each call the task yields to other tasks of the
/// thread.
pub(super) const BATCH: usize = 32;

/// The distance between two datagrams in the buffer. It has room for any datagram (65,507 bytes
/// over IPv4, 65,527 over IPv6). It is not a multiple of a large power of two, so that the
/// datagrams do not compete for the same lines of the processor's cache.
const STRIDE: usize = 65_600;

/// The datagrams received in one system call, and the answers to send. The buffers are reserved,
/// but the system commits memory only when a datagram first needs it.
#[derive(Debug)]
pub(super) struct DatagramBatch {
    received: Vec<u8>,
    arrivals: Vec<ReceivedDatagram>,
    written: Vec<u8>,
    outgoing: Vec<OutgoingDatagram>,
    /// The number of datagrams in `outgoing` that were already sent.
    gone: usize,
}

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedDatagram {
    pub(super) arrival: DatagramArrival,
    pub(super) length: usize,
    /// The index of the network interface that received the datagram.
    interface: u32,
}

/// A datagram to send.
#[derive(Clone, Debug)]
struct OutgoingDatagram {
    bytes: PayloadSource,
    from: LocalAddress,
    to: SocketAddr,
}

#[derive(Clone, Debug)]
enum PayloadSource {
    ReceivedDatagram(Range<usize>),
    Written(Range<usize>),
}

/// The local address from which a datagram is sent. The interface is set only if the address is
/// ambiguous without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalAddress {
    address: IpAddr,
    interface: u32,
}

impl DatagramBatch {
    pub(super) fn new() -> Self {
        Self {
            received: vec![0; BATCH * STRIDE],
            arrivals: Vec::with_capacity(BATCH),
            written: Vec::new(),
            outgoing: Vec::with_capacity(BATCH),
            gone: 0,
        }
    }

    /// Receives the waiting datagrams and replaces the previous batch.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if no datagram is waiting.
    pub(super) fn receive(
        &mut self,
        socket: &impl AsRawFd,
        family: AddressFamily,
    ) -> io::Result<usize> {
        self.clear();
        with_headers(family, IoDirection::In, |headers| {
            let mut rooms = self.received.chunks_exact_mut(STRIDE);
            let mut rooms: [_; BATCH] = std::array::from_fn(|_| {
                [IoSliceMut::new(rooms.next().expect("there is one for each of the batch"))]
            });
            let flags = MsgFlags::MSG_DONTWAIT;
            let messages = recvmmsg(socket.as_raw_fd(), headers, rooms.iter_mut(), flags, None)?;
            let arrivals = messages.map(|message| ReceivedDatagram::of(&message));
            self.arrivals
                .extend(arrivals.map(|arrival| arrival.unwrap_or(ReceivedDatagram::UNKNOWN)));
            Ok(())
        })?;
        // The system writes the length of each address into the headers, which are used again.
        // After a datagram without an address, the headers would have no room for the next address.
        if self.arrivals.iter().any(|received| received.arrival.source.port() == 0) {
            forget_headers(family);
        }
        Ok(self.arrivals.len())
    }

    /// Empties the batch.
    pub(super) fn clear(&mut self) {
        self.arrivals.clear();
        self.written.clear();
        self.outgoing.clear();
        self.gone = 0;
    }

    /// Returns the received datagrams.
    pub(super) fn arrivals(&self) -> &[ReceivedDatagram] {
        &self.arrivals
    }

    /// Returns the bytes of received datagram `index`, and the buffer to which the caller appends
    /// an answer.
    pub(super) fn open(&mut self, index: usize) -> (&[u8], &mut Vec<u8>) {
        let length = self.arrivals[index].length;
        (&self.received[index * STRIDE..][..length], &mut self.written)
    }

    /// Returns the number of bytes in the answer buffer.
    pub(super) fn written(&self) -> usize {
        self.written.len()
    }

    /// Truncates the answer buffer to `length` bytes.
    pub(super) fn unwrite(&mut self, length: usize) {
        self.written.truncate(length);
    }

    /// Answers datagram `index` with its own bytes.
    pub(super) fn send_back(&mut self, index: usize) {
        let begin = index * STRIDE;
        let bytes = PayloadSource::ReceivedDatagram(begin..begin + self.arrivals[index].length);
        self.push(self.arrivals[index], bytes);
    }

    /// Answers datagram `index` with the bytes of the answer buffer from `begin` on.
    pub(super) fn send_written(&mut self, index: usize, begin: usize) {
        let bytes = PayloadSource::Written(begin..self.written.len());
        self.push(self.arrivals[index], bytes);
    }

    /// Answers the datagram `received`, which may belong to an earlier batch.
    pub(super) fn send_copy(&mut self, received: ReceivedDatagram, bytes: &[u8]) {
        let begin = self.written.len();
        self.written.extend_from_slice(bytes);
        self.push(received, PayloadSource::Written(begin..self.written.len()));
    }

    fn push(&mut self, received: ReceivedDatagram, bytes: PayloadSource) {
        if let Some(from) = received.local() {
            self.outgoing.push(OutgoingDatagram { bytes, from, to: received.arrival.source });
        }
    }

    /// Sends queued answers with one call. Returns the number of sent answers and of their bytes.
    /// Both are 0 if all answers are sent.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the system has no room now. Any other error discards the
    /// first queued answer.
    pub(super) fn send(
        &mut self,
        socket: &impl AsRawFd,
        family: AddressFamily,
    ) -> io::Result<Option<(u64, u64)>> {
        let rest = &self.outgoing[self.gone..];
        let Some(first) = rest.first() else { return Ok(None) };
        // One call can send from only one local address.
        let run = rest.iter().take_while(|next| next.from == first.from).take(BATCH).count();
        let slice = |index: usize| rest.get(index).map_or(&[][..], |next| self.bytes(next));
        let slices: [_; BATCH] = std::array::from_fn(|index| [IoSlice::new(slice(index))]);
        let targets: [Option<SockaddrStorage>; BATCH] =
            std::array::from_fn(|index| rest.get(index).map(|next| next.to.into()));
        let sent = with_headers(family, IoDirection::Out, |headers| {
            let (slices, targets) = (&slices[..run], &targets[..run]);
            let descriptor = socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let sent = match first.from.address {
                IpAddr::V4(from) => {
                    let info = libc::in_pktinfo {
                        ipi_ifindex: 0,
                        ipi_spec_dst: libc::in_addr { s_addr: from.to_bits().to_be() },
                        ipi_addr: libc::in_addr { s_addr: 0 },
                    };
                    let from = [ControlMessage::Ipv4PacketInfo(&info)];
                    sendmmsg(descriptor, headers, slices, targets, from, flags)?.count()
                }
                IpAddr::V6(from) => {
                    let info = libc::in6_pktinfo {
                        ipi6_addr: libc::in6_addr { s6_addr: from.octets() },
                        ipi6_ifindex: first.from.interface,
                    };
                    let from = [ControlMessage::Ipv6PacketInfo(&info)];
                    sendmmsg(descriptor, headers, slices, targets, from, flags)?.count()
                }
            };
            Ok(sent)
        });
        match sent {
            Ok(count) => {
                let bytes = rest[..count].iter().map(|next| self.bytes(next).len() as u64).sum();
                self.gone += count;
                Ok(Some((count as u64, bytes)))
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.gone += 1;
                }
                Err(error)
            }
        }
    }

    fn bytes(&self, outgoing: &OutgoingDatagram) -> &[u8] {
        match &outgoing.bytes {
            PayloadSource::ReceivedDatagram(range) => &self.received[range.clone()],
            PayloadSource::Written(range) => &self.written[range.clone()],
        }
    }
}

impl ReceivedDatagram {
    /// A datagram without an address is not answered: its port is 0, and no client uses port 0.
    const UNKNOWN: Self = Self {
        arrival: DatagramArrival {
            source: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            to: None,
            mark: 0,
        },
        length: 0,
        interface: 0,
    };

    fn of(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Self> {
        let mut received = Self { length: message.bytes, ..Self::UNKNOWN };
        received.arrival.source = socket_address(message.address.as_ref()?)?;
        for said in message.cmsgs().ok()? {
            let arrival = &mut received.arrival;
            match said {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let address = |raw: libc::in_addr| Ipv4Addr::from_bits(raw.s_addr.to_be());
                    // For a multicast or broadcast datagram the two addresses differ.
                    let is_ours = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                    arrival.to = is_ours.then(|| address(info.ipi_addr).into());
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    arrival.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    received.interface = info.ipi6_ifindex;
                }
                ControlMessageOwned::Ipv4Tos(mark) => arrival.mark = mark,
                // The header field has eight bits, so the value fits.
                ControlMessageOwned::Ipv6TClass(mark) => arrival.mark = mark as u8,
                _ => {}
            }
        }
        Some(received)
    }

    fn local(&self) -> Option<LocalAddress> {
        let address = self.arrival.to?;
        let is_link = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Some(LocalAddress { address, interface: if is_link { self.interface } else { 0 } })
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug)]
enum IoDirection {
    In,
    Out,
}

type Headers = MultiHeaders<SockaddrStorage>;

thread_local! {
    /// The message headers of the calls. They contain pointers, so each thread has its own. Each
    /// direction and family has separate headers, because headers keep the lengths of their last
    /// use.
    static HEADERS: RefCell<[[Option<Headers>; 2]; 2]> = const {
        RefCell::new([[None, None], [None, None]])
    };
}

fn with_headers<T>(
    family: AddressFamily,
    direction: IoDirection,
    call: impl FnOnce(&mut Headers) -> io::Result<T>,
) -> io::Result<T> {
    HEADERS.with_borrow_mut(|all| {
        let headers = &mut all[direction as usize][family as usize];
        call(headers.get_or_insert_with(|| make_headers(family, direction)))
    })
}

fn forget_headers(family: AddressFamily) {
    HEADERS.with_borrow_mut(|all| all[IoDirection::In as usize][family as usize] = None);
}

fn make_headers(family: AddressFamily, direction: IoDirection) -> Headers {
    // The buffer has exactly the size of the control messages, because sendmmsg would also parse
    // unused bytes.
    let said = match (family, direction) {
        (AddressFamily::V4, IoDirection::In) => cmsg_space!(libc::in_pktinfo, u8),
        (AddressFamily::V6, IoDirection::In) => cmsg_space!(libc::in6_pktinfo, libc::c_int),
        (AddressFamily::V4, IoDirection::Out) => cmsg_space!(libc::in_pktinfo),
        (AddressFamily::V6, IoDirection::Out) => cmsg_space!(libc::in6_pktinfo),
    };
    MultiHeaders::preallocate(BATCH, Some(said))
}
