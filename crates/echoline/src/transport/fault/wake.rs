//! Wakes a connection when a fault is due. It is more precise than the runtime's timer, which ticks
//! once per millisecond. Each thread has one alarm, so that connections need no descriptors.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::timer::alarm::{Alarm, Precision};
use crate::timer::polling::Polling;

thread_local! {
    /// The alarm of the runtime that last used it on this thread, and the task that runs it.
    static ALARM: RefCell<Option<(Arc<Alarm>, JoinHandle<()>)>> = const { RefCell::new(None) };
}

/// Wakes `waker` at `due`. The caller must also set a timer of the runtime, because a test may have
/// paused the clock, and the system may have no precise timer.
pub(super) fn wake_at(due: Instant, waker: Waker) {
    let Ok(runtime) = Handle::try_current() else { return };
    ALARM.with_borrow_mut(|current| {
        // If the task is finished, its runtime has ended, and this runtime needs a new alarm.
        if current.as_ref().is_none_or(|(_, task)| task.is_finished()) {
            let alarm = Arc::new(Alarm::new(Precision::Exact(Polling::Fixed(Duration::ZERO))));
            let running = Arc::clone(&alarm);
            let task = runtime.spawn(async move { running.run().await });
            *current = Some((alarm, task));
        }
        if let Some((alarm, _)) = current {
            alarm.wake_at(due, waker);
        }
    });
}
