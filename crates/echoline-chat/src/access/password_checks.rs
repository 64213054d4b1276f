//! Hashes and checks passwords with Argon2id (RFC 9106). The queue is bounded, and the work runs
//! outside of the connections' threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Argon2, Params};
use tokio::sync::Semaphore;

/// The maximum number of concurrent hashes. Each occupies a core for tens of milliseconds, and 19
/// MiB.
const AT_WORK_MAX: usize = 2;

/// The maximum number of waiting and running hashes. Further ones are refused: in a longer queue,
/// every user would wait for more than a second.
const QUEUE_MAX: usize = 32;

/// The pause before the answer to a wrong password. It delays the next attempt of the connection
/// too.
pub(crate) const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

/// The interval at which [`hash_patiently`](PasswordChecks::hash_patiently) and
/// [`fits_patiently`](PasswordChecks::fits_patiently) retry while the queue is full.
const PATIENCE: Duration = Duration::from_millis(100);

/// The most expensive parameters of a hash that is checked: 256 MiB, 16 passes and 16 lanes. A
/// forged hash may demand gigabytes and hours.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// The queue of one chat.
#[derive(Debug)]
pub(crate) struct PasswordChecks {
    at_work: Arc<Semaphore>,
    queued: AtomicUsize,
}

/// The reason why a password was neither hashed nor compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordError {
    /// The queue is full.
    Busy,
    /// The system has no random bytes, or not enough memory.
    Failed,
}

impl PasswordError {
    /// Returns the message for the user.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Busy => "Too many passwords are being checked: try again in a moment",
            Self::Failed => "The password could not be set; try again",
        }
    }
}

/// A place in the queue. The place becomes free when this value is dropped, for example if the
/// connection ends while its task waits.
struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for PasswordChecks {
    /// Creates a queue that uses at most half of the cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_work = Arc::new(Semaphore::new((cores / 2).clamp(1, AT_WORK_MAX)));
        Self { at_work, queued: AtomicUsize::new(0) }
    }
}

impl PasswordChecks {
    /// Returns the hash of a password. Cancel safe.
    ///
    /// # Errors
    /// [`PasswordError`] if the queue is full, or if there are no random bytes or not enough
    /// memory.
    pub(crate) async fn hash(&self, password: String) -> Result<Arc<str>, PasswordError> {
        let work = move || hash(&password).map(|hash| Arc::from(&*hash));
        self.run(work).await?.ok_or(PasswordError::Failed)
    }

    /// Returns whether the hash belongs to this password. Cancel safe.
    ///
    /// # Errors
    /// [`PasswordError`] if the queue is full, or if there is not enough memory.
    pub(crate) async fn fits(
        &self,
        password: String,
        hash: Arc<str>,
    ) -> Result<bool, PasswordError> {
        self.run(move || verify(&password, &hash)).await
    }

    /// Like [`hash`](Self::hash), but waits while the queue is full. Returns `None` if hashing
    /// fails.
    pub(crate) async fn hash_patiently(&self, password: String) -> Option<Arc<str>> {
        loop {
            match self.hash(password.clone()).await {
                Err(PasswordError::Busy) => tokio::time::sleep(PATIENCE).await,
                hash => return hash.ok(),
            }
        }
    }

    /// Like [`fits`](Self::fits), but waits while the queue is full.
    pub(crate) async fn fits_patiently(&self, password: String, hash: Arc<str>) -> bool {
        loop {
            match self.fits(password.clone(), Arc::clone(&hash)).await {
                Err(PasswordError::Busy) => tokio::time::sleep(PATIENCE).await,
                fits => return fits.unwrap_or(false),
            }
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let queued = Queued(&self.queued);
        if self.queued.fetch_add(1, Ordering::Relaxed) >= QUEUE_MAX {
            return Err(PasswordError::Busy);
        }
        let at_work = Arc::clone(&self.at_work).acquire_owned().await;
        let at_work = at_work.map_err(|_| PasswordError::Failed)?;
        let work = move || {
            // The blocking task holds the permit, because it continues even if its session has
            // ended.
            let _at_work = at_work;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        drop(queued);
        done.map_err(|_| PasswordError::Failed)
    }
}

/// Returns the Argon2id hash of a password as a PHC string, with a random salt. Returns `None` if
/// the system has no random bytes or not enough memory. Blocks for tens of milliseconds.
pub fn hash(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

/// Returns whether `hash` is a PHC string that can be compared with a password.
pub fn check_hash(hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| is_affordable(&hash) && hash.hash.is_some())
}

fn is_affordable(hash: &PasswordHash) -> bool {
    let is_argon2 = hash.algorithm.as_str().starts_with("argon2");
    is_argon2
        && Params::try_from(hash).is_ok_and(|params| {
            params.m_cost() <= MEMORY_KIB_MAX
                && params.t_cost() <= PASSES_MAX
                && params.p_cost() <= LANES_MAX
        })
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        is_affordable(&hash)
            && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_hash_only() {
        let checks = PasswordChecks::default();
        let first = checks.hash("open sesame".into()).await.unwrap();
        let second = checks.hash("open sesame".into()).await.unwrap();
        assert_ne!(first, second, "each hash has its own salt");
        assert_eq!(checks.fits("open sesame".into(), Arc::clone(&first)).await, Ok(true));
        assert_eq!(checks.fits("open barley".into(), first).await, Ok(false));
        assert_eq!(checks.fits("open sesame".into(), Arc::from("no hash")).await, Ok(false));
    }

    /// Issue 12, item 13: the number of waiting checks is bounded, and checks of ended connections
    /// leave the queue.
    #[tokio::test]
    async fn attack_passwords_are_checked_in_a_bounded_queue() {
        let checks = PasswordChecks::default();
        let all = checks.at_work.available_permits() as u32;
        // No permit is free, so all requests wait.
        let held = checks.at_work.acquire_many(all).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> =
            (0..QUEUE_MAX).map(|_| Box::pin(checks.hash("guess".into()))).collect();
        for attempt in &mut waiting {
            assert!(attempt.as_mut().poll(&mut cx).is_pending());
        }
        let refused = Box::pin(checks.hash("one more".into())).as_mut().poll(&mut cx);
        assert!(matches!(refused, Poll::Ready(Err(PasswordError::Busy))), "{refused:?}");
        waiting.clear();
        assert_eq!(checks.queued.load(Ordering::Relaxed), 0, "their connections ended");
        drop(held);
        assert!(checks.hash("an honest one".into()).await.is_ok());
    }

    /// Issue 12, item 13: a hash from another node or a store cannot make this node use gigabytes.
    #[test]
    fn attack_an_expensive_hash_is_not_checked() {
        let cheap = hash("open sesame").unwrap();
        assert!(check_hash(&cheap) && verify("open sesame", &cheap));
        let costly = cheap.replace("m=19456", "m=4194304");
        assert!(costly != cheap && !check_hash(&costly) && !verify("open sesame", &costly));
        let slow = cheap.replace("t=2", "t=4000000");
        assert!(slow != cheap && !check_hash(&slow) && !verify("open sesame", &slow));
        assert!(!check_hash("open sesame") && !check_hash("$argon2id$v=19$m=19456,t=2,p=1"));
    }
}
