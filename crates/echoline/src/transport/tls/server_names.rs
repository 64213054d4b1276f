//! Chooses one of several certificates by the name that a client asks for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate_facts::AltName;
use super::error::TlsError;
use super::identity::Identity;

/// The answer of a server with several certificates to a client that asks for a name that none of
/// them has, or for no name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownName {
    /// The first certificate. The client decides whether it accepts that.
    #[default]
    FirstCertificate,
    /// The handshake fails with the alert `access_denied`.
    Refuse,
}

/// The certificates of a server, by the names in them.
pub(super) struct CertificatesByName {
    /// In lower case; a wildcard with its `*.`. Several certificates may have a name, for example
    /// with keys of different types.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Arc<CertifiedKey>,
    unknown: UnknownName,
}

impl CertificatesByName {
    /// Sorts `identities` by their names.
    pub(super) fn new(identities: &[Identity], unknown: UnknownName) -> Result<Self, TlsError> {
        let Some(first) = identities.first() else {
            return Err(TlsError::Refused("the server has no certificate".to_owned()));
        };
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            let mut names = identity.dns_names().peekable();
            // Only the first certificate serves clients that ask for no name.
            let is_reachable = index == 0 && unknown == UnknownName::FirstCertificate;
            if names.peek().is_none() && !is_reachable {
                return Err(TlsError::Nameless(identity.subject().to_owned()));
            }
            for name in names {
                by_name.entry(name).or_default().push(Arc::clone(&identity.key));
            }
        }
        Ok(Self { by_name, first: Arc::clone(&first.key), unknown })
    }

    /// Returns the certificates for `name`. A wildcard replaces one label (RFC 6125 section
    /// 6.4.3), and an exact name comes before it.
    fn named(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = canonical(name);
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(&name).or_else(wildcard).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(found) = hello.server_name().and_then(|name| self.named(name)) else {
            let is_served = self.unknown == UnknownName::FirstCertificate;
            return is_served.then(|| Arc::clone(&self.first));
        };
        let schemes = hello.signature_schemes();
        let usable = found.iter().find(|one| one.key.choose_scheme(schemes).is_some());
        // If none is usable, rustls says so to the client.
        usable.or(found.first()).map(Arc::clone)
    }
}

impl fmt::Debug for CertificatesByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificatesByName")
            .field("names", &self.by_name.keys())
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Returns the DNS names of the certificate, as [`canonical`] writes them.
    fn dns_names(&self) -> impl Iterator<Item = String> {
        self.alt_names().iter().filter_map(|name| match name {
            AltName::Dns(name) => Some(canonical(name)),
            _ => None,
        })
    }
}

/// Returns a name in lower case and without the dot of the root.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
