//! The connection slots of a server: counts open connections, admits new ones, and counts the close
//! reasons of ended ones.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Waker;

use tokio::sync::Notify;

use super::parts::ServerParts;
use super::report::Report;
use super::shutdown::{Phase, Shutdown};
use super::usage::{ConnectionUsage, NearlyFullHook};
use crate::connection::limits::{Closed, Limits};
use crate::metrics::summary::{
    ClosedHook, ConnectionCounters, ConnectionSummary, Hook, ReceivedLine,
};
use crate::metrics::worker_stats::{WorkerCounters, WorkerStats};
use crate::sources::SourceRefusal;
use crate::transport::origin::{Origin, OriginHistory, PeerId};
use echoline_base::poison::IgnorePoison;
use echoline_base::source::network;
use echoline_base::supervise::catch_panic;

/// All connection slots of one server.
#[derive(Debug, Default)]
pub(crate) struct ConnectionRegistry {
    shutdown: Shutdown,
    taken: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    accepted: AtomicU64,
    ends: Mutex<BTreeMap<Closed, u64>>,
    /// The open connections by number, whose tasks are woken when the phase changes.
    members: Mutex<HashMap<u64, Weak<ConnectionSlot>>>,
    /// Waiting tasks are notified here whenever the last slot is released.
    emptied: Notify,
    /// The parts of the server that observers see; set when it begins to serve.
    parts: OnceLock<ServerParts>,
    /// The hook that is called with the summary of each connection that has ended.
    hook: OnceLock<ClosedHook>,
    pub(crate) nearly_full: NearlyFullHook,
}

/// A connection slot. It is released when the last clone of its `Arc` is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    registry: Arc<ConnectionRegistry>,
    peer: PeerId,
    /// The index of the listener that accepted the connection.
    listener: u32,
    /// This state is boxed to keep idle connections small, because most connections do not need it.
    extras: OnceLock<Box<SlotExtras>>,
    /// Whether this slot is included in the count of its client's address.
    counts_address: AtomicBool,
    /// The close reason of the connection's last failure, as its index in [`Closed::REASONS`],
    /// counted from 1. It is 0 if there was no failure.
    failure: AtomicU8,
    /// The statistics of the worker that serves the connection.
    stats: Arc<WorkerStats>,
    /// The close reason for the end of the peer's stream; unset while the stream is open.
    end: OnceLock<Closed>,
    /// The connection's number in this server and its log, counted from 1.
    number: u64,
    /// The task that the server wakes when its phase changes.
    task: OnceLock<Waker>,
}

/// The parts of a slot that not every connection needs.
#[derive(Debug, Default)]
struct SlotExtras {
    /// The origins that the handshakes found.
    handshakes: OriginHistory,
    /// The counts for an access log.
    connection_counters: Option<ConnectionCounters>,
    /// Whether the hook must not be called at the end.
    is_suppressed: AtomicBool,
}

/// The address for which a slot is counted, if addresses are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedAddress {
    /// The other end of the socket.
    Peer,
    /// The client that a proxy names in the handshake.
    Proxied,
}

