//! The certificates of a server: loads them from the flags, and replaces them while it runs.

pub(crate) mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::config;
use crate::files::shared_files::SharedFilesArgs;
use crate::files::tls_files::{IdentityFiles, load_authorities};
use crate::server::check_report::CheckReport;
use crate::server::service_address::ServiceAddress;
use crate::usage_error::UsageError;
use echoline::tls::{Certificates, ClientAuth, Identity, TlsServerConfig, UnknownName};

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
    /// SIGHUP. The flag is repeatable: each client gets the certificate for the name that it asks
    /// for (SNI), or else the first one.
    #[arg(long, env = "ECHOLINE_CERT", value_name = "FILE")]
    cert: Vec<PathBuf>,

    /// Private key of --cert (PEM) [default: same file].
    ///
    /// If --cert is repeated, give one key for each certificate, in the same order, or none.
    #[arg(long, env = "ECHOLINE_KEY", value_name = "FILE", requires = "cert")]
    key: Vec<PathBuf>,

    /// Application protocols of addresses with TLS (ALPN), the preferred one first.
    ///
    /// The server refuses a client that offers only other protocols. It serves a client that offers
    /// none.
    #[arg(long, env = "ECHOLINE_ALPN", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = protocol, requires = "cert")]
    alpn: Vec<String>,

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
        listen: impl IntoIterator<Item = &'a ServiceAddress>,
        outdated: ExpiredCertificatePolicy,
    ) -> anyhow::Result<Option<Certificates>> {
        let wants = listen.into_iter().find(|at| at.address.scheme().is_tls());
        match (wants, self.cert.first()) {
            (None, None) => Ok(None),
            // The variable may be meant for another server in the same environment.
            (None, Some(_)) if config::may_set("cert") => Ok(None),
            (None, Some(_)) => Err(UsageError::new(
                "--cert has no effect: no --listen address begins with tls:// or wss://; write for \
                 example --listen tls://127.0.0.1:8443",
            )
            .into()),
            (Some(at), None) => Err(UsageError::new(format!(
                "{at} needs a certificate: add --cert FILE --key FILE ('echoline cert' makes \
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
        let identities = self.identities(outdated)?;
        let clients = match &self.client_ca {
            None => ClientAuth::Off,
            Some(path) => {
                let trusted = load_authorities("--client-ca", path)?;
                match self.client_auth {
                    Some(ClientAuthName::Request) => ClientAuth::Requested(trusted),
                    Some(ClientAuthName::Require) | None => ClientAuth::Required(trusted),
                }
            }
        };
        let config = match &identities[..] {
            [] => bail!("--cert is no longer set"),
            // The only certificate needs no name.
            [one] => TlsServerConfig::new(one, &clients)?,
            all => TlsServerConfig::by_server_name(all, UnknownName::FirstCertificate, &clients)?,
        };
        Ok(config.alpn(self.alpn.iter().map(String::as_str))?)
    }

    /// Reads and checks all certificates with their keys.
    fn identities(&self, outdated: ExpiredCertificatePolicy) -> anyhow::Result<Vec<Identity>> {
        let (certs, keys) = (self.cert.len(), self.key.len());
        if keys != 0 && keys != certs {
            let text = format!(
                "{certs} × --cert and {keys} × --key: give one --key for each --cert, in the same \
                 order, or none if each file contains both"
            );
            return Err(UsageError::new(text).into());
        }
        let mut identities = Vec::new();
        for (index, cert) in self.cert.iter().enumerate() {
            let key = self.key.get(index).map(PathBuf::as_path);
            let files = IdentityFiles { cert: ("--cert", cert), key: ("--key", key) };
            self.shared_files.check_key(files.key, files.cert)?;
            match (files.load(now())?, outdated) {
                ((_, Some(error)), ExpiredCertificatePolicy::Refuse) => return Err(error),
                ((identity, _), _) => identities.push(identity),
            }
        }
        Ok(identities)
    }

    /// Checks whether a server on the addresses `listen` could start with these files.
    pub(crate) fn check<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a ServiceAddress>,
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
        let files = self.cert.iter().chain(&self.key).chain(&self.client_ca);
        files.map(PathBuf::as_path)
    }
}

/// Returns the name of an application protocol, as `--alpn` takes it.
pub(crate) fn protocol(text: &str) -> Result<String, String> {
    match text.len() {
        1..=255 => Ok(text.to_owned()),
        length => Err(format!("a protocol has 1 to 255 bytes, and this one has {length}")),
    }
}

/// Logs the names and the validity of the certificates.
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

/// Returns a description such as `certificate CN=localhost, valid until 2027-11-24 (365 days)`. Of
/// several certificates, the validity is the time in which all are valid.
fn describe(certificates: &Certificates) -> String {
    let (begins, expires) = validity(certificates);
    let named = match &certificates.subjects()[..] {
        [subject] => format!("certificate {subject}"),
        subjects => format!("certificates {}", subjects.join("; ")),
    };
    if now() > expires {
        return format!("{named}, expired on {}", date(expires));
    }
    if now() < begins {
        return format!("{named}, not valid before {}", date(begins));
    }
    let days = left(certificates).as_secs() / (24 * 60 * 60);
    format!("{named}, valid until {} ({days} days)", date(expires))
}

/// Returns the beginning and the end of the validity. Only a configuration that this program does
/// not make has none.
fn validity(certificates: &Certificates) -> (SystemTime, SystemTime) {
    (certificates.begins().unwrap_or_else(now), certificates.expires().unwrap_or_else(now))
}

fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map_or_else(|_| "the end of time".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn is_outdated(certificates: &Certificates) -> bool {
    let (begins, expires) = validity(certificates);
    !(begins..=expires).contains(&now())
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
    validity(certificates).1.duration_since(now()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
