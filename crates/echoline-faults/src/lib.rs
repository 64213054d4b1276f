//! Planned faults: what a network, or the other end, does wrong now and then, done on purpose.
//!
//! A [`FaultPlan`] says what is to go wrong and when. The same plan and the same seed give the
//! same faults, whatever the timing and however the bytes were cut into packets: each decision is
//! a hash of the seed, the rule, the connection's number, the direction and the message's number.

mod amount;
mod choice;
mod datagram;
mod error;
mod faults;
mod held;
mod kind;
mod lane;
mod parse;
mod plan;
mod queue;

pub use choice::Carrier;
pub use datagram::{DatagramFaults, Fate};
pub use error::FaultError;
pub use faults::Faults;
pub use faults::Orders;
pub use held::Held;
pub use kind::FaultKind;
pub use lane::Lane;
pub use plan::{Direction, Fault, FaultLayer, FaultPlan, FaultRule, Per, When};
pub use queue::Next;
