//! Passwords of rooms: kept as Argon2id hashes (RFC 9106), checked off the connections' threads.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;

/// Memory of one check at most.
const MEMORY_MAX_KIB: u32 = 64 * 1024;

/// Hashes at once: each takes a core for tens of milliseconds, and 19 MiB.
static AT_WORK: Semaphore = Semaphore::const_new(2);

/// The hash of a password; `None` where the system has no random bytes or no memory for it.
pub(super) async fn hash(password: String) -> Option<Arc<str>> {
    let _permit = AT_WORK.acquire().await.ok()?;
    let work = move || {
        let hash = Argon2::default().hash_password(password.as_bytes()).ok()?;
        Some(Arc::from(hash.to_string()))
    };
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

/// Whether it is the password of this hash.
pub(in crate::chat) async fn fits(password: String, hash: Arc<str>) -> bool {
    let Ok(_permit) = AT_WORK.acquire().await else { return false };
    let work = move || {
        PasswordHash::new(&hash).is_ok_and(|hash| {
            let verify = || Argon2::default().verify_password(password.as_bytes(), &hash);
            is_affordable(&hash) && verify().is_ok()
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(false)
}

/// Whether checking the hash costs about as much as checking one of ours: a forged hash may ask for
/// gigabytes and hours.
fn is_affordable(hash: &PasswordHash) -> bool {
    Params::try_from(hash).is_ok_and(|params| {
        params.m_cost() <= MEMORY_MAX_KIB && params.t_cost() <= 4 && params.p_cost() <= 4
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_hash_only() {
        let first = hash("open sesame".into()).await.unwrap();
        let second = hash("open sesame".into()).await.unwrap();
        assert_ne!(first, second, "each has its salt");
        assert!(fits("open sesame".into(), Arc::clone(&first)).await);
        assert!(!fits("open barley".into(), first).await);
        assert!(!fits("open sesame".into(), Arc::from("no hash")).await);
    }
}
