//! The header Host of an HTTP request: the name under which a browser knows the server. Pure.
//!
//! A page cannot lie in it. If a stranger's name was made to lead to this server (DNS rebinding),
//! the header has that name, and the browser takes the page and the server for one origin. A name
//! of this machine and an IP address cannot be made to lead elsewhere.

use core::net::IpAddr;

use super::address::is_loopback;

/// The kinds of hosts, by whether a stranger can make one lead to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// This machine, by `localhost`, a name below it, or a loopback address.
    Loopback,
    /// An IP address, which no name server can turn into another one.
    Address,
    /// A name that a name server resolves, or nonsense.
    Name,
}

/// Splits host and port; brackets stay.
pub fn split_port(header: &str) -> (&str, Option<&str>) {
    match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (header, None),
    }
}

/// The kind of a host without its port.
pub fn kind_of(host: &str) -> HostKind {
    let name = host.to_ascii_lowercase();
    // Browsers take every name below `localhost` for this machine (RFC 6761).
    if name == "localhost" || name.ends_with(".localhost") {
        return HostKind::Loopback;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) if is_loopback(address) => HostKind::Loopback,
        Ok(_) => HostKind::Address,
        Err(_) => HostKind::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_can_be_borrowed_is_told_from_the_others() {
        for (header, kind) in [
            ("127.0.0.1:9090", HostKind::Loopback),
            ("127.9.9.9", HostKind::Loopback),
            ("[::1]:9090", HostKind::Loopback),
            ("[::ffff:127.0.0.1]", HostKind::Loopback),
            ("LocalHost:1", HostKind::Loopback),
            ("chat.localhost", HostKind::Loopback),
            ("192.0.2.1:9090", HostKind::Address),
            ("[2001:db8::1]:80", HostKind::Address),
            ("0.0.0.0", HostKind::Address),
            ("evil.example:9090", HostKind::Name),
            ("localhost.evil.example", HostKind::Name),
            ("127.0.0.1.evil.example", HostKind::Name),
            ("a@127.0.0.1", HostKind::Name),
            ("127.0.0.1:80:evil", HostKind::Name),
            ("0x7f000001", HostKind::Name),
            ("", HostKind::Name),
            (":1", HostKind::Name),
        ] {
            assert_eq!(kind_of(split_port(header).0), kind, "{header}");
        }
    }
}
