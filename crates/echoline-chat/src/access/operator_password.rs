//! Checks the operators' password, and the proof in a saved session that its user has typed the
//! password.
//!
//! The setting contains the password itself, or its Argon2id hash as a PHC string (`echoline chat
//! hash-password`).

use std::sync::Arc;

use crate::access::password_checks::{PasswordError, check_hash};
use crate::chat::Chat;

/// The result of checking a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Wrong,
    /// The password is right. Contains the proof for the saved session: a hash that is valid as
    /// long as the password does not change.
    Right(Option<Arc<str>>),
}

/// Compares a password with the operators' password. Cancel safe.
///
/// # Errors
/// [`PasswordError`] if the setting is a hash and the comparison fails.
pub(crate) async fn check(chat: &Chat, given: String) -> Result<Checked, PasswordError> {
    let Some(right) = setting(chat) else { return Ok(Checked::Wrong) };
    if check_hash(&right) {
        return match chat.passwords.fits(given, Arc::clone(&right)).await? {
            true => Ok(Checked::Right(Some(right))),
            false => Ok(Checked::Wrong),
        };
    }
    match is_same(&right, &given) {
        true => Ok(Checked::Right(chat.passwords.hash_patiently(given).await)),
        false => Ok(Checked::Wrong),
    }
}

/// Returns whether a proof from a saved session is valid for the current password.
pub(crate) async fn is_proof(chat: &Chat, proof: &str) -> bool {
    match setting(chat) {
        None => false,
        Some(right) if check_hash(&right) => *right == *proof,
        Some(right) => chat.passwords.fits_patiently(right.to_string(), proof.into()).await,
    }
}

fn setting(chat: &Chat) -> Option<Arc<str>> {
    chat.rules().operator_password.as_ref().map(|password| Arc::from(password.reveal()))
}

/// Compares two passwords. The time depends only on the length of the given one.
fn is_same(right: &str, given: &str) -> bool {
    let cycle = right.bytes().cycle();
    let differs = given.bytes().zip(cycle).fold(0, |differs, (a, b)| differs | (a ^ b));
    std::hint::black_box(differs) == 0 && right.len() == given.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::password_checks;
    use crate::settings::ChatSettings;

    fn chat(password: &str) -> Chat {
        let operator_password = Some(password.into());
        Chat::new(ChatSettings { operator_password, ..ChatSettings::default() })
    }

    #[tokio::test]
    async fn a_password_is_compared_with_the_setting_or_its_hash() {
        let hash = password_checks::hash("open sesame").unwrap();
        for setting in ["open sesame", &hash] {
            let chat = chat(setting);
            for wrong in ["", "open", "open sesame ", "open sesame open sesame", setting] {
                if wrong != "open sesame" {
                    let checked = check(&chat, wrong.to_owned()).await;
                    assert_eq!(checked, Ok(Checked::Wrong), "{wrong}");
                }
            }
            let checked = check(&chat, "open sesame".to_owned()).await;
            let Ok(Checked::Right(Some(proof))) = checked else { panic!("{checked:?}") };
            assert!(is_proof(&chat, &proof).await && proof.starts_with("$argon2id$"));
        }
        let none = Chat::new(ChatSettings::default());
        assert_eq!(check(&none, String::new()).await, Ok(Checked::Wrong));
    }

    #[tokio::test]
    async fn a_proof_is_void_once_the_password_has_changed() {
        let (first, second) = (password_checks::hash("one").unwrap(), chat("another password"));
        assert!(is_proof(&chat(&first), &first).await && is_proof(&chat("one"), &first).await);
        assert!(!is_proof(&second, &first).await);
        let again = password_checks::hash("one").unwrap();
        assert!(!is_proof(&chat(&again), &first).await, "the same password, hashed again");
    }
}
