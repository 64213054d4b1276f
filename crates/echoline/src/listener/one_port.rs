//! Binds all socket addresses of one name, at one port.

use std::io;
use std::net::SocketAddr;

use super::bind_error::is_family_missing;

/// The maximum number of free ports that are tried until one is free on all addresses.
const PORTS_MAX: usize = 64;

/// Binds each of `candidates` by `bind_one`, or none of them. `bind_one` returns the socket and its
/// port. If the candidates have port 0, all of them get the same free port. An address family that
/// the host does not support is skipped if another one can be bound.
///
/// # Errors
/// The error of the first address that cannot be bound, or [`io::ErrorKind::AddrInUse`] if no port
/// is free on all addresses.
pub(crate) fn bind_all<T>(
    candidates: &[SocketAddr],
    bind_one: impl Fn(SocketAddr) -> io::Result<(T, u16)>,
) -> io::Result<Vec<T>> {
    for _ in 0..PORTS_MAX {
        if let Some(bound) = bind_together(candidates, &bind_one)? {
            return Ok(bound);
        }
    }
    let text = "no free port was found that all of its addresses have; choose a port";
    Err(io::Error::new(io::ErrorKind::AddrInUse, text))
}

/// Does the same as [`bind_all`] once. Returns `None` if the port that the system chose for one
/// address is in use on another.
fn bind_together<T>(
    candidates: &[SocketAddr],
    bind_one: impl Fn(SocketAddr) -> io::Result<(T, u16)>,
) -> io::Result<Option<Vec<T>>> {
    let (mut bound, mut missing, mut chosen) = (Vec::new(), None, None);
    for &candidate in candidates {
        let chosen_before = chosen.filter(|_| candidate.port() == 0);
        let port = chosen_before.unwrap_or(candidate.port());
        match bind_one(SocketAddr::new(candidate.ip(), port)) {
            Ok((socket, port)) => {
                chosen = Some(port);
                bound.push(socket);
            }
            Err(error) if is_family_missing(&error) => missing = Some(error),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && chosen_before.is_some() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(Some(bound)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpListener;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn all_addresses_get_one_free_port() {
        let bind = |address| {
            let socket = TcpListener::bind(address)?;
            let port = socket.local_addr()?.port();
            Ok((socket, port))
        };
        let bound = bind_all(&addresses(&["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"]), bind).unwrap();
        let ports: Vec<u16> =
            bound.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        // A port that is named is not replaced.
        let named = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let error = bind_all(&[named], bind).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    /// A host on which the system chooses the ports from 1, and some are in use on 127.0.0.2.
    fn choose(used: u16) -> (io::Result<Vec<SocketAddr>>, usize) {
        let tried = RefCell::new(Vec::new());
        let bind = |address: SocketAddr| {
            let mut tried = tried.borrow_mut();
            if address.port() == 0 {
                tried.push(());
                let port = u16::try_from(tried.len()).unwrap();
                return Ok((SocketAddr::new(address.ip(), port), port));
            }
            match address.port() <= used {
                true => Err(io::ErrorKind::AddrInUse.into()),
                false => Ok((address, address.port())),
            }
        };
        let bound = bind_all(&addresses(&["127.0.0.1:0", "127.0.0.2:0"]), bind);
        let count = tried.borrow().len();
        (bound, count)
    }

    #[test]
    fn another_port_is_tried_if_one_address_has_it_in_use() {
        let (bound, tried) = choose(5);
        assert_eq!(bound.unwrap(), addresses(&["127.0.0.1:6", "127.0.0.2:6"]));
        assert_eq!(tried, 6);
        let (bound, tried) = choose(u16::MAX);
        let error = bound.unwrap_err();
        assert_eq!((error.kind(), tried), (io::ErrorKind::AddrInUse, PORTS_MAX));
        assert!(error.to_string().ends_with("choose a port"), "{error}");
    }

    #[test]
    fn a_missing_family_is_skipped_unless_it_is_the_only_one() {
        let bind = |address: SocketAddr| match address.is_ipv6() {
            true => Err(io::ErrorKind::AddrNotAvailable.into()),
            false => Ok((address, 9)),
        };
        let bound = bind_all(&addresses(&["[::1]:0", "127.0.0.1:0"]), bind).unwrap();
        assert_eq!(bound, addresses(&["127.0.0.1:0"]));
        let error = bind_all(&addresses(&["[::1]:0"]), bind).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
