//! State that the connections of one worker thread share: read and write buffers, so that an idle
//! connection owns none, and an activity counter for the busy poller.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use bytes::BytesMut;

/// The maximum number of bytes per read. One shared buffer per worker is as fast for bulk data as
/// one buffer per connection, and stays in the processor's cache.
const READ_BYTES: usize = 64 * 1024;

/// The maximum number of output buffers that are kept for reuse. Each connection with pending
/// output uses one.
const WRITE_BUFFERS_MAX: usize = 16;

/// The maximum size in bytes of a buffer that is kept for reuse.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// The size of the block that short inputs of several connections share.
const BLOCK_BYTES: usize = 4 * 1024;

/// The longest input that is copied into the shared block.
const SHORT_BYTES: usize = 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static BLOCK: RefCell<Option<BytesMut>> = const { RefCell::new(None) };
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SLEEPER: Cell<Option<Waker>> = const { Cell::new(None) };
    /// Whether `SLEEPER` is set. Neither this value nor `ACTIVITY` has a destructor, so counting a
    /// read takes only a few instructions.
    static SLEEPS: Cell<bool> = const { Cell::new(false) };
    static ACTIVITY: Cell<u64> = const { Cell::new(0) };
}

/// Lends the worker's read buffer to `read`, for one poll. The buffer contains bytes of earlier
/// reads.
#[inline]
pub(crate) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // The buffer is empty at first and while the thread ends. It is also empty if a stream reads
    // from another connection during the call, because that call has taken it.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if scratch.is_empty() {
        scratch = new_scratch();
    }
    let result = read(&mut scratch);
    // While the thread ends, the buffer is just dropped.
    let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    result
}

#[cold]
fn new_scratch() -> Vec<u8> {
    vec![0; READ_BYTES]
}

/// Copies a short input into a block that the worker's connections share. Allocates nothing as long
/// as the inputs are dropped soon. Returns `None` for a long input.
#[inline]
pub(crate) fn share(bytes: &[u8]) -> Option<BytesMut> {
    if bytes.len() > SHORT_BYTES {
        return None;
    }
    let share = |block: &RefCell<Option<BytesMut>>| {
        let mut block = block.borrow_mut();
        let block = block.get_or_insert_default();
        // A full block is used again from its front if all earlier inputs were dropped.
        if !block.try_reclaim(bytes.len()) {
            *block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        block.extend_from_slice(bytes);
        block.split()
    };
    BLOCK.try_with(share).ok()
}

/// Returns an empty output buffer.
#[inline]
pub(crate) fn take_write() -> Vec<u8> {
    OUTPUTS.try_with(|kept| kept.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Returns an output buffer to the pool and discards its content.
#[inline]
pub(crate) fn give_write(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > WRITE_BYTES_MAX {
        return;
    }
    buffer.clear();
    // While the thread ends, the buffer is just dropped.
    let _ = OUTPUTS.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < WRITE_BUFFERS_MAX {
            kept.push(buffer);
        }
    });
}

/// Counts a read on this worker and wakes the busy poller.
#[inline]
pub(crate) fn note_activity() {
    ACTIVITY.set(ACTIVITY.get().wrapping_add(1));
    if SLEEPS.get() {
        wake_sleeper();
    }
}

#[cold]
fn wake_sleeper() {
    SLEEPS.set(false);
    if let Ok(Some(waker)) = SLEEPER.try_with(Cell::take) {
        waker.wake();
    }
}

/// Returns a number that changes with every read on this thread.
pub(crate) fn activity() -> u64 {
    ACTIVITY.get()
}

/// Registers `waker` to be woken at the next read on this thread.
pub(crate) fn wake_at_activity(waker: Waker) {
    SLEEPS.set(SLEEPER.try_with(|sleeper| sleeper.set(Some(waker))).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_inputs_share_one_block_without_allocating() {
        let start = share(b"one\n").unwrap().as_ptr().addr();
        let input = [b'x'; 100];
        for _ in 0..1000 {
            let shared = share(&input).unwrap();
            assert_eq!(&shared[..], &input[..]);
            let address = shared.as_ptr().addr();
            assert!((start..start + BLOCK_BYTES).contains(&address), "another block");
        }
    }

    #[test]
    fn an_input_that_is_kept_is_not_overwritten() {
        let kept = share(b"kept\n").unwrap();
        for number in 0..3 * BLOCK_BYTES {
            assert_eq!(share(&number.to_le_bytes()).unwrap(), number.to_le_bytes()[..]);
        }
        assert_eq!(kept, b"kept\n"[..]);
    }

    #[test]
    fn a_long_input_is_not_shared() {
        assert!(share(&[0; SHORT_BYTES]).is_some());
        assert!(share(&[0; SHORT_BYTES + 1]).is_none());
    }

    #[test]
    fn a_read_inside_a_read_gets_another_buffer() {
        let (outer, inner) = with_scratch(|outer| {
            let outer = outer.as_ptr().addr();
            (outer, with_scratch(|inner| (inner.as_ptr().addr(), inner.len())))
        });
        assert_ne!(outer, inner.0);
        assert_eq!(inner.1, READ_BYTES);
        with_scratch(|again| assert_eq!(again.as_ptr().addr(), outer));
    }
}
