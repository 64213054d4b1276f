//! Planned faults of streams; see [`FaultPlan`].

mod stream;
mod wake;

pub(super) use echoline_faults::ConnectionFaults;
pub use echoline_faults::{
    Conditions, DatagramFate, DatagramFaults, Direction, Fault, FaultError, FaultKind, FaultLayer,
    FaultPlan, FaultRule, Faults, HeldDatagrams, Per,
};
use echoline_faults::{FaultPipe, MessageCarrier, NextAction};
pub use stream::FaultStream;
pub(super) use stream::{wrap_socket, wrap_stream};
