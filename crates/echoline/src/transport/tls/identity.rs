//! Loads and checks a certificate with its key, and the authorities that are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate_facts::{AltName, CertificateFacts, Validity};
use super::error::TlsError;

/// A certificate, its chain, and its key, by which one end of a connection proves its identity.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

/// The trusted certificates of authorities, or of single peers.
#[derive(Clone, Debug)]
pub struct Authorities(pub(super) Arc<RootCertStore>);

impl Identity {
    /// Reads a certificate chain and the private key (PKCS #8, PKCS #1 or SEC 1) of its first
    /// certificate, both in PEM. Checks that they belong together and that the certificate is valid
    /// at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load(cert: &Path, key: &Path, now: SystemTime) -> Result<Self, TlsError> {
        let (identity, outdated) = Self::load_outdated(cert, key, now)?;
        outdated.map_or(Ok(identity), Err)
    }

    /// Like [`load`](Self::load), but accepts a certificate that is not valid at `now`, and returns
    /// it together with its error ([`TlsError::Expired`] or [`TlsError::NotYetValid`]). It is for
    /// servers that test how clients treat such a certificate.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load_outdated(
        cert: &Path,
        key: &Path,
        now: SystemTime,
    ) -> Result<(Self, Option<TlsError>), TlsError> {
        let chain = certificates(cert)?;
        let facts = facts(cert, &chain[0])?;
        let private = private_key(key)?;
        let certified = CertifiedKey::from_der(chain, private, &super::provider()).map_err(
            |error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
                }
                other => TlsError::Unusable { path: key.to_owned(), reason: other.to_string() },
            },
        )?;
        let path = cert.to_owned();
        let outdated = match facts.validity(now.duration_since(UNIX_EPOCH).unwrap_or_default()) {
            Validity::Valid => None,
            Validity::ExpiredDaysAgo(days) => Some(TlsError::Expired { path, days }),
            Validity::ValidInDays(days) => Some(TlsError::NotYetValid { path, days }),
        };
        Ok((Self { key: Arc::new(certified), facts }, outdated))
    }

    /// Returns the subject of the certificate, in the format of RFC 4514.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// Returns the time from which the certificate is valid.
    #[must_use]
    pub fn begins(&self) -> SystemTime {
        UNIX_EPOCH + self.facts.not_before
    }

    /// Returns the time until which the certificate is valid.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + self.facts.not_after
    }

    /// Returns the names for which the certificate was issued.
    #[must_use]
    pub fn alt_names(&self) -> &[AltName] {
        &self.facts.alt_names
    }

    pub(super) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }
}

impl Authorities {
    /// Reads one or more certificates as PEM.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| TlsError::Unusable {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// Returns the authorities that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace
    /// them.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`] if there are none.
    pub fn of_the_system() -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        // Unreadable certificates are skipped; the others are still useful.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(Self(Arc::new(store))) }
    }
}

/// Reads the certificates of a file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    if found.is_empty() {
        let other = PrivateKeyDer::from_pem_slice(&text).is_ok().then_some("private key");
        return Err(TlsError::Missing {
            path: path.to_owned(),
            wanted: "certificate",
            found: other,
        });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            let other = CertificateDer::from_pem_slice(&text).is_ok().then_some("certificate");
            TlsError::Missing { path: path.to_owned(), wanted: "private key", found: other }
        }
        error => damaged(path, &error),
    })
}

fn facts(path: &Path, certificate: &CertificateDer<'_>) -> Result<CertificateFacts, TlsError> {
    CertificateFacts::read(certificate)
        .map_err(|reason| TlsError::Damaged { path: path.to_owned(), reason })
}

fn damaged(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "its last block has no end".to_owned(),
        pem::Error::Base64Decode(_) => "a block is not Base64".to_owned(),
        other => other.to_string(),
    };
    TlsError::Damaged { path: path.to_owned(), reason }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let path_of = || PathBuf::from(path);
    std::fs::read(path).map_err(|error| TlsError::Unreadable { path: path_of(), error })
}
