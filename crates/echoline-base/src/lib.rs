//! Utilities that the other echoline crates share. This crate is at the bottom of the workspace: it
//! depends on no other echoline crate and on no asynchronous runtime.
//!
//! * [`amount`] parses times, sizes, rates and shares as users type them, and prints them.
//! * [`printable`] makes text from outside harmless for terminals and logs. [`SecretText`] keeps
//!   passwords out of them.
//! * [`random`] generates seeded random numbers, [`backoff`] computes the delays between attempts,
//!   and [`checksum`] has two checksums.
//! * [`source`] identifies the clients that share one limit.
//! * [`supervise`] restarts work that panicked, and [`poison`] gives access to locks whose holder
//!   panicked.
//! * [`file_access`] checks whether other users of the machine can replace files or read secrets.
//!
//! The interface serves the other crates of the workspace and may change with any release.

pub mod amount;
pub mod backoff;
pub mod checksum;
pub mod file_access;
pub mod poison;
pub mod printable;
pub mod random;
pub mod secret;
pub mod source;
pub mod supervise;

pub use secret::SecretText;
