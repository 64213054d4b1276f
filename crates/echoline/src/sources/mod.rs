//! Rates and penalties for each source of requests: an address, or a local user.
//!
//! A connection limit bounds the number of open connections. This module bounds how often a source
//! connects, logs in, tries a password, or does something else that costs the server or other
//! users. OpenSSH has similar settings: `MaxStartups` and `PerSourcePenalties`, sshd_config(5).

mod limits;
mod refusal;
mod shared;
mod table;
pub(crate) mod token_bucket;

pub use echoline_base::source::{Source, SourceError};
pub use limits::{Penalties, SourceAction, SourceLimits, SourceRate, SourceRateError};
pub use refusal::{PenalisedSource, SourceRefusal};
pub use shared::Sources;
