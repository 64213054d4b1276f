//! The server: accepts connections, runs their handlers on its workers, and ends in order.
//!
//! # Design
//!
//! **Accepting.** All listeners are bound before the first accept. The accepting task takes a slot
//! for each connection, which checks the limits. It gives the socket to the worker with the fewest
//! connections, and never waits for a handler. A worker is a thread with a current-thread runtime;
//! a connection stays on its worker.
//!
//! **Transports.** A listener has a list of steps: a PROXY header, TLS, WebSocket, planned faults.
//! Each step takes a stream and returns one. The steps run in the connection's own task, at most
//! `max_handshakes` at once, within `handshake_timeout`. The handler starts after the last step.
//!
//! **Shutdown** is an atomic phase and a list of wakers, which costs less memory per idle
//! connection than a channel. Connections read the phase before they wait. A draining connection
//! finishes a partial line, or a message that its handler has marked. It waits until the client has
//! been silent for a moment, and ends as `Drained`. The last answer is sent in one segment with FIN
//! (`TCP_CORK`). After the deadline, or at a second signal, the remaining connections are reset and
//! end as `Aborted`.
//!
//! **Panics.** A panic in a handler ends its connection. A panic in a worker's runtime or in an
//! accepting task is recorded as the failure of the server. The server then drains, and `serve`
//! returns the error.
//!
//! **Out of descriptors.** The listener closes a reserve descriptor, tells the next client that the
//! server is busy, and opens the reserve again. If this fails, the listener waits for 10 ms. The
//! wait doubles with each failure, up to 1 s.
//!
//! **Metrics.** Each worker has its own relaxed atomics, and counts each read and write in them.
//! The turns of a connection's task are timed, from the wake-up until the answers are written.
//! After each observation the next 500 turns are timed, and then a random one in sixteen. Without
//! an observer, nothing is timed.

mod accept;
mod admission;
pub(crate) mod builder;
mod drain_guard;
pub(crate) mod failure;
pub(crate) mod handler_error;
mod handler_task;
pub(crate) mod handshake;
pub(crate) mod in_memory;
pub(crate) mod parts;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod usage;
pub(crate) mod workers;
