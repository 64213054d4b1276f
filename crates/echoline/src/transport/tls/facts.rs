//! The facts of an established TLS connection.

use rustls::{CipherSuite, CommonState, ProtocolVersion};

use super::certificate::PeerCertificate;
use crate::transport::origin::TlsFacts;

/// Returns the facts that both sides of a connection know.
pub(super) fn facts(connection: &CommonState) -> TlsFacts {
    let chain = connection.peer_certificates().unwrap_or_default();
    let certificates: Vec<PeerCertificate> =
        chain.iter().map(|der| PeerCertificate::from_der(der.to_vec())).collect();
    TlsFacts {
        version: connection.protocol_version().map_or(String::new(), version_name),
        cipher: connection
            .negotiated_cipher_suite()
            .map_or(String::new(), |suite| cipher_name(suite.suite())),
        subject: certificates.first().and_then(PeerCertificate::subject),
        server_name: None,
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        certificates,
    }
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
