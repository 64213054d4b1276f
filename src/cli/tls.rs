//! The certificates of a server: from flags to what it shows, at the start and later.

mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::net::{Address, Authorities, Certificates, ClientAuth, Identity, Offer};

/// A certificate that is valid for no longer than this is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The flags of a server's side of TLS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsFlags {
    /// The certificate for --listen tls://…, as PEM: the server's own first, then who signed it.
    /// `echoline cert` makes one for tests. It is read anew when the file changes, and on SIGHUP.
    #[arg(long, env = "ECHOLINE_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The private key of --cert, as PEM. [default: it is in the file of --cert]
    #[arg(long, env = "ECHOLINE_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Ask clients for a certificate that one in this file (PEM) has signed.
    #[arg(long, env = "ECHOLINE_CLIENT_CA", value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,

    /// What becomes of clients that show no certificate. [default: require]
    #[arg(long, env = "ECHOLINE_CLIENT_AUTH", value_enum, requires = "client_ca")]
    client_auth: Option<ClientAuthName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientAuthName {
    /// They are refused.
    Require,
    /// They are served; a certificate that nobody in --client-ca has signed is refused.
    Request,
}

impl TlsFlags {
    /// The certificates where one of `listen` wants them.
    pub(super) fn load<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a Address>,
    ) -> anyhow::Result<Option<Certificates>> {
        let wants = listen.into_iter().find(|address| address.scheme().is_tls());
        match (wants, &self.cert) {
            (None, None) => Ok(None),
            (None, Some(_)) => bail!(
                "--cert has nothing to do: no --listen begins with tls:// or wss://; write for \
                 example --listen tls://127.0.0.1:8443"
            ),
            (Some(address), None) => bail!(
                "--listen {address} needs a certificate: give --cert FILE --key FILE ('echoline \
                 cert' makes a pair for tests)"
            ),
            (Some(_), Some(_)) => Ok(Some(Certificates::new(self.offer()?))),
        }
    }

    /// Reads and checks what a server shows and asks for. Reads files each time.
    pub(super) fn offer(&self) -> anyhow::Result<Offer> {
        let Some(cert) = &self.cert else { bail!("--cert is not given any more") };
        let key = self.key.as_ref().unwrap_or(cert);
        let identity = Identity::load(cert, key, now())?;
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
        Ok(Offer::new(&identity, &clients)?)
    }

    /// Has `certificates` follow the files from now on, on a thread of its own.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn follow(&self, certificates: &Certificates) -> std::io::Result<()> {
        announce(certificates, "TLS");
        watch::start(self.clone(), certificates.clone())
    }

    /// The files that are read.
    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key, &self.client_ca].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Says who the certificate is for and how long it is valid.
fn announce(certificates: &Certificates, what: &str) {
    let sentence = describe(certificates);
    if left(certificates) < SOON {
        tracing::warn!("{what}: {sentence}: get a new one soon");
    } else {
        tracing::info!("{what}: {sentence}");
    }
}

/// For example `certificate CN=localhost, valid until 2027-11-24 (365 days)`.
pub(super) fn describe(certificates: &Certificates) -> String {
    let date = jiff::Timestamp::try_from(certificates.expires())
        .map_or_else(|_| "the end of time".to_owned(), |at| at.strftime("%Y-%m-%d").to_string());
    let days = left(certificates).as_secs() / (24 * 60 * 60);
    format!("certificate {}, valid until {date} ({days} days)", certificates.subject())
}

fn left(certificates: &Certificates) -> Duration {
    certificates.expires().duration_since(now()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
