//! State that the connections of one worker thread share: read and write buffers, so that an idle
//! connection owns none, and an activity counter for the busy poller.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The maximum number of bytes per read. One shared buffer per worker is as fast for bulk data as
/// one buffer per connection, and stays in the processor's cache.
const READ_BYTES: usize = 64 * 1024;

/// The maximum number of output buffers that are kept for reuse. Each connection with pending
/// output uses one.
const WRITE_BUFFERS_MAX: usize = 16;

/// The maximum size in bytes of a buffer that is kept for reuse.
const WRITE_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
struct WorkerLocal {
    scratch: RefCell<Vec<u8>>,
    write: RefCell<Vec<Vec<u8>>>,
    activity: Cell<u64>,
    sleeper: Cell<Option<Waker>>,
}

thread_local! {
    static LOCAL: WorkerLocal = WorkerLocal::default();
}

/// Runs `look` on the state of this thread. Returns `None` while the thread ends.
fn local<T>(look: impl FnOnce(&WorkerLocal) -> T) -> Option<T> {
    LOCAL.try_with(look).ok()
}

/// Lends the worker's read buffer to `read`, for one poll. The buffer contains bytes of earlier
/// reads.
#[inline]
pub(crate) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut read = Some(read);
    let lent = local(|local| {
        // If a stream reads from another connection during the call, the buffer is in use already.
        let mut scratch = local.scratch.try_borrow_mut().ok()?;
        if scratch.is_empty() {
            scratch.resize(READ_BYTES, 0);
        }
        read.take().map(|read| read(&mut scratch))
    });
    match (lent.flatten(), read) {
        (Some(result), _) => result,
        (None, Some(read)) => read(&mut vec![0; READ_BYTES]),
        (None, None) => unreachable!("a read that was taken has returned"),
    }
}

/// Returns an empty output buffer.
pub(crate) fn take_write() -> Vec<u8> {
    local(|local| local.write.borrow_mut().pop()).flatten().unwrap_or_default()
}

/// Returns an output buffer to the pool and discards its content.
pub(crate) fn give_write(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > WRITE_BYTES_MAX {
        return;
    }
    buffer.clear();
    local(|local| {
        let mut kept = local.write.borrow_mut();
        if kept.len() < WRITE_BUFFERS_MAX {
            kept.push(buffer);
        }
    });
}

/// Counts a read on this worker and wakes the busy poller.
#[inline]
pub(crate) fn note_activity() {
    local(|local| {
        local.activity.set(local.activity.get().wrapping_add(1));
        if let Some(waker) = local.sleeper.take() {
            waker.wake();
        }
    });
}

/// Returns a number that changes with every read on this thread.
pub(crate) fn activity() -> u64 {
    local(|local| local.activity.get()).unwrap_or_default()
}

/// Registers `waker` to be woken at the next read on this thread.
pub(crate) fn wake_at_activity(waker: Waker) {
    local(|local| local.sleeper.set(Some(waker)));
}
