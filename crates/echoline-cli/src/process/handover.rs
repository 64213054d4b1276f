//! Passes listening sockets from one process to its successor over a socket pair. The successor's
//! standard input is one end of the pair. So another process cannot connect to the channel through
//! a path, and the successor need not be told a descriptor number.
//!
//! The predecessor sends the list of sockets. The successor sends `READY` once it can accept. The
//! predecessor sends `YOURS` when it hands the service over. The end of the stream means that the
//! other process has ended.

use std::io::{self, IoSlice, IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use echoline::listener::FileOwner;

/// The number of sockets in one message: the maximum of Linux (`SCM_MAX_FD`).
const SOCKETS_MAX: usize = 253;

/// The maximum size of the list of sockets, in bytes. The longest possible Unix paths need less
/// than half of it.
const LIST_MAX: usize = 64 * 1024;

/// The first entry of the list. It identifies the protocol, because a successor may be a different
/// version.
const VERSION: &str = "echoline-1";

/// An empty entry marks the end of the list. Each entry ends with a NUL.
const LIST_END: &[u8] = b"\0\0";

/// A socket that is passed to a successor.
#[derive(Debug)]
pub(crate) struct HandoverSocket {
    /// The configured address, as typed, with port 0 unresolved.
    pub(crate) asked: String,
    pub(crate) owner: FileOwner,
    pub(crate) socket: OwnedFd,
}

/// A message between the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandoverMessage {
    /// The successor reports that it can accept connections.
    Ready,
    /// The predecessor reports that the service now belongs to the successor.
    Yours,
}

impl HandoverMessage {
    fn byte(self) -> u8 {
        match self {
            Self::Ready => b'R',
            Self::Yours => b'Y',
        }
    }
}

/// Sends the listening sockets in `parcels`. Does not wait for the receiver.
pub(super) fn send_parcels(to: &UnixStream, parcels: &[HandoverSocket]) -> io::Result<()> {
    let list = list(parcels);
    if parcels.len() > SOCKETS_MAX || list.len() > LIST_MAX {
        let text = format!("more than {SOCKETS_MAX} listening sockets cannot be handed over");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let sockets: Vec<BorrowedFd<'_>> = parcels.iter().map(|parcel| parcel.socket.as_fd()).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&sockets));
        assert!(fits, "there is room for SOCKETS_MAX sockets");
    }
    let sent = sendmsg(to, &[IoSlice::new(list.as_bytes())], &mut control, SendFlags::DONTWAIT)?;
    // The pair is new, so its buffer is empty. The buffer is larger than the longest list.
    if sent == list.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives the sockets of [`send_parcels`], which must have been sent already.
pub(super) fn receive_parcels(from: &UnixStream) -> io::Result<Vec<HandoverSocket>> {
    let mut bytes = vec![0; LIST_MAX];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let sockets: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        })
        .flatten()
        .collect();
    let mut length = got.bytes;
    from.set_nonblocking(true)?;
    while length > 0 && length < LIST_MAX && !bytes[..length].ends_with(LIST_END) {
        match (&mut &*from).read(&mut bytes[length..])? {
            0 => break,
            more => length += more,
        }
    }
    let parcels = str::from_utf8(&bytes[..length]).ok();
    let parcels = parcels.filter(|_| !got.flags.contains(ReturnFlags::CTRUNC));
    let parcels = parcels.and_then(|list| unpack(list, sockets));
    let unreadable = "this version cannot read the list of sockets of the running process";
    parcels.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, unreadable))
}

/// Returns the list of sockets as text. NUL ends each entry, because no path contains it.
fn list(parcels: &[HandoverSocket]) -> String {
    let entries = parcels.iter().map(|parcel| {
        let owner = match parcel.owner {
            FileOwner::Us => "us",
            FileOwner::Somebody => "somebody",
        };
        format!("{owner} {}\0", parcel.asked)
    });
    let version = std::iter::once(format!("{VERSION}\0"));
    version.chain(entries).chain(std::iter::once("\0".to_owned())).collect()
}

