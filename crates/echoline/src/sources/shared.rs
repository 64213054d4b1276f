//! The table of sources behind its lock, shared by all servers of a program.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{SourceAction, SourceLimits};
use super::refusal::{PenalisedSource, SourceRefusal};
use super::table::SourceTable;
use crate::udp::Loopback;
use echoline_base::poison::IgnorePoison;
use echoline_base::source::Source;

/// The maximum number of penalties that are logged in one second. Further ones are only counted.
const LOGGED_PER_SECOND: u32 = 10;

/// The sources of one program with their buckets and penalties, shared by all its servers.
///
/// ```
/// use echoline::sources::{Source, SourceAction, SourceLimits, Sources};
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
    /// One bit for each action that has a rate, and the bit [`FREE_LOOPBACK`]. Actions without a
    /// rate are thus admitted without taking the lock.
    limited: AtomicU16,
    logged: Mutex<PenaltyLog>,
    refused: [AtomicU64; SourceAction::ALL.len()],
}

/// The penalties that were logged in the current second.
#[derive(Debug, Default)]
struct PenaltyLog {
    second: u64,
    count: u32,
    /// The number of penalties that were not logged since the last logged one.
    left_out: u64,
}

impl Sources {
    /// Creates a table without any source in it.
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

    /// Takes `count` tokens for one action that costs as much as `count` usual ones.
    ///
    /// # Errors
    /// Like [`take`](Self::take).
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

    /// Logs a penalty. In a flood from many sources, at most [`LOGGED_PER_SECOND`] are logged per
    /// second.
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
        tracing::warn!(%source, "the source exceeded the rate of {action} and is refused for \
                                 {seconds} s");
    }

    /// Returns a token that was taken in advance, for example because the password was right.
    pub fn give_back(&self, source: Source, action: SourceAction) {
        self.lock().give_back(source, action);
    }

    /// Ends the penalties of a source and fills its buckets; returns whether it had a penalty.
    pub fn pardon(&self, source: Source) -> bool {
        let now = self.started.elapsed();
        self.lock().pardon(source, now)
    }

    /// Returns the sources that have a penalty now, the longest remaining time first, at most
    /// `most`.
    #[must_use]
    pub fn penalised(&self, most: usize) -> Vec<PenalisedSource> {
        let now = self.started.elapsed();
        let mut penalised = self.lock().penalised(now);
        penalised.sort_by_key(|entry| (std::cmp::Reverse(entry.remaining), entry.source));
        penalised.truncate(most);
        penalised
    }

    /// Returns the number of sources in the table, and the number of those with a penalty.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let now = self.started.elapsed();
        let table = self.lock();
        (table.len(), table.penalised_sources(now))
    }

    /// Returns the number of refusals of an action since the table was made.
    #[must_use]
    pub fn refused(&self, action: SourceAction) -> u64 {
        self.refused[action as usize].load(Ordering::Relaxed)
    }

    /// Returns the limits that apply now.
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
        // A poisoned lock is safe to use, because each call leaves the table in a valid state.
        self.table.lock().ignore_poison()
    }
}

/// The bit that is set if loopback addresses have no limit for connections and logins.
const FREE_LOOPBACK: u16 = 1 << SourceAction::ALL.len();

const fn bit(action: SourceAction) -> u16 {
    1 << action as u16
}

/// Returns the bits of the actions that have a rate.
fn limited(limits: &SourceLimits) -> u16 {
    let limited = SourceAction::ALL.into_iter().filter(|action| limits.rate(*action).is_some());
    let is_free = limits.loopback == Loopback::Unlimited;
    let loopback = if is_free { FREE_LOOPBACK } else { 0 };
    limited.fold(loopback, |bits, action| bits | bit(action))
}
