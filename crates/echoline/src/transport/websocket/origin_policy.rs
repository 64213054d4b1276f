//! Checks the Host and Origin headers of requests for WebSockets, for pages and to the admin
//! address. Accepts requests from this server's own pages and from programs. Pure.
//!
//! A browser lets any page send requests to any server, including servers on the user's own host.
//! It puts the page's origin into the Origin header, and only the server can refuse the request.
//! Programs other than browsers send no Origin.
//!
//! The Host header contains the name under which the browser knows the server, and a page cannot
//! change it. If an attacker makes a name resolve to this server (DNS rebinding), the header
//! contains that name, and the browser treats the page and the server as one origin. This attack is
//! impossible with `localhost` and with IP addresses.

use core::net::IpAddr;

use crate::listener::address::is_loopback;
use echoline_base::printable::printable;

/// The schemes that a page of this server can have. A proxy in front may have ended TLS.
const SCHEMES: [&str; 2] = ["http", "https"];

/// The kind of a host. It determines whether an attacker can make the name resolve to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// The local host: `localhost`, a name below it, or a loopback address.
    Loopback,
    /// An IP address, which DNS cannot redirect.
    Address,
    /// A name that DNS resolves, or an invalid host.
    Name,
}

/// The Host header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// The host without the port, with its brackets.
    pub name: &'a str,
    /// The digits of the port, if there is one.
    pub port: Option<&'a str>,
    /// Whether an attacker can make the name resolve to this server.
    pub kind: HostKind,
}

impl<'a> Host<'a> {
    /// Parses the header's value, or the part of an origin after its scheme.
    pub fn read(header: &'a str) -> Self {
        let (name, port) = match header.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                (name, Some(port))
            }
            _ => (header, None),
        };
        Self { name, port, kind: kind_of(name) }
    }
}

/// The requests that are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// The origins that are accepted in addition to the server's own, in the form of browsers:
    /// `https://chat.example.com`. Their hosts are also accepted in the Host header. `*` accepts
    /// all origins.
    pub allowed: Vec<String>,
    /// Names of the server that are accepted as Host, besides `localhost` and IP addresses. `*`
    /// accepts all names, including those of other sites.
    pub hosts: Vec<String>,
    /// Whether the socket is bound to a loopback address ([`Listener::is_loopback`]). Requests with
    /// other addresses as Host are then refused.
    ///
    /// [`Listener::is_loopback`]: crate::Listener::is_loopback
    pub is_loopback: bool,
}

/// The security of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestSecurity {
    Plain,
    /// TLS that ends at this server. The browser has compared the name with the certificate.
    Tls,
}

impl RequestSecurity {
    /// Returns the security of a connection with or without TLS.
    pub(crate) fn of(has_tls: bool) -> Self {
        if has_tls { Self::Tls } else { Self::Plain }
    }
}

/// The reason why a request is refused. The text names the flag that permits it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginDenied {
    /// A page of another site.
    #[error("Pages of '{0}' cannot open this WebSocket; --allow-origin allows them.")]
    Origin(String),
    /// A name that does not belong to this server.
    #[error("'{0}' is not a name of this server; --web-host with that name allows it.")]
    Host(String),
}

impl OriginPolicy {
    /// Checks the headers Host and Origin of a request over a connection without TLS.
    ///
    /// # Errors
    /// The refused header.
    pub fn admit(&self, host: &str, origin: Option<&str>) -> Result<(), OriginDenied> {
        self.admit_over(RequestSecurity::Plain, host, origin)
    }

    /// Checks a request for a WebSocket. A request without an Origin does not come from a browser.
    /// So any Host is accepted, unless only the local host can reach the socket.
    pub(crate) fn admit_over(
        &self,
        security: RequestSecurity,
        host: &str,
        origin: Option<&str>,
    ) -> Result<(), OriginDenied> {
        if self.takes_all() {
            return Ok(());
        }
        let is_allowed =
            |origin: &str| self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        // An attacker may have made the page's name resolve to this server.
        if self.is_loopback || origin.is_some_and(|origin| !is_allowed(origin)) {
            self.admit_host(security, host)?;
        }
        match origin {
            None => Ok(()),
            Some(origin) if is_same_origin(origin, host, &SCHEMES) || is_allowed(origin) => Ok(()),
            Some(origin) => Err(OriginDenied::Origin(printable(origin).into_owned())),
        }
    }

