//! Timers that are finer than the runtime's ticks of one millisecond.

pub(crate) mod alarm;
pub(crate) mod polling;
pub(crate) mod precise;
