//! Decides from the headers of a request to the admin address whether it may be answered.
//!
//! Any page that a browser shows can make the browser send requests to this host. The page cannot
//! forge two headers: `Host` contains the name under which the browser reached this server, and
//! `Origin` contains the site of the page. A foreign name in `Host` means DNS rebinding. A foreign
//! name in `Origin` means cross-site request forgery (CSRF).

use echoline::internals::{Host, HostKind, is_same_origin};

/// The clients that the admin address accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminReach {
    /// Programs and browsers on this host.
    Loopback,
    /// Programs and browsers on any host.
    Remote,
    /// Programs that may open a Unix socket. No browser connects to a Unix socket, so the name in
    /// the `Host` header does not matter.
    Socket,
}

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GateError {
    #[error("the request has no Host header, or more than one")]
    NoHost,
    #[error(
        "this address accepts only the names 127.0.0.1, [::1] and localhost; --admin-allow-remote \
         accepts others"
    )]
    ForeignHost,
    #[error("a page of another origin may not make changes")]
    ForeignOrigin,
    #[error("changes need an IP address or localhost in the URL, not another name")]
    NamedHost,
}

/// Checks a request that only reads.
pub(super) fn admit(hosts: &[&str], reach: AdminReach) -> Result<(), GateError> {
    let [host] = hosts else { return Err(GateError::NoHost) };
    match Host::read(host).kind {
        HostKind::Loopback => Ok(()),
        HostKind::Address | HostKind::Name if reach != AdminReach::Loopback => Ok(()),
        _ => Err(GateError::ForeignHost),
    }
}

/// Checks a request that makes a change, after [`admit`] has accepted it. Programs send neither
/// `Origin` nor `Sec-Fetch-Site`; browsers send `Origin` with every change, and their stored
/// password with it, whichever page made the request.
pub(super) fn admit_change(
    hosts: &[&str],
    origins: &[&str],
    fetch_sites: &[&str],
    reach: AdminReach,
) -> Result<(), GateError> {
    let [host] = hosts else { return Err(GateError::NoHost) };
    if Host::read(host).kind == HostKind::Name && reach != AdminReach::Socket {
        return Err(GateError::NamedHost);
    }
    let own = |origin: &&str| is_same_origin(origin, host, &["http"]);
    let near = |site: &&str| ["same-origin", "none"].contains(site);
    if origins.iter().all(own) && fetch_sites.iter().all(near) {
        Ok(())
    } else {
        Err(GateError::ForeignOrigin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fault 70: a page whose own name resolves to this address (DNS rebinding) gets nothing.
    #[test]
    fn requests_under_foreign_names_are_refused() {
        let near = |host| admit(&[host], AdminReach::Loopback);
        for host in
            ["127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "[::1]", "LocalHost:1", "127.9.9.9"]
        {
            assert_eq!(near(host), Ok(()), "{host}");
        }
        for host in [
            "evil.example:9090",
            "localhost.evil.example",
            "192.0.2.1:9090",
            "",
            "a@127.0.0.1",
            ":1",
        ] {
            assert_eq!(near(host), Err(GateError::ForeignHost), "{host}");
            assert_eq!(admit(&[host], AdminReach::Remote), Ok(()), "{host}");
        }
        assert_eq!(admit(&[], AdminReach::Remote), Err(GateError::NoHost));
        assert_eq!(admit(&["localhost", "localhost"], AdminReach::Remote), Err(GateError::NoHost));
    }

    #[test]
    fn other_origins_and_names_change_nothing() {
        let change =
            |host, origins: &[&str]| admit_change(&[host], origins, &[], AdminReach::Remote);
        assert_eq!(change("127.0.0.1:9090", &[]), Ok(()));
        assert_eq!(change("127.0.0.1:9090", &["http://127.0.0.1:9090"]), Ok(()));
        assert_eq!(change("192.0.2.1:9090", &[]), Ok(()));
        for origin in
            ["http://127.0.0.1:9091", "https://127.0.0.1:9090", "null", "http://a.example"]
        {
            assert_eq!(
                change("127.0.0.1:9090", &[origin]),
                Err(GateError::ForeignOrigin),
                "{origin}"
            );
        }
        for (site, wanted) in [
            ("same-origin", Ok(())),
            ("none", Ok(())),
            ("same-site", Err(GateError::ForeignOrigin)),
            ("cross-site", Err(GateError::ForeignOrigin)),
        ] {
            let admitted = admit_change(&["127.0.0.1:9090"], &[], &[site], AdminReach::Loopback);
            assert_eq!(admitted, wanted, "{site}");
        }
        let own = "http://evil.example:9090";
        assert_eq!(change("evil.example:9090", &[own]), Err(GateError::NamedHost));
        assert_eq!(admit_change(&["admin"], &[], &[], AdminReach::Socket), Ok(()));
        let foreign = admit_change(&["admin"], &[own], &[], AdminReach::Socket);
        assert_eq!(foreign, Err(GateError::ForeignOrigin));
    }
}