    /// Checks the Host header of a request for a page.
    pub(crate) fn admit_host(
        &self,
        security: RequestSecurity,
        host: &str,
    ) -> Result<(), OriginDenied> {
        let Host { name, kind, .. } = Host::read(host);
        let is_known = match kind {
            HostKind::Loopback => true,
            HostKind::Address if !self.is_loopback => true,
            _ => self.has_host(name),
        };
        let is_certified = security == RequestSecurity::Tls && !self.is_loopback;
        if is_known || is_certified || self.takes_all() {
            return Ok(());
        }
        Err(OriginDenied::Host(printable(name).into_owned()))
    }

    fn takes_all(&self) -> bool {
        self.allowed.iter().any(|allowed| allowed == "*")
    }

    fn has_host(&self, name: &str) -> bool {
        let origins = self.allowed.iter().filter_map(|allowed| allowed.split_once("://"));
        let hosts = origins.map(|(_, host)| Host::read(host).name);
        let mut hosts = hosts.chain(self.hosts.iter().map(String::as_str));
        // The dot at the end of an absolute name has no meaning here.
        let name = name.strip_suffix('.').unwrap_or(name);
        hosts.any(|host| host == "*" || host.eq_ignore_ascii_case(name))
    }
}

/// Returns whether a page was loaded from the server to which it connects. This is so if its origin
/// has one of `schemes`, and the same host and port as `host`. A missing port is the default port
/// of the scheme.
pub fn is_same_origin(origin: &str, host: &str, schemes: &[&str]) -> bool {
    let Some((scheme, page)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let (page, host) = (Host::read(page), Host::read(host));
    schemes.contains(&scheme)
        && page.name.eq_ignore_ascii_case(host.name)
        && page.port.unwrap_or(usual) == host.port.unwrap_or(usual)
}

/// Returns the kind of a host without its port.
fn kind_of(host: &str) -> HostKind {
    let name = host.to_ascii_lowercase();
    // Browsers resolve every name below `localhost` to the local host (RFC 6761).
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

    fn admits(allowed: &[&str], is_loopback: bool, host: &str, origin: Option<&str>) -> bool {
        let allowed = allowed.iter().map(|&text| text.to_owned()).collect();
        OriginPolicy { allowed, hosts: Vec::new(), is_loopback }.admit(host, origin).is_ok()
    }

    #[test]
    fn recognizes_names_that_can_be_rebound() {
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
            assert_eq!(Host::read(header).kind, kind, "{header}");
        }
    }

    #[test]
    fn an_origin_is_the_same_if_scheme_host_and_port_are() {
        for (origin, host, is_same) in [
            ("http://a", "a:80", true),
            ("http://A:80", "a", true),
            ("http://[::1]:7", "[::1]:7", true),
            ("https://a", "a:443", false),
            ("https://a:7", "a:7", false),
            ("http://a:7", "a", false),
            ("http://b", "a", false),
            ("ftp://a", "a", false),
            ("null", "a", false),
            ("", "", false),
        ] {
            assert_eq!(is_same_origin(origin, host, &["http"]), is_same, "{origin} {host}");
        }
        assert!(is_same_origin("https://a", "a:443", &SCHEMES));
    }

    /// Fault 64: a page of another site, or one whose name was rebound to this host, is refused.
    #[test]
    fn admits_only_the_servers_own_pages() {
        for (host, origin, admitted) in [
            ("localhost:8080", None, true),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), true),
            ("[::1]:8080", Some("http://[::1]:8080"), true),
            ("LOCALHOST:8080", Some("http://localhost:8080"), true),
            ("chat.localhost:80", Some("http://chat.localhost"), true),
            ("localhost:8080", Some("http://evil.example"), false),
            ("localhost:8080", Some("null"), false),
            ("localhost:8080", Some("file://"), false),
            ("localhost:8080", Some("http://localhost:8081"), false),
            ("localhost:8080", Some("http://localhost"), false),
            ("evil.example:8080", Some("http://evil.example:8080"), false),
            ("evil.example:8080", None, false),
            ("localhost.evil.example", None, false),
            ("10.0.0.1:8080", None, false),
        ] {
            assert_eq!(admits(&[], true, host, origin), admitted, "{host} {origin:?}");
        }
    }

    /// Issue 12, item 15: a refusal, which the log shows, quotes headers without harmful
    /// characters.
    #[test]
    fn attack_a_header_in_a_refusal_has_no_harmful_characters() {
        let policy = OriginPolicy { is_loopback: true, ..OriginPolicy::default() };
        for (host, origin) in
            [("a\u{9b}2J", None), ("localhost", Some("http://\u{202e}a\u{9b}")), ("\u{7f}", None)]
        {
            let denied = policy.admit(host, origin).unwrap_err().to_string();
            assert!(!denied.contains(echoline_base::printable::is_harmful), "{denied}");
            assert!(denied.contains("\\u{"), "{denied}");
        }
    }

    /// Issue 12, item 19: also at an address that other machines can reach, a page with a rebound
    /// name (DNS rebinding) is refused. The server's own names and addresses are accepted.
    #[test]
    fn attack_a_rebound_name_is_refused_at_a_public_address() {
        let policy = |hosts: &[&str]| OriginPolicy {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            ..OriginPolicy::default()
        };
        let bare = policy(&[]);
        for (host, origin) in [
            ("evil.example:8081", "http://evil.example:8081"),
            ("evil.example", "http://evil.example"),
            ("192.0.2.1.evil.example:8081", "http://192.0.2.1.evil.example:8081"),
            ("", "http://"),
        ] {
            let denied = Err(OriginDenied::Host(Host::read(host).name.to_owned()));
            assert_eq!(bare.admit(host, Some(origin)), denied, "{host}");
            assert_eq!(bare.admit_host(RequestSecurity::Plain, host), denied, "{host}");
            // Over TLS any name is accepted, because no certificate of this server is valid for the
            // attacker's name.
            assert_eq!(bare.admit_over(RequestSecurity::Tls, host, Some(origin)), Ok(()), "{host}");
            assert_eq!(bare.admit(host, None), Ok(()), "{host}: no browser");
        }
        for host in ["192.0.2.1:8081", "[2001:db8::1]:8081", "127.0.0.1:8081", "localhost:8081"] {
            assert_eq!(bare.admit(host, Some(&format!("http://{host}"))), Ok(()), "{host}");
            assert_eq!(bare.admit_host(RequestSecurity::Plain, host), Ok(()), "{host}");
            let foreign = bare.admit(host, Some("http://evil.example"));
            assert!(matches!(foreign, Err(OriginDenied::Origin(_))), "{host}");
        }
        let named = policy(&["chat.example", "box"]);
        for host in ["chat.example", "CHAT.example:8081", "chat.example.", "box:8081"] {
            assert_eq!(named.admit(host, Some(&format!("http://{host}"))), Ok(()), "{host}");
        }
        assert!(named.admit("x.chat.example", Some("http://x.chat.example")).is_err());
        let any = policy(&["*"]);
        assert_eq!(any.admit("evil.example", Some("http://evil.example")), Ok(()));
        assert!(any.admit("evil.example", Some("http://other.example")).is_err());
        // At a socket that only the local host can reach, the name is refused even over TLS.
        let near = OriginPolicy { is_loopback: true, ..OriginPolicy::default() };
        assert!(near.admit_over(RequestSecurity::Tls, "evil.example", None).is_err());
    }

    #[test]
    fn at_a_public_address_the_origin_decides() {
        let hosts = vec!["chat.example.com".to_owned()];
        let admits = |allowed: &[&str], is_loopback, host: &str, origin| {
            let allowed = allowed.iter().map(|&text| text.to_owned()).collect();
            let hosts = hosts.clone();
            OriginPolicy { allowed, hosts, is_loopback }.admit(host, origin).is_ok()
        };
        assert!(admits(&[], false, "chat.example.com", Some("https://chat.example.com")));
        assert!(admits(&[], false, "chat.example.com:443", Some("https://chat.example.com")));
        assert!(!admits(&[], false, "chat.example.com", Some("https://evil.example")));
        assert!(admits(&["https://a.example"], false, "b.example", Some("https://A.example")));
        assert!(!admits(&["https://a.example"], false, "b.example", Some("http://a.example")));
        let proxied = Some("https://a.example");
        assert!(admits(&["https://a.example"], true, "a.example", proxied), "a proxy in front");
        assert!(admits(&["*"], true, "evil.example", Some("null")));
    }
}
