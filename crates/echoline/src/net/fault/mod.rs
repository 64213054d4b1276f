//! Planned faults of streams; see [`FaultPlan`].

mod stream;
mod wake;

pub(super) use echoline_faults::Orders;
use echoline_faults::{Carrier, Lane, Next};
pub use echoline_faults::{
    DatagramFaults, Direction, Fate, Fault, FaultError, FaultKind, FaultLayer, FaultPlan,
    FaultRule, Faults, Held, Per, When,
};
pub use stream::FaultStream;
pub(super) use stream::{lay_over, lay_under};
