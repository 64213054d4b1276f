//! The listening sockets that a process inherits: from systemd (socket activation), or from its
//! predecessor (an upgrade).

use std::collections::HashMap;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, anyhow, bail, ensure};
use listenfd::ListenFd;
use socket2::{SockAddr, Socket, Type};

use super::handover;
pub(crate) use super::handover::HandoverSocket;
use echoline::Address;
use echoline::listener::{FileOwner, Scheme};

/// The variable that tells a process that its standard input is the channel to its predecessor. The
/// value has no meaning.
pub(crate) const UPGRADE: &str = "ECHOLINE_UPGRADE";

/// The variables that systemd sets for a process with passed sockets (sd_listen_fds(3)).
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";

/// Inherited sockets that are not in use yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<InheritedSocket>,
    /// The number of times that each address was requested.
    asked: HashMap<Address, usize>,
    /// The number of times that each admin address was requested.
    asked_for_admin: HashMap<Address, usize>,
    /// The channel to the predecessor, if there is one.
    predecessor: Option<UnixStream>,
}

/// An inherited socket.
#[derive(Debug)]
struct InheritedSocket {
    /// The key for lookups.
    key: SocketKey,
    owner: FileOwner,
    socket: Socket,
}

#[derive(Debug)]
enum SocketKey {
    /// The name that the service manager uses. The socket is also found by its address.
    Name(String),
    /// The address that the predecessor was configured to bind. The actual address is no key: two
    /// occurrences of `127.0.0.1:0` must each find their own socket.
    Asked(String),
}

impl Inherited {
    /// Takes all inherited sockets. Call it once, before other threads exist and before any file is
    /// opened.
    ///
    /// # Errors
    /// One sentence, if the inherited sockets cannot be used.
    pub(crate) fn take_all() -> anyhow::Result<Self> {
        let passed = from_service_manager()?;
        if !passed.is_empty() {
            return Ok(Self { sockets: passed, ..Self::default() });
        }
        match env::var_os(UPGRADE) {
            Some(_) => from_predecessor(),
            None => Ok(Self::default()),
        }
    }

    /// Returns the addresses of the sockets that systemd passed, without those in `except`. The
    /// server listens on them if no address is configured.
    pub(crate) fn passed_addresses(&self, except: &[&Address]) -> anyhow::Result<Vec<Address>> {
        let mut addresses = Vec::new();
        for given in &self.sockets {
            let SocketKey::Name(name) = &given.key else { continue };
            let (here, _) = given.address()?;
            let is_here = |other: &&Address| **other == here || other.fd_name() == Some(name);
            if !except.iter().any(is_here) {
                addresses.push(here);
            }
        }
        Ok(addresses)
    }

    /// Returns the inherited sockets for `address`, or none if the caller has to bind it.
    ///
    /// # Errors
    /// If `address` is `fd://NAME` and no socket of that name was passed.
    pub(crate) async fn take(&mut self, address: &Address) -> anyhow::Result<Vec<HandoverSocket>> {
        let asked = key(address, &mut self.asked);
        self.take_as(asked, address).await
    }

    /// Works like [`take`](Self::take), for the admin address. It also returns the name under which
    /// a successor requests the sockets.
    pub(crate) async fn take_for_admin(
        &mut self,
        address: &Address,
    ) -> anyhow::Result<(String, Vec<HandoverSocket>)> {
        let asked = format!("admin {}", key(address, &mut self.asked_for_admin));
        let parcels = self.take_as(asked.clone(), address).await?;
        Ok((asked, parcels))
    }

    async fn take_as(
        &mut self,
        asked: String,
        address: &Address,
    ) -> anyhow::Result<Vec<HandoverSocket>> {
        if self.sockets.is_empty() && address.scheme() != Scheme::Fd {
            return Ok(Vec::new());
        }
        // A name that does not resolve is no error here, because the later attempt to bind it
        // reports the error.
        let resolved = address.resolve().await.unwrap_or_default();
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.sockets.len() {
            if self.sockets[index].is_for(&asked, address, &resolved) {
                let given = self.sockets.remove(index);
                let asked = asked.clone();
                found.push(HandoverSocket {
                    asked,
                    owner: given.owner,
                    socket: given.socket.into(),
                });
            } else {
                index += 1;
            }
        }
        if let Some(name) = address.fd_name().filter(|_| found.is_empty()) {
            let others = self.shown();
            bail!(
                "{address}: the service manager passed no socket with the name '{name}' \
                 ({others}); set FileDescriptorName={name} in its .socket unit"
            );
        }
        Ok(found)
    }

    /// Handles the sockets that the configuration does not use. If systemd passed them, this is an
    /// error, because they would queue clients that are never served. If a predecessor passed them,
    /// they are closed, because the configuration has changed since the predecessor started.
    pub(crate) fn finish(self) -> anyhow::Result<Option<UnixStream>> {
        ensure!(
            self.sockets.is_empty() || self.predecessor.is_some(),
            "the service manager passed {}, which has no --listen: add it, or remove all --listen \
             to serve every passed socket",
            self.shown()
        );
        Ok(self.predecessor)
    }

