//! Limits the concurrent expensive work of one source: password checks and searches. All users
//! share the queues of this work, so no source must fill them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use echoline::sources::Source;
use echoline_base::poison::IgnorePoison;

/// The maximum concurrent work of one source. More work waits, and the rates bound the waiting
/// work.
const AT_ONCE: usize = 4;

/// The sources that have expensive work at the moment.
#[derive(Debug, Default)]
pub(crate) struct SourceGates(Mutex<HashMap<Source, Arc<Semaphore>>>);

/// The right to do one piece of work.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    gates: &'a SourceGates,
    source: Source,
    /// Dropped before the gate is checked.
    permit: Option<OwnedSemaphorePermit>,
}

impl SourceGates {
    /// Waits until this source has less than the maximum of concurrent work. Cancel safe.
    pub(crate) async fn pass(&self, source: Source) -> Passed<'_> {
        let mut passed = Passed { gates: self, source, permit: None };
        let gate = Arc::clone(
            self.lock().entry(source).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))),
        );
        passed.permit = gate.acquire_owned().await.ok();
        passed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Arc<Semaphore>>> {
        self.0.lock().ignore_poison()
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut gates = self.gates.lock();
        // Each permit and each waiter holds a reference to the gate, and the map holds one.
        if gates.get(&self.source).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Issue 12, item 13: work of a source waits at its maximum, and work of another source does
    /// not.
    #[tokio::test]
    async fn attack_one_source_does_not_block_the_work_of_others() {
        let gates = SourceGates::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(gates.pass(Source::User(1)).await);
        }
        {
            let mut fifth = pin!(gates.pass(Source::User(1)));
            assert!(fifth.as_mut().poll(&mut cx).is_pending());
            drop(gates.pass(Source::User(2)).await);
            held.pop();
            assert!(fifth.as_mut().poll(&mut cx).is_ready());
            let mut given_up = Box::pin(gates.pass(Source::User(1)));
            let _ = given_up.as_mut().poll(&mut cx);
        }
        held.clear();
        assert!(gates.lock().is_empty(), "the table does not grow");
    }
}
