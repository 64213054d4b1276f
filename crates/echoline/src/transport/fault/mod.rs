//! Injects planned faults into streams. See [`FaultPlan`].

mod stream;
mod wake;

pub use echoline_faults::{
    Conditions, DatagramFate, DatagramFaults, Direction, Fault, FaultError, FaultKind, FaultLayer,
    FaultPlan, FaultRule, Faults, HeldDatagrams, Per,
};
pub use stream::FaultStream;
pub(crate) use stream::{wrap_socket, wrap_stream};