    fn shown(&self) -> String {
        let shown = self.sockets.iter().map(|given| match (&given.key, given.address()) {
            (SocketKey::Name(name), Ok((address, _))) => format!("{address}, named '{name}'"),
            (SocketKey::Name(name), Err(_)) => format!("'{name}'"),
            (SocketKey::Asked(asked), _) => asked.clone(),
        });
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() { "it passed none".to_owned() } else { shown.join("; ") }
    }
}

/// Returns the lookup key of a predecessor's socket for `address`. The same `127.0.0.1:0` may be
/// configured several times, and each occurrence gets its own key.
pub(crate) fn key(address: &Address, asked: &mut HashMap<Address, usize>) -> String {
    let times = asked.entry(address.clone()).or_default();
    *times += 1;
    if *times == 1 { address.to_string() } else { format!("{address} ({times})") }
}

impl InheritedSocket {
    fn is_for(&self, asked: &str, address: &Address, resolved: &[SocketAddr]) -> bool {
        let name = match &self.key {
            SocketKey::Asked(key) => return key == asked,
            SocketKey::Name(name) => name,
        };
        if let Some(wanted) = address.fd_name() {
            return wanted == name;
        }
        let Ok((here, kind)) = self.address() else { return false };
        let wanted = if address.scheme() == Scheme::Udp { Type::DGRAM } else { Type::STREAM };
        if kind != wanted {
            return false;
        }
        match address.unix_path() {
            Some(path) => here.unix_path() == Some(path),
            None => resolved.iter().any(|one| self.is_at(one)),
        }
    }

    fn is_at(&self, wanted: &SocketAddr) -> bool {
        let here = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        // Compares only IP and port, because IPv6 socket addresses may also differ in the flow
        // label.
        here.is_some_and(|here| (here.ip(), here.port()) == (wanted.ip(), wanted.port()))
    }

    /// Returns the address that the socket is bound to, and the type of the socket.
    fn address(&self) -> anyhow::Result<(Address, Type)> {
        let kind = self.socket.r#type().context("cannot read the type of a socket")?;
        let bound = self.socket.local_addr().context("cannot read the address of a socket")?;
        let address = match bound.as_socket() {
            Some(socket) if kind == Type::DGRAM => format!("udp://{socket}"),
            Some(socket) => socket.to_string(),
            None => format!("unix:{}", unix_name(&bound).context("a Unix socket has no name")?),
        };
        Ok((address.parse()?, kind))
    }
}

fn unix_name(address: &SockAddr) -> Option<String> {
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => path.to_str().map(str::to_owned),
        (None, Some(name)) => str::from_utf8(name).ok().map(|name| format!("@{name}")),
        (None, None) => None,
    }
}

fn from_service_manager() -> anyhow::Result<Vec<InheritedSocket>> {
    // `listenfd` would also accept sockets that the variables assign to another process.
    let for_us = env::var(LISTEN_PID).is_ok_and(|id| id == std::process::id().to_string());
    let Some(count) = env::var_os(LISTEN_FDS).filter(|_| for_us) else { return Ok(Vec::new()) };
    let number = count.to_str().and_then(|count| count.parse::<usize>().ok());
    number.with_context(|| format!("LISTEN_FDS={} is not a number", count.to_string_lossy()))?;
    let names = env::var(LISTEN_FDNAMES).unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let name = names.next().filter(|name| !name.is_empty());
        let key = SocketKey::Name(name.unwrap_or_else(|| "unknown".to_owned()));
        let socket = take_passed(&mut passed, index)?;
        sockets.push(InheritedSocket { key, owner: FileOwner::Somebody, socket });
    }
    Ok(sockets)
}

/// Returns the socket at `index`, of any kind.
fn take_passed(passed: &mut ListenFd, index: usize) -> anyhow::Result<Socket> {
    let kinds = [
        (libc::AF_INET, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_STREAM),
        (libc::AF_INET, libc::SOCK_DGRAM),
    ];
    for (family, kind) in kinds {
        if let Ok(Some(socket)) = passed.take_custom::<OwnedFd>(index, family, kind, "socket") {
            return Ok(socket.into());
        }
    }
    bail!(
        "descriptor {} from the service manager is not a socket that can be served: in its .socket \
         unit use ListenStream= (or ListenDatagram= with a port)",
        3 + index
    )
}

