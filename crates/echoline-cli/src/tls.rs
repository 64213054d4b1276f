//! The certificates of a server: from flags to what it shows, at the start and later.

mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::{Args, ValueEnum};
use watch::Watch;

use super::check::Findings;
use super::config;
use super::reload::{Commit, Fresh, Renewal};
use super::shared_files::SharedFilesFlag;
use echoline::Address;
use echoline::tls::{Authorities, Certificates, ClientAuth, Identity, TlsServerConfig};

/// What takes effect without a restart.
const LIVE: [&str; 4] = ["cert", "key", "client-ca", "client-auth"];

/// A certificate that is valid for no longer than this is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The warning about a certificate that is not valid now.
const ONLY_FOR_TESTS: &str = "clients that check it refuse it, so it is for tests only";

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

    /// The treatment of clients that show no certificate. [default: require]
    #[arg(long, env = "ECHOLINE_CLIENT_AUTH", value_enum, requires = "client_ca")]
    client_auth: Option<ClientAuthName>,

    /// Here because the key is read again with these flags.
    #[command(flatten)]
    pub(super) shared_files: SharedFilesFlag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientAuthName {
    /// They are refused.
    Require,
    /// They are served; a certificate that nobody in --client-ca has signed is refused.
    Request,
}

/// The treatment of a certificate that has expired or is not valid yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outdated {
    Refuse,
    /// It is served with a warning, for tests of clients.
    Serve,
}

impl TlsFlags {
    /// The certificates where one of `listen` wants them.
    pub(super) fn load<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a Address>,
        outdated: Outdated,
    ) -> anyhow::Result<Option<Certificates>> {
        let wants = listen.into_iter().find(|address| address.scheme().is_tls());
        match (wants, &self.cert) {
            (None, None) => Ok(None),
            // A variable may be there for another server in the same environment.
            (None, Some(_)) if config::may_set("cert") => Ok(None),
            (None, Some(_)) => bail!(
                "--cert has nothing to do: no --listen begins with tls:// or wss://; write for \
                 example --listen tls://127.0.0.1:8443"
            ),
            (Some(address), None) => bail!(
                "--listen {address} needs a certificate: give --cert FILE --key FILE ('echoline \
                 cert' makes a pair for tests)"
            ),
            (Some(_), Some(_)) => Ok(Some(Certificates::new(self.config(outdated)?))),
        }
    }

    /// Reads and checks what a server shows and asks for. Reads files each time.
    pub(super) fn config(&self, outdated: Outdated) -> anyhow::Result<TlsServerConfig> {
        let Some(cert) = &self.cert else { bail!("--cert is not given any more") };
        let key = self.key.as_ref().unwrap_or(cert);
        self.shared_files.check_key(("--key", self.key.as_deref()), ("--cert", cert))?;
        let identity = match outdated {
            Outdated::Refuse => Identity::load(cert, key, now())?,
            Outdated::Serve => Identity::load_outdated(cert, key, now())?.0,
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

    /// Has `certificates` follow the files from now on, on a thread of its own, and at a reload.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn follow(&self, certificates: &Certificates) -> io::Result<Renewal> {
        announce(certificates, "TLS");
        let watch = Watch::start(self.clone(), certificates.clone())?;
        let certificates = certificates.clone();
        let prepare = move |fresh: &Fresh| {
            // Always: the files may have changed while the flags have not.
            let flags = fresh.serving().tls.clone();
            let config = flags.config(replacement(&certificates))?;
            let (certificates, watch) = (certificates.clone(), watch.clone());
            let commit: Commit = Box::new(move || {
                certificates.replace(config);
                watch.follow(flags);
                describe(&certificates)
            });
            Ok(Some(commit))
        };
        Ok(Renewal { keys: &LIVE, prepare: Box::new(prepare) })
    }

    /// Says whether a server that listens on `listen` could be started with these files.
    pub(super) fn check<'a>(
        &self,
        listen: impl IntoIterator<Item = &'a Address>,
        outdated: Outdated,
        findings: &mut Findings,
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

    /// The files that are read.
    fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.cert, &self.key, &self.client_ca].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Says who the certificate is for and how long it is valid.
fn announce(certificates: &Certificates, what: &str) {
    let sentence = describe(certificates);
    if is_outdated(certificates) {
        tracing::warn!("{what}: {sentence}; {ONLY_FOR_TESTS}");
    } else if left(certificates) < SOON {
        tracing::warn!("{what}: {sentence}: get a new one soon");
    } else {
        tracing::info!("{what}: {sentence}");
    }
}

/// For example `certificate CN=localhost, valid until 2027-11-24 (365 days)`.
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
fn replacement(certificates: &Certificates) -> Outdated {
    if is_outdated(certificates) { Outdated::Serve } else { Outdated::Refuse }
}

fn left(certificates: &Certificates) -> Duration {
    certificates.expires().duration_since(now()).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
