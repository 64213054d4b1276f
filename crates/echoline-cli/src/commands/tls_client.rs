//! The TLS settings of the clients, `send` and `load`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use crate::config;
use crate::files::shared_files::SharedFilesArgs;
use crate::files::tls_files::{IdentityFiles, load_authorities};
use crate::server::tls::protocol;
use crate::usage_error::UsageError;
use echoline::Address;
use echoline::tls::{Authorities, Resumption, TlsClient, TlsError, Trust};
use echoline::transport::Step;

/// The flags of a client's side of TLS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsClientArgs {
    /// Trusted certificates of servers or authorities (PEM) [default: the system's].
    #[arg(long, env = "ECHOLINE_CA", value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,

    /// Accept any certificate of the server, for tests.
    ///
    /// Every host between client and server can then read and change the data.
    #[arg(long, env = "ECHOLINE_INSECURE")]
    insecure: bool,

    /// Client certificate, if the server asks for one (PEM).
    #[arg(long, env = "ECHOLINE_CLIENT_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,

    /// Private key of --cert (PEM) [default: same file].
    #[arg(long, env = "ECHOLINE_CLIENT_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Name in the certificate of the server [default: the host of ADDR].
    #[arg(long, env = "ECHOLINE_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,

    /// Application protocols to offer (ALPN), the preferred one first.
    #[arg(long, env = "ECHOLINE_CLIENT_ALPN", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = protocol)]
    alpn: Vec<String>,

    #[command(flatten)]
    shared_files: SharedFilesArgs,
}

/// The TLS settings of a client; empty if no address uses TLS.
#[derive(Debug)]
pub(crate) struct TlsSide {
    client: Option<TlsClient>,
    server_name: Option<String>,
}

impl TlsClientArgs {
    /// Reads the files if one of `addresses` uses TLS.
    pub(crate) fn prepare(
        &self,
        addresses: &[Address],
        resumption: Resumption,
    ) -> anyhow::Result<TlsSide> {
        let server_name = self.server_name.clone();
        if !addresses.iter().any(|address| address.scheme().is_tls()) {
            if let Some(flag) = self.given() {
                let text = format!(
                    "{flag} has no effect: no address begins with tls:// or wss://; write for \
                     example tls://localhost:8443"
                );
                return Err(UsageError::new(text).into());
            }
            return Ok(TlsSide { client: None, server_name });
        }
        let trust = match (&self.ca, self.insecure) {
            (_, true) => Trust::AnyCertificate,
            (Some(path), _) => Trust::Authorities(load_authorities("--ca", path)?),
            (None, _) => Trust::Authorities(Authorities::of_the_system()?),
        };
        let identity = match &self.cert {
            Some(cert) => {
                let key = ("--key", self.key.as_deref());
                let files = IdentityFiles { cert: ("--cert", cert), key };
                self.shared_files.check_key(files.key, files.cert)?;
                match files.load(now())? {
                    (_, Some(error)) => return Err(error),
                    (identity, None) => Some(identity),
                }
            }
            None => None,
        };
        let client = TlsClient::new(&trust, identity.as_ref(), resumption)?;
        let client = client.alpn(self.alpn.iter().map(String::as_str))?;
        Ok(TlsSide { client: Some(client), server_name })
    }

    /// Returns whether certificates are checked, for a report.
    pub(crate) fn describe(&self) -> &'static str {
        if self.insecure { "certificates not checked" } else { "certificates checked" }
    }

    /// Returns the first TLS flag that is set on the command line. A flag that an environment
    /// variable may have set does not count, because the variable may be meant for other commands.
    fn given(&self) -> Option<&'static str> {
        [
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
            ("--cert", self.cert.is_some()),
            ("--server-name", self.server_name.is_some()),
            ("--alpn", !self.alpn.is_empty()),
        ]
        .into_iter()
        .filter(|(flag, _)| !config::may_set(flag.trim_start_matches('-')))
        .find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

impl TlsSide {
    /// Returns the handshake with the server at `address`, if the address uses TLS.
    pub(crate) fn step(&self, address: &Address) -> anyhow::Result<Option<Arc<dyn Step>>> {
        let client = self.client.as_ref().filter(|_| address.scheme().is_tls());
        let name = self.server_name.as_deref().unwrap_or(address.host());
        let step = client.map(|client| client.step(name)).transpose();
        step.map_err(|error| match error {
            TlsError::BadName(_) => UsageError::new(error.to_string()).into(),
            error => error.into(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
