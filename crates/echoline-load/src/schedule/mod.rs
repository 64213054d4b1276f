//! The times at which messages are due: for all clients together, and for one client.

mod pacer;
mod rate_curve;
pub(crate) mod send_schedule;

pub use pacer::{Pacer, Rate};
pub use send_schedule::LatePolicy;
