//! Who may open a WebSocket, by what a browser says of the page that wants it. Pure.
//!
//! A browser lets every page open a WebSocket to every server, also to one on this machine; what the
//! page cannot do is to lie about its own name (`Origin`) and the name under which it knows us
//! (`Host`). RFC 6455 10.2.

use std::net::IpAddr;

/// The names under which a site is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Only names of this machine, and those of `origins`, are answered: what is listened on cannot
    /// be reached from elsewhere, so any other name is a trick (DNS rebinding).
    pub near: bool,
    /// Origins of other pages that may open a WebSocket, `https://chat.example`; behind a proxy that
    /// changes `Host` the site's own too.
    pub origins: Vec<String>,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Host`, or several.
    #[error("the request has no Host header, or more than one")]
    NoHost,
    /// Another name than ours.
    #[error("this address is not known under that name; --web-origin adds one")]
    ForeignHost,
    /// No `Origin`, or several: not a browser.
    #[error("a WebSocket is opened here by a page, which says where it is from (Origin)")]
    NoOrigin,
    /// The page of another site.
    #[error("a page of another origin may not open a WebSocket here; --web-origin adds one")]
    ForeignOrigin,
}

impl Guard {
    /// Lets a request for a file through.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, hosts: &[&str]) -> Result<(), Refusal> {
        let [host] = hosts else { return Err(Refusal::NoHost) };
        let known = |origin: &String| authority(origin).is_some_and(|name| same(name, host));
        if !self.near || is_this_machine(host) || self.origins.iter().any(known) {
            Ok(())
        } else {
            Err(Refusal::ForeignHost)
        }
    }

    /// Lets a request for a WebSocket through. Over TLS only pages that came over TLS may have one.
    ///
    /// # Errors
    /// Why not.
    pub fn admit_socket(
        &self,
        hosts: &[&str],
        origins: &[&str],
        wire: Wire,
    ) -> Result<(), Refusal> {
        self.admit(hosts)?;
        let [origin] = origins else { return Err(Refusal::NoOrigin) };
        if self.origins.iter().any(|known| same(known, origin)) {
            return Ok(());
        }
        let is_own = authority(origin).is_some_and(|name| hosts.iter().all(|h| same(name, h)));
        let is_safe = wire == Wire::Plain || origin.starts_with("https://");
        if is_own && is_safe { Ok(()) } else { Err(Refusal::ForeignOrigin) }
    }
}

/// What a request came over, as far as we see: a proxy may have taken TLS off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing between.
    Plain,
    /// TLS that ends here.
    Tls,
}

/// The host and port of an origin; `None` where it is none.
pub fn authority(origin: &str) -> Option<&str> {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!rest.is_empty() && rest.bytes().all(is_name)).then_some(rest)
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bracketed.unwrap_or(name).parse::<IpAddr>();
    same(name, "localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(origins: &[&str]) -> Guard {
        Guard { near: true, origins: origins.iter().map(ToString::to_string).collect() }
    }

    /// Fault 64: a name that was made to lead to this machine (DNS rebinding) is refused.
    #[test]
    fn only_own_names_are_answered() {
        let own = ["127.0.0.1:8081", "localhost:8081", "[::1]:8081", "LOCALHOST", "127.9.9.9:1"];
        for host in own {
            assert_eq!(near(&[]).admit(&[host]), Ok(()), "{host}");
        }
        let tricks = [
            "evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "", ":8081",
            "x@127.0.0.1:8081", "192.0.2.1:8081", "localhost:80 ", "[::1].evil.example",
        ];
        for host in tricks {
            assert_eq!(near(&[]).admit(&[host]), Err(Refusal::ForeignHost), "{host}");
            assert_eq!(Guard::default().admit(&[host]), Ok(()), "{host}");
        }
        assert_eq!(near(&[]).admit(&[]), Err(Refusal::NoHost));
        assert_eq!(near(&[]).admit(&["localhost", "localhost"]), Err(Refusal::NoHost));
        let proxied = near(&["https://chat.example"]);
        assert_eq!(proxied.admit(&["Chat.example"]), Ok(()));
        assert_eq!(proxied.admit(&["chat.example:81"]), Err(Refusal::ForeignHost));
    }

    /// Fault 64: evil, null, missing and doubled origins, and those of another port, get nothing.
    #[test]
    fn only_own_pages_get_a_socket() {
        let host = "127.0.0.1:8081";
        let ask = |guard: &Guard, origins: &[&str]| {
            guard.admit_socket(&[host], origins, Wire::Plain)
        };
        let own = "http://127.0.0.1:8081";
        assert_eq!(ask(&near(&[]), &[own]), Ok(()));
        assert_eq!(ask(&near(&[]), &["https://127.0.0.1:8081"]), Ok(()), "behind a proxy");
        let foreign = [
            "null", "", "http://127.0.0.1", "http://127.0.0.1:8082", "http://evil.example:8081",
            "http://127.0.0.1:8081.evil.example", "http://127.0.0.1:8081/", "ftp://127.0.0.1:8081",
            "http://x@127.0.0.1:8081", "127.0.0.1:8081", "http://localhost:8081",
        ];
        for origin in foreign {
            assert_eq!(ask(&near(&[]), &[origin]), Err(Refusal::ForeignOrigin), "{origin}");
        }
        assert_eq!(ask(&near(&[]), &[]), Err(Refusal::NoOrigin));
        assert_eq!(ask(&near(&[]), &[own, own]), Err(Refusal::NoOrigin));
        assert_eq!(ask(&near(&["https://chat.example"]), &["https://chat.example"]), Ok(()));
        let over_tls = |origin| near(&[]).admit_socket(&[host], &[origin], Wire::Tls);
        assert_eq!(over_tls("https://127.0.0.1:8081"), Ok(()));
        assert_eq!(over_tls(own), Err(Refusal::ForeignOrigin), "a page anybody may have changed");
    }
}
