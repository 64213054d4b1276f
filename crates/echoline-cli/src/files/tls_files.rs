//! Loads the TLS files of flags. The errors name the flag of each file.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::anyhow;

use echoline::tls::{Authorities, Identity, TlsError};

/// A certificate and its private key, each with its flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentityFiles<'a> {
    pub(crate) cert: (&'static str, &'a Path),
    /// The path is `None` if the key is in the file of the certificate.
    pub(crate) key: (&'static str, Option<&'a Path>),
}

impl IdentityFiles<'_> {
    /// Loads both files. The second part of the result is the error of a certificate that is not
    /// valid at `now`.
    ///
    /// # Errors
    /// One sentence that names the flag and the file.
    pub(crate) fn load(
        &self,
        now: SystemTime,
    ) -> anyhow::Result<(Identity, Option<anyhow::Error>)> {
        let (cert, key) = (self.cert.1, self.key.1.unwrap_or(self.cert.1));
        let (identity, outdated) =
            Identity::load_outdated(cert, key, now).map_err(|error| self.name_flags(error))?;
        Ok((identity, outdated.map(|error| self.name_flags(error))))
    }

    fn name_flags(&self, error: TlsError) -> anyhow::Error {
        let (key, path) = self.key;
        let has_no_key = matches!(error, TlsError::Missing { wanted: "private key", .. });
        let files = [Some(self.cert), path.map(|path| (key, path))];
        let error = name_flags(error, files.into_iter().flatten());
        match path {
            None if has_no_key => anyhow!("{error}; add {key} FILE"),
            _ => error.into(),
        }
    }
}

/// Loads the certificates of authorities from the file of `flag`.
///
/// # Errors
/// One sentence that names the flag and the file.
pub(crate) fn load_authorities(flag: &'static str, path: &Path) -> anyhow::Result<Authorities> {
    let authorities = Authorities::load(path);
    Ok(authorities.map_err(|error| name_flags(error, [(flag, path)].into_iter()))?)
}

/// Returns the error with the flag in front of each path.
fn name_flags<'a>(
    error: TlsError,
    files: impl Iterator<Item = (&'static str, &'a Path)> + Clone,
) -> TlsError {
    let named = |path: PathBuf| {
        let mut files = files.clone();
        let flag = files.find(|(_, known)| *known == path).map(|(flag, _)| flag);
        flag.map_or(path.clone(), |flag| format!("{flag} {}", path.display()).into())
    };
    match error {
        TlsError::Unreadable { path, error } => TlsError::Unreadable { path: named(path), error },
        TlsError::Missing { path, wanted, found } => {
            TlsError::Missing { path: named(path), wanted, found }
        }
        TlsError::Damaged { path, reason } => TlsError::Damaged { path: named(path), reason },
        TlsError::Mismatch { cert, key } => {
            TlsError::Mismatch { cert: named(cert), key: named(key) }
        }
        TlsError::Expired { path, days } => TlsError::Expired { path: named(path), days },
        TlsError::NotYetValid { path, days } => TlsError::NotYetValid { path: named(path), days },
        TlsError::Unusable { path, reason } => TlsError::Unusable { path: named(path), reason },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn said(cert: &Path, key: Option<&Path>) -> String {
        let files = IdentityFiles { cert: ("--cert", cert), key: ("--key", key) };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        files.load(now).unwrap_err().to_string()
    }

    #[test]
    fn every_error_names_the_flag_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (cert, key, other) = (path("cert.pem"), path("key.pem"), path("other.pem"));
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&pair).unwrap();
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let (missing, at) = (path("missing"), folder.path().display().to_string());
        for (cert, key, wanted) in [
            (&missing, Some(&key), format!("cannot read --cert {at}/missing: ")),
            (&cert, Some(&missing), format!("cannot read --key {at}/missing: ")),
            (&key, Some(&key), format!("--cert {at}/key.pem contains no certificate in PEM")),
            (
                &cert,
                Some(&other),
                format!(
                    "the key in --key {at}/other.pem does not belong to the certificate in --cert \
                 {at}/cert.pem"
                ),
            ),
        ] {
            let said = said(cert, key.map(PathBuf::as_path));
            assert!(said.starts_with(&wanted), "{said}");
        }
        let alone = said(&cert, None);
        assert!(alone.starts_with(&format!("--cert {at}/cert.pem contains no private key")));
        assert!(alone.ends_with("give the file of the private key; add --key FILE"), "{alone}");
        let error = load_authorities("--client-ca", &key).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--client-ca {at}/key.pem contains no certificate")));
    }
}
