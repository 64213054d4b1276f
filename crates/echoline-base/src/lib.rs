//! What the crates of echoline share: amounts as people type them, printable text, secrets,
//! random numbers from a seed, back-off, checksums, locks and work that may panic, and checks of
//! files by owner and mode.
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
