//! The server's TLS settings: its certificate, and whether clients must show one.

use std::io;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::checked_protocols;
use super::error::TlsError;
use super::facts::facts;
use super::identity::{Authorities, Identity};
use super::layer::TlsLayer;
use super::sentence::{TlsRole, closed, sentence};
use super::server_names::{CertificatesByName, UnknownName};
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
    /// `None` for settings of the caller.
    identity: Option<IdentitySummary>,
}

/// The subjects of a server's certificates, and the time in which all are valid.
#[derive(Clone, Debug)]
struct IdentitySummary {
    subjects: Vec<String>,
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
    /// Prepares the TLS configuration of a server with one certificate.
    ///
    /// # Errors
    /// [`TlsError::Refused`] if rustls rejects the settings.
    pub fn new(identity: &Identity, clients: &ClientAuth) -> Result<Self, TlsError> {
        Self::with_resolver(identity.resolver(), std::slice::from_ref(identity), clients)
    }

    /// Prepares the TLS configuration of a server with several certificates. A client gets the
    /// first one with the DNS name that it asks for (SNI, RFC 6066 section 3) and with a key that
    /// it can verify. An exact name comes before a wildcard.
    ///
    /// ```no_run
    /// use echoline::tls::{Certificates, ClientAuth, Identity, TlsServerConfig, UnknownName};
    /// use std::path::Path;
    ///
    /// # fn load() -> Result<Certificates, echoline::tls::TlsError> {
    /// let now = std::time::SystemTime::now();
    /// let load = |name| {
    ///     let (cert, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
    ///     Identity::load(Path::new(&cert), Path::new(&key), now)
    /// };
    /// let all = [load("www.example.org")?, load("example.net")?];
    /// let unknown = UnknownName::FirstCertificate;
    /// let config = TlsServerConfig::by_server_name(&all, unknown, &ClientAuth::Off)?;
    /// Ok(Certificates::new(config.alpn(["echo/1"])?))
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TlsError::Nameless`] for a certificate that no client can get. [`TlsError::Refused`] if
    /// `identities` is empty or rustls rejects the settings.
    pub fn by_server_name(
        identities: &[Identity],
        unknown: UnknownName,
        clients: &ClientAuth,
    ) -> Result<Self, TlsError> {
        let resolver = CertificatesByName::new(identities, unknown)?;
        Self::with_resolver(Arc::new(resolver), identities, clients)
    }

    /// Takes a configuration of rustls, which [`echoline::tls::rustls`](crate::tls::rustls) is, as
    /// it is.
    #[must_use]
    pub fn from_rustls(config: impl Into<Arc<ServerConfig>>) -> Self {
        Self { config: config.into(), identity: None }
    }

    /// Returns the configuration of rustls, for example to copy, change and pass it to
    /// [`from_rustls`](Self::from_rustls).
    #[must_use]
    pub fn rustls(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Sets the application protocols of the server (ALPN, RFC 7301), the preferred one first. A
    /// handshake with a client that offers only others fails. A client that offers none is served.
    /// `TlsFacts::alpn` tells a handler which one was chosen. Default: none.
    ///
    /// # Errors
    /// [`TlsError::BadProtocol`] if a name does not have 1 to 255 bytes.
    pub fn alpn<P: Into<Vec<u8>>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> Result<Self, TlsError> {
        Arc::make_mut(&mut self.config).alpn_protocols = checked_protocols(protocols)?;
        Ok(self)
    }

    fn with_resolver(
        resolver: Arc<dyn ResolvesServerCert>,
        identities: &[Identity],
        clients: &ClientAuth,
    ) -> Result<Self, TlsError> {
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
        let mut config = builder.with_cert_resolver(resolver);
        // Resumption uses tickets. The ticket key changes every six hours and with each
        // configuration, so that an old ticket does not admit a client that is no longer trusted.
        config.ticketer = Ticketer::new().map_err(refused)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), identity: IdentitySummary::of(identities) })
    }
}

impl IdentitySummary {
    fn of(identities: &[Identity]) -> Option<Self> {
        Some(Self {
            subjects: identities.iter().map(|one| one.subject().to_owned()).collect(),
            begins: identities.iter().map(Identity::begins).max()?,
            expires: identities.iter().map(Identity::expires).min()?,
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

    /// Returns the subjects of all certificates, in the format of RFC 4514. None for a
    /// configuration of [`TlsServerConfig::from_rustls`].
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        self.config().identity.map(|identity| identity.subjects).unwrap_or_default()
    }

    /// Returns the time from which all certificates are valid. `None` for a
    /// configuration of [`TlsServerConfig::from_rustls`].
    #[must_use]
    pub fn begins(&self) -> Option<SystemTime> {
        self.config().identity.map(|identity| identity.begins)
    }

    /// Returns the time until which all certificates are valid. `None` for a
    /// configuration of [`TlsServerConfig::from_rustls`].
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.config().identity.map(|identity| identity.expires)
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
                    let connection = stream.get_ref().1;
                    let server_name = connection.server_name().map(str::to_owned);
                    let facts = TlsFacts { server_name, ..facts(connection) };
                    origin.tls = Some(Box::new(facts));
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
