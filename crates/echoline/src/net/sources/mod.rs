//! Rates and penalties for each source of requests: an address, or a user of this machine.
//!
//! A connection limit bounds how many connections are open at once; this bounds how often a source
//! does something that costs the server or other users: it connects, logs in, guesses a password.
//! OpenSSH has the same in `MaxStartups` and `PerSourcePenalties`, sshd_config(5).

mod limits;
mod table;

use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

pub use echoline_base::source::{Source, SourceError};
pub use limits::{Penalties, SourceAction, SourceLimits, SourceRate, SourceRateError};
use table::SourceTable;

use super::datagram::Loopback;
use super::limits::Closed;
use echoline_base::poison::IgnorePoison;

/// Penalties that are logged in one second; more are counted.
const LOGGED_PER_SECOND: u32 = 10;

/// The sources of one program with their buckets and penalties; shared by all its servers.
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
/// assert!(refusal.is_new_penalty && refusal.wait.as_secs() <= 2);
/// ```
#[derive(Debug)]
pub struct Sources {
    table: Mutex<SourceTable>,
    started: Instant,
    /// One bit for each action that has a rate, and [`FREE_LOOPBACK`]: the others need no lock.
    limited: AtomicU16,
    logged: Mutex<PenaltyLog>,
    refused: [AtomicU64; SourceAction::ALL.len()],
}

/// The penalties that were logged in the current second.
#[derive(Debug, Default)]
struct PenaltyLog {
    second: u64,
    count: u32,
    /// Penalties since then that were not logged.
    left_out: u64,
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

impl SourceRefusal {
    /// The wait in whole seconds, rounded up: at least one.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.wait_ms().div_ceil(1000)
    }

    /// The wait in milliseconds, rounded up: at least one.
    #[must_use]
    pub fn wait_ms(&self) -> u64 {
        u64::try_from(self.wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
    }

    /// The end of a connection that was refused for this.
    pub(super) fn closed(&self) -> Closed {
        Closed::SourceRate(u16::try_from(self.seconds()).unwrap_or(u16::MAX))
    }
}

/// One sentence for the user, without a full stop: `Too many new rooms from your address; try
/// again in 8 s`.
impl fmt::Display for SourceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = match self.action {
            SourceAction::Connection => "connections",
            SourceAction::Login => "names were tried",
            SourceAction::WrongPassword => "wrong passwords or tokens",
            SourceAction::WrongOperatorPassword => "wrong operator passwords",
            SourceAction::Room => "new rooms",
            SourceAction::Token => "new tokens",
            SourceAction::Moderation => "moderation commands",
            SourceAction::Expensive => "searches and lists",
        };
        write!(f, "Too many {actions} from your address; try again in {} s", self.seconds())
    }
}

impl Sources {
    /// A table without any source in it.
    #[must_use]
    pub fn new(limits: SourceLimits) -> Self {
        Self {
            limited: AtomicU16::new(limited(&limits)),
            table: Mutex::new(SourceTable::new(limits)),
            started: Instant::now(),
            logged: Mutex::default(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Takes a token of `action` from `source`.
    ///
    /// # Errors
    /// A [`SourceRefusal`] if the source has a penalty for this action or has used all its tokens.
    pub fn take(&self, source: Source, action: SourceAction) -> Result<(), SourceRefusal> {
        self.take_many(source, action, 1)
    }

    /// Takes `count` tokens for one action that costs as much as so many usual ones.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_many(
        &self,
        source: Source,
        action: SourceAction,
        count: u32,
    ) -> Result<(), SourceRefusal> {
        let limited = self.limited.load(Ordering::Relaxed);
        let is_free = limited & FREE_LOOPBACK != 0 && action.is_free_for_loopback();
        if limited & bit(action) == 0 || is_free && source.is_loopback() {
            return Ok(());
        }
        let now = self.started.elapsed();
        let taken = self.lock().take(source, action, count, now);
        if let Err(refusal) = &taken {
            self.refused[action as usize].fetch_add(1, Ordering::Relaxed);
            if refusal.is_new_penalty {
                self.log(source, refusal, now);
            }
        }
        taken
    }

    /// Logs a penalty. A flood from many sources logs at most [`LOGGED_PER_SECOND`].
    fn log(&self, source: Source, refusal: &SourceRefusal, now: Duration) {
        let mut logged = self.logged.lock().ignore_poison();
        if logged.second != now.as_secs() {
            logged.second = now.as_secs();
            logged.count = 0;
        }
        logged.count += 1;
        if logged.count > LOGGED_PER_SECOND {
            logged.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut logged.left_out);
        drop(logged);
        if left_out > 0 {
            tracing::warn!("{left_out} penalties of other sources were not logged");
        }
        let (action, seconds) = (refusal.action, refusal.seconds());
        tracing::warn!(%source, "over the rate of {action}: refused for {seconds} s");
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
        (table.len(), table.penalised_sources(now))
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
        let limited = limited(&limits);
        self.lock().set_limits(limits);
        self.limited.store(limited, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, SourceTable> {
        // The table is whole after each of its calls.
        self.table.lock().ignore_poison()
    }
}

/// Loopback addresses have no limit for connections and logins.
const FREE_LOOPBACK: u16 = 1 << SourceAction::ALL.len();

const fn bit(action: SourceAction) -> u16 {
    1 << action as u16
}

/// The bits of the actions that have a rate.
fn limited(limits: &SourceLimits) -> u16 {
    let limited = SourceAction::ALL.into_iter().filter(|action| limits.rate(*action).is_some());
    let is_free = limits.loopback == Loopback::Unlimited;
    let loopback = if is_free { FREE_LOOPBACK } else { 0 };
    limited.fold(loopback, |bits, action| bits | bit(action))
}
