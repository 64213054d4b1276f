//! The server's TLS settings: its certificate, and whether clients must show one.

use std::io;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ServerConnection, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::certificate::CertificateFacts;
use super::error::TlsError;
use super::identity::{Authorities, Identity};
use super::layer::TlsLayer;
use super::sentence::{TlsRole, closed, sentence};
use crate::connection::limits::Closed;
use crate::transport::origin::{Origin, TlsFacts};
use crate::transport::steps::{OpenFuture, Protocol, Step};
use crate::transport::stream::Stream;
use echoline_base::poison::IgnorePoison;

/// The maximum wait for a client whose handshake failed to read the TLS alert.
const ALERT_TIME: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are read during this wait. Unread bytes would turn the close
/// into a reset, which may overtake the alert.
const ALERT_BYTES: u64 = 64 * 1024;

/// Whether a server asks its clients for a certificate.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// The server does not ask.
    #[default]
    Off,
    /// The server asks. A client without a certificate is accepted. A client with an invalid
    /// certificate is refused.
    Requested(Authorities),
    /// The server asks, and refuses a client without a valid certificate.
    Required(Authorities),
}

/// A checked TLS configuration of a server, ready for [`Certificates::replace`].
#[derive(Clone, Debug)]
pub struct TlsServerConfig {
    config: Arc<ServerConfig>,
    subject: String,
    begins: SystemTime,
    expires: SystemTime,
}

/// The current TLS configuration of a server. Clones are handles of the same configuration.
///
/// ```no_run
/// use echoline::tls::{Certificates, ClientAuth, Identity, TlsServerConfig};
/// use echoline::{Listener, ListenerOptions};
/// use echoline::transport::Transport;
/// use std::{path::Path, time::SystemTime};
///
/// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
/// let now = SystemTime::now();
/// let pair = Identity::load(Path::new("server.pem"), Path::new("server-key.pem"), now)?;
/// let certificates = Certificates::new(TlsServerConfig::new(&pair, &ClientAuth::Off)?);
/// let address = "tls://127.0.0.1:8443".parse()?;
/// let transport = Transport::plain().then(certificates.step());
/// for listener in Listener::bind(&address, &ListenerOptions::default()).await? {
///     let listener = listener.transport(transport.clone());
///     // … Server::new(vec![listener])
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Certificates(Arc<RwLock<TlsServerConfig>>);

impl TlsServerConfig {
    /// Prepares the TLS configuration of a server.
    ///
    /// # Errors
    /// [`TlsError::Refused`] if rustls rejects the settings.
    pub fn new(identity: &Identity, clients: &ClientAuth) -> Result<Self, TlsError> {
        let refused = |error: rustls::Error| TlsError::Refused(error.to_string());
        let provider = super::provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let verifier = |authorities: &Authorities| {
            let roots = Arc::clone(&authorities.0);
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        };
        let builder = match clients {
            ClientAuth::Off => builder.with_no_client_auth(),
            ClientAuth::Requested(trusted) => {
                let verifier = verifier(trusted).allow_unauthenticated().build();
                let verifier = verifier.map_err(|error| TlsError::Refused(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            ClientAuth::Required(trusted) => {
                let verifier = verifier(trusted).build();
                let verifier = verifier.map_err(|error| TlsError::Refused(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(identity.resolver());
        // Resumption uses tickets. The ticket key changes every six hours and with each
        // configuration, so that an old ticket does not admit a client that is no longer trusted.
        config.ticketer = Ticketer::new().map_err(refused)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            subject: identity.subject().to_owned(),
            begins: identity.begins(),
            expires: identity.expires(),
        })
    }
}

impl Certificates {
    /// Creates a handle with `config` as the current configuration.
    #[must_use]
    pub fn new(config: TlsServerConfig) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Replaces the configuration for handshakes that begin from now on.
    pub fn replace(&self, config: TlsServerConfig) {
        // The configuration is replaced as a whole, so it is intact even if another holder of the
        // lock panicked.
        *self.0.write().ignore_poison() = config;
    }

    /// Returns the subject of the certificate, in the format of RFC 4514.
    #[must_use]
    pub fn subject(&self) -> String {
        self.config().subject
    }

    /// Returns the time from which the certificate is valid.
    #[must_use]
    pub fn begins(&self) -> SystemTime {
        self.config().begins
    }

    /// Returns the time until which the certificate is valid.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.config().expires
    }

    /// Returns the step of a server's transport that performs the handshake.
    #[must_use]
    pub fn step(&self) -> Arc<dyn Step> {
        Arc::new(AcceptTls(self.clone()))
    }

    fn config(&self) -> TlsServerConfig {
        self.0.read().ignore_poison().clone()
    }
}

#[derive(Debug)]
struct AcceptTls(Certificates);

impl Step for AcceptTls {
    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::Tls)
    }

    fn open<'a>(&'a self, stream: Stream, origin: &'a mut Origin) -> OpenFuture<'a> {
        Box::pin(async move {
            let acceptor = TlsAcceptor::from(self.0.config().config);
            match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => {
                    origin.tls = Some(facts(stream.get_ref().1));
                    Ok(Stream::layered(TlsLayer(TlsStream::Server(stream))))
                }
                Err((error, stream)) => {
                    origin.failure = Some(sentence(&error, TlsRole::Server));
                    let closed = closed(&error);
                    if closed != Closed::Reset {
                        see_off(stream).await;
                    }
                    Err(closed)
                }
            }
        })
    }
}

/// Ends a connection after a failed handshake in such a way that the client receives the TLS alert.
async fn see_off(mut stream: Stream) {
    let seeing_off = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(ALERT_BYTES), &mut tokio::io::sink()).await?;
        io::Result::Ok(())
    };
    // The connection ends in any case, so the result does not matter.
    let _ = tokio::time::timeout(ALERT_TIME, seeing_off).await;
}

fn facts(connection: &ServerConnection) -> TlsFacts {
    let subject = connection.peer_certificates().and_then(<[_]>::first).map(|certificate| {
        // The certificate was verified, so it can be parsed.
        CertificateFacts::read(certificate).map_or_else(|error| error, |facts| facts.subject)
    });
    TlsFacts {
        version: connection.protocol_version().map_or(String::new(), super::version_name),
        cipher: connection
            .negotiated_cipher_suite()
            .map_or(String::new(), |suite| super::cipher_name(suite.suite())),
        subject,
        server_name: connection.server_name().map(str::to_owned),
    }
}
