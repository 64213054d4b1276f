//! What the clients of one thread share, and what all of them wait for: the start.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dial::Dialer;
use super::ledger::{End, Outcome};
use super::record::Record;
use super::settings::Settings;
use echoline::internals::{Alarm, Precision};
use echoline::{Phase, Shutdown};
use echoline_base::poison::IgnorePoison;

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) settings: Settings,
    pub(super) dialer: Dialer,
    pub(super) start: Start,
    pub(super) stop: Shutdown,
    /// When the run was told to stop.
    pub(super) stopped: OnceLock<Instant>,
}

/// What the clients of one thread share.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) common: Arc<Common>,
    pub(super) alarm: Alarm,
    /// Used by one thread, and ten times a second by the one that watches: hardly ever contended,
    /// and held for no longer than it takes to count.
    records: Mutex<Records>,
    open: AtomicU32,
    open_most: AtomicU32,
    ports_used_up: AtomicU64,
    cut: AtomicU8,
}

/// What happened, by when it was intended.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) warm_up: Record,
    pub(super) measured: Record,
    /// When the last right answer came, from the start of the measuring.
    pub(super) last_answer: Duration,
    /// The same for the last message that failed.
    pub(super) last_failure: Duration,
}

impl Records {
    pub(super) fn of(&mut self, is_warm_up: bool) -> &mut Record {
        if is_warm_up { &mut self.warm_up } else { &mut self.measured }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.warm_up.merge(&other.warm_up);
        self.measured.merge(&other.measured);
        self.last_answer = self.last_answer.max(other.last_answer);
        self.last_failure = self.last_failure.max(other.last_failure);
    }
}

/// Why the clients were broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// They were not.
    No,
    /// The plan and the grace after it are over.
    Grace,
    /// Somebody wants it to end at once.
    Abort,
}

impl Cut {
    /// What becomes of messages in flight, and why the rest is not sent.
    pub(super) fn account(self) -> (Outcome, End) {
        match self {
            Self::Grace => (Outcome::TimedOut, End::Overdue),
            Self::No | Self::Abort => (Outcome::InFlight, End::Stopped),
        }
    }
}

impl Job {
    pub(super) fn new(common: Arc<Common>, precision: Precision) -> Self {
        Self {
            common,
            alarm: Alarm::new(precision),
            records: Mutex::default(),
            open: AtomicU32::new(0),
            open_most: AtomicU32::new(0),
            ports_used_up: AtomicU64::new(0),
            cut: AtomicU8::new(Cut::No as u8),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.common.settings
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        // Counting does not panic half-way, so what a panicking client leaves is whole.
        self.records.lock().ignore_poison()
    }

    pub(super) fn is_running(&self) -> bool {
        self.common.stop.phase() == Phase::Running
    }

    /// A connection is open, until what this gives back is dropped.
    pub(super) fn note_open(self: &Arc<Self>) -> Open {
        let now = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.open_most.fetch_max(now, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Connections that are open here.
    pub(super) fn open_now(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// The most connections that were open here at the same time.
    pub(super) fn open_most(&self) -> u32 {
        self.open_most.load(Ordering::Relaxed)
    }

    /// The system had no local port left.
    pub(super) fn note_ports_used_up(&self) {
        self.ports_used_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ports_used_up(&self) -> u64 {
        self.ports_used_up.load(Ordering::Relaxed)
    }

    /// From now on clients that are dropped are broken off for this reason.
    pub(super) fn set_cut(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::Relaxed);
    }

    pub(super) fn cut(&self) -> Cut {
        match self.cut.load(Ordering::Relaxed) {
            0 => Cut::No,
            1 => Cut::Grace,
            _ => Cut::Abort,
        }
    }
}

/// A connection that counts as open.
#[derive(Debug)]
pub(super) struct Open(Arc<Job>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The common start of all clients: when each of them has its connection, or has failed.
#[derive(Debug)]
pub(super) struct Start {
    missing: AtomicU32,
    at: OnceLock<Instant>,
    changed: Notify,
}

impl Start {
    pub(super) fn when_all_of(clients: u32) -> Self {
        Self { missing: AtomicU32::new(clients), at: OnceLock::new(), changed: Notify::new() }
    }

    /// One client is ready; each must say so once.
    pub(super) fn arrive(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open();
        }
    }

    /// Starts whoever is ready or not.
    pub(super) fn open(&self) {
        self.at.get_or_init(Instant::now);
        self.changed.notify_waiters();
    }

    /// When it was; `None` before.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at.get().copied()
    }

    /// Waits for it. Cancel safe.
    pub(super) async fn wait(&self) -> Instant {
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.at() {
                return at;
            }
            changed.await;
        }
    }

    /// How long ago it was.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.at().map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }
}
