//! The error messages for addresses that cannot be bound.

use std::io;

use super::address::{Address, Scheme};
use crate::transport::steps::Protocol;

/// Returns the function to use instead, for a scheme whose sockets accept no connections; `None`
/// for other schemes.
pub(crate) fn remedy_for_no_stream(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::Udp => Some(
            "this server needs connections, which datagrams do not have: bind with \
             DatagramListener::bind and serve with DatagramServer",
        ),
        Scheme::Fd => Some(
            "the service manager passes that socket: take it over with Listener::inherit, or \
             name it in --listen",
        ),
        Scheme::Tcp | Scheme::Unix | Scheme::Tls | Scheme::Ws | Scheme::Wss => None,
    }
}

/// Returns the text that explains how to add the protocol `missing` to a listener.
pub(crate) fn how_to_serve(missing: Protocol) -> &'static str {
    match missing {
        Protocol::Tls => {
            "set Listener::transport with the step of Certificates (Certificates::step, feature \
             'tls')"
        }
        Protocol::WebSocket => {
            "set Listener::transport with the step AcceptWebSocket (feature 'websocket')"
        }
    }
}

/// Returns the error for an address whose scheme this call does not support.
pub(crate) fn unsupported(address: &Address, reason: &str) -> io::Error {
    let text = format!("cannot listen on {address}: {reason}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

pub(crate) fn is_family_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

pub(crate) fn say(address: &Address, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse if address.scheme() == Scheme::Unix => {
            "; another program listens there: end it, or choose another path"
        }
        io::ErrorKind::AddrInUse => {
            "; another program listens there: end it, or choose another port (0: any free one)"
        }
        io::ErrorKind::NotFound if address.scheme() == Scheme::Unix => {
            "; create the folder of the socket first"
        }
        io::ErrorKind::PermissionDenied if address.scheme() == Scheme::Unix => {
            "; choose a folder in which you can create files"
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need root (--user drops it later), CAP_NET_BIND_SERVICE or socket \
             activation; or choose a higher port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this host does not have that address: choose one that 'ip address' shows"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
}
