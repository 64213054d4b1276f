//! What the connections of one worker thread share: hot buffers, so that an idle connection owns
//! none, and a sign of life for the busy poller.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use bytes::BytesMut;

/// Bytes that one read takes at most. One hot 64 KiB buffer per worker reads bulk as fast as one
/// per connection, and stays in the cache.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Output buffers kept for reuse; each connection that is being written to uses one.
const WRITE_BUFFERS_MAX: usize = 16;

/// A buffer that grew beyond this is not kept.
const WRITE_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
struct Local {
    read: RefCell<Option<BytesMut>>,
    write: RefCell<Vec<Vec<u8>>>,
    activity: Cell<u64>,
    sleeper: Cell<Option<Waker>>,
}

thread_local! {
    static LOCAL: Local = Local::default();
}

/// Runs `look` on this thread's store; `None` while the thread is being torn down.
fn local<T>(look: impl FnOnce(&Local) -> T) -> Option<T> {
    LOCAL.try_with(look).ok()
}

/// An empty buffer with room for [`READ_BYTES`].
pub(super) fn take_read() -> BytesMut {
    let mut buffer = local(|local| local.read.take()).flatten().unwrap_or_default();
    make_room(&mut buffer);
    buffer
}

/// Makes room for the next read behind what is in `buffer`: in place where that is possible, in
/// a new buffer where lines that somebody still holds keep the old one in use.
pub(super) fn make_room(buffer: &mut BytesMut) {
    let room = READ_BYTES.saturating_sub(buffer.len()).max(READ_BYTES / 4);
    if !buffer.try_reclaim(room) {
        buffer.reserve(room);
    }
}

/// Gives a read buffer back; what is in it is lost.
pub(super) fn give_read(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() <= 2 * READ_BYTES {
        local(|local| local.read.replace(Some(buffer)));
    }
}

/// An empty output buffer.
pub(super) fn take_write() -> Vec<u8> {
    local(|local| local.write.borrow_mut().pop()).flatten().unwrap_or_default()
}

/// Gives an output buffer back; what is in it is lost.
pub(super) fn give_write(mut buffer: Vec<u8>) {
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

/// Says that this worker has just read something.
pub(super) fn note_activity() {
    local(|local| {
        local.activity.set(local.activity.get().wrapping_add(1));
        if let Some(waker) = local.sleeper.take() {
            waker.wake();
        }
    });
}

/// A number that changes with every read on this thread.
pub(super) fn activity() -> u64 {
    local(|local| local.activity.get()).unwrap_or_default()
}

/// Has `waker` woken at the next read on this thread.
pub(super) fn wake_at_activity(waker: Waker) {
    local(|local| local.sleeper.set(Some(waker)));
}
