//! Explains a TLS error in one sentence. Pure.

use std::io;
use std::net::IpAddr;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::connection::limits::Closed;

/// The role of this end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsRole {
    Server,
    Client,
}

/// Explains the `error` of a handshake or a read, and names the remedy if possible.
pub(super) fn sentence(error: &io::Error, side: TlsRole) -> String {
    let peer = side.peer();
    match tls_error(error) {
        Some(error) => explain(error, side),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{peer} closed the connection in the middle of the TLS handshake")
        }
        None => error.to_string(),
    }
}

/// Returns the close reason of a connection whose handshake failed with `error`.
pub(super) fn closed(error: &io::Error) -> Closed {
    match Closed::from(io::Error::from(error.kind())) {
        Closed::Reset => Closed::Reset,
        _ => Closed::HandshakeFailed,
    }
}

/// Returns the TLS error inside `error`, if there is one.
pub(super) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

impl TlsRole {
    fn peer(self) -> &'static str {
        match self {
            Self::Server => "the client",
            Self::Client => "the server",
        }
    }
}

fn explain(error: &Error, side: TlsRole) -> String {
    let peer = side.peer();
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) if side == TlsRole::Server => {
            "the client does not use TLS: it must connect to tls://".to_owned()
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not use TLS: leave out tls://".to_owned()
        }
        Error::InvalidCertificate(error) => certificate(error, side),
        Error::NoCertificatesPresented => {
            "the client sent no certificate, and --client-ca needs one".to_owned()
        }
        Error::NoApplicationProtocol if side == TlsRole::Server => {
            "the client offers none of the server's ALPN protocols".to_owned()
        }
        Error::NoApplicationProtocol => {
            "the server chose an ALPN protocol that was not offered".to_owned()
        }
        // The text of rustls for a resolver that has chosen no certificate.
        Error::General(reason) if reason.contains("no server certificate chain resolved") => {
            "the client asks for no name that a certificate of the server has".to_owned()
        }
        Error::AlertReceived(alert) => alert_received(*alert, side),
        Error::PeerIncompatible(reason) => {
            format!(
                "{peer} has no TLS version or cipher in common with this side ({reason:?}): it \
                 needs TLS 1.2 or 1.3"
            )
        }
        other => format!("{peer} violated the TLS protocol: {other}"),
    }
}

fn certificate(error: &CertificateError, side: TlsRole) -> String {
    use CertificateError as Kind;
    let whose = match side {
        TlsRole::Server => "the client's certificate",
        TlsRole::Client => "the server's certificate",
    };
    match (error, side) {
        (Kind::UnknownIssuer | Kind::BadSignature, TlsRole::Client)
        | (Kind::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }, TlsRole::Client) => {
            format!(
                "{whose} is not signed by a trusted authority: give the certificate of the signer \
                 with --ca FILE, or accept any certificate with --insecure"
            )
        }
        (Kind::UnknownIssuer | Kind::BadSignature, TlsRole::Server)
        | (Kind::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }, TlsRole::Server) => {
            format!("{whose} is not signed by an authority in --client-ca")
        }
        (Kind::Expired | Kind::ExpiredContext { .. }, _) => format!("{whose} has expired"),
        (Kind::NotValidYet | Kind::NotValidYetContext { .. }, _) => {
            format!("{whose} is not valid yet: is a clock wrong?")
        }
        (Kind::NotValidForNameContext { expected, presented }, _) => {
            let presented = match presented.as_slice() {
                [] => "no name".to_owned(),
                names => names.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            };
            format!(
                "{whose} is for {presented} and not for {}: connect to that name, or give it with \
                 --server-name NAME",
                expected.to_str()
            )
        }
        (Kind::InvalidPurpose | Kind::InvalidPurposeContext { .. }, _) => {
            format!("{whose} is not meant for this side of a connection")
        }
        (other, _) => format!("{whose} cannot be trusted: {other}"),
    }
}

/// Returns the bare name in the text of a certificate verifier: `localhost` for
/// `DnsName("localhost")`. Returns an IP address in its usual form: `::1` instead of `0::1`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let inner = inner.unwrap_or(name).trim_matches('"');
    inner.parse::<IpAddr>().map_or_else(|_| inner.to_owned(), |address| address.to_string())
}

fn alert_received(alert: AlertDescription, side: TlsRole) -> String {
    use AlertDescription as Alert;
    match (alert, side) {
        (Alert::UnknownCA, TlsRole::Server) => {
            "the client does not trust our certificate (alert unknown_ca)".to_owned()
        }
        (Alert::CertificateRequired, TlsRole::Client) => {
            "the server asks for a certificate: give one with --cert FILE --key FILE".to_owned()
        }
        (Alert::UnknownCA | Alert::DecryptError | Alert::BadCertificate, TlsRole::Client) => {
            format!(
                "the server does not trust our certificate (alert {alert:?}): give --cert FILE \
                 --key FILE that it knows the signer of"
            )
        }
        (Alert::CertificateExpired, TlsRole::Client) => {
            "the server says that our certificate has expired".to_owned()
        }
        (Alert::NoApplicationProtocol, TlsRole::Client) => {
            "the server speaks none of the offered ALPN protocols".to_owned()
        }
        (Alert::AccessDenied | Alert::UnrecognisedName, TlsRole::Client) => {
            format!(
                "the server has no certificate for the requested name (alert {alert:?}): give its \
                 name with --server-name NAME"
            )
        }
        (Alert::ProtocolVersion, _) => {
            format!("{} speaks no TLS 1.2 or 1.3 (alert protocol_version)", side.peer())
        }
        (other, _) => format!("{} ended the handshake (alert {other:?})", side.peer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_names_the_remedy() {
        for (error, side, wanted) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                TlsRole::Client,
                "--ca FILE",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                TlsRole::Client,
                "--cert",
            ),
            (Error::NoCertificatesPresented, TlsRole::Server, "--client-ca"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), TlsRole::Server, "tls://"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert!(sentence(&error, side).contains(wanted), "{error}");
            assert_eq!(closed(&error), Closed::HandshakeFailed);
        }
        let gone = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(closed(&gone), Closed::Reset);
    }
}
