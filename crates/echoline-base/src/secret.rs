//! Text that must not appear in logs, pages or errors: passwords, tokens, addresses with a
//! password. Pure.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The text that is printed instead of a secret.
const HIDDEN: &str = "***";

/// A password, a token, or an address that may contain one of these. `{:?}` prints `***`. `{}` does
/// not compile, so that no code sends or stores `***` in place of the secret by mistake. A clone is
/// cheap.
///
/// ```
/// use echoline_base::SecretText;
///
/// let password = SecretText::from("open sesame");
/// assert_eq!(format!("{password:?}"), "***");
/// assert_eq!(password.reveal(), "open sesame");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Arc<str>);

impl SecretText {
    /// Returns the secret itself, for the code that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for SecretText {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl FromStr for SecretText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Returns the text with everything between a scheme and the last `@` replaced by `***`:
/// `nats://***@host`. A password may contain any character, also `@`, so the text is split at the
/// last `@`.
pub fn without_login(text: &str) -> String {
    let Some((login, host)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = login.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = if is_scheme { format!("{scheme}://") } else { String::new() };
    format!("{scheme}{HIDDEN}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 12, item 2: a secret prints as `***`, also inside another value.
    #[test]
    fn attack_a_secret_is_not_printed() {
        let secret = SecretText::from("open sesame".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(format!("{secret:#?}"), "***");
        assert_eq!(secret, "open sesame".parse().unwrap());
        assert_eq!(secret.reveal(), "open sesame");
    }

    /// Issue 12, item 2: the login in an address is not printed, even if the address is malformed.
    #[test]
    fn attack_an_address_is_shown_without_its_login() {
        for (address, shown) in [
            ("nats://a:4222,b", "nats://a:4222,b"),
            ("nats://me:sesame@a:4222", "nats://***@a:4222"),
            ("tls://sesame@a,nats://me:sesame@b", "tls://***@b"),
            ("nats://me:ses@me,ses/ame@b", "nats://***@b"),
            ("me:sesame@b", "***@b"),
            ("se:same://me@b", "***@b"),
        ] {
            assert_eq!(without_login(address), shown);
        }
    }
}