impl ConnectionRegistry {
    /// Creates an empty registry of a server that `shutdown` ends.
    pub(crate) fn new(shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { shutdown, ..Self::default() })
    }

    /// Takes a slot for a connection from `peer` on the worker with `stats`. Returns the close
    /// reason if no slot is free.
    pub(crate) fn take(
        self: &Arc<Self>,
        origin: &Origin,
        limits: &Limits,
        count: CountedAddress,
        stats: &Arc<WorkerStats>,
    ) -> Result<Arc<ConnectionSlot>, Closed> {
        let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        // Only the accepting tasks increment the count. So it exceeds `max` by at most the number
        // of listeners, and only until the check below.
        let max = limits.max_connections;
        let open = self.taken.fetch_add(1, Ordering::AcqRel) + 1;
        self.nearly_full.note(ConnectionUsage { open: open.min(max), max });
        if open > max {
            self.give_back();
            return Err(Closed::Busy);
        }
        let peer = origin.peer.filter(|_| count == CountedAddress::Peer);
        let counts_address = match peer.map_or(Ok(false), |peer| self.count_address(peer, limits)) {
            Ok(counts_address) => counts_address,
            Err(closed) => {
                self.give_back();
                return Err(closed);
            }
        };
        stats.open.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(ConnectionSlot {
            registry: Arc::clone(self),
            peer: PeerId::of(origin),
            listener: u32::try_from(origin.listener).expect("descriptors are numbered by int"),
            extras: self
                .connection_counters()
                .map_or_else(OnceLock::new, |extras| OnceLock::from(Box::new(extras))),
            counts_address: AtomicBool::new(counts_address),
            failure: AtomicU8::new(0),
            stats: Arc::clone(stats),
            end: OnceLock::new(),
            number,
            task: OnceLock::new(),
        });
        self.members.lock().ignore_poison().insert(number, Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Returns the counters of a new connection; `None` if neither the hook nor the log uses them.
    fn connection_counters(&self) -> Option<SlotExtras> {
        let is_wanted = self.hook.get().is_some() || tracing::enabled!(tracing::Level::DEBUG);
        is_wanted.then(|| SlotExtras {
            connection_counters: Some(ConnectionCounters::begin()),
            ..SlotExtras::default()
        })
    }

    /// Sets the hook for connections that have ended.
    pub(crate) fn set_hook(&self, hook: ClosedHook) {
        // The first hook stays: a server has one hook.
        let _ = self.hook.set(hook);
    }

    /// Counts a connection that was refused because no slot was free.
    pub(crate) fn count_refusal(&self, origin: &Origin, closed: Closed) {
        self.count(closed);
        self.call_hook(|| ConnectionSummary::of(origin.clone(), closed));
    }

    /// Counts a connection that the rate limit of its source refused. The hook is called only for
    /// the connection that started a penalty, so that a flood does not fill an access log.
    pub(crate) fn count_source_refusal(&self, origin: &Origin, refusal: SourceRefusal) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let closed = refusal.closed();
        match refusal.is_new_penalty {
            true => self.count_refusal(origin, closed),
            false => self.count(closed),
        }
    }

    /// Calls the hook, if there is one, for a connection that has ended. Catches a panic of the
    /// hook, so that the slot is released and the listeners continue to accept.
    fn call_hook(&self, summary: impl FnOnce() -> ConnectionSummary) {
        let Some(Hook(hook)) = self.hook.get() else { return };
        if catch_panic(|| hook(summary())).is_err() {
            tracing::error!(
                "the hook Server::on_closed panicked; the end of a connection was not reported"
            );
        }
    }

    /// Counts a connection from `address` if connections per address are limited. Returns whether
    /// it was counted.
    fn count_address(&self, address: SocketAddr, limits: &Limits) -> Result<bool, Closed> {
        let Some(most) = limits.max_per_ip else { return Ok(false) };
        let network = network(address.ip());
        let mut by_address = self.by_address.lock().ignore_poison();
        if by_address.get(&network).copied().unwrap_or_default() >= most {
            return Err(Closed::BusyAddress);
        }
        *by_address.entry(network).or_default() += 1;
        Ok(true)
    }

    /// Wakes the task of every connection, so that it sees the new phase.
    pub(crate) fn wake_all(&self) {
        // The slots are collected first, because dropping a slot takes the lock, and must not
        // happen while it is held.
        let members: Vec<Arc<ConnectionSlot>> =
            self.members.lock().ignore_poison().values().filter_map(Weak::upgrade).collect();
        for task in members.iter().filter_map(|slot| slot.task.get()) {
            task.wake_by_ref();
        }
    }

    /// Counts how a connection, or an attempt at one, has ended.
    pub(crate) fn count(&self, closed: Closed) {
        *self.ends.lock().ignore_poison().entry(closed.counted()).or_default() += 1;
    }

    /// Counts a client that was refused because no descriptor was left.
    pub(crate) fn count_descriptor_refusal(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.count(Closed::Busy);
    }

    /// Returns the number of open connections, lingering ones included.
    pub(crate) fn open(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Sets the parts of the server when it begins to serve.
    pub(crate) fn begin(&self, parts: ServerParts) {
        // A server serves only once.
        let _ = self.parts.set(parts);
    }

    /// Returns the parts of the running server; `None` before it serves.
    pub(crate) fn parts(&self) -> Option<&ServerParts> {
        self.parts.get()
    }

    /// Returns the phase of the server's life.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.shutdown.phase()
    }

    /// Waits until no connection is open. Cancel safe.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Returns the counts of accepted, open and ended connections.
    pub(crate) fn report(&self) -> Report {
        Report {
            accepted: self.accepted.load(Ordering::Relaxed),
            still_open: self.open() as u64,
            ends: self.ends.lock().ignore_poison().clone(),
        }
    }

    fn give_back(&self) {
        if self.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }
}

