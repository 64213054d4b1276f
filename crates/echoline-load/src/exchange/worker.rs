//! The state that the clients of a run share, and the state that those of one thread share.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dial::Dialer;
use super::plain_socket::SocketTable;
use crate::settings::LoadSettings;
use crate::statistics::{MessageOutcome, RunRecord, SkipReason};
use echoline::internals::{Alarm, Precision};
use echoline::{Phase, Shutdown};
use echoline_base::poison::IgnorePoison;

/// The state that all clients of a run share.
#[derive(Debug)]
pub(crate) struct RunContext {
    pub(crate) settings: LoadSettings,
    pub(crate) dialer: Dialer,
    pub(crate) start: StartBarrier,
    pub(crate) stop: Shutdown,
    /// The time at which the run was told to stop.
    pub(crate) stopped: OnceLock<Instant>,
}

/// The state that the clients of one thread share.
#[derive(Debug)]
pub(crate) struct LoadWorker {
    pub(crate) context: Arc<RunContext>,
    pub(crate) alarm: Alarm,
    /// The plain sockets of its clients; `None` if the runtime drives them.
    pub(super) sockets: Option<Arc<SocketTable>>,
    /// This thread takes the lock for each result, and the thread that shows the progress takes it
    /// ten times per second. Both hold the lock only for a few additions.
    records: Mutex<PhaseRecords>,
    open: AtomicU32,
    open_max: AtomicU32,
    ports_used_up: AtomicU64,
    stop_reason: AtomicU8,
}

/// The records of the warm-up and of the measured time after it. The intended time of a message
/// decides to which of them it belongs.
#[derive(Clone, Debug, Default)]
pub(crate) struct PhaseRecords {
    pub(crate) warm_up: RunRecord,
    pub(crate) measured: RunRecord,
    /// The time of the last correct reply, from the start of the measured time.
    pub(crate) last_reply: Duration,
    /// The time of the last failure, from the start of the measured time.
    pub(crate) last_failure: Duration,
}

impl PhaseRecords {
    pub(crate) fn of(&mut self, is_warm_up: bool) -> &mut RunRecord {
        if is_warm_up { &mut self.warm_up } else { &mut self.measured }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.warm_up.merge(&other.warm_up);
        self.measured.merge(&other.measured);
        self.last_reply = self.last_reply.max(other.last_reply);
        self.last_failure = self.last_failure.max(other.last_failure);
    }
}

/// The reason why the clients of a worker were stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The clients were not stopped.
    NotStopped,
    /// The plan and the grace period after it are over.
    GraceOver,
    /// The run was aborted.
    Aborted,
}

impl StopReason {
    /// Returns the outcome of messages in flight, and the reason for which unsent messages are
    /// skipped.
    pub(crate) fn account(self) -> (MessageOutcome, SkipReason) {
        match self {
            Self::GraceOver => (MessageOutcome::TimedOut, SkipReason::Overdue),
            Self::NotStopped | Self::Aborted => (MessageOutcome::InFlight, SkipReason::Stopped),
        }
    }
}

impl LoadWorker {
    pub(crate) fn new(
        context: Arc<RunContext>,
        precision: Precision,
        sockets: Option<Arc<SocketTable>>,
    ) -> Self {
        Self {
            context,
            alarm: Alarm::new(precision),
            sockets,
            records: Mutex::default(),
            open: AtomicU32::new(0),
            open_max: AtomicU32::new(0),
            ports_used_up: AtomicU64::new(0),
            stop_reason: AtomicU8::new(StopReason::NotStopped as u8),
        }
    }

    #[inline]
    pub(crate) fn settings(&self) -> &LoadSettings {
        &self.context.settings
    }

    #[inline]
    pub(crate) fn records(&self) -> MutexGuard<'_, PhaseRecords> {
        // No code that holds the lock can panic, so the record stays consistent if a client panics.
        self.records.lock().ignore_poison()
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.context.stop.phase() == Phase::Running
    }

    /// Counts a connection as open until the returned value is dropped.
    pub(crate) fn note_open(self: &Arc<Self>) -> OpenConnection {
        let now = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.open_max.fetch_max(now, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Returns the number of open connections.
    pub(crate) fn open_now(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns the largest number of connections that were open at the same time.
    pub(crate) fn open_max(&self) -> u32 {
        self.open_max.load(Ordering::Relaxed)
    }

    /// Counts an attempt for which the system had no local port left.
    pub(crate) fn note_ports_used_up(&self) {
        self.ports_used_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ports_used_up(&self) -> u64 {
        self.ports_used_up.load(Ordering::Relaxed)
    }

    /// Sets the reason for the clients that are dropped from now on.
    pub(crate) fn set_stop_reason(&self, stop_reason: StopReason) {
        self.stop_reason.store(stop_reason as u8, Ordering::Relaxed);
    }

    pub(crate) fn stop_reason(&self) -> StopReason {
        match self.stop_reason.load(Ordering::Relaxed) {
            0 => StopReason::NotStopped,
            1 => StopReason::GraceOver,
            _ => StopReason::Aborted,
        }
    }
}

/// A connection that counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<LoadWorker>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The common start of all clients. The run starts when each client has opened its connection, or
/// has failed to open it.
#[derive(Debug)]
pub(crate) struct StartBarrier {
    missing: AtomicU32,
    at: OnceLock<Instant>,
    changed: Notify,
}

impl StartBarrier {
    pub(crate) fn new(clients: u32) -> Self {
        Self { missing: AtomicU32::new(clients), at: OnceLock::new(), changed: Notify::new() }
    }

    /// Counts a client as ready. Each client must call this once.
    pub(crate) fn arrive(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open();
        }
    }

    /// Starts the run, even if some clients are not ready.
    pub(crate) fn open(&self) {
        self.at.get_or_init(Instant::now);
        self.changed.notify_waiters();
    }

    /// Returns the time of the start; `None` before it.
    #[inline]
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at.get().copied()
    }

    /// Waits for the start. Cancel safe.
    pub(crate) async fn wait(&self) -> Instant {
        loop {
            let changed = self.changed.notified();
            if let Some(at) = self.at() {
                return at;
            }
            changed.await;
        }
    }

    /// Returns the time since the start; zero before it.
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        self.at().map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }
}