fn from_predecessor() -> anyhow::Result<Inherited> {
    let not_there = || {
        format!(
            "{UPGRADE} is set, but standard input is not connected to a running echoline: unset it"
        )
    };
    let line = io::stdin().as_fd().try_clone_to_owned().with_context(not_there)?;
    let line = UnixStream::from(line);
    let parcels = handover::receive_parcels(&line)
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => anyhow!(error),
            _ => anyhow!(not_there()),
        })
        .context("cannot take over from the running process")?;
    // Standard input must not keep the channel open, because the predecessor treats the end of the
    // channel as the end of this process.
    let null = std::fs::File::open("/dev/null").context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(null).context("cannot close standard input")?;
    let given = |parcel: HandoverSocket| InheritedSocket {
        key: SocketKey::Asked(parcel.asked),
        owner: parcel.owner,
        socket: parcel.socket.into(),
    };
    let sockets = parcels.into_iter().map(given).collect();
    Ok(Inherited { sockets, predecessor: Some(line), ..Inherited::default() })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn given(key: SocketKey, socket: impl Into<Socket>) -> InheritedSocket {
        InheritedSocket { key, owner: FileOwner::Somebody, socket: socket.into() }
    }

    fn name(name: &str) -> SocketKey {
        SocketKey::Name(name.to_owned())
    }

    fn tcp() -> (TcpListener, u16) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    async fn count(inherited: &mut Inherited, address: &str) -> usize {
        inherited.take(&address.parse().unwrap()).await.unwrap().len()
    }

    #[tokio::test]
    async fn passed_sockets_are_found_by_address_and_kind() {
        let ((first, port), (second, other)) = (tcp(), tcp());
        let datagrams = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("echo.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let sockets = vec![
            given(name("a"), datagrams),
            given(name("b"), first),
            given(name("c"), unix),
            given(name("d"), second),
        ];
        let mut inherited = Inherited { sockets, ..Inherited::default() };
        let shown: Vec<String> =
            inherited.passed_addresses(&[]).unwrap().iter().map(ToString::to_string).collect();
        let except = ["fd://a", shown[1].as_str()].map(|text| text.parse::<Address>().unwrap());
        let others = inherited.passed_addresses(&except.each_ref()).unwrap();
        assert_eq!(others.len(), 2, "{others:?}");
        let unix = format!("unix:{}", path.display());
        let addresses = [format!("udp://127.0.0.1:{port}"), format!("127.0.0.1:{port}")];
        assert_eq!(shown[..2], addresses);
        assert_eq!(shown[2..], [unix.clone(), format!("127.0.0.1:{other}")]);

        assert_eq!(count(&mut inherited, "127.0.0.2:1").await, 0);
        assert_eq!(count(&mut inherited, &format!("tls://localhost:{port}")).await, 1);
        assert_eq!(count(&mut inherited, &format!("127.0.0.1:{port}")).await, 0, "already taken");
        assert_eq!(count(&mut inherited, &format!("udp://127.0.0.1:{port}")).await, 1);
        assert_eq!(count(&mut inherited, &unix).await, 1);
        let unasked = inherited.finish().unwrap_err().to_string();
        assert!(unasked.contains(&format!("127.0.0.1:{other}, named 'd'")), "{unasked}");
    }

    #[tokio::test]
    async fn passed_sockets_are_found_by_name() {
        let sockets = vec![given(name("web"), tcp().0), given(name("bots"), tcp().0)];
        let mut inherited = Inherited { sockets, ..Inherited::default() };
        assert_eq!(count(&mut inherited, "fd://bots").await, 1);
        let missing = inherited.take(&"fd://bots".parse().unwrap()).await.unwrap_err().to_string();
        assert!(missing.contains("FileDescriptorName=bots"), "{missing}");
        assert!(missing.contains("named 'web'"), "{missing}");
        assert_eq!(count(&mut inherited, "fd://web").await, 1);
        assert!(inherited.finish().unwrap().is_none());
    }

    #[tokio::test]
    async fn sockets_of_a_predecessor_are_found_by_configured_address() {
        let asked = |text: &str| SocketKey::Asked(text.to_owned());
        let ((first, port), (second, _)) = (tcp(), tcp());
        let (third, fourth) = (tcp().0, tcp().0);
        let sockets = vec![
            given(asked("127.0.0.1:0 (2)"), third),
            given(asked("admin 127.0.0.1:0"), fourth),
            given(asked("127.0.0.1:0"), first),
            given(asked("[::1]:0"), second),
        ];
        let (line, _other_end) = UnixStream::pair().unwrap();
        let mut inherited = Inherited { sockets, predecessor: Some(line), ..Inherited::default() };
        assert!(inherited.passed_addresses(&[]).unwrap().is_empty());
        assert_eq!(count(&mut inherited, &format!("127.0.0.1:{port}")).await, 0);
        let found = inherited.take(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let [found] = found.try_into().unwrap();
        assert_eq!(TcpListener::from(found.socket).local_addr().unwrap().port(), port);
        assert_eq!(count(&mut inherited, "127.0.0.1:0").await, 1, "the second socket");
        assert_eq!(count(&mut inherited, "127.0.0.1:0").await, 0);
        let (_, admin) = inherited.take_for_admin(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(admin.len(), 1);
        assert!(inherited.finish().unwrap().is_some(), "an unused socket is closed");
    }
}
