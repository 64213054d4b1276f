//! Gives access to locks whose holder panicked. Pure.

use std::sync::{LockResult, PoisonError};

/// Access to the value of a lock, even if a thread panicked while it held the lock.
///
/// A panic ends one connection and not the server, so the other connections continue to use the
/// value. Code that holds a lock must keep the value valid wherever it may panic.
pub trait IgnorePoison {
    /// The guard or the value, poisoned or not.
    type Protected;

    /// Returns the guard or the value.
    fn ignore_poison(self) -> Self::Protected;
}

impl<T> IgnorePoison for LockResult<T> {
    type Protected = T;

    fn ignore_poison(self) -> T {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_lock_is_taken_after_its_holder_panicked() {
        let lock = Arc::new(Mutex::new(1));
        let held = Arc::clone(&lock);
        let holder = std::thread::spawn(move || {
            *held.lock().ignore_poison() = 2;
            let _guard = held.lock().ignore_poison();
            panic!("on purpose");
        });
        assert!(holder.join().is_err() && lock.is_poisoned());
        assert_eq!(*lock.lock().ignore_poison(), 2);
        let lock = Arc::into_inner(lock).expect("the other owner has ended");
        assert_eq!(lock.into_inner().ignore_poison(), 2);
    }
}
