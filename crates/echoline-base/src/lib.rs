//! Utilities that the echoline crates share: amounts in human-readable form, printable text,
//! secrets, seeded random numbers, back-off, checksums, locks, panic supervision, and checks of
//! file owners and modes.
//!
//! Nothing here needs an asynchronous runtime. The interface serves the other crates of the
//! workspace and may change with any release.

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
