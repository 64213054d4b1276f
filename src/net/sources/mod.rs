//! Rates and penalties for each source of requests: an address, or a user of this machine.
//!
//! A connection limit bounds how many connections are open at once; this bounds how often a source
//! does something that costs the server or other users: it connects, logs in, guesses a password.
//! OpenSSH has the same in `MaxStartups` and `PerSourcePenalties`, sshd_config(5).

mod limits;
mod source;
mod table;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use limits::{Penalties, SourceAction, SourceLimits, SourceRate, SourceRateError};
pub use source::Source;
use table::SourceTable;

/// The sources of one program and what each of them may still do; shared by all its servers.
///
/// ```
/// use echoline::{Source, SourceAction, SourceLimits, Sources};
///
/// let limits: SourceLimits = "logins 1/s burst 2".parse().unwrap();
/// let sources = Sources::new(limits);
/// let source = Source::from("192.0.2.1".parse::<std::net::IpAddr>().unwrap());
/// assert!(sources.take(source, SourceAction::Login).is_ok());
/// assert!(sources.take(source, SourceAction::Login).is_ok());
/// let refusal = sources.take(source, SourceAction::Login).unwrap_err();
/// assert!(refusal.wait.as_secs() <= 1);
/// ```
#[derive(Debug)]
pub struct Sources {
    table: Mutex<SourceTable>,
    started: Instant,
    refused: [AtomicU64; SourceAction::ALL.len()],
}

/// The refusal of one action of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceRefusal {
    /// The action that was refused.
    pub action: SourceAction,
    /// The time after which the source may try again.
    pub wait: Duration,
    /// Whether this refusal began a penalty: true once for each penalty, so a log that writes only
    /// these cannot be flooded.
    pub is_new_penalty: bool,
}

/// A source that has a penalty, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PenalisedSource {
    /// The source.
    pub source: Source,
    /// The action that is refused.
    pub action: SourceAction,
    /// The time until the penalty ends.
    pub remaining: Duration,
    /// The number of penalties that determines the length of the next one.
    pub level: u32,
}

impl Sources {
    /// A table without any source in it.
    #[must_use]
    pub fn new(limits: SourceLimits) -> Self {
        Self {
            table: Mutex::new(SourceTable::new(limits)),
            started: Instant::now(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Takes a token of `action` from `source`.
    ///
    /// # Errors
    /// A [`SourceRefusal`] if the source has a penalty for this action or has used all its tokens.
    pub fn take(&self, source: Source, action: SourceAction) -> Result<(), SourceRefusal> {
        let now = self.started.elapsed();
        let taken = self.lock().take(source, action, now);
        if taken.is_err() {
            self.refused[action as usize].fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back a token that was taken in advance: the password was right.
    pub fn give_back(&self, source: Source, action: SourceAction) {
        self.lock().give_back(source, action);
    }

    /// Ends the penalties of a source and fills its buckets; returns whether it had a penalty.
    pub fn pardon(&self, source: Source) -> bool {
        let now = self.started.elapsed();
        self.lock().pardon(source, now)
    }

    /// The sources that have a penalty now, the longest remaining time first, at most `most`.
    #[must_use]
    pub fn penalised(&self, most: usize) -> Vec<PenalisedSource> {
        let now = self.started.elapsed();
        let mut penalised = self.lock().penalised(now);
        penalised.sort_by_key(|entry| (std::cmp::Reverse(entry.remaining), entry.source));
        penalised.truncate(most);
        penalised
    }

    /// The number of sources that the table holds, and how many of them have a penalty.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let now = self.started.elapsed();
        let table = self.lock();
        let penalised: HashSet<Source> =
            table.penalised(now).into_iter().map(|entry| entry.source).collect();
        (table.len(), penalised.len())
    }

    /// The number of refusals of an action since the table was made.
    #[must_use]
    pub fn refused(&self, action: SourceAction) -> u64 {
        self.refused[action as usize].load(Ordering::Relaxed)
    }

    /// The limits that apply now.
    #[must_use]
    pub fn limits(&self) -> SourceLimits {
        self.lock().limits().clone()
    }

    /// Replaces the limits. Buckets and penalties stay as they are.
    pub fn set_limits(&self, limits: SourceLimits) {
        self.lock().set_limits(limits);
    }

    fn lock(&self) -> MutexGuard<'_, SourceTable> {
        // The table is whole after each of its calls.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
