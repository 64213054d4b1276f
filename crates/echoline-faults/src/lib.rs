//! Planned faults: errors of a network or a peer, injected on purpose.
//!
//! A [`FaultPlan`] states which faults to inject and when. The same plan and the same seed give the
//! same faults, independent of timing and of packet boundaries: each decision is a hash of the
//! seed, the rule, the connection's number, the direction and the message's number.

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
