//! Limits how much expensive work one source can do at the same time: password checks and searches.
//! All users share the queues for this work, so one source must not fill them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use echoline::sources::Source;
use echoline_base::poison::IgnorePoison;

/// The maximum number of concurrent tasks of one source. Further tasks wait; rate limits bound
/// their number.
const AT_ONCE: usize = 4;

/// The sources that do expensive work at the moment.
#[derive(Debug, Default)]
pub(crate) struct SourceGates(Mutex<HashMap<Source, Arc<Semaphore>>>);

/// The permission to do one task.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    gates: &'a SourceGates,
    source: Source,
    /// `None` while the task waits. The permit is released before `drop` checks whether the gate is
    /// unused.
    permit: Option<OwnedSemaphorePermit>,
}

impl SourceGates {
    /// Waits until this source has less than the maximum number of concurrent tasks. Cancel safe.
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
        // Each permit and each waiting task holds a reference to the gate, and so does the map. If
        // only the map is left, the gate is unused.
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

    /// Issue 12, item 13: the work of a source waits at its maximum, and the work of other sources
    /// does not.
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
        assert!(gates.lock().is_empty(), "unused gates are removed");
    }
}
