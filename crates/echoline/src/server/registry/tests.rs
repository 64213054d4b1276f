//! Tests of the connection slots.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::Context;

use super::super::handler_task::HandlerTask;
use super::*;

fn take(
    registry: &Arc<ConnectionRegistry>,
    address: &str,
    limits: &Limits,
) -> Result<Arc<ConnectionSlot>, Closed> {
    let peer = SocketAddr::new(address.parse().unwrap(), 1);
    let origin = Origin { peer: Some(peer), ..Origin::default() };
    registry.take(&origin, limits, CountedAddress::Peer, &Arc::default())
}

/// Issue 11, item 48: without an access log, an idle connection takes no memory for it. With the
/// counters of its `Arc`, a slot exactly fills an allocator size class of 128 bytes.
#[test]
fn regression_without_an_access_log_no_memory_is_used() {
    assert!(size_of::<ConnectionSlot>() <= 112, "{}", size_of::<ConnectionSlot>());
    // The process at a Unix socket takes the room of an address.
    assert_eq!(size_of::<PeerId>(), size_of::<SocketAddr>());
    assert!(size_of::<SlotExtras>() <= 80, "with an access log: {}", size_of::<SlotExtras>());
}

/// Issue 11, item 48: a hook that panics keeps no slot occupied, and does not end the accepting
/// task after a refusal.
#[test]
fn regression_a_hook_that_panics_takes_no_place() {
    let registry = Arc::new(ConnectionRegistry::default());
    registry.set_hook(Hook(Box::new(|_| panic!("as asked"))));
    let limits = Limits { max_per_ip: Some(1), ..Limits::default() };
    for _ in 0..2 {
        drop(take(&registry, "10.0.0.1", &limits).unwrap());
        assert_eq!(registry.open(), 0);
        registry.count_refusal(&Origin::default(), Closed::Busy);
    }
    assert_eq!(registry.report().count(Closed::Busy), 2);
}

/// Fault 2: the limit is exact, and a released slot is free again.
#[test]
fn the_connection_limit_is_exact() {
    let registry = Arc::new(ConnectionRegistry::default());
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let first = take(&registry, "10.0.0.1", &limits).unwrap();
    let _second = take(&registry, "10.0.0.2", &limits).unwrap();
    assert_eq!(take(&registry, "10.0.0.3", &limits).unwrap_err(), Closed::Busy);
    drop(first);
    take(&registry, "10.0.0.3", &limits).unwrap();
    assert_eq!(registry.open(), 1);
}

/// Fault 4: one address, or one IPv6 network, cannot take all slots.
#[test]
fn one_address_has_its_own_limit() {
    let registry = Arc::new(ConnectionRegistry::default());
    let limits = Limits { max_per_ip: Some(1), ..Limits::default() };
    for (address, neighbour) in
        [("10.0.0.1", "::ffff:10.0.0.1"), ("2001:db8::1", "2001:db8::ffff:2")]
    {
        let held = take(&registry, address, &limits).unwrap();
        assert_eq!(take(&registry, neighbour, &limits).unwrap_err(), Closed::BusyAddress);
        take(&registry, "10.0.0.9", &limits).unwrap();
        drop(held);
        take(&registry, neighbour, &limits).unwrap();
    }
    assert_eq!(registry.open(), 0);
    assert!(
        registry.by_address.lock().ignore_poison().is_empty(),
        "the table must not grow for ever"
    );
}

/// Faults 4, 26: behind a proxy the clients' addresses are counted instead of the proxy's address.
#[test]
fn counts_the_address_that_a_proxy_names() {
    let registry = Arc::new(ConnectionRegistry::default());
    let limits = Limits { max_per_ip: Some(1), ..Limits::default() };
    let proxy = Origin { peer: Some("10.0.0.1:1".parse().unwrap()), ..Origin::default() };
    let come = |source: &str| {
        let slot =
            registry.take(&proxy, &limits, CountedAddress::Proxied, &Arc::default()).unwrap();
        slot.note_origin(Origin { source: source.parse().ok(), ..proxy.clone() });
        slot.count_source(&limits).map(|()| slot)
    };
    let first = come("192.0.2.1:7").unwrap();
    let _second = come("192.0.2.2:7").unwrap();
    assert_eq!(come("192.0.2.1:8").unwrap_err(), Closed::BusyAddress);
    // A health check of the proxy does not count for any client.
    let _checks = [come("").unwrap(), come("").unwrap()];
    drop(first);
    come("192.0.2.1:8").unwrap();
}

/// Records the number of open slots when it is dropped.
struct Witness(Arc<ConnectionRegistry>, Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.1.store(self.0.open(), Ordering::Relaxed);
    }
}

/// Issue 11, item F: the last connection slot is released only after the handler has been dropped.
/// So output that is written during the drop precedes the end of the server.
#[test]
fn regression_a_place_is_given_back_after_its_handler() {
    let (registry, seen) = (Arc::new(ConnectionRegistry::default()), Arc::default());
    let slot = take(&registry, "10.0.0.1", &Limits::default()).unwrap();
    let witness = Witness(Arc::clone(&registry), Arc::clone(&seen));
    let handler = async move {
        let _witness = witness;
        pending::<Result<(), Closed>>().await
    };
    let mut task = pin!(HandlerTask::new(handler, slot));
    let mut poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    registry.shutdown.abort();
    assert!(poll().is_ready());
    assert_eq!((seen.load(Ordering::Relaxed), registry.open()), (1, 0));
}
