//! The errors of certificates and keys. Pure.

use std::io;
use std::path::PathBuf;

/// An error in a TLS file or setting. Each message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is missing, or not readable for this user.
    #[error(
        "cannot read {}: {error}; check the path and its permissions",
        .path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file has no PEM block of the required kind.
    #[error(
        "{} contains no {wanted} in PEM form (a block '-----BEGIN …'){}",
        .path.display(), hint(.found, .wanted)
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// The kind of PEM block found instead.
        found: Option<&'static str>,
    },
    /// A PEM block is incomplete or has invalid content.
    #[error("{} is damaged: {reason}; create the file again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}: give the two that were made \
         together", .key.display(), .cert.display()
    )]
    Mismatch {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate has expired.
    #[error("the certificate in {} expired {days} days ago: get a new one", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The number of whole days since the certificate expired.
        days: u64,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate in {} becomes valid in {days} days: is the clock of this host right?",
        .path.display()
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The number of whole days until the certificate becomes valid.
        days: u64,
    },
    /// The certificate or key cannot be used for TLS.
    #[error("{} cannot be used for TLS: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// No authorities trusted by the system were found.
    #[error(
        "this host has no list of trusted authorities: install ca-certificates, or give \
         --ca FILE"
    )]
    NoRoots,
    /// A certificate cannot have this name.
    #[error("'{0}' is not a name that a certificate can have: give one with --server-name NAME")]
    BadName(String),
    /// Clients can ask for each of several certificates by its names, and this one has none.
    #[error(
        "the certificate {0} has no DNS name (subjectAltName), so no client can ask for it: give \
         it first, or make one with a name"
    )]
    Nameless(String),
    /// This is not the name of an application protocol.
    #[error("'{0}' is not an ALPN protocol: its name has 1 to 255 bytes")]
    BadProtocol(String),
    /// The error of rustls about the settings.
    #[error("cannot set up TLS: {0}")]
    Refused(String),
}

fn hint(found: &Option<&'static str>, wanted: &str) -> String {
    let found = found.map_or(String::new(), |found| format!("; it contains a {found}"));
    format!("{found}: give the file of the {wanted}")
}
