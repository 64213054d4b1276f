//! One connection: reading, writing, its limits and deadlines, and its orderly end.
//!
//! # Design
//!
//! **Output is corked.** Written bytes leave when the handler next waits for input, on
//! [`flush`](crate::Connection::flush), or past `write_high`. `write` takes the bytes at once and
//! returns a `Write`; awaiting it waits for room. Only a write that has to wait allocates.
//!
//! **An idle connection has no buffer.** A read goes into the 64 KiB scratch buffer of the worker,
//! which is lent for one poll. Received bytes move to a buffer of their own size, and a `Line` is
//! a slice of it. The output buffer goes back to the worker when it is empty.
//!
//! **One timer serves all deadlines.** Activity only records the time. The timer is armed once and
//! compares the records when it fires. If it fires late, the process was stopped: then the peer
//! gets one more second, because its bytes may be unread.
//!
//! **The handler's future is small.** A handler is a chain of futures, and each of them holds its
//! arguments, so a connection is one pointer.
//!
//! **Reads are cancel safe.** Bytes that were read stay in the connection until they are asked for.
//!
//! **Halves and byte streams have deadlines of their own.** A read and a write may wait in two
//! tasks, and a timer wakes only one. So the writing side gets a second set of deadlines.
//!
//! **Closing lingers.** A connection that is closed or dropped sends its remaining output, its last
//! words and FIN, and then discards input for at most two seconds: closing a socket with unread
//! bytes resets the connection, and the peer may lose the last line (RFC 1122, 4.2.2.13). A
//! connection that is beyond use (reset, aborted, stalled) is reset at once.

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
mod split;
mod stream;
mod writing;

pub use borrows::{MessageGuard, Write};
pub use feed::Outlet;
pub use lines::LineTooLong;
pub use owned::{OwnedReader, OwnedWriter};
pub use split::{Reader, Writer};
pub use stream::ConnectionStream;