impl ConnectionSlot {
    /// Returns the connection's number in the log.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the statistics of the worker that serves this connection.
    #[inline]
    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.stats
    }

    /// Returns the worker's traffic counters; `None` if the server has no observer.
    #[inline]
    pub(crate) fn worker_counters(&self) -> Option<&WorkerCounters> {
        self.stats.worker_counters()
    }

    /// Records the waker of the task that runs the handler.
    #[inline]
    pub(crate) fn set_task(&self, waker: &Waker) {
        // All wakers of a task are equivalent, so only the first is kept.
        self.task.get_or_init(|| waker.clone());
    }

    /// Returns the phase of the server's life.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.registry.phase()
    }

    /// Returns the origin of the connection in this slot. Without a handshake, it has only the
    /// facts of the socket.
    pub(crate) fn origin(&self) -> Origin {
        let socket = || Origin {
            listener: self.listener as usize,
            peer: self.peer.address(),
            credentials: self.peer.credentials(),
            ..Origin::default()
        };
        let handshake_origin = self.handshake_origin().map_or_else(socket, Origin::clone);
        Origin { number: self.number, ..handshake_origin }
    }

    /// Records the close reason of a failure of the connection.
    pub(crate) fn note_failure(&self, closed: Closed) {
        let index = Closed::REASONS.iter().position(|known| known.label() == closed.label());
        let index = index.and_then(|index| u8::try_from(index + 1).ok());
        self.failure.store(index.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns the close reason of the connection's last failure. The error kind in a
    /// [`Closed::Io`] is not kept.
    pub(crate) fn failure(&self) -> Option<Closed> {
        let index = usize::from(self.failure.load(Ordering::Relaxed)).checked_sub(1)?;
        Closed::REASONS.get(index).copied()
    }

    /// Records the origin as the handshake has determined it.
    pub(crate) fn note_origin(&self, origin: Origin) {
        self.extras.get_or_init(Box::default).handshakes.note(origin);
    }

    /// Returns the origin as the last handshake has determined it; `None` without a handshake.
    pub(crate) fn handshake_origin(&self) -> Option<&Origin> {
        self.extras.get()?.handshakes.latest()
    }

    /// Returns the client that a proxy has named before the dialogue began. Connections per address
    /// are counted by it.
    fn counted_source(&self) -> Option<SocketAddr> {
        self.extras.get()?.handshakes.first()?.source
    }

    /// Returns the counts of this connection alone, if there are any.
    #[inline]
    pub(crate) fn connection_counters(&self) -> Option<&ConnectionCounters> {
        self.extras.get()?.connection_counters.as_ref()
    }

    /// Returns the argument of the hook for a received line of this connection.
    pub(crate) fn received<'a>(&self, bytes: &'a [u8]) -> ReceivedLine<'a> {
        let client = self
            .handshake_origin()
            .and_then(|handshake_origin| handshake_origin.source)
            .or(self.peer.address());
        ReceivedLine { number: self.number, listener: self.listener as usize, client, bytes }
    }

    /// Counts the address that a proxy has named, for a slot whose address was not counted on
    /// accept. Fails if the address has reached its limit.
    pub(crate) fn count_source(&self, limits: &Limits) -> Result<(), Closed> {
        if let Some(source) = self.counted_source() {
            let counts_address = self.registry.count_address(source, limits)?;
            self.counts_address.store(counts_address, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Prevents the call of the hook at the end of this connection, whose source is refused
    /// repeatedly.
    pub(crate) fn suppress_summary(&self) {
        self.extras.get_or_init(Box::default).is_suppressed.store(true, Ordering::Relaxed);
    }

    /// Returns whether `waker` wakes the handler's task itself. A future inside the task may have
    /// its own waker, as in `FuturesUnordered`, and the server does not know that waker.
    #[inline]
    pub(crate) fn is_woken_by(&self, waker: &Waker) -> bool {
        self.task.get().is_some_and(|task| task.will_wake(waker))
    }

    /// Records the close reason for the end of the peer's stream, before the connection is closed.
    pub(crate) fn note_end(&self, end: Closed) {
        // Only the first close reason counts.
        self.end.get_or_init(|| end);
    }

    /// Counts the end of this connection and returns its close reason. `result` is the result of
    /// the handler.
    pub(crate) fn count(&self, result: Result<(), Closed>) -> Closed {
        let closed = match result {
            Err(closed) => closed,
            Ok(()) => self.end.get().copied().unwrap_or(Closed::Finished),
        };
        self.registry.count(closed);
        if let Some(connection_counters) = self.connection_counters() {
            connection_counters.note_closed(closed);
        }
        closed
    }

    /// Calls the hook with the summary of the connection, which has ended.
    fn report_summary(&self) {
        let handshake_origin =
            self.extras.get().filter(|extras| !extras.is_suppressed.load(Ordering::Relaxed));
        let Some(connection_counters) =
            handshake_origin.and_then(|extras| extras.connection_counters.as_ref())
        else {
            return;
        };
        let summary = connection_counters.summary(self.origin());
        summary.log();
        self.registry.call_hook(|| summary);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.report_summary();
        if *self.counts_address.get_mut()
            && let Some(client) = self.counted_source().or(self.peer.address())
        {
            let network = &network(client.ip());
            let mut by_address = self.registry.by_address.lock().ignore_poison();
            if let Some(count) = by_address.get_mut(network) {
                *count -= 1;
                if *count == 0 {
                    by_address.remove(network);
                }
            }
        }
        self.registry.members.lock().ignore_poison().remove(&self.number);
        self.stats.open.fetch_sub(1, Ordering::Relaxed);
        self.registry.give_back();
    }
}

#[cfg(test)]
mod tests;
