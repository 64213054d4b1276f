//! `echoline cert`: certificates for tests.

mod name;

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose as Usage,
};
use tempfile::NamedTempFile;

use crate::files::output;
use crate::values;
use echoline_base::file_access::if_there;

/// The time before its creation from which a certificate is valid, because the clocks of hosts
/// differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The flags of `echoline cert`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The command writes server.pem and server-key.pem; with --ca also ca.pem, ca-key.pem, client.pem \
and client-key.pem. Keys are ECDSA P-256, and only their owner can read them (mode 0600). The \
certificates are for tests: browsers do not trust them.

Exit code: 0 after success, 1 after a failure, 2 for wrong usage.

Examples:
  echoline cert
  echoline cert --out certs --name chat.example.com,192.0.2.1 --ca")]
pub(crate) struct CertArgs {
    /// Folder for the files; it is created if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,

    /// DNS names and IP addresses of the server.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = name::name)]
    #[arg(default_value = "localhost,127.0.0.1,::1")]
    name: Vec<String>,

    /// Validity of the certificates in days.
    #[arg(long, value_name = "N", default_value = "365")]
    #[arg(value_parser = |text: &str| values::number_in(text, 1..=3650_u32))]
    days: u32,

    /// Make a server certificate that expired a day ago.
    #[arg(long, conflicts_with = "not_yet_valid")]
    expired: bool,

    /// Make a server certificate that becomes valid tomorrow.
    #[arg(long)]
    not_yet_valid: bool,

    /// Make an authority that signs the certificates of a server and a client.
    ///
    /// Without this flag the server certificate is self-signed. The client certificate is for
    /// servers with --client-ca.
    #[arg(long)]
    ca: bool,

    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

/// A file to write: its name and its contents.
type PemFile = (&'static str, String);

/// Creates and writes the certificates, and prints the next commands to type.
pub(crate) fn run(flags: &CertArgs) -> anyhow::Result<ExitCode> {
    let files = if flags.ca { flags.family()? } else { flags.alone()? };
    let out = &flags.out;
    fs::create_dir_all(out)
        .with_context(|| format!("cannot create the folder --out {}", out.display()))?;
    for path in files.iter().map(|(name, _)| out.join(name)).filter(|_| !flags.force) {
        // An error means that the file may exist, so nothing is written.
        let found = if_there(fs::symlink_metadata(&path));
        if found.with_context(|| format!("cannot examine {}", path.display()))?.is_some() {
            bail!(
                "{} already exists: choose another folder with --out DIR, or overwrite it with \
                 --force",
                path.display()
            );
        }
    }
    for (name, text) in &files {
        write(&out.join(name), text)?;
    }
    output::print(&flags.next_steps(&files))?;
    Ok(ExitCode::SUCCESS)
}

impl CertArgs {
    /// Returns a self-signed certificate for the server.
    fn alone(&self) -> anyhow::Result<Vec<PemFile>> {
        let key = KeyPair::generate()?;
        let certificate = self.server()?.self_signed(&key)?;
        Ok(vec![("server.pem", certificate.pem()), ("server-key.pem", key.serialize_pem())])
    }

    /// Creates a certificate authority and the certificates that it signs.
    fn family(&self) -> anyhow::Result<Vec<PemFile>> {
        let mut params = self.params(&[], "test CA")?;
        // A path length of 0: the authority signs server and client certificates, but no other
        // authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca = params.self_signed(&ca_key)?;
        let mut files = vec![("ca.pem", ca.pem()), ("ca-key.pem", ca_key.serialize_pem())];
        let issuer = Issuer::new(params, ca_key);
        let mut client = self.params(&[], "client")?;
        client.extended_key_usages = vec![Purpose::ClientAuth];
        for (cert_name, key_name, mut params) in [
            ("server.pem", "server-key.pem", self.server()?),
            ("client.pem", "client-key.pem", client),
        ] {
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            files.push((cert_name, params.signed_by(&key, &issuer)?.pem()));
            files.push((key_name, key.serialize_pem()));
        }
        Ok(files)
    }

    fn server(&self) -> anyhow::Result<CertificateParams> {
        let first = self.name.first().map_or("localhost", String::as_str);
        let mut params = self.params(&self.name, first)?;
        params.extended_key_usages = vec![Purpose::ServerAuth];
        let (now, length) = (now(), self.days * DAY);
        if self.expired {
            (params.not_before, params.not_after) =
                ((now - DAY - length).into(), (now - DAY).into());
        } else if self.not_yet_valid {
            (params.not_before, params.not_after) =
                ((now + DAY).into(), (now + DAY + length).into());
        }
        Ok(params)
    }

    fn params(&self, names: &[String], common_name: &str) -> anyhow::Result<CertificateParams> {
        let mut params = CertificateParams::new(names).with_context(|| {
            format!("--name {}: write host names and IP addresses with commas", names.join(","))
        })?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        // Distinguishes the certificate from one with the same common name that the system trusts.
        params.distinguished_name.push(DnType::OrganizationName, "echoline test");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let now = now();
        params.not_before = (now - CLOCKS_DIFFER).into();
        params.not_after = (now + self.days * DAY).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![Usage::DigitalSignature];
        Ok(params)
    }

    /// Lists the written files and the commands to try next.
    fn next_steps(&self, files: &[PemFile]) -> String {
        let path = |name: &str| self.out.join(name).display().to_string();
        let written: Vec<_> = files.iter().map(|(name, _)| path(name)).collect();
        let host = self.name.first().map_or("localhost", String::as_str);
        let host = host.replacen('*', "test", 1);
        let validity = match (self.expired, self.not_yet_valid) {
            (true, _) => "expired since yesterday".to_owned(),
            (_, true) => "valid from tomorrow".to_owned(),
            _ => format!("valid for {} days", self.days),
        };
        let (cert, key) = (path("server.pem"), path("server-key.pem"));
        let (serve, send) = if self.ca {
            let (ca, client, client_key) =
                (path("ca.pem"), path("client.pem"), path("client-key.pem"));
            (format!(" --client-ca {ca}"), format!("--ca {ca} --cert {client} --key {client_key}"))
        } else {
            (String::new(), format!("--ca {cert}"))
        };
        format!(
            "wrote {}, {validity}\n\
             next:\n  \
             echoline echo --listen tls://127.0.0.1:8443 --cert {cert} --key {key}{serve}\n  \
             echoline send tls://127.0.0.1:8443 {send} --server-name {host} hello\n",
            written.join(" ")
        )
    }
}

/// Writes the whole file or nothing. Only the owner can read a key.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mode = if text.contains("PRIVATE KEY") { 0o600 } else { 0o644 };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let writing = || {
        let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::io::Result::Ok(())
    };
    writing().with_context(|| format!("cannot write {}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}
