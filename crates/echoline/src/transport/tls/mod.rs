//! TLS (RFC 8446 and 5246), as one step between a socket and its handler, on both sides.
//!
//! A server has [`Certificates`], which can be replaced while it runs; a client has a
//! [`TlsClient`]. Both support TLS 1.2 and 1.3, but no older version.

pub(crate) mod certificate;
mod certificate_facts;
mod certificates;
mod client;
mod error;
mod facts;
mod identity;
mod layer;
mod sentence;
mod server_names;

use std::sync::Arc;

pub use certificate::{Fingerprint, InvalidFingerprint, PeerCertificate};
pub use certificate_facts::AltName;
pub use certificates::{Certificates, ClientAuth, TlsServerConfig};
pub use client::{Resumption, TlsClient, Trust};
pub use error::TlsError;
pub use identity::{Authorities, Identity};
pub use server_names::UnknownName;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Returns the cryptography library that both sides use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Checks the names of application protocols: 1 to 255 bytes each, and at most 65,535 bytes in all,
/// with one more byte for each (RFC 7301 section 3.1).
fn checked_protocols<P: Into<Vec<u8>>>(
    protocols: impl IntoIterator<Item = P>,
) -> Result<Vec<Vec<u8>>, TlsError> {
    let protocols: Vec<Vec<u8>> = protocols.into_iter().map(Into::into).collect();
    let wrong = protocols.iter().find(|name| !(1..=255).contains(&name.len()));
    if let Some(name) = wrong {
        return Err(TlsError::BadProtocol(name.escape_ascii().to_string()));
    }
    match protocols.iter().map(|name| name.len() + 1).sum::<usize>() {
        0..=0xFFFF => Ok(protocols),
        _ => Err(TlsError::Refused("the ALPN protocols are longer than 64 KiB".to_owned())),
    }
}