/// Reads the list, and returns each socket with its entry. Returns `None` if the list has another
/// format.
fn unpack(list: &str, sockets: Vec<OwnedFd>) -> Option<Vec<HandoverSocket>> {
    let mut entries = list.strip_suffix("\0\0")?.split('\0');
    if entries.next()? != VERSION {
        return None;
    }
    let entries: Vec<&str> = entries.collect();
    if entries.len() != sockets.len() {
        return None;
    }
    let parcel = |(entry, socket): (&str, OwnedFd)| {
        let (owner, asked) = entry.split_once(' ')?;
        let owner = match owner {
            "us" => FileOwner::Us,
            "somebody" => FileOwner::Somebody,
            _ => return None,
        };
        Some(HandoverSocket { asked: asked.to_owned(), owner, socket })
    };
    entries.into_iter().zip(sockets).map(parcel).collect()
}

/// One end of the channel, after the sockets were passed.
#[derive(Debug)]
pub(super) struct HandoverChannel(tokio::net::UnixStream);

impl HandoverChannel {
    /// Creates the channel. Call it inside a runtime.
    pub(super) fn new(end: UnixStream) -> io::Result<Self> {
        end.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(end).map(Self)
    }

    /// Sends `word`. It arrives unless the other process has ended.
    pub(super) fn say(&self, word: HandoverMessage) -> io::Result<()> {
        // The buffer has room for all words of the protocol.
        rustix::net::send(self.0.as_fd(), &[word.byte()], SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for `word`. Returns whether it arrived before the other process ended. Cancel safe.
    pub(super) async fn hear(&self, word: HandoverMessage) -> bool {
        let mut byte = [0];
        loop {
            if self.0.readable().await.is_err() {
                return false;
            }
            match self.0.try_read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(1) => return byte[0] == word.byte(),
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Waits for the end of the other process. Cancel safe.
    pub(super) async fn ended(&self) {
        // Ignores all further messages until the stream ends.
        while self.hear(HandoverMessage::Ready).await {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn parcel(asked: &str, owner: FileOwner) -> (HandoverSocket, std::net::SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (HandoverSocket { asked: asked.to_owned(), owner, socket: socket.into() }, address)
    }

    #[test]
    fn sockets_arrive_with_their_configured_addresses() {
        let (near, far) = UnixStream::pair().unwrap();
        let (first, first_at) = parcel("127.0.0.1:0", FileOwner::Somebody);
        let (second, second_at) = parcel("unix:/run/with a\nline end", FileOwner::Us);
        send_parcels(&near, &[first, second]).unwrap();
        let got = receive_parcels(&far).unwrap();
        let asked: Vec<_> =
            got.iter().map(|parcel| (parcel.asked.as_str(), parcel.owner)).collect();
        let unix = "unix:/run/with a\nline end";
        assert_eq!(asked, [("127.0.0.1:0", FileOwner::Somebody), (unix, FileOwner::Us)]);
        let addresses = got
            .into_iter()
            .map(|parcel| TcpListener::from(parcel.socket).local_addr().unwrap())
            .collect::<Vec<_>>();
        assert_eq!(addresses, [first_at, second_at]);
    }

    #[test]
    fn an_unknown_list_is_refused() {
        let socket = || vec![TcpListener::bind("127.0.0.1:0").unwrap().into()];
        for list in ["", "\0\0", "echoline-2\0us a\0\0", "echoline-1\0us a\0", "echoline-1\0a\0\0"]
        {
            assert!(unpack(list, socket()).is_none(), "{list:?}");
        }
        assert!(unpack("echoline-1\0\0", socket()).is_none(), "one socket too many");
        assert!(unpack("echoline-1\0us a\0\0", Vec::new()).is_none(), "one less");
        assert!(unpack("echoline-1\0\0", Vec::new()).is_some_and(|parcels| parcels.is_empty()));
        let (near, far) = UnixStream::pair().unwrap();
        assert_eq!(receive_parcels(&far).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(near);
        assert_eq!(receive_parcels(&far).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn messages_and_the_end_are_received() {
        let (near, far) = UnixStream::pair().unwrap();
        let (near, far) = (HandoverChannel::new(near).unwrap(), HandoverChannel::new(far).unwrap());
        far.say(HandoverMessage::Ready).unwrap();
        assert!(near.hear(HandoverMessage::Ready).await);
        near.say(HandoverMessage::Ready).unwrap();
        assert!(!far.hear(HandoverMessage::Yours).await, "another word");
        drop(far);
        assert!(!near.hear(HandoverMessage::Ready).await);
        near.ended().await;
    }
}
