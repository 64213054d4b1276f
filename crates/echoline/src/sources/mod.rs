//! Rates and penalties for each source of requests: an address, or a local user.
//!
//! A connection limit bounds how many connections are open at once; this bounds how often a source
//! does something that costs the server or other users: it connects, logs in, guesses a password.
//! OpenSSH has the same in `MaxStartups` and `PerSourcePenalties`, sshd_config(5).

mod limits;
mod refusal;
mod shared;
mod table;
pub(crate) mod token_bucket;

pub use echoline_base::source::{Source, SourceError};
pub use limits::{Penalties, SourceAction, SourceLimits, SourceRate, SourceRateError};
pub use refusal::{PenalisedSource, SourceRefusal};
pub use shared::Sources;
