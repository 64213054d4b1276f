//! Certificates for the tests, signed by one authority, in files that are deleted with it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use echoline::tls::rustls::RootCertStore;
use echoline::tls::rustls::pki_types::CertificateDer;
use echoline::tls::rustls::pki_types::pem::PemObject;
use echoline::tls::{Authorities, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, SignatureAlgorithm,
};
use tempfile::TempDir;

pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let path = self.folder.path().join("ca.pem");
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        roots
    }

    pub(crate) fn trusted(&self) -> Authorities {
        Authorities::load(&self.folder.path().join("ca.pem")).unwrap()
    }

    /// Signs a certificate for the subject `CN=subject`, with these names.
    pub(crate) fn sign(&self, subject: &str, names: &[&str]) -> Identity {
        self.sign_with(subject, names, &rcgen::PKCS_ECDSA_P256_SHA256).0
    }

    /// Signs a certificate with a key of the given type. Returns it with its DER.
    pub(crate) fn sign_with(
        &self,
        subject: &str,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> (Identity, Vec<u8>) {
        let (uris, names): (Vec<String>, Vec<String>) =
            names.iter().map(|name| (*name).to_owned()).partition(|name| name.contains("://"));
        let mut params = CertificateParams::new(names).unwrap();
        let uris = uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.distinguished_name.push(DnType::CommonName, subject);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let write = |name: String, text: String| -> PathBuf {
            let path = self.folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let cert = write(format!("{subject}.pem"), certificate.pem());
        let key = write(format!("{subject}-key.pem"), key.serialize_pem());
        let identity = Identity::load(&cert, &key, SystemTime::now()).unwrap();
        (identity, certificate.der().to_vec())
    }
}
