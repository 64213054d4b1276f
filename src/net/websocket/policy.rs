//! Which pages of a browser may open a WebSocket here. Pure.
//!
//! A browser lets any page open a WebSocket to any server, this machine's own too, and says in the
//! header Origin which page it was; only the server can refuse. Programs that are no browser send
//! none. A page whose name was made to point at this machine (DNS rebinding) is its own origin, so
//! where only loopback addresses are listened on the Host must be a name of this machine.

use core::net::IpAddr;

use crate::net::address::is_loopback;
use crate::printable::printable;

/// Whose requests are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    /// Origins besides the server's own, as browsers write them: `https://chat.example.com`. The
    /// hosts in them are taken as Host too. `*` takes all.
    pub allowed: Vec<String>,
    /// The socket is bound to a loopback address ([`Listener::is_loopback`]), so the Host must
    /// name this machine too.
    ///
    /// [`Listener::is_loopback`]: crate::Listener::is_loopback
    pub is_loopback: bool,
}

/// Why a request is refused; the text says how it would not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginDenied {
    /// A page of another site.
    #[error("Pages of '{0}' may not open this WebSocket; --allow-origin would let them.")]
    Origin(String),
    /// A name that is none of this machine's.
    #[error("'{0}' is no name of this machine; --allow-origin with that host would let it in.")]
    Host(String),
}

impl OriginPolicy {
    /// Judges a request by its headers Host and Origin.
    ///
    /// # Errors
    /// Which of the two is wrong.
    pub fn admit(&self, host: &str, origin: Option<&str>) -> Result<(), OriginDenied> {
        if self.allowed.iter().any(|allowed| allowed == "*") {
            return Ok(());
        }
        let (name, _) = authority(host);
        if self.is_loopback && !is_local(name) && !self.has_host(name) {
            return Err(OriginDenied::Host(printable(name).into_owned()));
        }
        match origin {
            None => Ok(()),
            Some(origin) if is_same(origin, host) => Ok(()),
            Some(origin) if self.allowed.iter().any(|a| a.eq_ignore_ascii_case(origin)) => Ok(()),
            Some(origin) => Err(OriginDenied::Origin(printable(origin).into_owned())),
        }
    }

    fn has_host(&self, name: &str) -> bool {
        let hosts = self.allowed.iter().filter_map(|allowed| allowed.split_once("://"));
        hosts.map(|(_, host)| authority(host).0).any(|host| host.eq_ignore_ascii_case(name))
    }
}

/// Whether the page came from the server that it talks to: host and port. A proxy in front may
/// have taken TLS off, so the scheme says nothing but the port where none is written.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, page)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let (page, host) = (authority(page), authority(host));
    page.0.eq_ignore_ascii_case(host.0) && page.1.unwrap_or(usual) == host.1.unwrap_or(usual)
}

/// Host and port; brackets stay.
fn authority(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.to_ascii_lowercase();
    // Browsers take every name below `localhost` for this machine (RFC 6761).
    name == "localhost"
        || name.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allowed: &[&str], is_loopback: bool, host: &str, origin: Option<&str>) -> bool {
        let allowed = allowed.iter().map(|&text| text.to_owned()).collect();
        OriginPolicy { allowed, is_loopback }.admit(host, origin).is_ok()
    }

    /// Fault 64: a page of another site, or one whose name was bent to this machine, is refused.
    #[test]
    fn only_ones_own_pages_come_in() {
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

    /// Issue 12, item 15: a refusal, which the log shows, quotes headers without their orders.
    #[test]
    fn attack_a_header_in_a_refusal_gives_no_orders() {
        let policy = OriginPolicy { allowed: Vec::new(), is_loopback: true };
        for (host, origin) in
            [("a\u{9b}2J", None), ("localhost", Some("http://\u{202e}a\u{9b}")), ("\u{7f}", None)]
        {
            let denied = policy.admit(host, origin).unwrap_err().to_string();
            assert!(!denied.contains(crate::printable::is_harmful), "{denied}");
            assert!(denied.contains("\\u{"), "{denied}");
        }
    }

    #[test]
    fn behind_a_public_address_the_origin_counts() {
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
