//! The certificates of a server: loads them from the flags, and replaces them while it runs.

pub(crate) mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::config;
use crate::files::shared_files::SharedFilesArgs;
use crate::server::check_report::CheckReport;
use crate::usage_error::UsageError;
use echoline::Address;
use echoline::tls::{Authorities, Certificates, ClientAuth, Identity, TlsServerConfig};

/// The server warns about a certificate that expires within this time.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The warning about a certificate that is not valid now.
const ONLY_FOR_TESTS: &str = "clients refuse it, so it is for tests only";

/// The flags of a server's side of TLS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Certificate for addresses with TLS (PEM).
    ///
    /// The file contains the certificate of the server, then those of its issuers. `echoline cert`
    /// makes a certificate for tests. The server reads the file again when it changes, and on
    /// SIGHUP.
    #[arg(long, env = "ECHOLINE_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,

    /// Private key of --cert (PEM) [default: same file].
    #[arg(long, env = "ECHOLINE_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Authorities that must have signed the certificates of clients (PEM).
    #[arg(long, env = "ECHOLINE_CLIENT_CA", value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,

    /// Treatment of clients without a certificate [default: require].
    #[arg(long, env = "ECHOLINE_CLIENT_AUTH", value_enum, requires = "client_ca")]
    client_auth: Option<ClientAuthName>,

    /// Whether other users may read the key. A reload of the key needs this flag too.
    #[command(flatten)]
    pub(crate) shared_files: SharedFilesArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientAuthName {
    /// Refuse the client.
    Require,
    /// Serve the client. A certificate that --client-ca has not signed is still refused.
    Request,
}

/// The treatment of a certificate that has expired or is not valid yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiredCertificatePolicy {
    Refuse,
    /// Serve it with a warning, for tests of clients.
    Serve,
}

impl TlsArgs {
    /// Loads the certificates if one of the addresses in `listen` uses TLS.
    pub(crate) fn load<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a Address>,
        outdated: ExpiredCertificatePolicy,
    ) -> anyhow::Result<Option<Certificates>> {
        let wants = listen.into_iter().find(|address| address.scheme().is_tls());
        match (wants, &self.cert) {
            (None, None) => Ok(None),
            // The variable may be meant for another server in the same environment.
            (None, Some(_)) if config::may_set("cert") => Ok(None),
            (None, Some(_)) => Err(UsageError::new(
                "--cert has no effect: no --listen address begins with tls:// or wss://; write for \
                 example --listen tls://127.0.0.1:8443",
            )
            .into()),
            (Some(address), None) => Err(UsageError::new(format!(
                "{address} needs a certificate: add --cert FILE --key FILE ('echoline cert' makes \
                 a pair for tests)"
            ))
            .into()),
            (Some(_), Some(_)) => Ok(Some(Certificates::new(self.config(outdated)?))),
        }
    }

    /// Builds the TLS settings of a server. Reads and checks the files each time.
    pub(crate) fn config(
        &self,
        outdated: ExpiredCertificatePolicy,
    ) -> anyhow::Result<TlsServerConfig> {
        let Some(cert) = &self.cert else { bail!("--cert is no longer set") };
        let key = self.key.as_ref().unwrap_or(cert);
        self.shared_files.check_key(("--key", self.key.as_deref()), ("--cert", cert))?;
        let identity = match outdated {
            ExpiredCertificatePolicy::Refuse => Identity::load(cert, key, now())?,
            ExpiredCertificatePolicy::Serve => Identity::load_outdated(cert, key, now())?.0,
        };
        let clients = match &self.client_ca {
            None => ClientAuth::Off,
            Some(path) => {
                let trusted = Authorities::load(path)?;
                match self.client_auth {
                    Some(ClientAuthName::Request) => ClientAuth::Requested(trusted),
                    Some(ClientAuthName::Require) | None => ClientAuth::Required(trusted),
                }
            }
        };
        Ok(TlsServerConfig::new(&identity, &clients)?)
    }

    /// Checks whether a server on the addresses `listen` could start with these files.
    pub(crate) fn check<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a Address>,
        outdated: ExpiredCertificatePolicy,
        findings: &mut CheckReport,
    ) {
        match self.load(listen, outdated) {
            Ok(None) => {}
            Ok(Some(certificates)) if is_outdated(&certificates) => {
                findings.note(format!("{}; {ONLY_FOR_TESTS}", describe(&certificates)));
            }
            Ok(Some(certificates)) => findings.right(describe(&certificates)),
            Err(error) => findings.wrong(format!("{error:#}")),
        }
    }

    /// Returns the files that contain the TLS configuration.
    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key, &self.client_ca].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Logs the names and the validity of the certificate.
fn announce(certificates: &Certificates, what: &str) {
    let sentence = describe(certificates);
    if is_outdated(certificates) {
        tracing::warn!("{what}: {sentence}; {ONLY_FOR_TESTS}");
    } else if left(certificates) < SOON {
        tracing::warn!("{what}: {sentence}: replace it soon");
    } else {
        tracing::info!("{what}: {sentence}");
    }
}

/// Returns a description such as `certificate CN=localhost, valid until 2027-11-24 (365 days)`.
fn describe(certificates: &Certificates) -> String {
    let (subject, now) = (certificates.subject(), now());
    if now > certificates.expires() {
        return format!("certificate {subject}, expired on {}", date(certificates.expires()));
    }
    if now < certificates.begins() {
        return format!("certificate {subject}, not valid before {}", date(certificates.begins()));
    }
    let days = left(certificates).as_secs() / (24 * 60 * 60);
    format!("certificate {subject}, valid until {} ({days} days)", date(certificates.expires()))
}

fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map_or_else(|_| "the end of time".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn is_outdated(certificates: &Certificates) -> bool {
    !(certificates.begins()..=certificates.expires()).contains(&now())
}

/// Decides whether a reload may replace `certificates` by outdated ones: a valid certificate is
/// never replaced by one that clients refuse.
fn replacement(certificates: &Certificates) -> ExpiredCertificatePolicy {
    if is_outdated(certificates) {
        ExpiredCertificatePolicy::Serve
    } else {
        ExpiredCertificatePolicy::Refuse
    }
}

fn left(certificates: &Certificates) -> Duration {
    certificates.expires().duration_since(now()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
