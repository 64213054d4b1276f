//! The client's TLS settings: the certificates that it trusts, and the certificate that it
//! presents.

use std::sync::Arc;

use rustls::client::Resumption as Sessions;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::{TlsConnector, TlsStream};

use super::checked_protocols;
use super::error::TlsError;
use super::facts::facts;
use super::identity::{Authorities, Identity};
use super::layer::TlsLayer;
use super::sentence::{TlsRole, closed, sentence};
use crate::transport::origin::Origin;
use crate::transport::steps::{OpenFuture, Protocol, Step};
use crate::transport::stream::Stream;

/// The server certificates that a client accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// Certificates for the requested name, signed by one of these authorities.
    Authorities(Authorities),
    /// Any certificate, for any name. Use it for tests only, because every host on the path can
    /// read and change the data.
    AnyCertificate,
}

/// Whether a client resumes earlier sessions, which saves most of the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resumption {
    /// Each connection has a full handshake.
    #[default]
    Off,
    /// A connection presents the session ticket of an earlier one.
    On,
}

/// The TLS settings of a client.
///
/// ```no_run
/// use echoline::tls::{Authorities, Resumption, TlsClient, Trust};
/// use echoline::transport::{Stream, Transport};
/// use echoline::{Connection, Limits};
/// use tokio::net::TcpStream;
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let trust = Trust::Authorities(Authorities::of_the_system()?);
/// let client = TlsClient::new(&trust, None, Resumption::Off)?.alpn(["echo/1"])?;
/// let tls = Transport::plain().then(client.step("example.org")?);
/// let socket = TcpStream::connect("example.org:8443").await?;
/// let server = Connection::new(Stream::from(socket), Limits::default());
/// let mut server = server.upgrade(&tls).await?;
/// assert_eq!(server.tls().and_then(|tls| tls.alpn.as_deref()), Some(&b"echo/1"[..]));
/// server.write_line("hello").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Creates a client that trusts `trust`, and shows `identity` if the server asks for a
    /// certificate.
    ///
    /// # Errors
    /// [`TlsError::Refused`] if rustls rejects the settings.
    pub fn new(
        trust: &Trust,
        identity: Option<&Identity>,
        resumption: Resumption,
    ) -> Result<Self, TlsError> {
        let provider = super::provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Refused(error.to_string()))?;
        let builder = match trust {
            Trust::Authorities(trusted) => builder.with_root_certificates(Arc::clone(&trusted.0)),
            Trust::AnyCertificate => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider))),
        };
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        if resumption == Resumption::Off {
            config.resumption = Sessions::disabled();
        }
        Ok(Self(Arc::new(config)))
    }

    /// Takes a configuration of rustls, which [`echoline::tls::rustls`](crate::tls::rustls) is, as
    /// it is.
    #[must_use]
    pub fn from_rustls(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self(config.into())
    }

    /// Returns the configuration of rustls, for example to copy, change and pass it to
    /// [`from_rustls`](Self::from_rustls).
    #[must_use]
    pub fn rustls(&self) -> &Arc<ClientConfig> {
        &self.0
    }

    /// Sets the application protocols that the client offers (ALPN, RFC 7301), the preferred one
    /// first. `TlsFacts::alpn` tells which one the server chose. Default: none.
    ///
    /// # Errors
    /// [`TlsError::BadProtocol`] if a name does not have 1 to 255 bytes.
    pub fn alpn<P: Into<Vec<u8>>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> Result<Self, TlsError> {
        Arc::make_mut(&mut self.0).alpn_protocols = checked_protocols(protocols)?;
        Ok(self)
    }

    /// Returns a step of a client's transport that performs the handshake with `name`, a host name
    /// or an IP address.
    ///
    /// # Errors
    /// [`TlsError::BadName`] if no certificate can have such a name.
    pub fn step(&self, name: &str) -> Result<Arc<dyn Step>, TlsError> {
        // The zone of an IPv6 address has a meaning only on this host.
        let bare = name.split('%').next().unwrap_or(name);
        let server = ServerName::try_from(bare.to_owned())
            .map_err(|_| TlsError::BadName(name.to_owned()))?;
        Ok(Arc::new(ConnectTls { connector: TlsConnector::from(Arc::clone(&self.0)), server }))
    }
}

struct ConnectTls {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl std::fmt::Debug for ConnectTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Step for ConnectTls {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::Tls)
    }

    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            let connecting = self.connector.connect(self.server.clone(), stream);
            match connecting.into_fallible().await {
                Ok(stream) => {
                    let connection = stream.get_ref().1;
                    origin.tls = Some(Box::new(facts(connection)));
                    Ok(Stream::layered(TlsLayer(TlsStream::Client(stream))))
                }
                Err((error, _)) => {
                    origin.failure = Some(sentence(&error, TlsRole::Client));
                    Err(closed(&error))
                }
            }
        })
    }
}

/// Accepts every certificate, but still checks that the server has its key.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
