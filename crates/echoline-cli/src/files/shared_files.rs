//! Secrets in files, and the flag that accepts files and folders that other users of the host can
//! read or write.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;

use echoline_base::file_access::exposed_secret;
use echoline_chat::history::SharedFolder;

/// The maximum number of bytes that are read of a file with a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The flag of every command that reads secrets or keeps files in a folder.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct SharedFilesArgs {
    /// Accept secrets that other users of this host can read.
    ///
    /// Secrets are private keys and files with passwords or tokens. Without this flag, only the
    /// owner may have access to such a file; if root owns the file, its group may read it too.
    /// Secret volumes of Kubernetes are accepted. The flag also accepts a history folder (--data of
    /// a chat) in which other users can replace files.
    #[arg(long, env = "ECHOLINE_ALLOW_SHARED_FILES")]
    allow_shared_files: bool,
}

impl SharedFilesArgs {
    /// Returns the treatment of a folder in which other users can replace files.
    pub(crate) fn folder(&self) -> SharedFolder {
        if self.allow_shared_files { SharedFolder::Allow } else { SharedFolder::Refuse }
    }

    /// Reads the file that `flag` names, which contains a secret.
    ///
    /// # Errors
    /// One sentence that names the flag: the file cannot be read, or other users can read it.
    pub(crate) fn read_secret(&self, flag: &str, path: &Path) -> anyhow::Result<String> {
        let file = self.open_secret(flag, path)?;
        let mut text = String::new();
        let read = file.take(SECRET_BYTES_MAX).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {flag} {}", path.display()))?;
        Ok(text)
    }

    /// Checks the file that `flag` names, which contains a secret and is read by other means.
    ///
    /// # Errors
    /// Like [`read_secret`](Self::read_secret).
    pub(crate) fn check_secret(&self, flag: &str, path: &Path) -> anyhow::Result<()> {
        self.open_secret(flag, path).map(drop)
    }

    /// Checks the permissions of the file of a private key. Without `key`, the key is in the file
    /// of the certificate. Each path comes with its flag. Other errors are not reported here but by
    /// the code that reads the file.
    ///
    /// # Errors
    /// Other users can read the key.
    pub(crate) fn check_key(
        &self,
        key: (&str, Option<&Path>),
        cert: (&str, &Path),
    ) -> anyhow::Result<()> {
        let (flag, path) = key.1.map_or(cert, |path| (key.0, path));
        match std::fs::read(path) {
            Ok(text) if memchr::memmem::find(&text, b"PRIVATE KEY").is_some() => {
                self.check_secret(flag, path)
            }
            _ => Ok(()),
        }
    }

    fn open_secret(&self, flag: &str, path: &Path) -> anyhow::Result<File> {
        let shown = path.display();
        let cannot = || format!("cannot read {flag} {shown}");
        let file = File::open(path).with_context(cannot)?;
        if self.allow_shared_files {
            return Ok(file);
        }
        if let Some(exposed) = exposed_secret(&file, path).with_context(cannot)? {
            bail!(
                "{flag} {shown}: {exposed}: remove their access (chmod 600 {shown}), or accept it \
                 with --allow-shared-files"
            );
        }
        Ok(file)
    }
}
