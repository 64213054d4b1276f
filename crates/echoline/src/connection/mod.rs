//! One connection: reading, writing, its limits and deadlines, and its orderly end.
//!
//! # Design
//!
//! **Output is corked.** Written bytes are sent when the handler next waits for input, on
//! [`flush`](crate::Connection::flush), or when they exceed `write_high`. `write` buffers the bytes
//! at once and returns a `Write`. Awaiting it waits for room in the buffer. Only a write that has
//! to wait allocates.
//!
//! **An idle connection has no buffer.** A read uses the 64 KiB scratch buffer of the worker, which
//! is lent for one poll. The received bytes are copied to a buffer of exactly their size, and a
//! `Line` is a slice of this buffer. Short whole lines are copied to a block of 4 KiB that the
//! worker's connections share, which needs no allocation. The output buffer is returned to the
//! worker when it is empty.
//!
//! **Sockets are tried first.** A plain socket is read and written before the task is registered
//! with the runtime. A read that does not fill its buffer empties the socket, so the next read only
//! registers the task. `scripts/instructions.sh` counts the instructions of a message.
//!
//! **One timer serves all deadlines.** Activity only records the time. The timer is set once, and
//! when it fires, it is compared with the recorded times. If it fires late, the process was
//! stopped. The peer then gets one more second, because its bytes may not have been read yet.
//!
//! **The handler's future is small.** A handler is a chain of futures, and each of them holds its
//! arguments. So a connection is only one pointer.
//!
//! **Reads are cancel safe.** Received bytes stay in the connection until a read returns them.
//!
//! **Halves and byte streams have two sets of deadlines.** A read and a write may wait in two
//! tasks, and a timer wakes only one of them. So the writing side has its own deadlines.
//!
//! **Closing lingers.** A connection that is closed or dropped sends its remaining output, its
//! farewell and FIN. Then it discards input for at most two seconds, because closing a socket with
//! unread bytes resets the connection, and the peer may lose the last line (RFC 1122, 4.2.2.13). A
//! connection that is unusable (reset, aborted, stalled) is reset at once.

pub(crate) mod borrows;
pub(crate) mod buffers;
mod closing;
pub(crate) mod config;
mod convert;
mod core;
mod deadlines;
mod facts;
pub(crate) mod feed;
mod halves;
pub(crate) mod handle;
mod input;
pub(crate) mod limits;
pub(crate) mod line;
pub(crate) mod lines;
mod output;
mod owned;
mod raw_echo;
mod split;
mod stream;
mod writing;

pub use borrows::{MessageGuard, Write};
pub use feed::Outlet;
pub use lines::LineTooLong;
pub use owned::{OwnedReader, OwnedWriter};
pub use split::{Reader, Writer};
pub use stream::ConnectionStream;
