//! TLS (RFC 8446 and 5246), as one step between a socket and its handler, on both sides.
//!
//! A server has [`Certificates`], which can be replaced while it runs; a client has a
//! [`TlsClient`]. Both support TLS 1.2 and 1.3, but no older version.

mod certificate;
mod certificates;
mod client;
mod error;
mod identity;
mod layer;
mod sentence;

use std::sync::Arc;

pub use certificates::{Certificates, ClientAuth, TlsServerConfig};
pub use client::{Resumption, TlsClient, Trust};
pub use error::TlsError;
pub use identity::{Authorities, Identity};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ProtocolVersion};

/// Returns the cryptography library that both sides use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns the name of the version as in OpenSSL, for example `TLSv1.3`.
fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Returns the name in the IANA registry, for example `TLS_AES_256_GCM_SHA384`.
fn cipher_name(suite: CipherSuite) -> String {
    // rustls adds `13` to the names of TLS 1.3 suites, and the IANA names do not have it.
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}
