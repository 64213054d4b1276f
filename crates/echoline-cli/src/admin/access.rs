//! The rights of a request to the admin address, and the secret that gives them.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::files::shared_files::SharedFilesArgs;

/// The minimum length of the secret, in characters. A shorter one could be guessed.
const SECRET_MIN: usize = 16;

/// The rights of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The request may read metrics, the health, and a page without names, addresses and the log.
    /// It may not change anything.
    Metrics,
    /// The request may also read the log and addresses, and change the fault plan.
    Full,
}

/// The error of a request with a wrong secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongSecret;

/// The secret of `--admin-secret-file`; it is never printed.
#[derive(Clone)]
pub(super) struct AdminSecret(Box<[u8]>);

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl AdminSecret {
    /// Reads the first line of the file.
    ///
    /// # Errors
    /// One sentence: the file cannot be read, other users can read it, or its first line cannot
    /// be a secret.
    pub(super) fn read(path: &Path, shared: &SharedFilesArgs) -> anyhow::Result<Self> {
        let flag = "--admin-secret-file";
        let text = shared.read_secret(flag, path)?;
        Self::parse(&text).map_err(|reason| anyhow::anyhow!("{flag} {}: {reason}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let line = text.lines().next().unwrap_or_default().trim();
        if line.len() < SECRET_MIN || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "its first line must have {SECRET_MIN} or more visible ASCII characters without \
                 spaces; 'openssl rand -hex 24' prints such a line"
            ));
        }
        Ok(Self(line.as_bytes().into()))
    }

    /// Compares a guess with the secret. The time does not depend on the position of the first
    /// difference, but it may depend on the length of the guess.
    fn is(&self, guess: &[u8]) -> bool {
        self.0.ct_eq(guess).into()
    }
}

/// Returns the rights that the `Authorization` headers of a request give: `Bearer SECRET`, or
/// `Basic` with any user name and the secret as password, which is the form that browsers send.
pub(super) fn authorize(
    headers: &[&str],
    secret: Option<&AdminSecret>,
) -> Result<Access, WrongSecret> {
    let Some(secret) = secret else { return Ok(Access::Metrics) };
    match headers {
        [] => Ok(Access::Metrics),
        [header] if carries(header, secret) => Ok(Access::Full),
        _ => Err(WrongSecret),
    }
}

fn carries(header: &str, secret: &AdminSecret) -> bool {
    let Some((scheme, value)) = header.split_once(' ') else { return false };
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return secret.is(value.as_bytes());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return false;
    }
    let decoded = STANDARD.decode(value).unwrap_or_default();
    let password = decoded.splitn(2, |byte| *byte == b':').nth(1);
    password.is_some_and(|password| secret.is(password))
}

/// The client of a request, as its connection shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpClient {
    /// The rights of a request of this client without a secret.
    pub(super) access: Access,
    /// `None` over a Unix socket.
    pub(super) address: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LINE: &str = "correct:horse-battery";

    /// Issue 12, item 11: only the whole secret, in one header, gives more than the metrics.
    #[test]
    fn attack_a_request_without_the_secret_gets_metrics_or_nothing() {
        let secret = AdminSecret::parse(LINE).unwrap();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let ask = |headers: &[&str]| authorize(headers, Some(&secret));
        for header in
            [&format!("bearer  {LINE}"), &basic(&format!(":{LINE}")), &basic(&format!("me:{LINE}"))]
        {
            assert_eq!(ask(&[header]), Ok(Access::Full), "{header}");
        }
        assert_eq!(ask(&[]), Ok(Access::Metrics));
        let right = format!("Bearer {LINE}");
        for wrong in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {}", &LINE[1..]),
            format!("Bearer {LINE}x"),
            format!("Digest {LINE}"),
            LINE.to_owned(),
            basic(LINE),
            basic(""),
            "Basic !!".to_owned(),
        ] {
            assert_eq!(ask(&[&wrong]), Err(WrongSecret), "{wrong}");
        }
        assert_eq!(ask(&[&right, &right]), Err(WrongSecret));
        // If no secret is configured, the header grants nothing more.
        assert_eq!(authorize(&[&right], None), Ok(Access::Metrics));
        assert_eq!(format!("{secret:?}"), "***");
    }

    /// Issue 12, item 11: a secret that can be guessed, or that others can read, is refused.
    #[test]
    fn attack_a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            AdminSecret::read(&path, &SharedFilesArgs::default())
                .map_err(|error| format!("{error:#}"))
        };
        assert!(read(&format!("{LINE}\nmore\n"), 0o600).unwrap().is(LINE.as_bytes()));
        if nix::unistd::Uid::effective().is_root() {
            assert!(read(LINE, 0o640).is_ok(), "root's group may read it");
        }
        for mode in [0o644, 0o602, 0o604] {
            let said = read(LINE, mode).unwrap_err();
            assert!(
                said.contains(&format!("(mode {mode:04o}): remove their access (chmod 600")),
                "{said}"
            );
        }
        for text in ["", "short", "sixteen letters ", "a pass phrase of words", "пароль-пароль"]
        {
            let said = read(text, 0o600).unwrap_err();
            assert!(said.contains("openssl rand -hex 24"), "{text}: {said}");
        }
        fs::remove_file(&path).unwrap();
        let said =
            format!("{:#}", AdminSecret::read(&path, &SharedFilesArgs::default()).unwrap_err());
        assert!(said.starts_with("cannot read --admin-secret-file "), "{said}");
    }
}
