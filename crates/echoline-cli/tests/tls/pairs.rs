//! Certificates for one test: an authority and the certificates that it signs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer,
    KeyPair,
};
use tempfile::TempDir;

use crate::programs::write_secret;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority with a folder that is deleted at the end of the test.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// The validity and purpose of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Expired,
    NotYetValid,
    Client,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Writes a certificate and its key for the subject `CN=name`, to files whose names begin with
    /// `name`.
    pub(crate) fn sign(&self, name: &str, kind: Kind) -> Pair {
        self.write(name, self.text(name, kind))
    }

    /// Does the same as [`sign`](Self::sign), for other names than those of this host.
    pub(crate) fn sign_for(&self, name: &str, names: &[&str], kind: Kind) -> Pair {
        self.write(name, self.text_for(name, names, kind))
    }

    fn write(&self, name: &str, (cert, key): (String, String)) -> Pair {
        let pair = Pair {
            cert: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}-key.pem")),
        };
        fs::write(&pair.cert, cert).unwrap();
        write_secret(&pair.key, key);
        pair
    }

    /// Returns the certificate and the key as PEM text.
    pub(crate) fn text(&self, name: &str, kind: Kind) -> (String, String) {
        self.text_for(name, &["localhost", "127.0.0.1"], kind)
    }

    fn text_for(&self, name: &str, names: &[&str], kind: Kind) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let now = SystemTime::now();
        let (begin, end) = match kind {
            Kind::Server | Kind::Client => (now - DAY, now + 90 * DAY),
            Kind::Expired => (now - 9 * DAY, now - 2 * DAY),
            Kind::NotYetValid => (now + 5 * DAY, now + 90 * DAY),
        };
        (params.not_before, params.not_after) = (begin.into(), end.into());
        params.extended_key_usages = match kind {
            Kind::Client => vec![Purpose::ClientAuth],
            _ => vec![Purpose::ServerAuth],
        };
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

impl Pair {
    pub(crate) fn cert(&self) -> &str {
        self.cert.to_str().unwrap()
    }

    pub(crate) fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }
}
