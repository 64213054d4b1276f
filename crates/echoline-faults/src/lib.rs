//! Planned faults: errors of a network or a peer, injected on purpose.
//!
//! A [`FaultPlan`] states which faults to inject and when. It is parsed from the text that users
//! write in flags, in files and on the admin page. The same plan and the same seed give the same
//! faults, independent of timing and of packet boundaries: each decision is a hash of the seed, the
//! rule, the connection's number, the direction and the message's number.
//!
//! This crate decides about faults and queues bytes. It uses no sockets and no clock. The main
//! types, in reading order:
//!
//! * A [`FaultPlan`] is a list of [`FaultRule`]s. A rule has a [`Fault`] and its [`Conditions`].
//! * [`Faults`] is the active plan of a server. It can be replaced at run time and counts the
//!   injected faults.
//! * [`ConnectionFaults`] is the decision of the plan about one connection.
//! * A [`FaultPipe`] applies the faults to the bytes of one direction of a connection.
//! * [`DatagramFaults`] decides about each datagram of a socket, and [`HeldDatagrams`] keeps the
//!   delayed ones.
//!
//! For a connection, the server calls [`Faults::next_connection`] and creates a pipe for each
//! direction. It pushes the bytes that it reads or writes into the pipe, with the current time.
//! Then it does what the [`NextAction`] of the pipe says: it passes bytes on, waits, ends the
//! stream, or resets the connection.

mod amount;
mod datagram;
mod error;
mod faults;
mod held;
mod kind;
mod parse;
mod pipe;
mod plan;
mod queue;
mod selector;

pub use datagram::{DatagramFate, DatagramFaults};
pub use error::FaultError;
pub use faults::{ConnectionFaults, Faults};
pub use held::HeldDatagrams;
pub use kind::{Direction, FaultKind, Per};
pub use pipe::FaultPipe;
pub use plan::{Conditions, Fault, FaultLayer, FaultPlan, FaultRule};
pub use queue::NextAction;
pub use selector::MessageCarrier;
